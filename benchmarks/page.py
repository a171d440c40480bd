"""The data of the page templates/bench.html.j2: rows of its tables, and charts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.report import charts

from benchmarks import figures
from benchmarks.tables import candidate_rows, deploy_rows, fleet_rows, server_rows, target_rows
from benchmarks.targets import targets

TITLES = {
    "compute": "Without a wait",
    "wait": "1,000 at a time",
    "secure": "Through the balancer, over TLS",
    "crowd": "4,000 at a time",
}
# What is drawn of each server: the figure, its unit and the caption.
DRAWN = (
    ("requests_per_second", "req/s", "Requests per second, median of the rounds"),
    ("p99_ms", "ms", "Milliseconds within which 99 % of the requests were served"),
    ("cpu_ms", "ms", "CPU of the server for one request"),
    ("memory_kb", "KB", "Memory that a request in flight adds"),
)


def bars(values: Mapping[str, float], unit: str, caption: str) -> dict[str, str]:
    """Return a chart with a bar for each server."""
    words = "; ".join(f"{name}: {charts.number(value)} {unit}" for name, value in values.items())
    return {"caption": caption, "svg": charts.bars(values, unit, f"{caption}. {words}")}


def case(name: str, one: Mapping[str, Any]) -> dict[str, Any]:
    """Return a case of the servers: its title, what was asked, charts, the rows of its table, and why servers failed.

    Args:
        name: the case.
        one: its figures, see :func:`benchmarks.figures.servers`.
    """
    found = one["servers"]
    ranked = figures.ranked(found)
    drawn = []
    for key, unit, caption in DRAWN:
        values = {server: found[server][key]["median"] for server in ranked if found[server].get(key)}
        if values:
            drawn.append(bars(values, unit, caption))
    return {
        "title": TITLES[name],
        "requests": one["requests"],
        "concurrency": one["concurrency"],
        "ideal": one["ideal"],
        "charts": drawn,
        "rows": server_rows(found),
        "reasons": [f"{server}: {reason}" for server in ranked for reason in found[server]["reasons"]],
    }


def deploy_charts(kinds: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return the charts of the deploys: seconds and round trips against the number of hosts."""
    drawn = []
    for figure, caption, label in (
        ("seconds", "Seconds of a deploy", "seconds"),
        ("round_trips", "Round trips of a deploy, all hosts", "round trips"),
    ):
        series = {
            kind: [
                (int(hosts), one[figure]["median"], one[figure]["min"], one[figure]["max"])
                for hosts, one in by_hosts.items()
            ]
            for kind, by_hosts in kinds.items()
        }
        words = "; ".join(
            f"{kind}: " + ", ".join(f"{point[1]:,.1f} at {point[0]}" for point in points)
            for kind, points in series.items()
        )
        if series:
            svg = charts.ladder(series, [], f"{caption}. {words}", ("hosts", label))
            drawn.append({"caption": caption, "svg": svg})
    return drawn


def page(document: Mapping[str, Any], comparison: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data for the page's template.

    Args:
        document: the document of benchmarks/results.py.
        comparison: the document of benchmarks/comparison.py; empty if there is none.
    """
    served, deployed = document["servers"], document.get("deploys", {})
    return {
        "servers": served,
        "verdict": figures.verdict(served["cases"]),
        "cases": [case(name, one) for name, one in served["cases"].items()],
        "candidate_rows": candidate_rows(served["cases"]),
        "deploys": deployed,
        "deploy_charts": deploy_charts(deployed.get("kinds", {})),
        "deploy_rows": deploy_rows(deployed.get("kinds", {})),
        "fleet": document.get("fleet", {}),
        "fleet_rows": fleet_rows(document.get("fleet", {}).get("runs", [])),
        "target_rows": target_rows(targets(document, comparison)),
    }
