from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.report import loadtest
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.report.loadtest import Check

from tests.support.status import SERVING

STATUS = {
    **SERVING,
    "generation": "0123456789ab",
    "main_pid": 100,
    "pidfile": "/run/app/app.pid",
    "pidfile_pid": 100,
    "threads_per_worker": 3,
}
RUN: dict[str, Any] = {
    "outcome": "measured",
    "requests": 1000,
    "concurrency": 1000,
    "complete": 1000,
    "failed": 0,
    "non_2xx": 0,
    "requests_per_second": 3900.5,
    "p50_ms": 230,
    "p95_ms": 340,
    "p99_ms": 360,
    "max_ms": 372,
    "duration_s": 0.256,
    "ab_version": "2.3",
    "started_at": "2026-11-24T06:00:00+00:00",
    "document_length_bytes": 3,
    "files": {"output": "/somewhere/raw/app1-article.txt"},
    "curve_ms": [float(ms) for ms in range(200, 301)],
}
HEALTH = {"status": "ok", "mode": "gevent", "generation": "0123456789ab"}


def counts(**changed: Any) -> dict[str, Any]:
    whole = {
        "clients": 1,
        "sent": 1000,
        "errors": 0,
        "non_2xx": 0,
        "kinds": {},
        "gave_up": False,
        "requests_per_second": 900.0,
        "p50_ms": 1,
        "p99_ms": 2,
        "max_ms": 3,
    }
    return {**whole, **changed}


def measured(**changed: Any) -> dict[str, Any]:
    plan = {"requests": 1000, "concurrency": 1000, "p99_ms_max": 5000, "requests_per_second_min": 300}
    whole = {
        "host": "app1",
        "file": "app1.json",
        "app": "aiops_flask",
        "url": "http://app1:8040/user_manage/user/login",
        "mode": "gevent",
        "check_mode": False,
        "started_at": "2026-11-24T05:59:00+00:00",
        "service": {"status": STATUS},
        "answer": {"status": 200, "json": {}, "content": "{}\n", "url": "http://app1:8040/login"},
        "health": {"status": 200, "json": HEALTH, "url": "http://app1:8040/healthz"},
        "expected_body": {},
        "gevent_threads_max": 32,
        "runs": [{"name": "article", **plan}, {"name": "crowd", **plan}],
        "results": [
            {"item": {"name": "article"}, "ab": RUN},
            {"item": {"name": "crowd"}, "ab": RUN},
        ],
        "keepalive": {"keepalive": {"sequential": counts(), "parallel": counts(clients=100)}},
        "unexpected": "",
    }
    return {**whole, **changed}


def results(**changed: Any) -> list[dict[str, Any]]:
    return [
        {"item": {"name": "article"}, "ab": {**RUN, **changed}},
        {"item": {"name": "crowd"}, "ab": RUN},
    ]


def misses(**changed: Any) -> list[str]:
    found: list[str] = loadtest.report(measured(**changed))["misses"]
    return found


@pytest.mark.parametrize(
    ("check", "holds", "miss"),
    [
        (Check("article", "p99_ms", 5000, "<=", 5000, "limit"), True, None),
        (Check("article", "p99_ms", 6200, "<=", 5000, "limit"), False, "article p99_ms 6200 > 5000 (limit)"),
        (Check("article", "rps", 300, ">=", 300), True, None),
        (Check("article", "rps", 12.5, ">=", 300, "limit"), False, "article rps 12.5 < 300 (limit)"),
        (Check("article", "failed", 3, "==", 0), False, "article failed 3 != 0"),
        (
            Check("article", "p99_ms", None, "<=", 5, "limit"),
            False,
            "article p99_ms not measured, wanted <= 5 (limit)",
        ),
        (Check("answer", "body", {"a": "x" * 99}, "==", {}), False, "answer body {'a': '"),
        (Check("host", "ssh", None, "==", None, reason="unreachable"), False, "host: unreachable"),
    ],
)
def test_a_check_passes_or_shows_measured_and_wanted_values(check: Check, holds: bool, miss: str | None) -> None:
    assert check.holds is holds
    if miss is not None:
        assert check.miss.startswith(miss)
        assert len(check.miss) < 130
    assert check.to_dict().get("miss") == (None if holds else check.miss)


def test_a_host_that_meets_all_thresholds_passes() -> None:
    report = loadtest.report(measured())
    assert (report["verdict"], report["misses"], report["warnings"]) == ("pass", [], [])
    assert all(check["holds"] for check in report["checks"])


def test_the_report_has_the_fields_of_the_design_at_its_top() -> None:
    report = loadtest.report(measured())
    wanted = {
        "host": "app1",
        "mode": "gevent",
        "generation": "0123456789ab",
        "requests": 1000,
        "concurrency": 1000,
        "complete": 1000,
        "failed": 0,
        "non_2xx": 0,
        "requests_per_second": 3900.5,
        "p50_ms": 230,
        "p95_ms": 340,
        "p99_ms": 360,
        "max_ms": 372,
        "duration_s": 0.256,
        "ab_version": "2.3",
        "started_at": "2026-11-24T06:00:00+00:00",
    }
    assert {name: report[name] for name in wanted} == wanted
    assert [run["name"] for run in report["runs"]] == ["article", "crowd"]
    assert report["thresholds"]["loadtest_crowd_p99_ms_max"] == 5000


def test_raw_files_are_named_relative_to_the_report() -> None:
    assert loadtest.report(measured())["runs"][0]["files"] == {"output": "raw/app1-article.txt"}


@pytest.mark.parametrize(
    ("changed", "miss"),
    [
        ({"complete": 999}, "article complete 999 != 1000"),
        ({"failed": 7}, "article failed 7 != 0"),
        (
            {"failed": 7, "failures": {"connect": 0, "receive": 3, "length": 4}},
            "article failed 7 != 0: 3 receive, 4 length",
        ),
        ({"non_2xx": 1}, "article non_2xx 1 != 0"),
        ({"p99_ms": 6200}, "article p99_ms 6200 > 5000 (loadtest_article_p99_ms_max)"),
        (
            {"requests_per_second": 120.456},
            "article requests_per_second 120.46 < 300 (loadtest_article_requests_per_second_min)",
        ),
        ({"document_length_bytes": 37}, "article body_bytes 37 != 3"),
    ],
)
def test_each_missed_threshold_of_a_run_is_named(changed: dict[str, Any], miss: str) -> None:
    assert misses(results=results(**changed)) == [miss]


def test_a_run_in_which_all_failed_misses_every_count() -> None:
    said = misses(results=results(failed=1000, non_2xx=1000, document_length_bytes=0))
    assert said == ["article failed 1000 != 0", "article non_2xx 1000 != 0", "article body_bytes 0 != 3"]


def test_a_failed_run_is_one_miss_with_its_reason() -> None:
    broken = [
        {
            "item": {"name": "article"},
            "failed": False,
            "msg": "ab gave up: Connection refused (111)",
            "ab": {"outcome": "failed", "reason": "x"},
        },
        {"item": {"name": "crowd"}, "failed": True, "msg": "MODULE\nFAILURE"},
    ]
    assert misses(results=broken) == [
        "article: ab gave up: Connection refused (111)",
        "crowd: MODULE FAILURE",
    ]


def test_a_skipped_run_is_a_warning_and_no_miss() -> None:
    skipped = results()
    skipped[1]["ab"] = {"outcome": "skipped", "reason": "10016 open files are not allowed"}
    report = loadtest.report(measured(results=skipped))
    assert report["verdict"] == "pass"
    assert report["warnings"] == ["crowd skipped: 10016 open files are not allowed"]
    assert report["runs"][1]["outcome"] == "skipped"


def test_a_host_without_an_answer_is_one_miss_and_its_runs_are_unsent() -> None:
    report = loadtest.report(
        measured(
            answer={
                "status": -1,
                "url": "http://app1:8040/login",
                "msg": "Status code was -1 and not [200]: Request failed: <urlopen error refused>",
            },
            health={"skipped": True},
            results=[{"item": {"name": "article"}, "skipped": True}],
            keepalive={"skipped": True},
        )
    )
    assert report["verdict"] == "fail"
    assert report["misses"] == ["answer: no answer from http://app1:8040/login: <urlopen error refused>"]
    assert {run["outcome"] for run in report["runs"]} == {"unsent"}
    assert report["requests"] == 1000
    assert report["complete"] is None


def test_an_unreachable_host_is_one_miss() -> None:
    skipped = {"skipped": True}
    report = loadtest.report(
        measured(
            service={"unreachable": True, "msg": "Failed to connect:\n No route to host"},
            answer=skipped,
            health=skipped,
            results=[],
            keepalive=skipped,
        )
    )
    assert report["misses"] == ["host: unreachable: Failed to connect: No route to host"]
    assert report["verdict"] == "fail"


def test_without_status_the_health_page_shows_mode_and_generation() -> None:
    report = loadtest.report(measured(service={"skipped": True}, mode=""))
    assert (report["verdict"], report["mode"], report["generation"]) == ("pass", "gevent", "0123456789ab")


@pytest.mark.parametrize(
    ("changed", "miss"),
    [
        ({"state": "failed"}, "service state failed != active"),
        ({"workers": 3}, "service workers 3 != 4 (flask_uwsgi_processes)"),
        ({"cores_per_worker": 1}, "service cores_per_worker 1 != 3000 (flask_uwsgi_gevent)"),
        (
            {"threads_per_worker": 3001},
            "service threads_per_worker 3001 > 32 (loadtest_gevent_threads_max)",
        ),
        (
            {"pidfile_pid": 7, "pidfile_true": False},
            "service: /run/app/app.pid names process 7, the serving master is 100",
        ),
        (
            {"pidfile_pid": None, "pidfile_true": False},
            "service: /run/app/app.pid names process nothing, the serving master is 100",
        ),
    ],
)
def test_each_missed_part_of_the_process_model_is_named(changed: dict[str, Any], miss: str) -> None:
    assert misses(service={"status": {**STATUS, **changed}}) == [miss]


def test_too_few_threads_cannot_be_threads_mode() -> None:
    status = {
        **STATUS,
        "mode": "threads",
        "cores_per_worker": 256,
        "threads_per_worker": 12,
        "configured": {"mode": "threads", "processes": 4, "cores": 256},
    }
    assert misses(mode="threads", service={"status": status}, health={"skipped": True}) == [
        "service threads_per_worker 12 < 256 (flask_uwsgi_threads)"
    ]


def test_the_wrong_mode_is_missed_on_the_service_and_on_the_health_page() -> None:
    assert misses(mode="threads") == ["service mode gevent != threads (mode)", "health mode gevent != threads"]


def test_a_mode_other_than_the_configured_one_is_missed_even_if_none_is_wanted() -> None:
    status = {**STATUS, "configured": {**STATUS["configured"], "mode": "threads"}}
    assert misses(mode="", service={"status": status}) == ["service mode gevent != threads"]


def test_a_status_that_cannot_be_read_is_missed() -> None:
    assert misses(service={"failed": True, "msg": "no stats\nsocket"}) == [
        "service: status not readable: no stats socket"
    ]


def test_a_wrong_body_is_missed_without_a_statement_about_its_length() -> None:
    answer = {"status": 200, "json": {"token": "x"}, "content": '{"token": "x"}', "url": "http://app1/"}
    assert misses(answer=answer) == ["answer body {'token': 'x'} != {} (loadtest_expected_body)"]


def test_a_body_that_is_not_json_is_compared_as_text() -> None:
    answer = {"status": 200, "content": "ok\n", "url": "http://app1/"}
    assert misses(answer=answer, expected_body="ok") == []


def test_an_error_status_is_missed() -> None:
    assert misses(health={"status": 503, "url": "http://app1/"}) == ["health status 503 != 200"]


def test_another_generation_on_the_health_page_is_missed() -> None:
    health = {"status": 200, "json": {**HEALTH, "generation": "fff"}, "url": "http://app1/"}
    assert misses(health=health) == ["health generation fff != 0123456789ab"]


def test_errors_on_kept_connections_are_listed_by_kind() -> None:
    kept = {
        "sequential": counts(errors=20, sent=20, gave_up=True, kinds={"connection_reset": 20}),
        "parallel": counts(errors=3, kinds={"http_502": 2, "read_timeout": 1}),
    }
    assert misses(keepalive={"keepalive": kept}) == [
        "keepalive: 20 of 20 sequential requests failed before it gave up: 20 connection_reset",
        "keepalive: 3 of 1000 parallel requests failed: 2 http_502, 1 read_timeout",
    ]


def test_a_keepalive_client_that_could_not_run_is_missed() -> None:
    said = misses(keepalive={"failed": True, "msg": "Failed to import the required Python library (requests)"})
    assert said == ["keepalive: Failed to import the required Python library (requests)"]


def test_half_of_the_keepalive_client_may_be_off() -> None:
    assert misses(keepalive={"keepalive": {"parallel": counts()}}) == []


def test_an_unexpected_error_is_missed() -> None:
    assert misses(unexpected="Load is measured: boom") == ["verify: Load is measured: boom"]


def test_without_checks_there_is_no_success() -> None:
    skipped = {"skipped": True}
    report = loadtest.report(
        measured(service=skipped, answer=skipped, health=skipped, keepalive=skipped, runs=[], results=[])
    )
    assert report["verdict"] == "fail"


def test_check_mode_has_no_verdict() -> None:
    dry = [{"item": {"name": "article"}, "ab": {"outcome": "skipped", "reason": "check mode"}}]
    report = loadtest.report(measured(check_mode=True, results=dry, answer={"skipped": True}))
    assert (report["verdict"], report["misses"], report["warnings"]) == ("skipped", [], [])


def test_the_report_of_a_lost_host_has_the_same_fields() -> None:
    lost = loadtest.missing_report("rack/1", "not measured")
    assert set(lost) == set(loadtest.report(measured()))
    assert (lost["verdict"], lost["file"], lost["misses"]) == ("fail", "rack_1.json", ["host: not measured"])
    assert loadtest.missing_report("lb1", "not measured", "-balancer")["file"] == "lb1-balancer.json"


@pytest.mark.parametrize(("release", "shown"), [("r1", True), ("r2", False), (None, False)])
def test_the_gevent_check_s_result_is_shown_only_for_the_serving_release(release: str | None, shown: bool) -> None:
    check = {"release": "r1", "verdict": "warning", "path": "/slow", "checks": {"imports": {}}, "measured": {"a": 1}}
    report = loadtest.report(measured(gevent=check, service={"status": {**STATUS, "release": release}}))
    assert report["gevent"].get("verdict") == ("warning" if shown else None)
    assert "measured" not in report["gevent"]
    assert loadtest.report(measured())["gevent"] == {}


def test_an_arbitrary_answer_may_have_any_length() -> None:
    other = [{"item": {"name": "article"}, "ab": {**RUN, "document_length_bytes": 99}}]
    assert misses(results=other, runs=measured()["runs"][:1]) != []
    assert misses(results=other, runs=measured()["runs"][:1], expected_body=None) == []


def test_a_balancer_is_judged_by_its_runs_alone() -> None:
    plan = {"requests": 1000, "concurrency": 200, "p99_ms_max": 5000, "requests_per_second_min": 100}
    skipped = {"skipped": True}
    h2load = {key: value for key, value in RUN.items() if key not in ("ab_version", "document_length_bytes")}
    lost = {**h2load, "complete": 990, "failed": 10, "failures": {"read": 1, "timeout": 0, "unsent": 9}}
    report = loadtest.report(
        measured(
            service=skipped,
            answer=skipped,
            health=skipped,
            keepalive=skipped,
            runs=[{"name": "http1", **plan}, {"name": "http2", **plan}],
            results=[
                {"item": {"name": "http1"}, "h2load": {**h2load, "engine": "h2load 1.52.0", "protocol": "http/1.1"}},
                {"item": {"name": "http2"}, "h2load": {**lost, "p99_ms": 6000, "protocol": "h2"}},
            ],
        )
    )
    # The first run is at the top.
    assert (report["engine"], report["complete"], report["ab_version"]) == ("h2load 1.52.0", 1000, None)
    assert [run["protocol"] for run in report["runs"]] == ["http/1.1", "h2"]
    assert report["misses"] == [
        "http2 complete 990 != 1000",
        "http2 failed 10 != 0: 1 read, 9 unsent",
        "http2 p99_ms 6000 > 5000 (loadtest_http2_p99_ms_max)",
    ]


SHOP = {"names": ["Shop.example.org", "www.shop.example.org"], "app": "shop"}


@pytest.mark.parametrize(
    ("sites", "name", "scheme"),
    [
        ([SHOP], "shop.example.org", "https"),
        ([{**SHOP, "tls": "off", "names": ["plain"]}, {**SHOP, "tls": "acme"}], "shop.example.org", "https"),
        ([{**SHOP, "tls": "off"}, {**SHOP, "tls": False}], "shop.example.org", "http"),
        ([{**SHOP, "names": ["*.example.org"]}], "www.example.org", "https"),
    ],
)
def test_the_first_site_with_tls_is_measured(sites: list[dict[str, Any]], name: str, scheme: str) -> None:
    assert loadtest.site(sites) == {"name": name, "scheme": scheme, "app": "shop"}


@pytest.mark.parametrize("sites", [[], None, [{"app": "shop"}], [{"names": ["shop.example.org"]}]])
def test_without_a_site_nothing_can_be_measured(sites: Any) -> None:
    with pytest.raises(ValueError, match="load_balancer_sites has no site to measure"):
        loadtest.site(sites)
