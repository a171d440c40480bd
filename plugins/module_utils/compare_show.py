"""Comparisons for people: the summary of a run, what its page shows."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from . import compare

_HEAD = ("variant", "c", "requests", "failed", "req/s", "spread", "p50", "p99", "max", "MB", "threads")


def row(entry: Mapping[str, Any]) -> dict[str, str]:
    """Return one line of the summary as texts by column; latencies are milliseconds, ``spread`` is of req/s."""
    rate = entry["requests_per_second"]
    texts = {
        "variant": entry["variant"],
        "c": f"{entry['concurrency']:,}",
        "requests": f"{entry['requests']:,}",
        "failed": f"{entry['failed']:,}",
        "req/s": _median(rate),
        "spread": f"{rate['min']:,.0f}–{rate['max']:,.0f}" if rate else "–",
    }
    names = {"p50": "p50_ms", "p99": "p99_ms", "max": "max_ms", "MB": "rss_mb", "threads": "threads"}
    return texts | {column: _median(entry[name]) for column, name in names.items()}


def _median(figure: Mapping[str, float] | None) -> str:
    return f"{figure['median']:,.0f}" if figure else "–"


def summary(document: Mapping[str, Any], where: str, width: int = 96) -> str:
    """Make the text that ends a comparison: a table, the reasons of what was not measured, the verdict.

    Args:
        document: what :func:`compare.document` made.
        where: the folder of the report.
        width: columns that the sentences may take.
    """
    rows = [row(entry) for entry in document["summary"]]
    widths = {name: max(len(name), *(len(one[name]) for one in rows)) for name in _HEAD} if rows else {}
    lines = ["  ".join(_aligned(name, name, widths[name]) for name in _HEAD)] if rows else []
    lines += ["  ".join(_aligned(name, one[name], widths[name]) for name in _HEAD) for one in rows]
    said = [
        f"{entry['variant']} at {entry['concurrency']}: {reason}"
        for entry in document["summary"]
        for reason in entry["reasons"]
    ]
    if document.get("incomplete"):
        said.append(f"INCOMPLETE: {document['incomplete']}")
    for text in ["", *said, *document["verdict"], f"The page: {where}/index.html"]:
        lines += textwrap.wrap(text, width, subsequent_indent="    ", break_on_hyphens=False) or [""]
    return "\n".join(line.rstrip() for line in lines)


def _aligned(column: str, text: str, width: int) -> str:
    return text.ljust(width) if column == "variant" else text.rjust(width)


def page(document: Mapping[str, Any], clients: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Gather what the page shows.

    Args:
        document: what :func:`compare.document` made; empty if that was not measured.
        clients: what ``clients.compare`` of the sample application wrote; empty or None if that was not measured.

    Returns:
        the document, with ``columns``, ``rows`` and ``charts``: lists of ``caption`` and ``svg`` by subject. A chart
        without a single number is left out. ``clients`` has ``rows`` and ``charts`` of its own.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: a document is of another format.
    """
    for found, name, remedy in (
        (document, "compare.json", "playbooks/compare.yml"),
        (clients, "clients.json", "playbooks/compare_clients.yml"),
    ):
        if found and found.get("format") != compare.FORMAT:
            raise ValueError(
                f"{name} is of format {found.get('format')}, and this page shows format {compare.FORMAT}: "
                f"run {remedy} again"
            )
    return {**(_served(document) if document else {}), "clients": _clients(clients) if clients else {}}


def _served(document: Mapping[str, Any]) -> dict[str, Any]:
    drawn = {"throughput": _throughput(document), "latency": _latency(document), "failures": _failures(document)}
    drawn["footprint"] = [
        *_footprint(document, "rss_mb", "MB", "Memory of the workers, the most of any run"),
        *_footprint(document, "threads", "", "Threads of the workers"),
    ]
    return {**document, "columns": list(_HEAD), "rows": [row(entry) for entry in document["summary"]], "charts": drawn}


def _names(document: Mapping[str, Any]) -> list[str]:
    return [one["name"] for one in document["variants"]]


def _entries(document: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    return [entry for entry in document["summary"] if entry["variant"] == name]


# What is told of the clients: key, name, unit, digits.
_OF_CLIENTS = (
    ("duration_s", "time", "s", 2),
    ("p50_ms", "p50", "ms", 0),
    ("p99_ms", "p99", "ms", 0),
    ("cpu_s", "CPU", "s", 2),
    ("peak_memory_mb", "peak memory", "MB", 0),
)


def _clients(document: Mapping[str, Any]) -> dict[str, Any]:
    summary = document["summary"]
    rows = [
        {"figure": f"{name} ({unit})"}
        | {
            client: f"{figure['median']:,.{digits}f} ({figure['min']:,.{digits}f}–{figure['max']:,.{digits}f})"
            for client, measured in summary.items()
            if (figure := measured[key])
        }
        for key, name, unit, digits in _OF_CLIENTS
    ]
    rows.append({"figure": "lines of code"} | {client: str(one["lines"]) for client, one in summary.items()})
    rows.append(
        {"figure": "failed"} | {client: f"{one['failed']:,} of {one['requests']:,}" for client, one in summary.items()}
    )
    charts = []
    for key, name, unit, _ in _OF_CLIENTS:
        values = {client: one[key]["median"] for client, one in summary.items() if one[key]}
        if values and key in ("duration_s", "cpu_s", "peak_memory_mb"):
            charts += _bars(values, unit, f"{name[0].upper()}{name[1:]}, median of the rounds")
    return {**document, "rows": rows, "charts": charts}


def _throughput(document: Mapping[str, Any]) -> list[dict[str, str]]:
    from ansible_collections.flaskops.uwsgi.plugins.plugin_utils import charts

    series = {}
    for name in _names(document):
        rates = {entry["concurrency"]: entry["requests_per_second"] for entry in _entries(document, name)}
        points = [(c, rate["median"], rate["min"], rate["max"]) for c, rate in rates.items() if rate]
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


def _latency(document: Mapping[str, Any]) -> list[dict[str, str]]:
    from ansible_collections.flaskops.uwsgi.plugins.plugin_utils import charts

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


def _failures(document: Mapping[str, Any]) -> list[dict[str, str]]:
    failed = {name: sum(entry["failed"] for entry in _entries(document, name)) for name in _names(document)}
    return _bars(failed, "", "Failed requests, all runs") if any(failed.values()) else []


def _footprint(document: Mapping[str, Any], figure: str, unit: str, caption: str) -> list[dict[str, str]]:
    found = {}
    for name in _names(document):
        values = [entry[figure]["max"] for entry in _entries(document, name) if entry[figure]]
        if values:
            found[name] = max(values)
    return _bars(found, unit, caption) if found else []


def _bars(values: Mapping[str, float], unit: str, caption: str) -> list[dict[str, str]]:
    from ansible_collections.flaskops.uwsgi.plugins.plugin_utils import charts

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
