"""The figures as texts: rows of tables by column, for the page, RESULTS.md and README.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.figures import OURS, ranked
from benchmarks.targets import NOTHING, Target

# What README.md calls the servers.
README = {
    "uwsgi-bare": "bare WSGI function under uWSGI (upper bound)",
    "uwsgi-gevent": "this deployment, `gevent`",
    "uwsgi-gevent-log": "this deployment, `gevent`, with a log line for each request (the default)",
    "uwsgi-threads": "this deployment, `threads`",
    "stock-gevent": "uWSGI as released, gevent",
    "stock-threads": "uWSGI as released, threads",
    "gunicorn-gevent": "gunicorn, gevent worker",
    "gunicorn-gthread": "gunicorn, gthread worker",
    "granian": "granian",
    "mod-wsgi": "Apache with mod_wsgi",
    "waitress": "waitress (one process)",
}


def shown(one: Mapping[str, float] | None, digits: int = 0) -> str:
    """Format a spread."""
    if not one:
        return "–"
    middle = f"{one['median']:,.{digits}f}"
    return middle if one["min"] == one["max"] else f"{middle} ({one['min']:,.{digits}f}–{one['max']:,.{digits}f})"


def middle(one: Mapping[str, float] | None, digits: int = 0) -> str:
    """Format the median of a spread."""
    return f"{one['median']:,.{digits}f}" if one else "–"


def ratio(one: Mapping[str, Any]) -> str:
    """Format a server's requests per second relative to ours."""
    return f"{one['ratio']:.2f}" if one.get("ratio") else "–"


def server_rows(found: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return a row of texts by column for each server of a case, the fastest first.

    Args:
        found: the figures by server.
    """
    return [
        {
            "server": name,
            "threads each": f"{one['threads']:,}" if one.get("threads") else "–",
            "req/s": shown(one.get("requests_per_second")),
            f"× {OURS}": ratio(one),
            "p50 ms": middle(one.get("p50_ms")),
            "p99 ms": shown(one.get("p99_ms")),
            "CPU ms/request": middle(one.get("cpu_ms"), 2),
            "cores busy": f"{100 * one['busy']['median']:.0f} %" if one.get("busy") else "–",
            "MB": middle(one.get("memory_mb")),
            "KB/request": middle(one.get("memory_kb")),
            "threads": middle(one.get("all_threads")),
            "failed": f"{one['failed']:,} of {one['requests']:,}",
        }
        for name, one in ((name, found[name]) for name in ranked(found))
    ]


def candidate_rows(cases: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return a row of texts by column for each case and server whose threads were chosen.

    Args:
        cases: those of :func:`benchmarks.figures.servers`.
    """
    counts = sorted({int(count) for one in cases.values() for tried in one["candidates"].values() for count in tried})

    def cell(tried: Mapping[str, Mapping[str, Any]], count: int, chosen: int) -> str:
        figures = tried.get(str(count))
        if not figures:
            return ""
        if not figures.get("requests_per_second"):
            return "not finished"
        text = f"{middle(figures['requests_per_second'])}, {middle(figures['p99_ms'])} ms"
        text += f", {figures['failed']:,} failed" if figures["failed"] else ""
        return f"{text} ✓" if count == chosen else text

    return [
        {"case": case, "server": name}
        | {f"{count:,}": cell(tried, count, one["servers"].get(name, {}).get("threads", 0)) for count in counts}
        for case, one in cases.items()
        for name, tried in one["candidates"].items()
    ]


def readme_rows(cases: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return the rows of README's table of servers, the fastest at 1,000 concurrent first.

    Args:
        cases: those of :func:`benchmarks.figures.servers`.
    """
    wait, crowd, compute = (cases.get(name, {}).get("servers", {}) for name in ("wait", "crowd", "compute"))
    return [
        {
            "Server": README[name],
            "c = 1,000": ratio(wait[name]),
            "c = 4,000": ratio(crowd.get(name, {})),
            "no wait, c = 100": ratio(compute.get(name, {})),
            "CPU ms/request at 4,000": middle(crowd.get(name, {}).get("cpu_ms"), 2),
            "p99 ms at 4,000": middle(crowd.get(name, {}).get("p99_ms")),
        }
        for name in ranked(wait)
    ]


def trips(number: float) -> str:
    """Format a number of round trips."""
    return f"{number:,.0f} trip{'' if number == 1 else 's'}"


def deploy_rows(found: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[dict[str, str]]:
    """Return a row of texts by column for each number of hosts."""
    counts = sorted({hosts for by_hosts in found.values() for hosts in by_hosts}, key=int)
    return [
        {"hosts": hosts}
        | {
            kind: f"{shown(by_hosts[hosts]['seconds'], 1)} s, {trips(by_hosts[hosts]['round_trips']['median'])}"
            for kind, by_hosts in found.items()
        }
        for hosts in counts
    ]


def fleet_rows(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return a row of texts by column for each number of recorded hosts.

    Args:
        runs: what benchmarks/fleet wrote.
    """
    return [
        {
            "deploy": run.get("kind", NOTHING),
            "hosts": f"{run['hosts']:,}",
            "seconds": f"{run['seconds']:,.1f}",
            "s/host": f"{run['seconds'] / run['hosts']:.3f}",
            "CPU s/host": f"{run['cpu_s'] / run['hosts']:.3f}",
            "main MB": f"{run['main_mb']:,.0f}",
            "all MB": f"{run['tree_mb']:,.0f}",
        }
        for run in runs
    ]


def markdown(rows: Sequence[Mapping[str, str]], words: int = 1) -> str:
    """Return rows of texts as a table.

    Args:
        rows: texts by column.
        words: how many columns, from the first on, are not numbers, which are right-aligned.
    """
    head = list(rows[0])
    marks = ["---"] * words + ["---:"] * (len(head) - words)
    lines = [head, marks, *([row[name] for name in head] for row in rows)]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def target_rows(found: Sequence[Target]) -> list[dict[str, str]]:
    """Return a row of texts by column for each target and its measurement."""
    return [target.row() for target in found]
