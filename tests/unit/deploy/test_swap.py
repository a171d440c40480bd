import errno
import fcntl
import os
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils import generation as gen
from ansible_collections.flaskops.uwsgi.plugins.module_utils import service
from ansible_collections.flaskops.uwsgi.plugins.module_utils import swap as swap_module
from ansible_collections.flaskops.uwsgi.plugins.module_utils.swap import Swap, SwapError, point_pidfile, prune

from tests.unit.deploy.fake_host import ADDRESS, FakeHost, TemporaryLayout, write_generation

# What a start that succeeded and a health check look like among the actions.
CANARY = ["start shop-canary@new.service", "health shop-canary/new", "stop shop-canary@*.service"]
START = ["start shop@new.service", "health shop/new"]


def failing(layout: TemporaryLayout, new: str, **options: Any) -> str:
    """Swap, and return the message of the failure that is expected."""
    with pytest.raises(SwapError) as caught:
        Swap(layout, new, **options).run()
    return str(caught.value)


def in_order(actions: list[str], *wanted: str) -> bool:
    """Tell whether these actions were taken in this order, whatever else happened between them."""
    rest = iter(actions)
    return all(action in rest for action in wanted)


# A swap that succeeds.


def test_the_first_deploy_tries_a_canary_then_serves_and_starts_at_boot(
    layout: TemporaryLayout, host: FakeHost
) -> None:
    write_generation(layout, "new")
    assert Swap(layout, "new").run() is True
    assert in_order(host.actions, *CANARY, *START, "enable shop@new.service", "enable shop.socket")
    assert host.answering() == {"new"}
    assert layout.current_generation() == "new"
    assert host.pidfile_pid() == host.active["shop@new.service"]
    assert host.enabled() == {"shop@new.service", "shop.socket"}
    assert gen.kept(layout) == ["new"]


def test_the_canary_answers_before_the_new_generation_is_started_beside_the_old_one(
    layout: TemporaryLayout, host: FakeHost
) -> None:
    host.serve("old")
    write_generation(layout, "new")
    Swap(layout, "new").run()
    assert in_order(host.actions, *CANARY, *START)


def test_the_new_generation_is_healthy_before_the_old_one_is_stopped(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("old")
    write_generation(layout, "new")
    assert Swap(layout, "new").run() is True
    assert in_order(host.actions, *START, "stop shop@old.service")
    assert host.actions.count("stop shop@old.service") == 1
    assert "stop shop.socket" not in host.actions
    assert host.answering() == {"new"}


def test_the_pointers_name_the_new_generation_before_the_old_one_is_stopped(
    layout: TemporaryLayout, host: FakeHost
) -> None:
    host.serve("old")
    write_generation(layout, "new")
    Swap(layout, "new").run()
    for untouched in (*CANARY, *START):
        assert host.event(untouched)[1:] == ("old", "old.pid"), untouched
    assert host.event("stop shop@old.service")[1:] == ("new", "new.pid")
    assert in_order(
        host.actions, "disable shop@old.service", "enable shop@new.service", "daemon-reload", "stop shop@old.service"
    )
    assert host.pidfile_pid() == host.active["shop@new.service"]
    assert "Service=shop@new.service" in layout.socket_dropin.read_text()


def test_the_units_that_serve_are_not_touched_before_the_canary_has_answered(
    layout: TemporaryLayout, host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.serve("old")
    before = host.unit_files()
    seen: dict[str, dict[str, str]] = {}

    def look(path: Path, target: str, status: int, timeout: float) -> None:
        seen.setdefault(path.parent.name, host.unit_files())

    monkeypatch.setattr(swap_module, "await_health", look)
    write_generation(layout, "new")
    Swap(layout, "new").run()
    changed = {name for name, content in seen["shop-canary"].items() if before.get(name) != content}
    assert changed == {"shop-canary@.service", "shop-canary@new.service.d/generation.conf"}


def test_the_health_check_asks_the_private_socket_for_what_the_manifest_says(
    layout: TemporaryLayout, host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Path, str, int, float]] = []
    monkeypatch.setattr(swap_module, "await_health", lambda *arguments: asked.append(arguments))
    write_generation(layout, "new", health={"path": "/alive", "status": 204, "timeout": 7})
    Swap(layout, "new").run()
    assert asked == [
        (layout.canary_runtime / "new.sock", "/alive", 204, 7.0),
        (layout.runtime / "new.sock", "/alive", 204, 7.0),
    ]


def test_each_step_is_timed(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("old")
    write_generation(layout, "new")
    swap = Swap(layout, "new")
    swap.run()
    assert list(swap.steps) == ["canary", "start", "stop_old"]


def test_without_a_canary_the_generation_is_started_at_once(layout: TemporaryLayout, host: FakeHost) -> None:
    write_generation(layout, "new")
    Swap(layout, "new", canary=False).run()
    assert not [action for action in host.actions if "canary" in action]
    assert host.answering() == {"new"}


def test_a_swap_to_what_serves_already_changes_nothing(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("same")
    units = host.unit_files()
    assert Swap(layout, "same").run() is False
    assert host.unit_files() == units
    assert not [action for action in host.actions if action.startswith(("stop", "enable", "disable", "daemon"))]


def test_every_other_generation_that_runs_is_stopped(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("old")
    write_generation(layout, "stray")
    host._systemctl("daemon-reload")
    host._systemctl("start", "shop@stray.service")
    write_generation(layout, "new")
    Swap(layout, "new").run()
    assert host.running() == {"new"}


def test_a_generation_that_crashed_is_tried_and_started_again(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("same")
    host.crash("same")
    host.active.pop("shop.socket")
    host.descriptor = ""
    assert Swap(layout, "same").run() is True
    assert host.answering() == {"same"}
    assert host.pidfile_pid() == host.active["shop@same.service"]


def test_a_rollback_is_the_same_path(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("first")
    host.serve("second")
    assert Swap(layout, "first").run() is True
    assert in_order(
        host.actions, "start shop-canary@first.service", "start shop@first.service", "stop shop@second.service"
    )
    assert host.answering() == {"first"}
    assert gen.kept(layout) == ["first", "second"]


def test_a_generation_that_is_not_there_is_refused_and_the_kept_ones_are_named(
    layout: TemporaryLayout, host: FakeHost
) -> None:
    host.serve("first")
    host.serve("second")
    with pytest.raises(SwapError, match="generation gone is not on this host; kept are: second, first"):
        Swap(layout, "gone")


# A swap that fails.


def test_a_failing_canary_leaves_the_old_generation_untouched(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("old")
    before = (host.unit_files(), host.enabled(), dict(host.active), host.pidfile_pid())
    write_generation(layout, "new", release="r2", venv="v2")
    host.refused.add("shop-canary@new.service")
    failing(layout, "new")
    assert (host.unit_files(), host.enabled(), dict(host.active), host.pidfile_pid()) == before
    assert layout.current_generation() == "old"
    assert host.answering() == {"old"}
    assert not [action for action in host.actions if action.startswith("stop shop@old")]


@pytest.mark.parametrize("unit", ["shop-canary@new.service", "shop@new.service"])
def test_nothing_remains_of_a_generation_that_failed(layout: TemporaryLayout, host: FakeHost, unit: str) -> None:
    host.serve("old")
    write_generation(layout, "new", release="r2", venv="v2")
    host.refused.add(unit)
    failing(layout, "new")
    assert not (layout.generations / "new").exists()
    assert not layout.service_dropin("new").parent.exists()
    assert not layout.canary_dropin("new").parent.exists()
    assert [path.name for path in layout.releases.iterdir()] == ["r1"]
    assert [path.name for path in layout.venvs.iterdir()] == ["v1"]
    assert not host.failed
    assert host.running() == {"old"}


@pytest.mark.parametrize("reason", ["systemd", "health"])
def test_a_failing_start_restores_the_units_of_the_old_generation(
    layout: TemporaryLayout, host: FakeHost, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    host.serve("old")
    before = host.unit_files()
    write_generation(layout, "new")
    if reason == "systemd":
        host.refused.add("shop@new.service")
    else:
        monkeypatch.setattr(
            swap_module,
            "await_health",
            lambda path, *_: "GET /healthz answered 500" if path.parent == layout.runtime else None,
        )
    failing(layout, "new")
    assert host.unit_files() == before
    assert host._loaded_text("shop@old.service") == host._stored_text("shop@old.service")
    assert host.answering() == {"old"}
    assert not [action for action in host.actions if action.startswith("stop shop@old")]
    assert (layout.current_generation(), host.pidfile_pid()) == ("old", host.active["shop@old.service"])


@pytest.mark.parametrize("unit", ["shop-canary@new.service", "shop@new.service"])
def test_a_first_deploy_that_fails_leaves_no_unit_file(layout: TemporaryLayout, host: FakeHost, unit: str) -> None:
    write_generation(layout, "new")
    host.refused.add(unit)
    failing(layout, "new")
    assert host.unit_files() == {}
    assert host.enabled() == set()
    assert host.active == {}
    assert layout.current_generation() is None
    assert not (layout.generations / "new").exists()


def test_the_canary_is_stopped_whatever_it_answered(layout: TemporaryLayout, host: FakeHost) -> None:
    write_generation(layout, "new")
    host.sick["new"] = "GET /healthz answered 500 instead of 200: {}"
    failing(layout, "new")
    assert in_order(host.actions, *CANARY, "reset-failed shop-canary@*.service")


def test_the_message_tells_the_generation_the_problem_and_the_last_log_lines(
    layout: TemporaryLayout, host: FakeHost
) -> None:
    write_generation(layout, "new")
    host.refused.add("shop-canary@new.service")
    host.log["shop-canary@new.service"] = [
        "*** Operational MODE: preforking+async ***",
        'unable to find "application" callable in file run.py',
        "*** no app loaded. GAME OVER ***",
    ]
    message = failing(layout, "new")
    first, *rest = message.splitlines()
    assert first.startswith("generation new (gevent) does not serve: flask_uwsgi_callable=app: no such name in ")
    assert rest == [
        "Its last log lines:",
        '    unable to find "application" callable in file run.py',
        "    *** no app loaded. GAME OVER ***",
    ]


def test_without_a_known_cause_the_message_is_what_the_health_check_got(
    layout: TemporaryLayout, host: FakeHost
) -> None:
    write_generation(layout, "new")
    host.sick["new"] = "GET /healthz answered 503 instead of 200: warming up"
    assert "does not serve: GET /healthz answered 503 instead of 200: warming up" in failing(layout, "new")


def test_the_log_is_read_from_the_second_of_the_start_on(
    layout: TemporaryLayout, host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1000.7)
    write_generation(layout, "new")
    host.refused.add("shop-canary@new.service")
    failing(layout, "new")
    assert host.event("journal @1000")


def test_a_rollback_target_that_fails_stays_on_the_host(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("first")
    host.serve("second")
    host.refused.add("shop-canary@first.service")
    failing(layout, "first")
    assert gen.kept(layout) == ["second", "first"]
    assert host.answering() == {"second"}


def test_the_serving_generation_is_not_removed_when_its_repair_fails(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("same")
    host.sick["same"] = "GET /healthz answered 500 instead of 200"
    failing(layout, "same")
    assert not [action for action in host.actions if action.startswith("stop")]
    assert host.answering() == {"same"}
    assert gen.manifest(layout, "same")


def test_a_unit_that_cannot_be_written_is_a_failure_like_others(
    layout: TemporaryLayout, host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.serve("old")
    before = host.unit_files()
    write_generation(layout, "new")
    put = swap_module._put
    troubles = [OSError(errno.ENOSPC, "No space left on device")]

    def full_disk(path: Path, content: str) -> bool:
        if path == layout.service_dropin("new") and troubles:
            raise troubles.pop()
        return put(path, content)

    monkeypatch.setattr(swap_module, "_put", full_disk)
    assert "No space left on device" in failing(layout, "new")
    assert host.unit_files() == before


# Another address.


def test_a_new_address_is_listened_on_and_the_old_one_is_left(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("old")
    write_generation(layout, "new", listen="0.0.0.0:9000")
    Swap(layout, "new").run()
    assert host.answering("0.0.0.0:9000") == {"new"}
    assert host.descriptor == "0.0.0.0:9000"
    assert in_order(host.actions, *CANARY, "stop shop.socket shop@old.service", "start shop.socket", *START)


def test_a_canary_that_fails_leaves_the_old_address_served(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("old")
    write_generation(layout, "new", listen="0.0.0.0:9000")
    host.refused.add("shop-canary@new.service")
    failing(layout, "new")
    assert host.answering(ADDRESS) == {"old"}
    assert "stop shop.socket shop@old.service" not in host.actions


def test_a_start_on_a_new_address_that_fails_brings_back_the_old_one(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("old")
    write_generation(layout, "new", listen="0.0.0.0:9000")
    host.refused.add("shop@new.service")
    failing(layout, "new")
    assert host.answering(ADDRESS) == {"old"}
    assert host.descriptor == ADDRESS
    assert host.running() == {"old"}


# One at a time.


def test_a_second_swap_at_the_same_time_is_refused_and_names_the_first(
    layout: TemporaryLayout, host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals: list[str] = []

    def meanwhile(path: Path, *_: Any) -> None:
        refusals.append(failing(layout, "other"))

    monkeypatch.setattr(swap_module, "await_health", meanwhile)
    write_generation(layout, "new")
    write_generation(layout, "other")
    Swap(layout, "new", canary=False).run()
    assert len(refusals) == 1
    assert f"another deploy of shop is at work on this host (pid {os.getpid()}, since 20" in refusals[0]
    assert refusals[0].endswith("wait for it to end, then deploy again")
    assert host.running() == {"new"}


def test_the_swap_that_is_refused_takes_nothing_away(layout: TemporaryLayout, host: FakeHost) -> None:
    write_generation(layout, "new")
    layout.lock.parent.mkdir()
    with layout.lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("pid 4242, since 2026-11-24T06:40:00Z")
        lock.flush()
        assert "pid 4242" in failing(layout, "new")
    assert host.actions == []
    assert gen.manifest(layout, "new")
    assert Swap(layout, "new").run() is True


def test_a_swap_that_failed_does_not_lock_out_the_next(layout: TemporaryLayout, host: FakeHost) -> None:
    write_generation(layout, "bad")
    host.refused.add("shop-canary@bad.service")
    failing(layout, "bad")
    write_generation(layout, "new")
    assert Swap(layout, "new").run() is True


def test_what_serves_is_read_when_nobody_else_can_change_it(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("old")
    write_generation(layout, "new")
    waiting = Swap(layout, "new")
    host.serve("quicker")
    serving = host.unit_files()
    host.refused.add("shop-canary@new.service")
    with pytest.raises(SwapError):
        waiting.run()
    assert host.unit_files() == serving


# Pruning.


def served(layout: TemporaryLayout, *names: str) -> None:
    """Write generations with a release and an environment each, which served in this order."""
    for age, name in enumerate(names):
        write_generation(layout, name, release=f"r-{name}", venv=f"v-{name}")
        gen.mark_served(layout, name)
        os.utime(layout.generations / name / ".served", (age, age))


def there(layout: TemporaryLayout) -> set[str]:
    return {path.name for folder in (layout.releases, layout.venvs) for path in folder.iterdir()}


def test_prune_keeps_as_many_as_asked_the_last_served_first(layout: TemporaryLayout) -> None:
    served(layout, "a", "b", "c", "d", "e")
    assert prune(layout, "e", "d", keep=3) is True
    assert gen.kept(layout) == ["e", "d", "c"]
    assert there(layout) == {"r-e", "r-d", "r-c", "v-e", "v-d", "v-c"}


def test_prune_keeps_the_one_that_served_before_however_few_are_asked_for(layout: TemporaryLayout) -> None:
    served(layout, "a", "b", "c")
    prune(layout, "c", "b", keep=1)
    assert gen.kept(layout) == ["c", "b"]


def test_prune_after_a_rollback_keeps_new_and_old_although_others_served_later(layout: TemporaryLayout) -> None:
    served(layout, "a", "b", "c", "d")
    gen.mark_served(layout, "a")
    prune(layout, "a", "d", keep=2)
    assert gen.kept(layout) == ["a", "d"]


def test_prune_removes_the_unit_settings_of_what_it_removes(layout: TemporaryLayout) -> None:
    served(layout, "a", "b", "c")
    for name in ("a", "c"):
        for dropin in (layout.service_dropin(name), layout.canary_dropin(name)):
            dropin.parent.mkdir()
            dropin.write_text("[Service]\n")
    prune(layout, "c", "b", keep=2)
    assert not layout.service_dropin("a").parent.exists()
    assert not layout.canary_dropin("a").parent.exists()
    assert layout.service_dropin("c").is_file()


def test_prune_removes_releases_and_environments_that_no_generation_names(layout: TemporaryLayout) -> None:
    served(layout, "a")
    for orphan in (layout.releases / "r-orphan", layout.releases / ".r.partial", layout.venvs / "v-orphan"):
        orphan.mkdir()
    assert prune(layout, "a", None, keep=3) is True
    assert there(layout) == {"r-a", "v-a"}


def test_prune_keeps_what_generations_share(layout: TemporaryLayout) -> None:
    for name in ("a", "b", "c"):
        write_generation(layout, name, release="shared", venv="shared")
        gen.mark_served(layout, name)
    prune(layout, "c", "b", keep=2)
    assert there(layout) == {"shared"}


def test_prune_with_nothing_to_do_says_so(layout: TemporaryLayout) -> None:
    served(layout, "a", "b")
    assert prune(layout, "b", "a", keep=3) is False


def test_a_repair_keeps_the_rollback_target(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("first", keep=2)
    host.serve("second", keep=2)
    (layout.units / "shop@.service").write_text("changed by hand\n")
    assert Swap(layout, "second").run() is True
    assert gen.kept(layout) == ["second", "first"]


def test_a_failed_deploy_keeps_the_rollback_target(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("first", keep=1)
    host.serve("second", keep=1)
    write_generation(layout, "new", keep=1)
    host.refused.add("shop-canary@new.service")
    failing(layout, "new")
    assert gen.kept(layout) == ["second", "first"]


def test_a_stray_file_among_the_releases_does_not_break_a_deploy(layout: TemporaryLayout, host: FakeHost) -> None:
    (layout.releases / "notes.txt").write_text("left by somebody")
    write_generation(layout, "new")
    assert Swap(layout, "new").run() is True


# The pidfile.


def test_the_pidfile_tells_the_truth_after_the_master_was_replaced(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("a")
    (layout.runtime / "a.pid").write_text("1\n")
    assert point_pidfile(layout, "a") is True
    assert host.pidfile_pid() == host.active["shop@a.service"]
    assert layout.pidfile.readlink() == Path("a.pid")
    assert point_pidfile(layout, "a") is False


def test_the_pidfile_is_not_written_through_a_link_that_the_service_planted(
    layout: TemporaryLayout, host: FakeHost, tmp_path: Path
) -> None:
    host.serve("a")
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (layout.runtime / "a.partial").symlink_to(victim)
    (layout.runtime / "a.pid").write_text("1\n")
    point_pidfile(layout, "a")
    assert victim.read_text() == "precious"
    assert not (layout.runtime / "a.pid").is_symlink()


def test_the_pidfile_is_not_written_through_a_link_that_was_planted_at_the_last_moment(
    layout: TemporaryLayout, host: FakeHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.serve("a")
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (layout.runtime / "a.partial").symlink_to(victim)
    (layout.runtime / "a.pid").write_text("1\n")
    # As if it were back at once.
    monkeypatch.setattr(Path, "unlink", lambda path, missing_ok=False: None)
    with pytest.raises(FileExistsError):
        point_pidfile(layout, "a")
    assert victim.read_text() == "precious"


def test_a_socket_that_lost_its_descriptor_is_drift_and_a_repair_opens_it_anew(
    layout: TemporaryLayout, host: FakeHost
) -> None:
    host.serve("aaa")
    host.descriptor = ""
    assert service.drift(layout) == [f"nobody listens on {ADDRESS}"]
    Swap(layout, "aaa").run()
    assert host.answering() == {"aaa"}
    assert service.drift(layout) == []
