from typing import Any

from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.report.gevent_show import gevent_table


def check(**more: Any) -> dict[str, Any]:
    finding = {"level": "blocks", "what": "GET /slow waits " * 9, "evidence": ["app.py:9 index"], "remedy": "Mend it"}
    return {
        "generation": "3f2a90c1d5e7",
        "verdict": "blocks",
        "checks": {
            "imports": {"verdict": "ok", "findings": []},
            "libraries": {"verdict": "ok", "findings": [{**finding, "level": "note", "remedy": ""}]},
            "cooperation": {"verdict": "blocks", "findings": [finding]},
        },
        "path": "/slow",
        "requests": 10,
        "least_ms": 203.1,
        "single_ms": 311.7,
        "burst_ms": 2030.4,
        "overlap": 0.0,
        "cpu_share": 0.011,
        **more,
    }


def test_the_verdict_of_each_check_comes_first() -> None:
    lines = gevent_table(check(), "app1").splitlines()
    assert lines[:5] == [
        "app1: gevent mode of generation 3f2a90c1d5e7: blocks",
        "",
        "imports      ok       nothing found",
        "libraries    ok       1 finding",
        "cooperation  blocks   GET /slow: 203.1 ms alone, 10 at once 2030.4 ms (overlap 0%, computing 1%)",
    ]


def test_a_path_that_is_too_short_to_judge_says_so_in_its_line() -> None:
    lines = gevent_table(check(least_ms=1.24, single_ms=27.0, burst_ms=8.0), "app1").splitlines()
    assert lines[4].endswith("GET /slow: 1.2 ms alone, 10 at once 8.0 ms (too short to see it wait)")


def test_a_finding_is_shown_with_evidence_and_remedy_in_lines_that_fit() -> None:
    lines = gevent_table(check(), "app1").splitlines()
    assert all(len(line) <= 120 and line == line.rstrip() for line in lines)
    at = lines.index("    app.py:9 index", next(n for n, line in enumerate(lines) if line.startswith("BLOCKS")))
    assert lines[at + 1] == "  -> Mend it"


def test_a_missing_measurement_is_reported_as_such() -> None:
    assert "cooperation  blocks   GET /slow: not measured" in gevent_table(check(single_ms=None), "app1")
