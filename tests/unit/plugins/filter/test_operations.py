from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.filter.operations import (
    FilterModule,
    logs_page,
    plan_rollback,
    rollback_conflicts,
    rollback_summary,
    serving_summary,
    status_report,
    status_table,
)

from tests.support.status import SERVING, unobserved

SILENT = "uWSGI's stats do not respond: Connection refused (/run/aiops_flask/031ea839e33a.stats)"
NOTHING = unobserved(generation=None, state="inactive", since="", kept=[], drift=["no generation serves"])
STOPPED = unobserved(state="failed", drift=["aiops_flask@031ea839e33a.service is failed"])
MUTE = unobserved(stats_error=SILENT, drift=[SILENT], pidfile_true=False)
GONE = {"error": "cannot be reached: ssh: connect to host 10.213.41.250 port 22: No route to host " + "x" * 40}


@pytest.mark.parametrize(("encrypted", "how"), [(True, "encrypted"), (False, "not encrypted")])
def test_secrets_are_named_with_how_they_lie_on_the_host(encrypted: bool, how: str) -> None:
    secrets = {"names": ["PIN", "TOKEN"], "encrypted": encrypted}
    assert status_table({"app1": {**SERVING, "secrets": secrets}}, width=200).endswith(f"; secrets PIN, TOKEN {how}")


def test_a_host_that_serves_is_a_row_with_all_its_numbers() -> None:
    head, rule, row, *rest = status_table({"app1": SERVING}).splitlines()
    assert " ".join(head.split()) == "host mode generation since busy flight served MB backlog pid"
    assert set(rule) == {"-", " "}
    assert row.split() == [
        "app1", "gevent", "031ea839e33a", "11-24", "09:23", "2/4", "300", "1234567", "196", "17/16384", "true",
    ]  # fmt: skip
    assert rest[-1] == "app1: kept 031ea839e33a, dcf077cdf43b; restarted by systemd once"
    assert not any(line.startswith("DRIFT") for line in rest)


def test_drift_is_shown_below_the_table() -> None:
    table = status_table({"app1": {**SERVING, "pidfile_true": False, "drift": ["first", "second"]}, "app2": SERVING})
    assert table.splitlines()[2].endswith(" FALSE")
    assert "\n\nDRIFT app1: first\nDRIFT app1: second\n\napp1: kept" in table


def test_a_host_without_a_deploy_is_a_row_and_nothing_else() -> None:
    lines = status_table({"app1": NOTHING}).splitlines()
    assert lines[2:] == ["app1 nothing deployed"]


def test_a_host_that_does_not_serve_says_since_when_it_last_did() -> None:
    lines = status_table({"app1": STOPPED}).splitlines()
    assert lines[2] == "app1 gevent 031ea839e33a failed since Tue 2026-11-24 09:23:52 UTC"
    assert "DRIFT app1: aiops_flask@031ea839e33a.service is failed" in lines
    assert status_table({"app1": {**STOPPED, "since": ""}}).splitlines()[2].endswith(" failed")


def test_a_service_whose_stats_do_not_answer_is_shown_as_far_as_systemd_knows_it() -> None:
    lines = status_table({"app1": MUTE}).splitlines()
    assert lines[2].split() == ["app1", "gevent", "031ea839e33a", "11-24", "09:23", *"-----", "FALSE"]
    assert any(line.startswith("DRIFT app1: uWSGI's stats do not respond: Connection refused") for line in lines)


def test_a_host_that_does_not_answer_is_a_row_with_the_reason() -> None:
    lines = status_table({"app1": SERVING, "web2": GONE}).splitlines()
    assert lines[3].startswith("web2 cannot be reached: ssh: connect")
    assert lines[4] == "     " + "x" * 40


@pytest.mark.parametrize("host", ["a", "web1", "web1.frankfurt.example.org"])
def test_the_table_keeps_its_width(host: str) -> None:
    report = {host: {**SERVING, "drift": ["word " * 40]}, "b" * 40: SERVING, "other": MUTE, "c": GONE, "d": NOTHING}
    table = status_table(report)
    assert max(len(line) for line in table.splitlines()) <= 92
    assert not any(line.endswith(" ") for line in table.splitlines())
    # Below the table names are whole.
    assert f"\n{host}: kept " in table


def test_the_report_has_each_host_s_status_or_the_reason_why_there_is_none() -> None:
    results = {
        "app1": {"changed": False, "status": SERVING},
        "web2": {"unreachable": True, "msg": "Task failed: Data could not be sent:\n  No route to host"},
        "web3": {"failed": True, "msg": "Task failed: Module failed: the status of shop cannot be read: x"},
        "web4": {"failed": True},
    }
    assert status_report(results) == {
        "app1": SERVING,
        "web2": {"error": "cannot be reached: Data could not be sent: No route to host"},
        "web3": {"error": "cannot be examined: the status of shop cannot be read: x"},
        "web4": {"error": "cannot be examined: no message"},
    }


# Logs.


def line(text: str) -> dict[str, str]:
    return {"at": "2026-11-24T09:23:47Z", "by": "718", "text": text}


def test_errors_come_first_each_with_its_time() -> None:
    error = {"at": "2026-11-24T09:23:47Z", "by": "718", "lines": ["Traceback:", "  File x", "ValueError: x"]}
    page = logs_page({"deployed": True, "lines": [line("one"), line("two")], "errors": [error]}, "app1", "shop")
    assert page.splitlines() == [
        "app1: 1 error in shop's last 2 lines",
        "from 2026-11-24T09:23:47Z to 2026-11-24T09:23:47Z",
        "",
        "errors (1):",
        "2026-11-24T09:23:47Z [718] Traceback:",
        "      File x",
        "    ValueError: x",
        "",
        "last 2 lines:",
        "2026-11-24T09:23:47Z [718] one",
        "2026-11-24T09:23:47Z [718] two",
    ]


def test_without_errors_there_is_no_section_of_them() -> None:
    page = logs_page({"deployed": True, "lines": [line("one")], "errors": []}, "app1", "shop", "-1h")
    assert page.startswith("app1: no error in shop's last 1 line since -1h\n")
    assert "errors" not in page


def test_where_there_are_no_lines_the_page_says_why() -> None:
    nothing: dict[str, Any] = {"lines": [], "errors": []}
    assert logs_page({"deployed": True, **nothing}, "app1", "shop", "-1h") == (
        "app1: the journal has no line of shop since -1h"
    )
    assert logs_page({"deployed": False, **nothing}, "app1", "shop") == (
        "app1: shop was never deployed here, or was removed, and the journal has no line of it"
    )


def test_the_filters_have_the_names_that_the_role_uses() -> None:
    assert FilterModule().filters().keys() == {
        "gevent_table", "logs_page", "rollback", "rollback_conflicts", "rollback_summary", "serving_summary",
        "status_report", "status_table",
    }  # fmt: skip


# What was done.


def test_the_outcome_of_a_start_a_stop_or_a_restart_is_shown_with_its_times() -> None:
    done = {"changed": True, "generation": "g1", "steps": {"restart": 1.25, "stop_old": 0.5}}
    assert serving_summary(done, "restarted") == "generation g1 restarted [restart 1.2 s, stop old 0.5 s]"
    assert serving_summary({"changed": False, "generation": "g1"}, "stopped") == "generation g1 was already stopped"


def test_a_rollback_is_planned_for_a_host_and_compared_with_those_of_the_hosts_that_are_known() -> None:
    plan = plan_rollback(SERVING, "shop", "previous")
    assert plan == {
        "app": "shop",
        "asked": "previous",
        "to": "dcf077cdf43b",
        "before": "031ea839e33a",
        "settled": False,
        "problems": [],
        "text": "031ea839e33a -> dcf077cdf43b; traffic moves once it is proven; also kept: 031ea839e33a (-e to=…)",
        "listen": "0.0.0.0:8040",
        "moves": False,
        "platform": "debian-12-x86_64-py3.11",
    }
    assert rollback_conflicts({"web1": plan, "web2": {}, "web3": plan}) == {}
    assert list(rollback_conflicts({"web1": plan, "web2": {**plan, "to": None}})) == ["shop"]


def test_the_outcome_of_a_rollback_is_shown_with_the_way_forward() -> None:
    plan = {"to": "g1", "before": "g2", "settled": False}
    assert rollback_summary(plan, {"changed": True, "steps": {"start": 2.0}}) == (
        "g2 -> g1 [start 2.0 s]; go forward again with -e to=g2, or with the next deploy"
    )
    # The swap was skipped, or repaired what served.
    assert rollback_summary({**plan, "settled": True}, {"skipped": True}) == "g1 serves"
    assert rollback_summary({**plan, "before": "g1"}, {"changed": True, "steps": {}}) == "g1 serves"
