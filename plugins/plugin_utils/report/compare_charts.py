"""The charts of a comparison, and their descriptions for screen readers.

A chart without a single number is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import charts, compare
from .compare import Entry

Drawn = list[dict[str, str]]


def served(document: Mapping[str, Any]) -> dict[str, Drawn]:
    """Draw the ways to serve.

    Args:
        document: what :func:`compare.document` made.

    Returns:
        lists of ``caption`` and ``svg`` by subject.
    """
    return {
        "throughput": _throughput(document),
        "latency": _latency(document),
        "failures": _failures(document),
        "footprint": [
            *_footprint(document, "rss_mb", "MB", "Memory of the workers, the most of any run"),
            *_footprint(document, "threads", "", "Threads of the workers"),
        ],
    }


def clients(summary: Mapping[str, Any]) -> Drawn:
    """Draw the clients.

    Args:
        summary: by client, as ``clients.compare`` of the sample application wrote it.
    """
    drawn: Drawn = []
    for key, name, unit in (
        ("duration_s", "Time", "s"),
        ("cpu_s", "CPU", "s"),
        ("peak_memory_mb", "Peak memory", "MB"),
    ):
        values = {client: one[key]["median"] for client, one in summary.items() if one[key]}
        drawn += _bars(values, unit, f"{name}, median of the rounds") if values else []
    return drawn


def _names(document: Mapping[str, Any]) -> list[str]:
    return [one["name"] for one in document["variants"]]


def _entries(document: Mapping[str, Any], name: str) -> list[Entry]:
    return [entry for one in document["summary"] if (entry := Entry.read(one)).variant == name]


def _throughput(document: Mapping[str, Any]) -> Drawn:
    series = {}
    for name in _names(document):
        rates = {entry.concurrency: entry.requests_per_second for entry in _entries(document, name)}
        points = [(c, rate.median, rate.min, rate.max) for c, rate in rates.items() if rate]
        if points:
            series[name] = points
    if not series:
        return []
    ladder = sorted({c for points in series.values() for c, *_ in points})
    ideal = [(c, limit) for c in ladder if (limit := compare.ideal(c, document.get("wait_s")))]
    words = "; ".join(
        f"{name}: " + ", ".join(f"{rate:,.0f} at {c}" for c, rate, *_ in points) for name, points in series.items()
    )
    caption = "Requests per second against requests in flight; a bar reaches from the least to the most of the rounds"
    svg = charts.ladder(series, ideal, f"Requests per second by requests in flight. {words}")
    return [{"caption": caption, "svg": svg}]


def _latency(document: Mapping[str, Any]) -> Drawn:
    drawn = []
    found = {
        c: {name: curve for name in _names(document) if (curve := _curve(document["runs"], name, c))}
        for c in sorted({entry["concurrency"] for entry in document["summary"]})
    }
    everything = [ms for curves in found.values() for curve in curves.values() for ms in curve]
    for c, curves in found.items():
        if curves:
            words = "; ".join(
                f"{name}: half within {curve[50]:,.0f} ms, 99 % within {curve[99]:,.0f} ms"
                for name, curve in curves.items()
            )
            svg = charts.latency(curves, (min(everything), max(everything)), f"Latency at {c} at a time. {words}")
            drawn.append({"caption": f"{c:,} at a time", "svg": svg})
    return drawn


def _failures(document: Mapping[str, Any]) -> Drawn:
    failed = {name: sum(entry.failed for entry in _entries(document, name)) for name in _names(document)}
    return _bars(failed, "", "Failed requests, all runs") if any(failed.values()) else []


def _footprint(document: Mapping[str, Any], figure: str, unit: str, caption: str) -> Drawn:
    found = {}
    for name in _names(document):
        values = [spread.max for entry in _entries(document, name) if (spread := getattr(entry, figure))]
        if values:
            found[name] = max(values)
    return _bars(found, unit, caption) if found else []


def _bars(values: Mapping[str, float], unit: str, caption: str) -> Drawn:
    words = "; ".join(f"{name}: {charts.number(value)} {unit}".strip() for name, value in values.items())
    return [{"caption": caption, "svg": charts.bars(values, unit, f"{caption}. {words}")}]


def _curve(runs: Sequence[Mapping[str, Any]], name: str, concurrency: int) -> list[float]:
    """Return the percentile curve of the run whose 99th percentile is the median of the rounds."""
    curves = [
        run["curve_ms"]
        for run in runs
        if (run["variant"], run["concurrency"], run["outcome"]) == (name, concurrency, "measured")
        and len(run["curve_ms"] or ()) >= 100
    ]
    curves.sort(key=lambda curve: curve[99])
    return list(curves[(len(curves) - 1) // 2]) if curves else []
