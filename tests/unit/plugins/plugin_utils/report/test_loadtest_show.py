from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.report import loadtest, loadtest_show

from tests.unit.plugins.plugin_utils.report.test_loadtest import measured, results


def passed(host: str = "app1") -> dict[str, Any]:
    return loadtest.report(measured(host=host))


def missed(host: str = "app2") -> dict[str, Any]:
    return loadtest.report(measured(host=host, results=results(p99_ms=6200)))


def test_the_summary_is_an_aligned_table_with_the_misses_below() -> None:
    lines = loadtest_show.summary([passed(), missed()]).splitlines()
    assert lines[0].split() == [
        "host",
        "mode",
        "generation",
        "run",
        "n",
        "c",
        "failed",
        "non-2xx",
        "req/s",
        "p50",
        "p99",
        "max",
        "verdict",
    ]
    assert lines[2].split() == [
        "app1",
        "gevent",
        "0123456789ab",
        "article",
        "1000",
        "1000",
        "0",
        "0",
        "3900",
        "230",
        "360",
        "372",
        "ok",
    ]
    assert lines[3].split() == ["crowd", "1000", "1000", "0", "0", "3900", "230", "360", "372", "ok"]
    assert {line.index("p99") + 3 for line in lines[:1]} == {lines[2].index("360") + 3}
    assert "MISSED app2: article p99_ms 6200 > 5000 (loadtest_article_p99_ms_max)" in lines
    assert lines[-1] == "1 of 2 hosts holds every threshold: FAIL"


def test_no_line_ends_in_blanks_so_that_yaml_shows_a_block() -> None:
    text = loadtest_show.summary([passed(), missed(), loadtest.missing_report("app3", "gone")])
    assert all(line == line.rstrip() for line in text.splitlines())


@pytest.mark.parametrize("host", ["a", "app1.rack7.example.org", "x" * 60])
def test_the_summary_keeps_its_width(host: str) -> None:
    reports = [passed(host), missed(host), loadtest.missing_report(host, "unreachable: " + "word " * 60)]
    lines = loadtest_show.summary(reports, width=96).splitlines()
    table = lines[: lines.index("")]
    assert max(len(line) for line in table) <= 96


@pytest.mark.parametrize(
    ("verdicts", "sentence"),
    [
        (["pass"], "1 of 1 host holds every threshold: PASS"),
        (["pass", "pass"], "2 of 2 hosts hold every threshold: PASS"),
        (["fail"], "0 of 1 host holds every threshold: FAIL"),
        (["fail", "fail"], "0 of 2 hosts hold every threshold: FAIL"),
        (["skipped"], "Check mode: no load was sent to 1 host"),
    ],
)
def test_the_outcome_is_one_sentence(verdicts: list[str], sentence: str) -> None:
    assert loadtest_show.outcome([{"verdict": verdict} for verdict in verdicts]) == sentence


def test_a_skipped_run_and_one_that_was_never_sent_look_different() -> None:
    skipped = results()
    skipped[1]["ab"] = {"outcome": "skipped", "reason": "open files"}
    rows = loadtest_show.rows(loadtest.report(measured(results=skipped)))
    assert [row["verdict"] for row in rows[:2]] == ["ok", "skipped"]
    rows = loadtest_show.rows(loadtest.report(measured(results=[])))
    assert [row["verdict"] for row in rows[:2]] == ["FAIL", "FAIL"]
    assert "WARNING app1: crowd skipped: open files" in loadtest_show.summary(
        [loadtest.report(measured(results=skipped))]
    )


def test_checks_that_belong_to_no_run_have_a_row() -> None:
    row = loadtest_show.rows(loadtest.report(measured(unexpected="boom")))[-1]
    assert (row["run"], row["failed"], row["verdict"]) == ("checks", "1", "FAIL")


def run(curve: list[float]) -> dict[str, Any]:
    return {"name": "article", "requests": 1000, "concurrency": 100, "curve_ms": curve}


def test_the_chart_describes_itself_in_words() -> None:
    (chart,) = loadtest_show.charts([run([float(ms) for ms in range(100, 201)])])
    assert chart["caption"] == "article: 1000 requests, 100 at a time"
    words = "50 % of the requests within 150 ms, 90 % of the requests within 190 ms, 99 % of the requests within 199 ms"
    assert words in chart["svg"]
    assert ">199<" in chart["svg"]


@pytest.mark.parametrize("curve", [[], [1.0] * 99])
def test_half_a_curve_is_not_drawn(curve: list[float]) -> None:
    assert loadtest_show.charts([run(curve)]) == []


@pytest.mark.parametrize("ms", [0.0, 0.3, 1.0, 9.9, 10.0, 61000.0])
def test_any_latency_fits_the_chart(ms: float) -> None:
    assert "<svg" in loadtest_show.charts([run([ms] * 100)])[0]["svg"]


def test_without_matplotlib_there_is_a_page_without_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loadtest_show.importlib.util, "find_spec", lambda name: None)
    assert loadtest_show.page([passed()])["hosts"][0]["charts"] == []


def test_the_page_collects_all_hosts() -> None:
    page = loadtest_show.page([passed(), missed(), loadtest.missing_report("app3", "gone")])
    assert page["passed"] is False
    assert page["started_at"] == "2026-11-24T06:00:00+00:00"
    assert [host["index"] for host in page["hosts"]] == [1, 2, 3]
    assert [len(host["charts"]) for host in page["hosts"]] == [2, 2, 0]
