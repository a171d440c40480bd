"""Combines the measurements into results.json, RESULTS.md and a page; ``python -m benchmarks.results``."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / ".collections"))

from benchmarks import figures  # noqa: E402
from benchmarks.page import page  # noqa: E402
from benchmarks.tables import (  # noqa: E402
    candidate_rows,
    deploy_rows,
    fleet_rows,
    markdown,
    readme_rows,
    server_rows,
    target_rows,
)
from benchmarks.targets import targets  # noqa: E402

REPORTS = ROOT / "reports" / "bench"
RESULTS = ROOT / "benchmarks" / "results.json"
# The figures of `make compare`, as benchmarks/comparison.py stores them.
COMPARISON = ROOT / "benchmarks" / "comparison.json"
FORMAT = 2
# The parts of the results, each measured by itself into a file of its own.
PARTS = ("servers", "deploys", "fleet")

HEADER = """\
<!-- Written by `make bench`. -->

# Benchmarks

Measured by `make bench`: {cores} cores ({processor}), {distribution}, Linux {kernel}. Client, servers and Ansible
shared these cores, and other work may have run on the machine: compare the lines of one table, not tables.
"""
SERVERS = """
## Servers

Measured on {date}. {processes} processes each; {rounds} rounds, every round begins with another server. Medians; in
brackets the least and the most of the rounds. `threads each` is the number of threads of a process, chosen before the
rounds ([below](#threads)). CPU is that of the server alone; "cores busy" shows how much of all cores server, client,
kernel and whatever else ran had in use: near 100 % the CPU is the limit. MB is the most memory that the server had
under load; what processes share counts once. KB/request is the difference to the server before its first request,
divided by the requests in flight.

`uwsgi-…` are deployed by the role, each in its hardened unit. `uwsgi-gevent-log` writes a line in the journal for each
request, as the role does by default; the others do not, as the other servers do not by default. `uwsgi-bare` is a WSGI
function that waits and answers `{{}}`: what uWSGI can do where the application costs nothing. `stock-…` is uWSGI as its
authors release it, without this project's patches: the same server, so it is not one of "the others". waitress has no
worker processes: it is one process, with the threads in the table.

{verdict}
"""
CASES = {
    "compute": """
### Without a wait

{requests:,} requests, {concurrency:,} at a time (`ab`), to `/healthz`, which does not wait: the CPU is the limit.
""",
    "wait": """
### 1,000 at a time

{requests:,} requests, {concurrency:,} at a time (`ab`), to the endpoint that waits 0.2 s, so {ideal:,.0f} requests per
second are the ideal.
""",
    "secure": """
### Through the balancer

The same, through HAProxy of the role `load_balancer` on a host of its own, over TLS: {requests:,} requests,
{concurrency:,} at a time (`h2load`), on persistent HTTP/1.1 connections. CPU and memory are those of the server without
the balancer.
""",
    "crowd": """
### 4,000 at a time

{requests:,} requests, {concurrency:,} at a time (`ab`), to the same endpoint: {ideal:,.0f} requests per second would be
the ideal, but the CPU is the limit.
""",
}
THREADS = """
### Threads

Requests per second and p99 of each server with each number of threads per process, one run each, before the rounds: ✓
is the best of its line, without a failed request if there is one, and was measured in the rounds.
"""
COMMANDS = """
### Commands

In the directory of the application, with `THREADS` as chosen:

{commands}
"""
DEPLOYS = """
## Deploys

Measured on {date}. Seconds of `ansible-playbook deploy.yml` as an operator waits for them (median; least and most
where there are several), and round trips (SSH commands) of all hosts. `first` begins with hosts that have nothing,
and with the wheels built. `new code` goes to one host first and then in batches of half of all, each watched for three
seconds. `ten tasks` is `benchmarks/ten_tasks.yml`, ten ordinary tasks that change nothing, for scale. Each further
host costs, from the line through the medians: {growth}.
"""
FLEET = """
## Many hosts

Last measured on {date}. `python -m benchmarks.fleet`: deploys to hosts that answer at once, with what a real host
answered (`benchmarks/fleet/answers.json`). This leaves the controller's own work, on two cores: seconds from start to
end, CPU seconds of Ansible and all its processes, and peak memory of Ansible's main process and of all its processes.
"""
TARGETS = """
## Targets

What this project holds itself to, on two cores that the client shares. What concerns 10,000 concurrent, 3,000 threads,
and threads beside gevent is of `make compare` ([comparison.json](comparison.json)), the rest is from the tables above.
Why one is not met, and what the limit is: [where a request goes](../docs/HOW_IT_WORKS.md#where-a-request-goes) and
[where a deploy goes](../docs/HOW_IT_WORKS.md#where-a-deploy-goes).
"""


def part(name: str, measured: Mapping[str, Any], earlier: Mapping[str, Any]) -> dict[str, Any]:
    """Return a part of the results.

    Args:
        name: one of ``PARTS``.
        measured: what its measurement wrote.
        earlier: the part so far; empty if there is none. Of the fleet, runs of the same number of forks are kept.
    """
    if name == "servers":
        return figures.servers(measured)
    if name == "deploys":
        return {"date": measured["date"], "kinds": figures.deploys(measured["runs"])}
    # A thousand hosts take long, so one kind or number can be measured alone. Runs with other forks do not compare.
    kept = earlier["runs"] if earlier.get("forks") == measured["forks"] else ()
    runs = {(run["kind"], run["hosts"]): run for run in (*kept, *measured["runs"])}
    kinds = [kind for kind, _ in runs]
    return {**measured, "runs": sorted(runs.values(), key=lambda run: (kinds.index(run["kind"]), run["hosts"]))}


def combined(earlier: Mapping[str, Any], measured: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the results with the parts that were measured; the others keep their figures and their date.

    Args:
        earlier: the results so far; empty if there are none. Those of another format are not used.
        measured: by the name of the part, what its measurement wrote. One that is no newer than the results is left
            out, and so is one without a counted run, which was cut.
    """
    kept = earlier if earlier.get("format") == FORMAT else {}
    document: dict[str, Any] = {"format": FORMAT, **{name: kept[name] for name in PARTS if name in kept}}
    for name in PARTS:
        runs = measured.get(name, {}).get("runs", [])
        if any(run.get("round", 1) for run in runs) and measured[name]["date"] > kept.get(name, {}).get("date", ""):
            document[name] = part(name, measured[name], kept.get(name, {}))
    return document


def read(path: Path) -> dict[str, Any]:
    """Return the content of a file, which may be missing."""
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return found


def report(document: Mapping[str, Any], comparison: Mapping[str, Any]) -> str:
    """Return RESULTS.md.

    Args:
        document: the results.
        comparison: the document of benchmarks/comparison.py; empty if there is none.
    """
    served = document["servers"]
    commands = "\n".join(f"- {name}: `{command}`" for name, command in served["commands"].items())
    text = HEADER.format(**served["machine"])
    text += SERVERS.format(
        **{**served, "date": served["date"][:10]}, verdict=" ".join(figures.verdict(served["cases"]))
    )
    for name, one in served["cases"].items():
        text += CASES[name].format(**one) + "\n" + markdown(server_rows(one["servers"]))
        text += "".join(
            f"\n- {server}: {reason}\n" for server, of in one["servers"].items() for reason in of["reasons"]
        )
    if rows := candidate_rows(served["cases"]):
        text += THREADS + "\n" + markdown(rows, words=2)
    text += COMMANDS.format(commands=commands)
    if deployed := document.get("deploys"):
        each = ", ".join(f"{kind} {figures.growth(by_hosts):.1f} s" for kind, by_hosts in deployed["kinds"].items())
        text += (
            DEPLOYS.format(date=deployed["date"][:10], growth=each) + "\n" + markdown(deploy_rows(deployed["kinds"]))
        )
    if fleet := document.get("fleet"):
        text += FLEET.format(date=fleet["date"][:10]) + "\n" + markdown(fleet_rows(fleet["runs"]))
    return text + TARGETS + "\n" + markdown(target_rows(targets(document, comparison)))


def main() -> None:
    """Write everything that is derived from the measurements, and print the tables.

    Raises:
        SystemExit: the servers were never measured; with the remedy.
    """
    document = combined(read(RESULTS), {name: read(REPORTS / f"{name}.json") for name in PARTS})
    if "servers" not in document:
        raise SystemExit(f"{REPORTS.relative_to(ROOT)}/servers.json holds no round: measure first, with `make bench`")
    text = report(document, read(COMPARISON))
    (ROOT / "benchmarks" / "RESULTS.md").write_text(text)
    RESULTS.write_text(json.dumps(document, indent=2) + "\n")
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(ROOT / "templates"))
    REPORTS.mkdir(parents=True, exist_ok=True)
    rendered = environment.get_template("bench.html.j2").render(**page(document, read(COMPARISON)))
    (REPORTS / "index.html").write_text(rendered)
    print(text)
    print("README.md, Compared with other servers:\n")
    print(markdown(readme_rows(document["servers"]["cases"])))


if __name__ == "__main__":
    main()
