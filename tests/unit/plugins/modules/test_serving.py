from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic import reservation, service, trial
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic.swap import Swap
from ansible_collections.flaskops.uwsgi.plugins.modules import serving

from tests.support.fake_host import THEM, US, FakeHost, TemporaryLayout, write_generation

RunModule = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("state", ["started", "stopped", "restarted"])
def test_an_application_without_a_deploy_can_be_neither_started_nor_stopped(
    call_module: RunModule, layout: TemporaryLayout, host: FakeHost, state: str
) -> None:
    for check in (True, False):
        result = call_module(serving, check=check, state=state)
        assert result["failed"]
        assert result["msg"] == f"shop is not deployed below {layout.base} on this host: deploy it first"
    assert host.actions == []


@pytest.mark.parametrize(
    ("state", "serves", "changes"),
    [
        ("started", True, False),
        ("started", False, True),
        ("stopped", True, True),
        ("stopped", False, False),
        ("restarted", True, True),
        ("restarted", False, True),
    ],
)
def test_check_mode_reports_what_would_change_and_changes_nothing(
    call_module: RunModule, layout: TemporaryLayout, host: FakeHost, state: str, serves: bool, changes: bool
) -> None:
    host.serve("g1")
    if not serves:
        host.systemctl("stop", "shop@0.0.0.0:8040.socket", "shop@g1.service")
    host.events.clear()
    before = host.everything()
    result = call_module(serving, check=True, state=state)
    assert result == {"failed": False, "changed": changes, "generation": "g1", "steps": {}, "toll": {}}
    assert host.everything() == before
    assert host.actions == []
    assert not layout.lock.exists()
    assert call_module(serving, state=state)["changed"] is changes


def test_a_stopped_application_is_started_again(
    call_module: RunModule, layout: TemporaryLayout, host: FakeHost
) -> None:
    host.serve("g1")
    unhurt = {"requests": 0, "workers": 0, "seconds": 0}
    stopped = {"failed": False, "changed": True, "generation": "g1", "steps": {}, "toll": unhurt}
    assert call_module(serving, state="stopped") == stopped
    assert (host.active, host.pidfile_pid()) == ({}, None)
    assert not call_module(serving, state="stopped")["changed"]
    result = call_module(serving, state="started")
    assert (result["changed"], list(result["steps"])) == (True, ["canary", "start"])
    assert service.drift(layout) == []
    assert not call_module(serving, state="started")["changed"]


@pytest.mark.parametrize(("state", "answers"), [("stopped", set()), ("started", {"g1"}), ("restarted", {"g1"})])
def test_leftovers_of_a_trial_are_neither_kept_nor_started_again(
    call_module: RunModule, layout: TemporaryLayout, host: FakeHost, state: str, answers: set[str]
) -> None:
    write_generation(layout, "g1")
    Swap(layout, "g1").run()
    trial.begin(layout, THEM, 60)
    write_generation(layout, "tried")
    Swap(layout, "tried", trial=True).run()
    result = call_module(serving, state=state, run=THEM)
    assert (result["changed"], result["generation"]) == (True, "g1")
    assert host.answering() == answers
    assert trial.watch(layout, THEM) is False
    assert host.answering() == answers
    assert [path.name for path in layout.generations.iterdir()] == ["g1"]


def test_a_restart_replaces_the_processes(call_module: RunModule, layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("g1")
    before = host.pidfile_pid()
    result = call_module(serving, state="restarted")
    assert (result["changed"], list(result["steps"])) == (True, ["restart", "stop_old"])
    assert host.pidfile_pid() != before
    assert service.drift(layout) == []


@pytest.mark.parametrize("state", ["started", "stopped", "restarted"])
def test_an_application_that_another_run_has_reserved_is_neither_started_nor_stopped(
    call_module: RunModule, layout: TemporaryLayout, host: FakeHost, state: str
) -> None:
    host.serve("g1")
    reservation.reserve(layout, THEM)
    before = host.everything()
    result = call_module(serving, state=state, run=US)
    assert result["failed"] and "pid 7" in result["msg"]
    assert host.everything() == before


def test_a_failed_restart_is_reported_with_the_reason(call_module: RunModule, host: FakeHost) -> None:
    host.serve("g1")
    host.sick["shop-relief/g1"] = "GET /healthz answered 500"
    result = call_module(serving, state="restarted")
    assert result["failed"] and "generation g1 (gevent) does not serve: GET /healthz answered 500" in result["msg"]
