"""The host with the record of an application's commands, and the plan's message about it."""

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic.command_record import Record
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan import commands
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.run import controller

US = {"who": "us@here", "home": "here", "pid": 6, "start": "1", "since": "2026-11-24T03:12:00Z", "what": "deploy"}
THEM = US | {"who": "them@there", "home": "there", "pid": 7, "renewed": 1, "idle_s": 20, "lease": 2100}
RECORD = Record(["g1"], "done", THEM, "web1", "2026-11-24T03:12:20Z")
RUNNING = replace(RECORD, state="running")
APPS = {"web1": "shop", "web2": "shop", "api1": "api", "api2": "api"}


@pytest.mark.parametrize(
    ("app", "group", "play", "keeper"),
    [
        ("shop", ["api1", "web1", "web2"], ["web2"], "web1"),
        ("api", ["web1", "api2", "api1"], ["api1"], "api2"),
        # Without the group, the play; if the play sets the application's name, the first host of the play.
        ("shop", [], ["api1", "web2", "web1"], "web2"),
        ("twin", ["web1", "api1"], ["web2", "web1"], "web2"),
    ],
)
def test_the_first_host_of_an_application_keeps_its_record(
    app: str, group: list[str], play: list[str], keeper: str
) -> None:
    assert commands.keeper(app, group, play, lambda host: APPS[host]) == keeper


@pytest.mark.parametrize(
    ("record", "run", "said"),
    [
        (None, US, "runs once for this generation, on web2 (recorded on web1)"),
        (replace(RECORD, generations=["g0"]), US, "runs once for this generation, on web2 (recorded on web1)"),
        (RECORD, US, "ran for this generation on web1 at 2026-11-24T03:12:20Z, and does not run again"),
        (replace(RECORD, generations=["g0"]), THEM, "ran in this deploy on web1 at 2026-11-24T03:12:20Z, and does not"),
        (RUNNING, US, "runs again, on web2: it was not recorded that it ended on web1 (deploy by them@there, pid 7, s"),
    ],
)
def test_the_plan_says_whether_they_run(record: Record | None, run: dict[str, Any], said: str) -> None:
    summary = commands.summary("shop", record, "g1", run, "web2", "web1")
    assert summary.startswith(f"shop: flask_uwsgi_pre_activate {said}")


def test_a_run_that_is_alive_is_awaited_and_named() -> None:
    assert commands.problem("shop", RUNNING, False) == (
        "shop: flask_uwsgi_pre_activate is running on web1, since 2026-11-24T03:12:20Z: deploy by them@there, pid 7, "
        "since 2026-11-24T03:12:00Z. Wait for that run to end, then deploy again. Its claim ends in 2080 s at the "
        "latest (flask_uwsgi_command_timeout and flask_uwsgi_lease). If you know that the run has ended, run again "
        "with -e flask_uwsgi_break_lock=true."
    )


@pytest.mark.parametrize(
    ("record", "break_lock"),
    [
        (None, False),
        (RECORD, False),
        (RUNNING, True),
        # Its lease has ended; and it has ended itself, on this controller.
        (replace(RUNNING, by=THEM | {"idle_s": 2100}), False),
        (replace(RUNNING, by=THEM | controller.identity() | {"start": "0"}), False),
    ],
)
def test_other_runs_do_not_block(record: Record | None, break_lock: bool) -> None:
    assert commands.problem("shop", record, break_lock) == ""
