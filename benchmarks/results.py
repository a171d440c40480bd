"""Combines the measurements into results.json, RESULTS.md and a page; ``python -m benchmarks.results``."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / ".collections"))

from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.report import charts  # noqa: E402

from benchmarks.targets import targets  # noqa: E402

REPORTS = ROOT / "reports" / "bench"
# The figures of `make compare`, as benchmarks/comparison.py stores them.
COMPARISON = ROOT / "benchmarks" / "comparison.json"
# The server that ratios refer to, and those that one would choose instead.
OURS, CEILING = "uwsgi-gevent", "uwsgi-bare"
PEERS = ("gunicorn-gevent", "gunicorn-gthread", "granian")

HEADER = """\
<!-- Written by `make bench`. -->

# Benchmarks

Measured on {date} by `make bench`: {cores} cores ({processor}), {distribution}, Linux {kernel}. Client, servers and
Ansible shared these cores, and other work may have run on the machine: compare the lines of one table, not tables.

## Servers

{requests:,} requests, {concurrency:,} at a time (`ab`), to the endpoint that waits 0.2 s, so {ideal:,.0f} requests per
second are the ideal; {rounds} rounds, every round begins with another server; {processes} processes each. Medians; in
brackets the least and the most of the rounds. CPU is that of the server alone; "cores busy" shows how much of all
cores server, client, kernel and whatever else ran had in use: near 100 % the CPU is the limit.
"""
COMMANDS = """
The first four are deployed by the role, each in its hardened unit. `uwsgi-gevent-log` writes a line in the journal for
each request, as the role does by default; the others do not, as gunicorn and granian do not by default. `uwsgi-bare`
is a WSGI function that waits and answers `{{}}`: what uWSGI can do where the application costs nothing.

{commands}
"""
DEPLOYS = """
## Deploys

Seconds of `ansible-playbook deploy.yml` as an operator waits for them (median; least and most where there are several),
and round trips (SSH commands) of all hosts. `first` begins with hosts that have nothing, and with the wheels built.
`new code` goes to one host first and then in batches of a quarter, each watched for three seconds. `ten tasks` is
`benchmarks/ten_tasks.yml`, ten ordinary tasks that change nothing, for scale. Each further host costs, from the line
through the medians: {growth}.
"""
FLEET = """
## Many hosts

`python -m benchmarks.fleet`: a deploy with nothing to do to hosts that answer at once, with what a real host answered
(`benchmarks/fleet/answers.json`). This leaves the controller's own work, on two cores: seconds from start to end, CPU
seconds of Ansible and all its processes, and peak memory of Ansible's main process and of all its processes.
"""
TARGETS = """
## Targets

What this project holds itself to, on two cores that the client shares. What concerns `threads = 3000` and 10,000
concurrent is of `make compare` ([comparison.json](comparison.json)), the rest is from the tables above. Why one is not
met, and what the limit is: [where a request goes](../docs/HOW_IT_WORKS.md#where-a-request-goes) and
[where a deploy goes](../docs/HOW_IT_WORKS.md#where-a-deploy-goes).
"""


def spread(values: Iterable[float]) -> dict[str, float]:
    """Return the median, the minimum and the maximum.

    Raises:
        ValueError: there is no value.
    """
    found = sorted(values)
    if not found:
        raise ValueError("nothing was measured")
    return {"median": statistics.median(found), "min": found[0], "max": found[-1]}


def servers(runs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the figures of each server: spreads over the measured rounds, and the total of failed requests.

    Args:
        runs: what benchmarks/servers.yml wrote.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(run["variant"] for run in runs):
        own = [run for run in runs if run["variant"] == name]
        one: dict[str, Any] = {
            "requests": sum(run["complete"] or 0 for run in own),
            "failed": sum((run["complete"] or 0) - run["answered"] for run in own),
            "reasons": sorted({run["reason"] for run in own if run["reason"]}),
            "command": own[0]["settings"].get("command", ""),
        }
        measured = [run for run in own if run["outcome"] == "measured"]
        if measured:
            for key in ("requests_per_second", "p50_ms", "p99_ms"):
                one[key] = spread(run[key] for run in measured)
            one["cpu_ms"] = spread(
                1000 * (run["after"]["cpu_s"] - run["before"]["cpu_s"]) / run["complete"] for run in measured
            )
            one["busy"] = spread(
                (run["after"]["busy_ticks"] - run["before"]["busy_ticks"])
                / (run["after"]["all_ticks"] - run["before"]["all_ticks"])
                for run in measured
            )
            one["memory_mb"] = spread(run["after"]["memory_mb"] for run in measured)
            one["threads"] = spread(run["after"]["threads"] for run in measured)
        found[name] = one
    rate = found.get(OURS, {}).get("requests_per_second")
    for one in found.values():
        if rate and one.get("requests_per_second"):
            one["ratio"] = one["requests_per_second"]["median"] / rate["median"]
    return found


def deploys(runs: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the figures of each kind of deploy by the number of hosts.

    Args:
        runs: what benchmarks/deploys.py wrote.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for run in runs:
        # As text, because JSON turns it into text.
        found.setdefault(run["kind"], {}).setdefault(str(run["hosts"]), {})
    for kind, by_hosts in found.items():
        for hosts in by_hosts:
            own = [run for run in runs if (run["kind"], str(run["hosts"])) == (kind, hosts)]
            by_hosts[hosts] = {
                "seconds": spread(run["seconds"] for run in own),
                "round_trips": spread(run["round_trips"] for run in own),
            }
    return found


def growth(by_hosts: Mapping[str, Mapping[str, Any]]) -> float:
    """Return the seconds that each further host adds."""
    medians = [figures["seconds"]["median"] for figures in by_hosts.values()]
    return statistics.linear_regression([int(hosts) for hosts in by_hosts], medians).slope


def shown(one: Mapping[str, float] | None, digits: int = 0) -> str:
    """Format a spread."""
    if not one:
        return "–"
    middle = f"{one['median']:,.{digits}f}"
    return middle if one["min"] == one["max"] else f"{middle} ({one['min']:,.{digits}f}–{one['max']:,.{digits}f})"


def middle(one: Mapping[str, float] | None, digits: int = 0) -> str:
    """Format the median of a spread."""
    return f"{one['median']:,.{digits}f}" if one else "–"


def server_rows(found: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return a row of texts by column for each server, the fastest first."""
    ranked = sorted(found, key=lambda name: -found[name].get("ratio", 0))
    return [
        {
            "server": name,
            "req/s": shown(one.get("requests_per_second")),
            f"× {OURS}": f"{one['ratio']:.2f}" if one.get("ratio") else "–",
            "p50 ms": middle(one.get("p50_ms")),
            "p99 ms": shown(one.get("p99_ms")),
            "CPU ms/request": middle(one.get("cpu_ms"), 2),
            "cores busy": f"{100 * one['busy']['median']:.0f} %" if one.get("busy") else "–",
            "MB": middle(one.get("memory_mb")),
            "threads": middle(one.get("threads")),
            "failed": f"{one['failed']:,} of {one['requests']:,}",
        }
        for name, one in ((name, found[name]) for name in ranked)
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
            "hosts": f"{run['hosts']:,}",
            "seconds": f"{run['seconds']:,.1f}",
            "s/host": f"{run['seconds'] / run['hosts']:.3f}",
            "CPU s/host": f"{run['cpu_s'] / run['hosts']:.3f}",
            "main MB": f"{run['main_mb']:,.0f}",
            "all MB": f"{run['tree_mb']:,.0f}",
        }
        for run in runs
    ]


def target_rows(document: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return a row of texts by column for each target and its measurement."""
    comparison = json.loads(COMPARISON.read_text()) if COMPARISON.is_file() else {}
    return [target.row() for target in targets(document, comparison, PEERS)]


def verdict(found: Mapping[str, Mapping[str, Any]], ideal: float) -> list[str]:
    """Return sentences that interpret the servers' figures."""
    rates = {name: one["requests_per_second"]["median"] for name, one in found.items() if "requests_per_second" in one}
    if OURS not in rates:
        return [f"{OURS} was not measured: there is nothing to compare with."]
    said = [f"{OURS} serves {100 * rates[OURS] / ideal:.0f} % of the ideal {ideal:,.0f} requests per second."]
    best = max((name for name in PEERS if name in rates), key=lambda name: rates[name], default=None)
    if best:
        said.append(f"That is {rates[OURS] / rates[best]:.2f} × {best}, the best of the others.")
    if CEILING in rates:
        said.append(f"A bare function gets {rates[CEILING] / rates[OURS]:.2f} × that: the rest is the application.")
    return said


def markdown(rows: Sequence[Mapping[str, str]]) -> str:
    """Return rows of texts as a table; all but the first column are right-aligned."""
    head = list(rows[0])
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *([row[name] for name in head] for row in rows)]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def page(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data for the page's template: the document, the tables' rows, and charts by subject."""
    by_server, by_kind = document["servers"], document["deploys"]
    rates = {name: one["requests_per_second"]["median"] for name, one in by_server.items() if "ratio" in one}
    rates = dict(sorted(rates.items(), key=lambda item: -item[1]))
    cpu = {name: by_server[name]["cpu_ms"]["median"] for name in rates}
    memory = {name: by_server[name]["memory_mb"]["median"] for name in rates}

    def bars(values: Mapping[str, float], unit: str, caption: str) -> list[dict[str, str]]:
        words = "; ".join(f"{name}: {charts.number(value)} {unit}" for name, value in values.items())
        return [{"caption": caption, "svg": charts.bars(values, unit, f"{caption}. {words}")}] if values else []

    def lines(figure: str, caption: str, label: str) -> list[dict[str, str]]:
        series = {
            kind: [
                (int(hosts), one[figure]["median"], one[figure]["min"], one[figure]["max"])
                for hosts, one in by_hosts.items()
            ]
            for kind, by_hosts in by_kind.items()
        }
        words = "; ".join(
            f"{kind}: " + ", ".join(f"{figures[0]:,.1f} at {hosts}" for hosts, *figures in points)
            for kind, points in series.items()
        )
        svg = charts.ladder(series, [], f"{caption}. {words}", ("hosts", label))
        return [{"caption": caption, "svg": svg}] if series else []

    drawn = {
        "throughput": bars(rates, "req/s", "Requests per second, median of the rounds"),
        "cost": [
            *bars(cpu, "ms", "CPU of the server for one request"),
            *bars(memory, "MB", "Memory of the server; what processes share counts once"),
        ],
        "deploys": [
            *lines("seconds", "Seconds of a deploy", "seconds"),
            *lines("round_trips", "Round trips of a deploy, all hosts", "round trips"),
        ],
    }
    return {
        "bench": document,
        "charts": drawn,
        "server_rows": server_rows(by_server),
        "deploy_rows": deploy_rows(by_kind),
        "target_rows": target_rows(document),
    }


def found(name: str) -> dict[str, Any]:
    """Return what one of the measurements wrote.

    Args:
        name: the file's name.

    Raises:
        SystemExit: the file is missing, or contains no run; with the remedy.
    """
    path = REPORTS / name
    document: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    if not document.get("runs"):
        raise SystemExit(f"{path.relative_to(ROOT)} holds no run: measure first, with `make bench`")
    return document


def main() -> None:
    """Write everything that is derived from the measurements."""
    measured, deployed = found("servers.json"), found("deploys.json")
    runs = measured["runs"]
    document = {
        "format": 1,
        "date": measured["finished_at"],
        "machine": measured["machine"],
        "requests": runs[0]["requests"],
        "concurrency": runs[0]["concurrency"],
        "rounds": max(run["round"] for run in runs),
        "ideal": runs[0]["concurrency"] / 0.2,
        "servers": servers(runs),
        "deploys": deploys(deployed["runs"]),
        "fleet": found("fleet.json")["runs"],
    }
    document["verdict"] = verdict(document["servers"], document["ideal"])
    commands = "\n".join(f"- {name}: `{one['command']}`" for name, one in document["servers"].items() if one["command"])
    each = ", ".join(f"{kind} {growth(by_hosts):.1f} s" for kind, by_hosts in document["deploys"].items())
    text = (
        HEADER.format(
            **{**document, **document["machine"], "date": document["date"][:10], "processes": 4}
        )
        + "\n" + markdown(server_rows(document["servers"])) + "\n" + " ".join(document["verdict"]) + "\n"
        + COMMANDS.format(commands=commands)
        + DEPLOYS.format(growth=each) + "\n" + markdown(deploy_rows(document["deploys"]))
        + FLEET + "\n" + markdown(fleet_rows(document["fleet"]))
        + TARGETS + "\n" + markdown(target_rows(document))
    )  # fmt: skip
    (ROOT / "benchmarks" / "RESULTS.md").write_text(text)
    (ROOT / "benchmarks" / "results.json").write_text(json.dumps(document, indent=2) + "\n")
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(ROOT / "templates"))
    (REPORTS / "index.html").write_text(environment.get_template("bench.html.j2").render(**page(document)))
    print(text)


if __name__ == "__main__":
    main()
