import errno
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import files, kinds, systemd
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.systemd import SystemdError
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release import generation as gen
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic import service
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic import swap as swap_module
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic.stopping import stop_all
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic.swap import (
    Swap,
    SwapError,
)

from tests.support.fake_host import ADDRESS, FakeHost, RefusedError, TemporaryLayout, write_generation

# A successful start and a health check in the list of actions.
CANARY = ["start shop-canary@new.service", "health shop-canary/new", "stop shop-canary@*.service"]
START = ["start shop@new.service", "health shop/new"]
SOCKET = f"shop@{ADDRESS}.socket"
OTHER = "0.0.0.0:9000"


def failing(layout: TemporaryLayout, new: str, **options: Any) -> str:
    """Swap, and return the message of the expected failure."""
    with pytest.raises(SwapError) as caught:
        Swap(layout, new, **options).run()
    return str(caught.value)


def in_order(actions: list[str], *wanted: str) -> bool:
    """Return whether these actions were taken in this order, whatever else happened between them."""
    rest = iter(actions)
    return all(action in rest for action in wanted)


def edit_by_hand(layout: TemporaryLayout, host: FakeHost) -> None:
    """Change a serving unit by hand, and make systemd load it."""
    (layout.units / "shop@.service").write_text("[Service]\nRestart=always\n[Install]\nWantedBy=multi-user.target\n")
    host.systemctl("daemon-reload")
    host.events.clear()


# A swap that succeeds.


def test_the_first_deploy_tries_a_canary_then_serves_and_starts_at_boot(
    layout: TemporaryLayout, host: FakeHost
) -> None:
    write_generation(layout, "new")
    assert Swap(layout, "new").run() is True
    assert in_order(host.actions, *CANARY, *START, "enable shop@new.service", f"enable {SOCKET}")
    assert host.answering() == {"new"}
    assert layout.current_generation() == "new"
    assert host.pidfile_pid() == host.active["shop@new.service"]
    assert host.enabled() == {"shop@new.service", SOCKET}
    assert gen.kept(layout) == ["new"]


def test_the_canary_answers_before_the_new_generation_is_started_beside_the_old_one(
    layout: TemporaryLayout, host: FakeHost
) -> None:
    host.serve("old")
    write_generation(layout, "new")
    Swap(layout, "new").run()
    assert in_order(host.actions, *CANARY, *START)


@pytest.mark.parametrize("kind", ["canary", "relief"])
def test_what_is_left_in_the_directory_of_a_temporary_unit_is_removed_before_it_starts(
    layout: TemporaryLayout, host: FakeHost, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    if kind == "relief":
        host.serve("new")
    else:
        write_generation(layout, "new")
    left = layout.runtime.with_name(f"shop-{kind}") / "new.pid"
    left.mkdir(parents=True)
    seen: list[bool] = []
    monkeypatch.setattr(swap_module, "await_health", lambda *_: seen.append(left.exists()))
    Swap(layout, "new", restart=True).run()
    assert f"start shop-{kind}@new.service" in host.actions
    assert seen
    assert not seen[0]


def test_the_new_generation_is_healthy_before_the_old_one_is_stopped(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("old")
    write_generation(layout, "new")
    assert Swap(layout, "new").run() is True
    assert in_order(host.actions, *START, "stop shop@old.service")
    assert host.actions.count("stop shop@old.service") == 1
    assert not [action for action in host.actions if action.startswith("stop") and ".socke" in action]
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
    assert "Service=shop@new.service" in layout.socket_dropin(ADDRESS).read_text()


def test_the_serving_units_are_not_changed_before_the_canary_has_answered(
    layout: TemporaryLayout, host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.serve("old")
    before = host.unit_files()
    seen: dict[str, dict[str, str]] = {}

    def look(path: Path, *_: Any) -> None:
        seen.setdefault(path.parent.name, host.unit_files())

    monkeypatch.setattr(swap_module, "await_health", look)
    write_generation(layout, "new")
    Swap(layout, "new").run()
    changed = {name for name, content in seen["shop-canary"].items() if before.get(name) != content}
    own = {name for name in changed if "@new.service.d/" in name}
    assert changed - own == {"units/shop-canary@.service"}
    assert "units/shop-canary@new.service.d/generation.conf" in own


def test_systemd_reads_its_units_twice_for_new_code(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("old")
    write_generation(layout, "new")
    Swap(layout, "new").run()
    host.events.clear()
    write_generation(layout, "newer")
    for unit in (layout.generations / "newer/units").glob("app*"):
        unit.write_text((layout.generations / "new/units" / unit.name).read_text())
    Swap(layout, "newer").run()
    assert host.actions.count("daemon-reload") == 2


def test_the_health_check_sends_the_manifest_s_request_to_the_private_socket(
    layout: TemporaryLayout, host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(swap_module, "await_health", lambda *arguments: asked.append(arguments[:-1]))
    write_generation(layout, "new", health={"path": "/alive", "status": 204, "timeout": 7, "host": "shop.test"})
    Swap(layout, "new").run()
    assert asked == [
        (layout.runtime_of(kinds.CANARY) / "new.sock", "/alive", 204, 7.0, "shop.test"),
        (layout.runtime / "new/new.sock", "/alive", 204, 7.0, "shop.test"),
    ]


def test_each_step_is_timed(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("old")
    write_generation(layout, "new")
    swap = Swap(layout, "new")
    swap.run()
    assert list(swap.steps) == ["canary", "start", "stop_old"]


def test_an_old_instance_that_had_to_be_killed_is_not_left_failed(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("old")
    write_generation(layout, "new")
    # As systemd leaves a unit that did not end in time.
    host.failed.add("shop@slow.service")
    Swap(layout, "new").run()
    assert host.failed == set()


def test_without_a_canary_the_generation_is_started_immediately(layout: TemporaryLayout, host: FakeHost) -> None:
    write_generation(layout, "new")
    Swap(layout, "new", canary=False).run()
    assert not [action for action in host.actions if "canary" in action]
    assert host.answering() == {"new"}


def test_a_swap_to_the_serving_generation_changes_nothing(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("same")
    units = host.unit_files()
    assert Swap(layout, "same").run() is False
    assert host.unit_files() == units
    assert not [action for action in host.actions if action.startswith(("stop", "enable", "disable", "daemon"))]


def test_every_other_running_generation_is_stopped(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("old")
    write_generation(layout, "stray")
    host.systemctl("start", "shop@stray.service")
    write_generation(layout, "new")
    Swap(layout, "new").run()
    assert host.running() == {"new"}


def test_a_stopped_generation_is_tried_and_started_again(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("same")
    host.systemctl("stop", SOCKET, "shop@same.service")
    assert Swap(layout, "same").run() is True
    assert in_order(host.actions, "start shop-canary@same.service", f"start {SOCKET}", "start shop@same.service")
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


def test_a_missing_generation_is_refused_and_the_kept_ones_are_named(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("first")
    host.serve("second")
    with pytest.raises(SwapError, match="generation gone is not on this host; kept are: second, first"):
        Swap(layout, "gone")


# A swap that fails.


def test_a_failing_canary_does_not_affect_the_old_generation(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("old")
    before = host.everything()
    write_generation(layout, "new", release="r2", venv="v2")
    host.refused.add("shop-canary@new.service")
    failing(layout, "new")
    assert host.everything() == before
    assert layout.current_generation() == "old"
    assert host.answering() == {"old"}
    assert not [action for action in host.actions if action.startswith("stop shop@old")]


@pytest.mark.parametrize("unit", ["shop-canary@new.service", "shop@new.service"])
def test_a_failed_generation_leaves_nothing_behind(layout: TemporaryLayout, host: FakeHost, unit: str) -> None:
    host.serve("old")
    write_generation(layout, "new", release="r2", venv="v2")
    host.refused.add(unit)
    failing(layout, "new")
    assert not (layout.generations / "new").exists()
    for own in (layout.service("new"), layout.canary("new"), layout.relief("new")):
        assert not layout.dropin(own).parent.exists()
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
            lambda path, *_: "GET /healthz answered 500" if path.parent == layout.runtime / "new" else None,
        )
    failing(layout, "new")
    assert host.unit_files() == before
    assert systemd.show("shop@old.service", "NeedDaemonReload") == {"NeedDaemonReload": "no"}
    assert host.answering() == {"old"}
    assert not [action for action in host.actions if action.startswith("stop shop@old")]
    assert (layout.current_generation(), host.pidfile_pid()) == ("old", host.active["shop@old.service"])


@pytest.mark.parametrize("unit", ["shop-canary@new.service", "shop@new.service"])
def test_a_failed_first_deploy_leaves_no_unit_file(layout: TemporaryLayout, host: FakeHost, unit: str) -> None:
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


def test_the_message_contains_the_generation_the_problem_and_the_last_log_lines(
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
    ]


def test_secrets_in_the_message_are_masked(layout: TemporaryLayout, host: FakeHost) -> None:
    write_generation(layout, "new", secrets={"TOKEN": "s3cr3t-v4lue"})
    host.refused.add("shop-canary@new.service")
    host.log["shop-canary@new.service"] = ["RuntimeError: no login with s3cr3t-v4lue", "unable to load app 0 (…)"]
    message = failing(layout, "new")
    assert "s3cr3t" not in message and message.count("RuntimeError: no login with ********") == 2


def test_without_a_known_cause_the_message_is_the_health_check_s_result(
    layout: TemporaryLayout, host: FakeHost
) -> None:
    write_generation(layout, "new")
    host.sick["new"] = "GET /healthz answered 503 instead of 200: warming up"
    assert "does not serve: GET /healthz answered 503 instead of 200: warming up" in failing(layout, "new")


def test_log_lines_from_before_the_start_are_left_out(layout: TemporaryLayout, host: FakeHost) -> None:
    write_generation(layout, "new")
    host.write("shop-canary@new.service", "ValueError: of last week")
    host.write("other.service", "logged since")
    host.refused.add("shop-canary@new.service")
    host.log["shop-canary@new.service"] = ["first", "second"]
    message = failing(layout, "new")
    assert "last week" not in message
    assert message.splitlines()[-2:] == ["    first", "    second"]


def test_only_the_end_of_a_long_log_is_shown(layout: TemporaryLayout, host: FakeHost) -> None:
    write_generation(layout, "new")
    host.refused.add("shop-canary@new.service")
    host.log["shop-canary@new.service"] = [f"line {number}" for number in range(500)]
    assert failing(layout, "new").splitlines()[-1] == "    line 499"


class Interruption:
    """Raises an error once, at the n-th time that the swap calls systemd, writes a file or creates a link.

    Args:
        monkeypatch: inserts it.
        error: what to raise.
        at: the time, counted from 0.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: BaseException, at: int) -> None:
        self.error, self.left = error, at
        self.raised = False
        # Whether the new generation had taken over by then.
        self.finishing = self.late = False
        places = [(swap_module.systemd, "_run"), (files, "put"), (files, "link")]
        places += [(gen, "mark_served"), (swap_module.runtime, "point_pidfile"), (swap_module.runtime, "claim")]
        for owner, name in places:
            monkeypatch.setattr(owner, name, self._around(getattr(owner, name)))
        finish = Swap._finish

        def finishing(swap: Swap, *steps: Any) -> bool:
            self.finishing = True
            return finish(swap, *steps)

        monkeypatch.setattr(Swap, "_finish", finishing)

    def _around(self, real: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left < 0 and not self.raised:
                self.raised, self.late = True, self.finishing
                raise self.error
            return real(*arguments, **options)

        return call


ERRORS = [
    UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "invalid continuation byte"),
    SystemdError("`systemctl` did not end within 90 s"),
    OSError(errno.ENOSPC, "No space left on device"),
    KeyError("workers"),
    KeyboardInterrupt(),
    SystemExit(143),
]


@pytest.mark.slow
@pytest.mark.parametrize("target", ["new", "served", "elsewhere"])
def test_the_old_generation_serves_alone_after_an_error_at_any_step(tmp_path: Path, target: str) -> None:
    for at in range(200):
        error = ERRORS[at % len(ERRORS)]
        layout = TemporaryLayout.below(tmp_path / str(at), "shop")
        with pytest.MonkeyPatch.context() as monkeypatch:
            host = FakeHost(layout, monkeypatch)
            host.serve("served")
            host.serve("old")
            if target != "served":
                write_generation(layout, target, listen="127.0.0.1:9000" if target == "elsewhere" else ADDRESS)
            before, history = host.everything(), gen.history(layout)
            point = Interruption(monkeypatch, error, at)
            try:
                Swap(layout, target).run()
            except SwapError as caught:
                assert str(error).strip() in str(caught) or isinstance(error, KeyError)
            except (KeyboardInterrupt, SystemExit) as caught:
                assert caught is error
            if point.late:
                assert layout.current_generation() == target
                assert target in host.answering("127.0.0.1:9000" if target == "elsewhere" else ADDRESS)
            elif point.raised:
                assert host.everything() == before, at
                assert gen.history(layout) == history
                assert host.running() == {"old"}
                assert (layout.generations / target).exists() == (target == "served")
            else:
                assert at > 30, "nothing was interrupted"
                return
    raise AssertionError("the swap never ended")


def test_a_first_deploy_interrupted_at_any_step_leaves_nothing(tmp_path: Path) -> None:
    for at in range(200):
        layout = TemporaryLayout.below(tmp_path / str(at), "shop")
        with pytest.MonkeyPatch.context() as monkeypatch:
            host = FakeHost(layout, monkeypatch)
            write_generation(layout, "new")
            point = Interruption(monkeypatch, KeyError("workers"), at)
            try:
                Swap(layout, "new").run()
            except SwapError as caught:
                assert "an unexpected error, KeyError: 'workers'" in str(caught)
            if point.raised and not point.late:
                assert (host.unit_files(), host.enabled(), host.active, host.pidfile_pid()) == ({}, set(), {}, None), at
                assert layout.current_generation() is None and not (layout.generations / "new").exists()
            elif not point.raised:
                return
    raise AssertionError("the swap never ended")


def test_the_generation_of_current_always_counts_as_served(
    layout: TemporaryLayout, host: FakeHost, monkeypatch: Any
) -> None:
    write_generation(layout, "new")
    link, seen = files.link, []

    def look(path: Path, target: str) -> bool:
        if path == layout.current:
            seen.append(gen.served(layout, "new"))
        return bool(link(path, target))

    monkeypatch.setattr(files, "link", look)
    Swap(layout, "new").run()
    assert seen == [True]


def test_an_old_generation_that_does_not_stop_is_reported_and_the_new_one_serves(
    layout: TemporaryLayout, host: FakeHost
) -> None:
    host.serve("old")
    write_generation(layout, "new")
    stop = host._stop

    def refuse(*units: str) -> None:
        if "shop@old.service" in units:
            raise RefusedError("it does not stop")
        stop(*units)

    host._stop = refuse  # type: ignore[method-assign]
    message = failing(layout, "new")
    assert message.startswith("generation new serves, but the previous one could not be cleaned up: `systemctl stop")
    assert layout.current_generation() == "new"
    assert host.answering() == {"new", "old"}
    assert "generation old runs beside the current one" in service.drift(layout)


def test_a_failed_restoration_is_reported_with_the_reason(
    layout: TemporaryLayout, host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.serve("old")
    write_generation(layout, "new")
    host.sick["shop/new"] = "GET /healthz answered 500 instead of 200: no"
    monkeypatch.setattr(Swap, "_stop_new", lambda swap: swap_module.systemd.systemctl("stop", "nothing.service"))
    message = failing(layout, "new")
    assert "GET /healthz answered 500 instead of 200: no" in message
    assert "It could not be restored: `systemctl stop nothing.service` failed" in message
    # The other steps were taken anyway.
    assert layout.current_generation() == "old" and not (layout.generations / "new").exists()


def test_the_application_s_text_is_made_printable_in_the_message(layout: TemporaryLayout, host: FakeHost) -> None:
    write_generation(layout, "new")
    host.refused.add("shop-canary@new.service")
    host.log["shop-canary@new.service"] = [
        "\x1b[2J\x1b]0;owned\x07 \u202egnp",
        "ValueError: \x1b[31mred",
        "unable to load app 0",
    ]
    message = failing(layout, "new")
    assert message.replace("\n", "").isprintable()
    assert "    \\x1b[2J\\x1b]0;owned\\x07 \\u202egnp" in message.splitlines()
    assert "flask_uwsgi_wsgi_file=run.py raised while it was loaded: ValueError: \\x1b[31mred." in message


def test_a_failed_rollback_target_is_kept(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("first")
    host.serve("second")
    host.refused.add("shop-canary@first.service")
    failing(layout, "first")
    assert gen.kept(layout) == ["second", "first"]
    assert host.answering() == {"second"}


def test_the_serving_generation_is_not_removed_when_its_repair_fails(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("same")
    edit_by_hand(layout, host)
    pid = host.active["shop@same.service"]
    host.sick["same"] = "GET /healthz answered 500 instead of 200"
    failing(layout, "same")
    assert not [action for action in host.actions if action.startswith("stop shop@")]
    assert host.active["shop@same.service"] == pid
    assert host.answering() == {"same"}
    assert gen.manifest(layout, "same")


def test_a_unit_that_cannot_be_written_is_a_failure_like_others(
    layout: TemporaryLayout, host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.serve("old")
    before = host.unit_files()
    write_generation(layout, "new")
    put = files.put
    troubles = [OSError(errno.ENOSPC, "No space left on device")]

    def full_disk(path: Path, content: str) -> bool:
        if path == layout.dropin(layout.service("new")) and troubles:
            raise troubles.pop()
        return put(path, content)

    monkeypatch.setattr(files, "put", full_disk)
    assert "No space left on device" in failing(layout, "new")
    assert host.unit_files() == before


# A restart.


def restart(layout: TemporaryLayout, name: str) -> bool:
    return Swap(layout, name, restart=True).run()


def test_a_relief_serves_while_the_generation_s_own_instance_restarts(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("same")
    before = host.active["shop@same.service"]
    assert restart(layout, "same") is True
    assert in_order(
        host.actions,
        "start shop-relief@same.service",
        "health shop-relief/same",
        "restart shop@same.service",
        "health shop/same",
        "stop shop-relief@same.service",
    )
    assert host.active["shop@same.service"] > before
    assert host.answering() == {"same"}
    assert "shop-relief@same.service" not in host.active
    assert service.drift(layout) == []


def test_the_pidfile_names_the_serving_instance_during_a_restart(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("same")
    restart(layout, "same")
    pointed = {event.what: event.pidfile for event in host.events}
    assert pointed["health shop-relief/same"] == "same.pid"
    assert pointed["restart shop@same.service"] == "same.relief.pid"
    # Its own start resets it, as after a crash.
    assert pointed["health shop/same"] == pointed["stop shop-relief@same.service"] == "same.pid"
    assert host.pidfile_pid() == host.active["shop@same.service"]


def test_the_pidfile_is_correct_while_the_own_instance_is_down(
    layout: TemporaryLayout, host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.serve("same")
    seen: list[tuple[int | None, int]] = []
    connect = host._connect

    def look(after: str, busy: str = "") -> None:
        if busy:
            seen.append((host.pidfile_pid(), host.active["shop-relief@same.service"]))
        connect(after, busy)

    monkeypatch.setattr(host, "_connect", look)
    restart(layout, "same")
    assert len(seen) == 1
    assert seen[0][0] == seen[0][1]


def test_an_instance_accepts_connections_at_every_moment_of_a_restart(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("same")
    host.clients.add(ADDRESS)
    restart(layout, "same")
    assert "restart shop@same.service" in host.actions
    assert host.waited == []


def test_an_instance_accepts_connections_at_every_moment_of_a_swap(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("old")
    host.clients.add(ADDRESS)
    write_generation(layout, "new")
    Swap(layout, "new").run()
    assert host.answering() == {"new"}
    assert host.waited == []


def test_a_restart_has_no_canary_and_its_steps_are_timed(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("same")
    swap = Swap(layout, "same", restart=True)
    swap.run()
    assert list(swap.steps) == ["restart", "stop_old"]
    assert not [action for action in host.actions if "canary" in action]


def test_a_restart_of_a_stopped_generation_is_a_start(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("same")
    host.systemctl("stop", SOCKET, "shop@same.service")
    assert restart(layout, "same") is True
    assert not [action for action in host.actions if "relief" in action]
    assert host.answering() == {"same"}


@pytest.mark.parametrize("reason", ["systemd", "health"])
def test_a_failing_relief_is_stopped_and_nothing_else_is_changed(
    layout: TemporaryLayout, host: FakeHost, reason: str
) -> None:
    host.serve("same")
    before = host.everything()
    if reason == "systemd":
        host.refused.add("shop-relief@same.service")
    else:
        host.sick["shop-relief/same"] = "GET /healthz answered 500 instead of 200"
    with pytest.raises(SwapError, match=r"generation same .* does not serve"):
        restart(layout, "same")
    assert in_order(host.actions, "stop shop-relief@same.service", "reset-failed shop-relief@*.service")
    assert [action for action in host.actions if action.startswith(("stop", "restart"))] == [
        "stop shop-relief@same.service"
    ]
    assert host.everything() == before
    assert not host.failed


@pytest.mark.parametrize("reason", ["systemd", "health"])
def test_the_relief_continues_if_the_own_instance_fails_to_restart(
    layout: TemporaryLayout, host: FakeHost, reason: str
) -> None:
    host.serve("same")
    host.clients.add(ADDRESS)
    if reason == "systemd":
        host.refused.add("shop@same.service")
    else:
        host.sick["shop/same"] = "GET /healthz answered 500 instead of 200"
    with pytest.raises(SwapError, match=r"generation same .* does not serve"):
        restart(layout, "same")
    assert "shop-relief@same.service" in host.active
    assert host.waited == []
    assert layout.current_generation() == "same"
    assert f"{layout.relief('same')} of an interrupted restart runs" in service.drift(layout)
    if reason == "systemd":
        assert host.pidfile_pid() == host.active["shop-relief@same.service"]


def test_an_own_instance_that_is_unhealthy_after_its_restart_does_not_serve(
    layout: TemporaryLayout, host: FakeHost
) -> None:
    host.serve("same")
    host.clients.add(ADDRESS)
    host.sick["shop/same"] = "GET /healthz answered 500 instead of 200"
    with pytest.raises(SwapError):
        restart(layout, "same")
    assert {unit for unit, inherited in host.inherited.items() if inherited} == {"shop-relief@same.service"}
    assert host.pidfile_pid() == host.active["shop-relief@same.service"]
    assert host.waited == []


def test_after_an_interrupted_restart_the_next_one_completes_it(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("same")
    host.clients.add(ADDRESS)
    host.refused.add("shop@same.service")
    with pytest.raises(SwapError):
        restart(layout, "same")
    host.refused.clear()
    assert Swap(layout, "same").run() is True
    assert service.drift(layout) == []
    assert host.answering() == {"same"}
    assert host.pidfile_pid() == host.active["shop@same.service"]
    assert host.waited == []


def test_another_generation_takes_over_from_a_relief(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("old")
    host.clients.add(ADDRESS)
    host.refused.add("shop@old.service")
    with pytest.raises(SwapError):
        restart(layout, "old")
    write_generation(layout, "new")
    Swap(layout, "new").run()
    assert host.answering() == {"new"}
    assert service.drift(layout) == []
    assert host.waited == []


# A repair.


def test_units_changed_by_hand_are_repaired_and_instances_started_from_them_are_restarted(
    layout: TemporaryLayout, host: FakeHost
) -> None:
    host.serve("same")
    units = host.unit_files()
    host.clients.add(ADDRESS)
    edit_by_hand(layout, host)
    swap = Swap(layout, "same")
    assert swap.run() is True
    assert list(swap.steps) == ["restart", "stop_old"]
    assert in_order(host.actions, "daemon-reload", "start shop-relief@same.service", "restart shop@same.service")
    assert host.unit_files() == units
    assert service.drift(layout) == []
    assert host.waited == []


def test_a_unit_that_systemd_has_not_loaded_is_loaded(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("same")
    mine = layout.units / "shop@.service"
    wanted = mine.read_text()
    edit_by_hand(layout, host)
    mine.write_text(wanted)
    assert service.drift(layout) == ["shop@same.service was changed but not loaded"]
    Swap(layout, "same").run()
    assert service.drift(layout) == []


def test_an_instance_without_its_private_sockets_is_restarted(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("same")
    (layout.runtime / "same/same.stats").unlink()
    assert service.drift(layout) == [f"shop@same.service has lost its sockets in {layout.runtime}/same"]
    assert Swap(layout, "same").run() is True
    assert "restart shop@same.service" in host.actions
    assert service.drift(layout) == []


def test_a_repair_of_pointers_restarts_nothing(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("same")
    before = dict(host.active)
    layout.pidfile.unlink()
    host.systemctl("disable", "shop@same.service")
    host.systemctl("disable", SOCKET)
    layout.socket_dropin(ADDRESS).write_text(gen.socket_activates("shop@other.service"))
    assert Swap(layout, "same").run() is True
    assert host.active == before
    assert service.drift(layout) == []


def test_a_crash_loop_is_reported_and_its_relief_is_not_left(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("same")
    host.crash("shop@same.service")
    for unit in (layout.canary("same"), layout.relief("same"), layout.service("same")):
        host.refused.add(unit)
        host.log[unit] = ["ValueError: no such queue"]
    assert "ValueError: no such queue" in failing(layout, "same")
    assert not host.failed
    host.refused.clear()
    assert Swap(layout, "same").run() is True
    assert service.drift(layout) == []


def test_a_socket_stopped_by_hand_is_opened_again_without_stopping_anything(
    layout: TemporaryLayout, host: FakeHost
) -> None:
    host.serve("same")
    host.clients.add(ADDRESS)
    host.systemctl("stop", SOCKET)
    assert service.drift(layout) == [f"{SOCKET} is inactive and enabled"]
    host.events.clear()
    assert Swap(layout, "same").run() is True
    assert in_order(
        host.actions, f"start {SOCKET}", "start shop-relief@same.service", "restart shop@same.service",
        "stop shop-relief@same.service",
    )  # fmt: skip
    assert [action for action in host.actions if action.startswith("stop")] == ["stop shop-relief@same.service"]
    assert host.answering() == {"same"}
    assert len(host.descriptors()) == 1
    assert "Service=shop@same.service" in layout.socket_dropin(ADDRESS).read_text()
    assert service.drift(layout) == []
    # The relief accepted the connections that were waiting.
    assert set(host.waited) <= {f"start {SOCKET}"}


def test_a_reopened_socket_is_closed_when_the_relief_fails(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("same")
    host.systemctl("stop", SOCKET)
    host.refused.add("shop-relief@same.service")
    with pytest.raises(SwapError):
        Swap(layout, "same").run()
    host.meet(ADDRESS)
    # Otherwise every second connection would wait in a queue that is never accepted.
    assert host.waited == []
    assert host.answering() == {"same"}


# An address.


def test_a_new_address_is_opened_and_the_old_one_closed(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("old")
    write_generation(layout, "new", listen=OTHER)
    assert Swap(layout, "new").run() is True
    assert host.answering(OTHER) == {"new"}
    assert host.sockets() == {OTHER}
    assert host.descriptors(ADDRESS) == set()
    assert host.enabled() == {"shop@new.service", f"shop@{OTHER}.socket"}
    assert not layout.socket_dropin(ADDRESS).parent.exists()
    assert service.drift(layout) == []


@pytest.mark.parametrize(("there", "unit"), [
    ("[::]:8040", "shop@:::8040.socket"),
    ("[fd00::5]:9000", "shop@fd00::5:9000.socket"),
    ("/nonexistent/shop.sock", "shop@:nonexistent:shop.sock.socket"),
])  # fmt: skip
def test_an_address_that_systemd_writes_otherwise_has_a_unit_of_its_own(
    layout: TemporaryLayout, host: FakeHost, there: str, unit: str
) -> None:
    host.serve("old")
    before = host.everything()
    write_generation(layout, "new", listen=there)
    host.refused.add("shop@new.service")
    failing(layout, "new")
    assert host.everything() == before
    host.refused.clear()
    write_generation(layout, "new", listen=there)
    assert Swap(layout, "new").run() is True
    assert host.answering(there) == {"new"}
    assert host.sockets() == {there}
    assert host.enabled() == {"shop@new.service", unit}
    assert f"ListenStream={there}\n" in (layout.units / unit).read_text()
    assert service.drift(layout) == []
    assert Swap(layout, "old", how="rollback").run() is True
    assert host.answering(ADDRESS) == {"old"}
    assert host.sockets() == {ADDRESS}
    assert not [path for path in layout.units.rglob("*") if path.name.startswith(unit)]
    assert service.drift(layout) == []


def test_what_has_the_path_is_not_replaced(layout: TemporaryLayout, host: FakeHost, tmp_path: Path) -> None:
    host.serve("old")
    path = tmp_path / "shop.sock"
    path.write_text("mine")
    write_generation(layout, "new", listen=str(path))
    said = failing(layout, "new")
    assert f"flask_uwsgi_bind={path} is a file of " in said
    assert "which systemd would replace: move it away, or choose another path" in said
    assert path.read_text() == "mine"
    assert host.answering() == {"old"}


def test_the_old_address_is_served_until_the_new_one_answers(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("old")
    host.clients.add(ADDRESS)
    write_generation(layout, "new", listen=OTHER)
    Swap(layout, "new").run()
    closing = [action for action in host.actions if action.startswith(f"stop {SOCKET[:-1]}")]
    assert len(closing) == 1
    assert in_order(host.actions, *CANARY, f"start shop@{OTHER}.socket", *START, closing[0])
    answered = host.actions.index("health shop/new")
    ended = {closing[0], "stop shop@old.service"}
    assert set(host.waited) & {*host.actions[: answered + 1]} - ended == set()


def test_a_connection_to_the_old_address_does_not_restart_the_old_generation(
    layout: TemporaryLayout, host: FakeHost
) -> None:
    host.serve("old")
    host.clients.add(ADDRESS)
    write_generation(layout, "new", listen=OTHER)
    Swap(layout, "new").run()
    assert host.running() == {"new"}
    assert host.descriptors(ADDRESS) == set()


def test_another_bind_address_of_the_same_port_is_a_new_address(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("old")
    write_generation(layout, "new", listen="127.0.0.1:8040")
    Swap(layout, "new").run()
    assert host.answering("127.0.0.1:8040") == {"new"}
    assert host.sockets() == {"127.0.0.1:8040"}
    assert service.drift(layout) == []


def test_a_return_to_an_earlier_address_is_a_new_address_too(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("old")
    host.serve("new", listen=OTHER)
    assert Swap(layout, "old").run() is True
    assert host.answering(ADDRESS) == {"old"}
    assert host.sockets() == {ADDRESS}
    assert service.drift(layout) == []


def test_a_failing_canary_leaves_the_old_address_served(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("old")
    before = host.everything()
    write_generation(layout, "new", listen=OTHER)
    host.refused.add("shop-canary@new.service")
    failing(layout, "new")
    assert host.answering(ADDRESS) == {"old"}
    assert host.everything() == before
    assert not [action for action in host.actions if action.startswith(f"stop {SOCKET[:-1]}")]


def test_a_failing_start_on_a_new_address_closes_only_that_one(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("old")
    host.clients.add(ADDRESS)
    before = host.everything()
    write_generation(layout, "new", listen=OTHER)
    host.refused.add("shop@new.service")
    failing(layout, "new")
    assert host.answering(ADDRESS) == {"old"}
    assert host.everything() == before
    assert host.waited == []


def test_a_connection_to_the_new_address_does_not_restart_the_failed_generation(
    layout: TemporaryLayout, host: FakeHost
) -> None:
    host.serve("old")
    before = host.everything()
    # Connections that wait for it.
    host.clients.add(OTHER)
    write_generation(layout, "new", listen=OTHER)
    host.sick["shop/new"] = "GET /healthz answered 500 instead of 200"
    failing(layout, "new")
    assert host.everything() == before


def test_a_connection_does_not_restart_a_failed_first_deploy(layout: TemporaryLayout, host: FakeHost) -> None:
    host.clients.add(ADDRESS)
    write_generation(layout, "new")
    host.sick["shop/new"] = "GET /healthz answered 500 instead of 200"
    failing(layout, "new")
    assert host.active == {}
    assert host.crashing == set()


def test_a_connection_does_not_restart_a_failed_deploy_of_a_stopped_application(
    layout: TemporaryLayout, host: FakeHost
) -> None:
    host.serve("old")
    stop_all(layout)
    host.clients.add(ADDRESS)
    write_generation(layout, "new")
    host.sick["shop/new"] = "GET /healthz answered 500 instead of 200"
    failing(layout, "new")
    assert "new" not in host.running()
    assert layout.current_generation() == "old"


def test_an_address_that_cannot_be_opened_leaves_the_old_one_served(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("old")
    before = host.everything()
    write_generation(layout, "new", listen=OTHER)
    host.taken.add(OTHER)
    assert failing(layout, "new").splitlines() == [
        f"generation new (gevent) does not serve: systemd cannot listen on {OTHER}, on which another program listens.",
        "systemd's last log lines:",
        f"    shop@{OTHER}.socket: Failed to create listening socket ({OTHER}): Address already in use",
        f"    shop@{OTHER}.socket: Failed to listen on sockets: Address already in use",
        f"    shop@{OTHER}.socket: Failed with result 'resources'.",
        f"    Failed to listen on shop@{OTHER}.socket.",
    ]
    assert host.everything() == before


def test_an_address_that_could_not_be_opened_is_forgotten(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("old")
    write_generation(layout, "new", listen=OTHER)
    host.taken.add(OTHER)
    failing(layout, "new")
    assert not host.failed
    assert Swap(layout, "old").run() is False


def test_a_socket_without_its_descriptor_is_drift_and_a_repair_reopens_it(
    layout: TemporaryLayout, host: FakeHost
) -> None:
    host.serve("aaa")
    host.lose_descriptor()
    assert service.drift(layout) == [f"nothing listens on {ADDRESS}"]
    Swap(layout, "aaa").run()
    assert host.answering() == {"aaa"}
    assert service.drift(layout) == []


# Watching the canary.


@pytest.fixture
def settling(layout: TemporaryLayout, host: FakeHost) -> FakeHost:
    """Write a generation whose canary is watched for three seconds, beside one that serves."""
    host.serve("old")
    write_generation(layout, "new", settle=3.0)
    return host


def test_a_canary_is_watched_as_long_as_the_manifest_says(layout: TemporaryLayout, settling: FakeHost) -> None:
    began = settling.clock.now
    assert Swap(layout, "new").run() is True
    assert 3 <= settling.clock.now - began < 4
    assert in_order(
        settling.actions, "start shop-canary@new.service", "health shop-canary/new", "health shop-canary/new", *START
    )


def test_a_canary_whose_worker_dies_soon_is_refused(layout: TemporaryLayout, settling: FakeHost) -> None:
    before = settling.everything()

    def die() -> None:
        if settling.clock.now > 1.9:
            settling.respawned[layout.runtime_of(kinds.CANARY) / "new.stats"] = 1

    settling.clock.tick = die
    assert "a worker died, no later than 2.0 s after the first good response" in failing(layout, "new")
    assert not [action for action in settling.actions if action.startswith("start shop@new")]
    assert settling.everything() == before


def test_a_worker_that_died_before_the_first_look_is_noticed_too(layout: TemporaryLayout, settling: FakeHost) -> None:
    settling.respawned[layout.runtime_of(kinds.CANARY) / "new.stats"] = 1
    assert "a worker died, no later than 0.0 s after" in failing(layout, "new")


def test_a_canary_that_answers_before_its_stats_are_open_is_awaited(
    layout: TemporaryLayout, settling: FakeHost
) -> None:
    stats, hidden = layout.runtime_of(kinds.CANARY) / "new.stats", layout.runtime_of(kinds.CANARY) / "hidden"
    began = settling.clock.now

    def hide() -> None:
        # From the first look on, until the canary has been watched long enough.
        if stats.exists() and settling.clock.now < began + 5:
            stats.rename(hidden)
        elif hidden.exists() and settling.clock.now >= began + 5:
            hidden.rename(stats)

    settling.clock.tick = hide
    assert Swap(layout, "new").run() is True
    assert settling.clock.now - began > 5


@pytest.mark.parametrize("how", ["unit", "stats"])
def test_a_canary_that_ends_soon_is_refused(layout: TemporaryLayout, settling: FakeHost, how: str) -> None:
    before = settling.everything()

    def end() -> None:
        settling.clock.tick = lambda: None
        if how == "unit":
            settling.crash("shop-canary@new.service")
        else:
            (layout.runtime_of(kinds.CANARY) / "new.stats").unlink()

    settling.clock.tick = end
    words = {
        "unit": "it ended 0.5 s after it had become healthy",
        "stats": "its stats do not respond: No such file or directory",
    }
    assert words[how] in failing(layout, "new")
    assert settling.everything() == before
    assert not settling.failed


def test_a_canary_that_becomes_unhealthy_while_it_is_watched_is_refused(
    layout: TemporaryLayout, settling: FakeHost
) -> None:
    def sicken() -> None:
        settling.sick["shop-canary/new"] = "GET /healthz answered 500 instead of 200: leak"

    settling.clock.tick = sicken
    assert "answered 500 instead of 200: leak" in failing(layout, "new")
    assert settling.answering() == {"old"}


# Leftovers of a swap that was killed.


def test_a_generation_that_runs_beside_the_current_one_is_not_trusted_without_a_check(
    layout: TemporaryLayout, host: FakeHost
) -> None:
    host.serve("old")
    write_generation(layout, "new")
    # Killed between its start and its health check.
    swap = Swap(layout, "new")
    swap._install("new", gen.unit_targets(layout, "new"))
    host.systemctl("start", "shop@new.service")
    host.sick["shop/new"] = "GET /healthz answered 500 instead of 200"
    failing(layout, "new")
    assert host.answering() == {"old"}
    assert layout.current_generation() == "old"


def test_a_generation_that_is_ending_is_started_again(
    layout: TemporaryLayout, host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.serve("first")
    host.serve("second")
    host.systemctl("start", "shop@first.service")
    # For up to a minute, while its requests end.
    state = host._state
    ending = {"shop@first.service"}
    monkeypatch.setattr(host, "_state", lambda unit: "deactivating" if unit in ending else state(unit))

    def start(*units: str) -> None:
        for unit in units:
            if unit in ending:
                ending.remove(unit)
                host._end(unit)
            host._start(unit)

    monkeypatch.setattr(host, "_start_all", start)
    Swap(layout, "first").run()
    assert "start shop@first.service" in host.actions
    assert service.drift(layout) == []


def test_a_restart_that_fails_beside_the_current_generation_leaves_nothing(
    layout: TemporaryLayout, host: FakeHost
) -> None:
    host.serve("old")
    before = host.everything()
    write_generation(layout, "new")
    swap = Swap(layout, "new", restart=True)
    swap._install("new", gen.unit_targets(layout, "new"))
    host.systemctl("start", "shop@new.service")
    host.sick["shop/new"] = "GET /healthz answered 500 instead of 200"
    with pytest.raises(SwapError):
        swap.run()
    assert host.everything() == before


def test_a_failed_swap_does_not_block_the_next(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("old")
    write_generation(layout, "bad")
    host.refused.add("shop-canary@bad.service")
    failing(layout, "bad")
    write_generation(layout, "new")
    assert Swap(layout, "new").run() is True


# What is kept.


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
