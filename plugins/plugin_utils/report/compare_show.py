"""Shows comparisons: the summary of a run, and the content of its page."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from . import compare
from .compare import Entry, Spread
from .table import Table

_HEAD = ("variant", "c", "requests", "failed", "req/s", "spread", "p50", "p99", "max", "MB", "threads")
_TABLE = Table(_HEAD, right=_HEAD[1:])


def row(entry: Entry) -> dict[str, str]:
    """Return one line of the summary as texts by column; latencies are in milliseconds, ``spread`` in req/s."""
    rate = entry.requests_per_second
    return {
        "variant": entry.variant,
        "c": f"{entry.concurrency:,}",
        "requests": f"{entry.requests:,}",
        "failed": f"{entry.failed:,}",
        "req/s": _median(rate),
        "spread": f"{rate.min:,.0f}–{rate.max:,.0f}" if rate else "–",
        "p50": _median(entry.p50_ms),
        "p99": _median(entry.p99_ms),
        "max": _median(entry.max_ms),
        "MB": _median(entry.rss_mb),
        "threads": _median(entry.threads),
    }


def _median(figure: Spread | None) -> str:
    return f"{figure.median:,.0f}" if figure else "–"


def summary(document: Mapping[str, Any], where: str, width: int = 96) -> str:
    """Create the text that ends a comparison: a table, the reasons for missing measurements, the verdict.

    Args:
        document: the result of :func:`compare.document`.
        where: the folder of the report.
        width: columns that the sentences may take.
    """
    entries = [Entry.read(one) for one in document["summary"]]
    rows = [row(entry) for entry in entries]
    texts = [_HEAD, *([one[name] for name in _HEAD] for one in rows)] if rows else []
    sizes = _TABLE.sizes(texts)
    lines = [_TABLE.line(one, sizes) for one in texts]
    said = [f"{entry.variant} at {entry.concurrency}: {reason}" for entry in entries for reason in entry.reasons]
    if document.get("incomplete"):
        said.append(f"INCOMPLETE: {document['incomplete']}")
    for text in ["", *said, *document["verdict"], f"The page: {where}/index.html"]:
        lines += textwrap.wrap(text, width, subsequent_indent="    ", break_on_hyphens=False) or [""]
    return "\n".join(line.rstrip() for line in lines)


def page(document: Mapping[str, Any], clients: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Gather the content of the page.

    Args:
        document: the result of :func:`compare.document`; empty if not measured.
        clients: the output of ``clients.compare`` of the sample application; empty or None if not measured.

    Returns:
        the document, with ``columns``, ``rows`` and ``charts``: lists of ``caption`` and ``svg`` by subject. A chart
        without any number is left out. ``clients`` has its own ``rows`` and ``charts``.

    Raises:
        ImportError: matplotlib is missing.
        ValueError: a document has another format.
    """
    for found, name, remedy in (
        (document, "compare.json", "playbooks/compare.yml"),
        (clients, "clients.json", "playbooks/compare_clients.yml"),
    ):
        if found and found.get("format") != compare.FORMAT:
            raise ValueError(
                f"{name} has format {found.get('format')}, but this page shows format {compare.FORMAT}: "
                f"run {remedy} again"
            )
    # Imported here, since only a page needs matplotlib.
    from . import compare_charts

    page: dict[str, Any] = {"clients": {}}
    if document:
        rows = [row(Entry.read(one)) for one in document["summary"]]
        page |= {**document, "columns": list(_HEAD), "rows": rows, "charts": compare_charts.served(document)}
    if clients:
        drawn = compare_charts.clients(clients["summary"])
        page["clients"] = {**clients, "rows": _client_rows(clients["summary"]), "charts": drawn}
    return page


# The figures of the clients: key, name, unit, digits.
_OF_CLIENTS = (
    ("duration_s", "time", "s", 2),
    ("p50_ms", "p50", "ms", 0),
    ("p99_ms", "p99", "ms", 0),
    ("cpu_s", "CPU", "s", 2),
    ("peak_memory_mb", "peak memory", "MB", 0),
)


def _client_rows(summary: Mapping[str, Any]) -> list[dict[str, str]]:
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
    return rows
