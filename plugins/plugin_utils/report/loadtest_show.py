"""Shows load-test reports: rows of text, the summary of a verify run, the content of its page.

Pure functions over the reports that :mod:`loadtest` makes.
"""

from __future__ import annotations

import importlib.util
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from .table import Table, cut

_COLUMNS = (
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
)
_TABLE = Table(_COLUMNS, right=("n", "c", "failed", "non-2xx", "req/s", "p50", "p99", "max"))


def rows(one: Mapping[str, Any]) -> list[dict[str, str]]:
    """Show one report as rows of text: each run, the keep-alive client, and the other checks together.

    Args:
        one: the report.

    Returns:
        Rows by column name; latencies are in milliseconds. A report without runs is one row.
    """
    host = {
        "host": str(one["host"]),
        "mode": _cell(one["mode"]),
        "generation": _cell(one["generation"]),
    }
    named = {"keepalive", *(run["name"] for run in one["runs"])}
    failing = {check["subject"] for check in one["checks"] if not check["holds"]}
    found = []
    for run in one["runs"]:
        verdict = {"measured": "ok", "skipped": "skipped"}.get(run["outcome"], "FAIL")
        if run["name"] in failing:
            verdict = "FAIL"
        found.append(
            {
                **host,
                "run": str(run["name"]),
                "n": _cell(run["requests"]),
                "c": _cell(run["concurrency"]),
                "failed": _cell(run["failed"]),
                "non-2xx": _cell(run["non_2xx"]),
                "req/s": _cell(run["requests_per_second"]),
                "p50": _cell(run["p50_ms"]),
                "p99": _cell(run["p99_ms"]),
                "max": _cell(run["max_ms"]),
                "verdict": verdict,
            }
        )
    for part in ("sequential", "parallel"):
        counts = one["keepalive"].get(part)
        if counts and counts["sent"]:
            found.append(
                {
                    **host,
                    "run": "keepalive",
                    "n": _cell(counts["sent"]),
                    "c": _cell(counts["clients"]),
                    "failed": _cell(counts["errors"]),
                    "non-2xx": _cell(counts["non_2xx"]),
                    "req/s": _cell(counts["requests_per_second"]),
                    "p50": _cell(counts["p50_ms"]),
                    "p99": _cell(counts["p99_ms"]),
                    "max": _cell(counts["max_ms"]),
                    "verdict": "FAIL" if counts["errors"] else "ok",
                }
            )
    others = [check for check in one["checks"] if check["subject"] not in named]
    failed = sum(not check["holds"] for check in others)
    if others or not found:
        found.append(
            {
                **dict.fromkeys(_COLUMNS, "-"),
                **host,
                "run": "checks",
                "n": str(len(others)),
                "failed": str(failed),
                "verdict": "FAIL" if failed else "ok",
            }
        )
    return found


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "-"
    return f"{value:.0f}" if isinstance(value, float) else str(value)


def summary(reports: Sequence[Mapping[str, Any]], width: int = 96) -> str:
    """Create the text that ends a verify run: a table, the missed thresholds, the count.

    Args:
        reports: the hosts' reports, in the order in which they are shown.
        width: maximum width in columns; host names and generations are shortened to fit.

    Returns:
        Lines without trailing blanks, so that YAML output shows them as a block.
    """
    lines = _table([row for one in reports for row in rows(one)], width)
    for one in reports:
        said = [f"WARNING {one['host']}: {text}" for text in one["warnings"]]
        said += [f"MISSED {one['host']}: {text}" for text in one["misses"]]
        if said:
            lines.append("")
        for text in said:
            lines += textwrap.wrap(
                text, width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
            )
    lines += ["", outcome(reports)]
    return "\n".join(line.rstrip() for line in lines)


def outcome(reports: Sequence[Mapping[str, Any]]) -> str:
    """Return a sentence that says how many hosts meet their thresholds.

    Args:
        reports: the hosts' reports.

    Returns:
        The sentence, such as ``1 of 2 hosts holds every threshold: FAIL``.
    """
    total = len(reports)
    passed = sum(one["verdict"] == "pass" for one in reports)
    hosts = "host" if total == 1 else "hosts"
    if total and all(one["verdict"] == "skipped" for one in reports):
        return f"Check mode: no load was sent to {total} {hosts}"
    verb = "holds" if 1 in (passed, total) else "hold"
    return f"{passed} of {total} {hosts} {verb} every threshold: {'PASS' if passed == total else 'FAIL'}"


def _table(cells: Sequence[Mapping[str, str]], width: int) -> list[str]:
    """Align the rows; repeat host, mode and generation only where they change."""
    for host, generation in ((24, 12), (24, 8), (12, 8)):
        limits = {"host": host, "generation": generation}
        shown = [[cut(row[column], limits.get(column, len(row[column]))) for column in _COLUMNS] for row in cells]
        widths = _TABLE.sizes([_COLUMNS, *shown])
        gap = "  " if sum(widths) + 2 * (len(widths) - 1) <= width else " "
        if sum(widths) + len(gap) * (len(widths) - 1) <= width:
            break
    lines = _TABLE.head(widths, gap)
    previous: list[str] = []
    for texts in shown:
        same = texts[:3] == previous[:3]
        lines.append(_TABLE.line(["", "", "", *texts[3:]] if same else texts, widths, gap))
        previous = texts
    return lines


def charts(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Draw the latencies of one host's runs; none if matplotlib is missing, which a load test does not need.

    Args:
        runs: the runs of the report.

    Returns:
        ``caption`` and ``svg`` of each run that measured a complete curve.
    """
    curves = [(run, run["curve_ms"]) for run in runs if len(run["curve_ms"]) >= 100]
    if not curves or importlib.util.find_spec("matplotlib") is None:
        return []
    from .charts import latency

    everything = [ms for _, curve in curves for ms in curve]
    drawn = []
    for run, curve in curves:
        caption = f"{run['name']}: {run['requests']} requests, {run['concurrency']} at a time"
        words = ", ".join(
            f"{percent} % of the requests within {curve[percent]:.0f} ms"
            for percent in (50, 90, 99, 100)
            if percent < len(curve)
        )
        svg = latency({str(run["name"]): curve}, (min(everything), max(everything)), f"{caption}. {words}")
        drawn.append({"caption": caption, "svg": svg})
    return drawn


def page(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Gather the content of the HTML page.

    Args:
        reports: the hosts' reports.

    Returns:
        ``outcome`` (a sentence), ``passed`` (bool), ``started_at`` (the first host's), ``columns``, and
        ``hosts``: each the report with an ``index``, its ``rows`` and the ``charts`` of its runs.
    """
    return {
        "outcome": outcome(reports),
        "passed": all(one["verdict"] == "pass" for one in reports),
        "started_at": min((one["started_at"] for one in reports if one["started_at"]), default=""),
        "columns": list(_COLUMNS),
        "hosts": [
            {
                **one,
                "index": index,
                "rows": rows(one),
                "charts": charts(one["runs"]),
            }
            for index, one in enumerate(reports, 1)
        ],
    }
