"""State on a host that a power failure, a full disk or a person has damaged: named, never followed, and repaired."""

from __future__ import annotations

import grp
import json
import os
import shutil
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.layout import Layout
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release import generation as gen
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release import retention
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic import (
    removal,
    reservation,
    service,
    stopping,
    trial,
)
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic import swap as swap_module
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic.swap import Swap, SwapError
from ansible_collections.flaskops.uwsgi.plugins.modules import host_state, serving, status

from tests.support.fake_host import US, FakeHost, TemporaryLayout, manifest, write_generation

CallModule = Callable[..., dict[str, Any]]
DAMAGE = {
    "empty": b"",
    "zeros": bytes(4096),
    "cut": b'{"generation": "g1", "rel',
    "not text": b"\xff\xfe\x00{",
    "a list": b"[]",
    "a text": b'"manifest"',
    "a number": b"1e999",
    "nested": b'{"a":' * 100_000,
    "nested list": b"[" * 100_000,
    "no field": b"{}",
    "large": b"{" + b" " * (5 << 20) + b"}",
}
damages = pytest.mark.parametrize("content", DAMAGE.values(), ids=DAMAGE)


def damage(layout: Layout, name: str, content: bytes) -> None:
    (layout.generations / name / "manifest.json").write_bytes(content)


# Reading.


@damages
def test_a_damaged_manifest_is_none_with_the_reason(layout: TemporaryLayout, content: bytes) -> None:
    write_generation(layout, "g1")
    damage(layout, "g1", content)
    assert gen.manifest(layout, "g1") is None
    assert gen.damage(layout, "g1").startswith("manifest.json ")


WRONG = (None, "", "x", True, [], {}, [1], {"a": 1}, -1, 1e300, 10**400, "../../etc", "a/b")
# As Python writes them, which is not JSON.
NO_JSON = (float("nan"), float("inf"))
REQUIRED = set(manifest()) - {"generation", "settle"}


@pytest.mark.parametrize("field", sorted(REQUIRED))
def test_a_manifest_with_a_field_of_another_type_is_read_completely_or_not_at_all(
    layout: TemporaryLayout, field: str
) -> None:
    write_generation(layout, "g1")
    path = layout.generations / "g1/manifest.json"
    for value in NO_JSON:
        path.write_text(json.dumps(manifest(**{field: value})))
        assert "is not JSON" in gen.damage(layout, "g1")
    for value in WRONG:
        path.write_text(json.dumps(manifest(**{field: value})))
        found = gen.manifest(layout, "g1")
        assert (found is None) == bool(gen.damage(layout, "g1"))
        if found:
            # Of the right type by chance.
            assert field in ("wsgi_file", "callable", "checksums") or (field in ("release", "venv") and value == "x")
        else:
            assert field in gen.damage(layout, "g1")
    document = manifest()
    del document[field]
    path.write_text(json.dumps(document))
    assert gen.damage(layout, "g1") == f"manifest.json is damaged: {field} is missing"


def test_a_manifest_that_is_not_a_file_is_damaged_and_does_not_block(layout: TemporaryLayout) -> None:
    write_generation(layout, "g1")
    path = layout.generations / "g1/manifest.json"
    path.unlink()
    os.mkfifo(path)
    assert gen.damage(layout, "g1") == "manifest.json is not a regular file"
    path.unlink()
    path.symlink_to("/etc/hostname")
    assert gen.manifest(layout, "g1") is None


@damages
def test_a_damaged_mark_still_shows_that_the_generation_served(layout: TemporaryLayout, content: bytes) -> None:
    for name in ("a", "b"):
        write_generation(layout, name)
        gen.mark_served(layout, name)
    (layout.generations / "b/.served").write_bytes(content)
    assert gen.kept(layout) == ["a", "b"]


@pytest.mark.parametrize("said", [{"number": "1"}, {"number": 1e400}, {"how": {}}, {"how": "x"}, {"since": 1}])
def test_a_mark_of_another_shape_is_ignored(layout: TemporaryLayout, said: dict[str, Any]) -> None:
    for name in ("a", "b", "c"):
        write_generation(layout, name)
        gen.mark_served(layout, name)
    (layout.generations / "b/.served").write_text(json.dumps({"number": 2, "how": "deploy", "since": "", **said}))
    assert gen.kept(layout) == ["c", "a", "b"]


@damages
def test_a_damaged_result_of_the_gevent_check_counts_as_none(layout: TemporaryLayout, content: bytes) -> None:
    write_generation(layout, "g1")
    (layout.generations / "g1/gevent_check.json").write_bytes(content)
    assert host_state.checked(layout) == []


@damages
def test_a_damaged_trial_is_ended_by_the_next_run(layout: TemporaryLayout, host: FakeHost, content: bytes) -> None:
    host.serve("found")
    reservation.reserve(layout, US)
    trial.begin(layout, US, 60)
    layout.trial.write_bytes(content)
    assert trial.watch(layout, US) is False
    assert trial.end(layout, US) is True
    assert not layout.trial.exists()


def test_a_damaged_reservation_does_not_count(layout: TemporaryLayout) -> None:
    layout.lock.parent.mkdir()
    for content in DAMAGE.values():
        layout.lock.write_bytes(content)
        assert not reservation.owner(layout)
        with reservation.exclusive(layout):
            pass


# A kept generation.


@pytest.fixture
def three(layout: TemporaryLayout, host: FakeHost) -> FakeHost:
    """Serve ``g3`` on a host that keeps ``g2`` and ``g1``."""
    for name in ("g1", "g2", "g3"):
        host.serve(name, release=f"r-{name}", venv=f"v-{name}")
    return host


@damages
def test_a_damaged_kept_generation_is_named_and_is_no_target(
    layout: TemporaryLayout, three: FakeHost, content: bytes
) -> None:
    damage(layout, "g2", content)
    assert gen.rollback_target(layout) == "g1"
    assert gen.kept(layout) == ["g3", "g1"]
    assert [text for text in service.drift(layout) if text.startswith("generation g2 is damaged: manifest.json ")]
    with pytest.raises(SwapError, match=r"generation g2 is damaged \(manifest.json .*deploy to rewrite it"):
        Swap(layout, "g2")
    assert three.answering() == {"g3"}


@damages
def test_a_damaged_kept_generation_blocks_neither_a_deploy_nor_a_stop_and_is_removed(
    layout: TemporaryLayout, three: FakeHost, content: bytes
) -> None:
    damage(layout, "g2", content)
    assert stopping.longest_stop(layout) >= 30
    write_generation(layout, "g4")
    Swap(layout, "g4").run()
    assert three.answering() == {"g4"}
    assert not (layout.generations / "g2").exists()
    assert not (layout.releases / "r-g2").exists()
    assert service.drift(layout) == []
    assert stopping.stop_all(layout)


# The serving generation.


@pytest.fixture
def spoiled(layout: TemporaryLayout, three: FakeHost) -> FakeHost:
    damage(layout, "g3", b"")
    return three


def test_a_damaged_serving_generation_is_named_and_shown(
    call_module: CallModule, layout: TemporaryLayout, spoiled: FakeHost
) -> None:
    result = call_module(status)
    assert result["status"]["drift"][0] == "generation g3 is damaged: manifest.json is empty"
    assert result["status"]["generation"] == "g3" and result["status"]["release"] == "r-g3"
    assert result["status"]["state"] == "active"


@pytest.mark.parametrize("state", ["stopped", "started", "restarted"])
def test_a_damaged_serving_generation_can_be_stopped_started_and_restarted(
    call_module: CallModule, layout: TemporaryLayout, spoiled: FakeHost, state: str
) -> None:
    if state == "started":
        assert not call_module(serving, state="stopped")["failed"]
    spoiled.clients.add("0.0.0.0:8040") if state == "restarted" else None
    result = call_module(serving, state=state)
    assert not result["failed"] and result["changed"], result
    assert spoiled.answering() == (set() if state == "stopped" else {"g3"})
    assert spoiled.waited == []
    assert all((layout.generations / name).is_dir() for name in ("g1", "g2", "g3"))
    assert (layout.releases / "r-g3").is_dir() and (layout.venvs / "v-g3").is_dir()


def test_a_damaged_serving_generation_can_be_removed(layout: TemporaryLayout, spoiled: FakeHost) -> None:
    removal.remove(layout, data=False)
    assert not spoiled.active and not layout.root.exists()


def test_another_generation_takes_over_from_a_damaged_one(layout: TemporaryLayout, spoiled: FakeHost) -> None:
    spoiled.clients.add("0.0.0.0:8040")
    write_generation(layout, "g4")
    Swap(layout, "g4").run()
    assert spoiled.answering() == {"g4"}
    assert spoiled.waited == []


@pytest.mark.parametrize("kind", ["shop-canary/g4", "shop/g4"])
def test_a_damaged_serving_generation_continues_when_a_deploy_fails(
    layout: TemporaryLayout, spoiled: FakeHost, kind: str
) -> None:
    before = spoiled.everything()
    write_generation(layout, "g4")
    spoiled.sick[kind] = "GET /healthz answered 500 instead of 200: no"
    with pytest.raises(SwapError):
        Swap(layout, "g4").run()
    assert spoiled.everything() == before
    assert (layout.generations / "g3").is_dir() and (layout.releases / "r-g3").is_dir()
    assert not (layout.generations / "g4").exists()


def test_a_damaged_serving_generation_is_rewritten_in_place_and_its_processes_are_replaced(
    run_module: Callable[..., dict[str, Any]], layout: TemporaryLayout, spoiled: FakeHost
) -> None:
    folder = layout.generations / "g3"
    inode = folder.stat().st_ino
    names = [path for path in folder.rglob("*") if path.is_file() and path.name not in (".served", "manifest.json")]
    contents = {str(path.relative_to(folder)): path.read_text() for path in names}
    whole = json.dumps(manifest("g3", release="r-g3", venv="v-g3"))
    arguments = {
        "app_name": "shop",
        "base_dir": str(layout.base),
        "generation": "g3",
        "release": "r-g3",
        "venv": "v-g3",
        "group": grp.getgrgid(os.getgid()).gr_name,
        "files": {**contents, "manifest.json": whole},
        "secrets": {},
    }
    (folder / "venv").unlink()
    result = run_module("generation", **arguments)
    assert result["changed"] and sorted(result["mended"]) == ["manifest.json", "venv"], result
    assert gen.damage(layout, "g3") == "" and folder.stat().st_ino == inode
    assert str((folder / "venv").readlink()) == "../../venvs/v-g3"
    assert not run_module("generation", **arguments)["changed"]
    before = dict(spoiled.active)
    Swap(layout, "g3", restart=True).run()
    assert spoiled.active["shop@g3.service"] != before["shop@g3.service"]


def test_a_damaged_serving_generation_with_an_unknown_address_is_reported_and_not_removed(
    call_module: CallModule, layout: TemporaryLayout, spoiled: FakeHost
) -> None:
    (layout.generations / "g3/units/listen.conf").unlink()
    reported = call_module(status)["status"]
    assert reported["drift"][:2] == [
        "generation g3 is damaged: manifest.json is empty",
        "the address of generation g3 is unknown",
    ]
    assert not call_module(serving, state="stopped")["failed"]
    result = call_module(serving, state="started")
    assert result["failed"] and "generation g3 is damaged (manifest.json is empty)" in result["msg"]
    write_generation(layout, "g4")
    Swap(layout, "g4").run()
    assert spoiled.answering() == {"g4"}


# Others.


@damages
def test_a_damaged_neighbour_blocks_no_operation_and_its_address_is_still_known(
    layout: TemporaryLayout, host: FakeHost, content: bytes
) -> None:
    other = TemporaryLayout("books", layout.base, layout.top)
    for folder in (other.generations, other.releases, other.venvs):
        folder.mkdir(parents=True)
    write_generation(other, "g7", listen="127.0.0.1:8041")
    other.current.symlink_to("generations/g7")
    damage(other, "g7", content)
    assert host_state.neighbours(layout) == {"books": "127.0.0.1:8041"}
    shutil.rmtree(other.generations / "g7/units")
    assert host_state.neighbours(layout) == {}


# Incomplete records of a killed run.


def test_current_counts_as_served_without_a_mark(layout: TemporaryLayout, three: FakeHost) -> None:
    (layout.generations / "g3/.served").unlink()
    assert gen.kept(layout) == ["g3", "g2", "g1"]
    assert gen.rollback_target(layout) == "g2"
    assert retention.orphans(layout) == []
    write_generation(layout, "bad")
    three.sick["bad"] = "GET /healthz answered 500 instead of 200: no"
    with pytest.raises(SwapError):
        Swap(layout, "bad").run()
    assert (layout.generations / "g3").is_dir() and (layout.releases / "r-g3").is_dir()
    Swap(layout, "g3").run()
    assert gen.history(layout)[0].number == 3, "and the next run marks it"


def test_a_generation_that_was_marked_and_never_linked_is_a_target_after_those_that_served(
    layout: TemporaryLayout, three: FakeHost
) -> None:
    write_generation(layout, "g4")
    gen.mark_served(layout, "g4")
    assert layout.deployed_generation() == "g3"
    assert gen.kept(layout) == ["g3", "g2", "g1", "g4"]
    assert gen.rollback_target(layout) == "g2"
    Swap(layout, "g4").run()
    assert gen.kept(layout)[:2] == ["g4", "g3"]
    assert gen.rollback_target(layout) == "g3"


def test_a_rollback_interrupted_before_the_link_goes_to_the_same_target(
    layout: TemporaryLayout, three: FakeHost
) -> None:
    gen.mark_served(layout, "g2", "rollback")
    assert gen.rollback_target(layout) == "g2"
    Swap(layout, "g2", how="rollback").run()
    assert gen.rollback_target(layout) == "g2"


@pytest.mark.parametrize("step", ["mark_served", "link"])
def test_a_kill_between_the_mark_and_the_link_is_repaired_by_the_next_run(
    layout: TemporaryLayout, three: FakeHost, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    class Killed(BaseException):
        pass

    def kill(*_: Any) -> None:
        raise Killed

    write_generation(layout, "g4", release="r-g4")
    swap = Swap(layout, "g4")
    # After a SIGKILL nothing is restored.
    monkeypatch.setattr(swap, "_restore", lambda *_: None)
    with monkeypatch.context() as patch:
        patch.setattr(gen if step == "mark_served" else swap_module.files, step, kill)
        with pytest.raises(Killed):
            swap.run()
    assert three.answering() == {"g3", "g4"}
    assert "generation g4 runs beside the current one" in service.drift(layout)
    # Another deploy, and one that fails.
    write_generation(layout, "bad")
    three.sick["bad"] = "GET /healthz answered 500 instead of 200: no"
    with pytest.raises(SwapError):
        Swap(layout, "bad").run()
    assert (layout.generations / "g4").is_dir() and (layout.releases / "r-g4").is_dir(), "it is still running"
    Swap(layout, "g4").run()
    assert three.answering() == {"g4"}
    assert gen.kept(layout)[:2] == ["g4", "g3"]
    assert service.drift(layout) == [] and retention.orphans(layout) == []
