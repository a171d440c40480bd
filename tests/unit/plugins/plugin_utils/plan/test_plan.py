"""The plan of one host."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release import artifact as art
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan import plan
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan.choice import choose
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan.generation import Generation
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan.plan import Plan
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.run.seal import SealError
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source.artifact import Artifact, Request
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source.dependencies import Resolution

from tests.support.planning import artifact, settings, state

G1 = Generation("g1", "g1" * 32)
SERVES = {"current": "g1", "digest": G1.digest, "mode": "gevent", "listen": "0.0.0.0:8040"}
REQUEST = Request("git+https://jane:hidden@example.org/shop", "", "", "", "debian-12-x86_64-py3.11", "/cache")
HAS = {"releases": {"r1": "r" * 64}, "venvs": {"w1": "w" * 64}}


@pytest.fixture
def release(tmp_path: Path) -> Artifact:
    source, archive = tmp_path / "source", tmp_path / "code.tar.gz"
    source.mkdir()
    (source / "run.py").write_text("app = print\n")
    art.pack_code(source, art.source_files(source, []), {}, archive)
    return artifact(code={"id": "c1", "path": str(archive)})


def planned(
    release: Artifact, app: dict[str, Any] | None = None, host: dict[str, Any] | None = None, **own: Any
) -> Plan:
    asked = settings(**own)
    return plan.of("web1", asked, state(host, app), REQUEST, release, choose(asked, {}), G1)


def test_a_first_deploy_creates_everything(release: Artifact) -> None:
    host = {"libpython": False, "missing_packages": ["libpq5", "ffmpeg"], "somaxconn": 128}
    found = planned(release, {"missing": ["account shop"], "accounts": {"user": None}}, host)
    assert (found.work, found.serving, found.repairs) == ("deploy", "", False)
    assert (found.generation, found.digest, found.mode, found.cores, found.processes) == (
        *asdict(G1).values(),
        "gevent",
        3000,
        4,
    )
    assert found.code and found.wheels and found.claims and found.check and found.somaxconn
    assert (found.libpython, found.packages) == ("libpython3.11", ["libpq5", "ffmpeg"])
    assert found.text == [
        "nothing -> g1 (gevent); traffic moves once it is proven",
        "artifact r1: to ship, wheels to ship",
        "account shop: to create",
        "flask_uwsgi_packages: libpq5 ffmpeg to install",
        "package libpython3.11: to install",
    ]


def test_python_s_library_has_the_name_of_the_host_s_distribution(release: Artifact) -> None:
    host = {"libpython": False, "package_manager": "dnf", "python": "3.12"}
    found = planned(release, {}, host)
    assert found.libpython == "libpython3.12.so.1.0()(64bit)"
    assert "package libpython3.12.so.1.0()(64bit): to install" in found.text


def test_what_the_operator_should_know_of_a_host_is_in_the_plan(release: Artifact) -> None:
    unbuilt = replace(release, wheelhouse={**release.wheelhouse, "built": False})
    host = {"distribution": "ubuntu", "version": "24.04", "systemd_version": 247}
    text = planned(unbuilt, host=host, secrets={"KEY": "x"}).text
    assert [line.partition(" ")[0] for line in text[-3:]] == ["ubuntu", "flask_uwsgi_secrets:", "wheels"]
    lock = Resolution("setup.py", Path("/lock"), "", "", "", "", "", "setup.py", [], None, [])
    resolved = plan.unresolved("web1", settings(), state(host), REQUEST, lock)
    assert "ubuntu 24.04 was not tested" in resolved.text[-2] and "PrivateIPC" in resolved.text[-1]


def test_there_is_nothing_to_do_if_the_generation_serves(release: Artifact) -> None:
    found = planned(release, SERVES)
    assert found.work == "nothing"
    assert found.text == ["nothing to do: generation g1 (gevent) serves as wanted"]


@pytest.mark.parametrize(
    ("changed", "work"),
    [
        # Two generations can have the same short name.
        ({"digest": "other"}, "deploy"),
        ({"drift": ["the pidfile is missing"]}, "deploy"),
        ({"current": "g0"}, "deploy"),
        ({"lock": {"home": "h", "pid": 1, "start": "s"}}, "release"),
    ],
)
def test_any_difference_is_work(release: Artifact, changed: dict[str, Any], work: str) -> None:
    assert planned(release, {**SERVES, **changed}).work == work


def test_drift_is_repaired_without_a_new_generation(release: Artifact) -> None:
    found = planned(release, {**SERVES, "drift": ["x is gone", "y was changed by hand"]})
    assert found.repairs and found.text == ["repair of generation g1 (gevent): x is gone; y was changed by hand"]


@pytest.mark.parametrize(
    ("app", "commands", "wanted"),
    [({}, ["migrate"], True), ({}, [], False), (SERVES, ["migrate"], False), ({"current": "g0"}, ["migrate"], True)],
)
def test_commands_belong_to_a_new_generation_and_not_to_a_repair(
    release: Artifact, app: dict[str, Any], commands: list[str], wanted: bool
) -> None:
    found = planned(release, {**app, "drift": ["x is gone"]}, pre_activate=commands, keeper="db")
    assert (found.work, found.commands, found.keeper) == ("deploy", wanted, "db")


def test_an_artifact_on_the_host_is_not_shipped(release: Artifact) -> None:
    found = planned(release, {**SERVES, **HAS, "current": "g0", "mode": "threads"})
    assert not found.code and not found.wheels and found.serving == "g0 (threads)"
    assert found.text[:2] == [
        "g0 (threads) -> g1 (gevent); traffic moves once it is proven",
        "artifact r1: on the host, wheels on the host",
    ]


def test_a_git_source_is_named_by_its_commit_and_missing_wheels_are_built(release: Artifact) -> None:
    git = replace(
        release, source={"kind": "git", "commit": "0123456789abcdef"}, wheelhouse={**release.wheelhouse, "built": False}
    )
    assert planned(git).text[1] == "artifact r1 (commit 0123456789ab): to ship, wheels to build"


def test_a_changed_address_is_shown(release: Artifact) -> None:
    found = planned(release, {**SERVES, "current": "g0"}, port=80)
    line = "address 0.0.0.0:8040 -> 0.0.0.0:80: the old one is served until the new one answers, then closed"
    assert found.moves and line in found.text
    assert not planned(release, {**SERVES, "current": "g0"}).moves


def test_the_origin_of_the_source_is_shown(release: Artifact) -> None:
    found = replace(
        release,
        project="shop",
        python_path=["src"],
        notes=["gevent==1.0 is replaced"],
        locked={"from": "requirements.txt", "packages": 12, "path": "/cache/lock"},
        ignored=["--pre"],
    )
    assert planned(found, persistent=["instance"]).text[2:] == [
        "shop: built from flask_uwsgi_source and installed, as by `pip install .` (flask_uwsgi_install=false leaves it "
        "a folder)",
        "src: on Python's path, for the source has packages there and no build backend",
        "gevent==1.0 is replaced",
        "lock made from requirements.txt: 12 packages, kept in /cache/lock (copy it into the source to have the same "
        "everywhere)",
        "does not count, and only the controller's and the build host's own configuration does: --pre",
    ]


CHECKED = {"artifact": "r" * 64, "entry": "run.py:app", "path": "/healthz", "verdict": "ok"}


@pytest.mark.parametrize(
    ("own", "checked", "asked"),
    [
        ({}, [], True),
        ({}, [CHECKED], False),
        ({}, [{**CHECKED, "artifact": "r2"}], True),
        ({}, [{**CHECKED, "entry": "run.py:other"}], True),
        ({"gevent_check_path": "/slow"}, [CHECKED], True),
        ({"mode": "threads"}, [], False),
        ({"gevent_check": "off"}, [], False),
        ({"gevent_check": False}, [], False),
        # One decision of auto is kept; without one the check runs again.
        ({"mode": "auto"}, [CHECKED], True),
    ],
)
def test_the_gevent_check_runs_if_its_result_is_not_known(
    release: Artifact, own: dict[str, Any], checked: list[dict[str, str]], asked: bool
) -> None:
    found = planned(release, {"checked": checked}, **own)
    assert found.check is asked
    assert found.probe == {"path": own.get("gevent_check_path", "/healthz"), "status": 200}


def test_auto_says_that_it_is_undecided(release: Artifact) -> None:
    found = planned(release, mode="auto")
    assert found.undecided and found.mode == "gevent"
    assert found.text[0].startswith("nothing -> g1 (gevent, or threads if the gevent check is against it); ")


def test_requirements_that_a_build_host_has_to_lock_come_first() -> None:
    lock = Path("/cache/lock-1.txt")
    wanted = Resolution("pyproject.toml", lock, "", "", "", "", "", "pyproject.toml", [], None, ["--pre"])
    found = plan.unresolved("web1", settings(), state(), REQUEST, wanted)
    assert (found.builds, found.request) == (str(lock), REQUEST)
    assert found.work == "resolve" and found.generation == ""
    assert found.text[0].startswith("the requirements of pyproject.toml cannot be read without running a build: ")
    assert found.text[1].endswith(": --pre")


def test_a_plan_is_restored_from_a_registered_result(release: Artifact) -> None:
    found = planned(release)
    assert Plan.read({**asdict(found), "changed": False, "failed": False}) == found


def test_the_plan_s_settings_are_written_and_the_plan_shows_none(release: Artifact) -> None:
    own = {"secrets": {"TOKEN": "s3cr3t"}, "environment": {"A": "hidden", "B": True, "C": 1.5}, "extra_ini": {"x": [1]}}
    found = planned(release, **own)
    assert found.settings == settings(**own)
    assert "s3cr3t" not in str(asdict(found)) and "hidden" not in str(asdict(found))


def test_a_plan_with_nothing_to_write_has_no_settings(release: Artifact) -> None:
    with pytest.raises(SealError):
        _ = planned(release, SERVES).settings


@pytest.mark.parametrize(
    ("app", "built", "builds"),
    [({}, False, "w" * 64), ({}, True, ""), (HAS, False, "")],
    ids=["missing", "kept", "there"],
)
def test_wheels_are_built_only_if_neither_host_nor_cache_has_them(
    release: Artifact, app: dict[str, Any], built: bool, builds: str
) -> None:
    wheelhouse = {**release.wheelhouse, "built": built}
    found = planned(replace(release, wheelhouse=wheelhouse), app)
    assert (found.builds, found.wheelhouse) == (builds, "w" * 64)


def test_what_is_built_and_shipped_is_what_was_planned_and_the_plan_shows_no_password(release: Artifact) -> None:
    found = planned(release)
    assert found.request == REQUEST and "hidden" not in str(asdict(found))
    with pytest.raises(SealError):
        _ = planned(release, SERVES).request
