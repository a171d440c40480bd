"""Load-test reports for people: rows of text, the summary of a verify run, what its page shows.

Pure functions over the reports that :mod:`loadtest` makes.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

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
_LEFT = ("host", "mode", "generation", "run", "verdict")


def rows(one: Mapping[str, Any]) -> list[dict[str, str]]:
    """Show one report as rows of text: each run, the keep-alive client, the other checks together.

    Args:
        one: the report.

    Returns:
        Rows by column name; latencies are milliseconds. A report without runs is one row.
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
    """Make the text that ends a verify run: a table, what was missed, the count.

    Args:
        reports: the hosts' reports, in the order in which they are shown.
        width: columns that the text may take; host names and generations are cut to keep it.

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
    """Say in one sentence how many hosts hold their thresholds.

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
        shown = [[_cut(row[column], limits.get(column)) for column in _COLUMNS] for row in cells]
        widths = [max(len(text) for text in texts) for texts in zip(_COLUMNS, *shown, strict=True)]
        gap = "  " if sum(widths) + 2 * (len(widths) - 1) <= width else " "
        if sum(widths) + len(gap) * (len(widths) - 1) <= width:
            break
    lines = [_line(_COLUMNS, widths, gap), gap.join("-" * size for size in widths)]
    previous: list[str] = []
    for texts in shown:
        same = texts[:3] == previous[:3]
        lines.append(_line(["", "", "", *texts[3:]] if same else texts, widths, gap))
        previous = texts
    return lines


def _cut(text: str, limit: int | None) -> str:
    return text if limit is None or len(text) <= limit else text[: limit - 1] + "~"


def _line(texts: Iterable[str], widths: Sequence[int], gap: str) -> str:
    aligned = [
        text.ljust(size) if column in _LEFT else text.rjust(size)
        for column, text, size in zip(_COLUMNS, texts, widths, strict=True)
    ]
    return gap.join(aligned).rstrip()


def plot(curve_ms: Sequence[float]) -> dict[str, Any]:
    """Lay out a latency curve for an SVG: percentiles to the right, milliseconds upwards.

    The axis to the right is stretched towards 100 %, since the slowest requests are what one looks for:
    the distance from 0 to 90 % is that from 90 to 99 %.

    Args:
        curve_ms: milliseconds at each percent, from 0 to 99 or 100.

    Returns:
        ``points`` (an SVG point list), ``marks`` (name, ms, x, y), ``ticks`` (of the ms axis: ms, y),
        ``words`` for those who cannot see it, and ``width`` and ``height`` in SVG units; empty when there is
        no curve.
    """
    if len(curve_ms) < 100:
        return {}
    width, height = 300.0, 120.0
    top = _round_up(max(curve_ms))
    last = len(curve_ms) - 1

    def x(percent: int) -> float:
        # log10(100 / (100 - p)) without its infinity: 100 % is drawn a third of a decade after 99 %.
        reach = 2.33 if last == 100 else 2.0
        shift = 2.33 if percent >= 100 else -math.log10((100 - percent) / 100)
        return round(width * shift / reach, 1)

    def y(ms: float) -> float:
        return round(height - height * ms / top, 1)

    return {
        "width": width,
        "height": height,
        "points": " ".join(f"{x(percent)},{y(ms)}" for percent, ms in enumerate(curve_ms)),
        "marks": [
            {"name": name, "ms": round(curve_ms[percent]), "x": x(percent), "y": y(curve_ms[percent])}
            for name, percent in (("min", 0), ("p50", 50), ("p90", 90), ("p99", 99), ("max", 100))
            if percent <= last
        ],
        "words": "Rising curve of latencies: "
        + ", ".join(
            f"{percent} % of the requests within {curve_ms[percent]:.0f} ms"
            for percent in (50, 90, 99, 100)
            if percent <= last
        ),
        "ticks": [{"ms": round(top * part / 2), "y": y(top * part / 2)} for part in range(3)],
    }


def _round_up(ms: float) -> float:
    """Return the next of 1, 2, 4, 6, 8 times a power of ten: the half of each is a round number too."""
    unit = 10.0 ** math.floor(math.log10(ms)) if ms > 0 else 1.0
    return next((unit * step for step in (1, 2, 4, 6, 8, 10) if unit * step >= ms), 10 * unit)


def page(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Gather what the HTML page shows.

    Args:
        reports: the hosts' reports.

    Returns:
        ``outcome`` (a sentence), ``passed`` (bool), ``started_at`` (the first host's), ``columns``, and
        ``hosts``: each the report with an ``index``, its ``rows`` and the ``plots`` of its runs.
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
                "plots": [
                    {
                        "name": run["name"],
                        "requests": run["requests"],
                        "concurrency": run["concurrency"],
                        **drawn,
                    }
                    for run in one["runs"]
                    if (drawn := plot(run["curve_ms"]))
                ],
            }
            for index, one in enumerate(reports, 1)
        ],
    }
