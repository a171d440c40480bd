"""Turns single measurements into figures: medians of rounds, ratios, seconds for each further host."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# The server that ratios refer to, and what uWSGI can do where the application costs nothing.
OURS, CEILING = "uwsgi-gevent", "uwsgi-bare"
# The servers that one would choose instead. The unpatched uWSGI is not one of them: it is the same server.
PEERS = ("gunicorn-gevent", "gunicorn-gthread", "granian", "mod-wsgi", "waitress")

# How the verdict names the cases that are not the usual ones.
WHERE = {"compute": " without a wait", "secure": " through the balancer"}


def spread(values: Iterable[float]) -> dict[str, float]:
    """Return the median, the minimum and the maximum.

    Raises:
        ValueError: there is no value.
    """
    found = sorted(values)
    if not found:
        raise ValueError("nothing was measured")
    return {"median": statistics.median(found), "min": found[0], "max": found[-1]}


def server(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the figures of one server in one case: spreads over the measured rounds, and the total of failed requests.

    Args:
        runs: its records, of at least one round.

    Returns:
        Among others ``threads``, chosen for each process (0 if there is no choice), ``cpu_ms`` of the server for each
        request, ``busy``, the share of all cores that was in use, ``memory_mb``, the most under load, ``memory_kb``,
        what a request in flight adds to the memory without load, and ``all_threads``.
    """
    one: dict[str, Any] = {
        "threads": runs[0]["threads"],
        "requests": sum(run["complete"] or 0 for run in runs),
        "failed": sum((run["complete"] or 0) - run["answered"] for run in runs),
        "reasons": sorted({run["reason"] for run in runs if run["reason"]}),
    }
    measured = [run for run in runs if run["outcome"] == "measured"]
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
        one["memory_mb"] = spread(run["after"]["most_mb"] for run in measured)
        one["memory_kb"] = spread(
            1024 * (run["after"]["most_mb"] - run["idle"]["memory_mb"]) / run["concurrency"] for run in measured
        )
        one["all_threads"] = spread(run["after"]["threads"] for run in measured)
    return one


def case(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the figures of one case.

    Args:
        runs: its records. Those of round 0 chose the threads, and are not part of a server's figures.

    Returns:
        The ``servers`` by name, and of those that were tried with several numbers of threads the ``candidates``:
        figures by name and number.
    """
    counted = [run for run in runs if run["round"]]
    by_name = {
        name: server([run for run in counted if run["server"] == name])
        for name in dict.fromkeys(run["server"] for run in counted)
    }
    rate = by_name.get(OURS, {}).get("requests_per_second")
    for one in by_name.values():
        if rate and one.get("requests_per_second"):
            one["ratio"] = one["requests_per_second"]["median"] / rate["median"]
    candidates: dict[str, dict[str, Any]] = {}
    for run in runs:
        if not run["round"]:
            # As text, because JSON turns it into text.
            candidates.setdefault(run["server"], {})[str(run["threads"])] = server([run])
    return {"servers": by_name, "candidates": candidates}


def servers(measured: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of the results about servers.

    Args:
        measured: what benchmarks/servers.yml wrote.
    """
    runs = measured["runs"]
    cases = {}
    for wanted in measured["cases"]:
        own = [run for run in runs if run["case"] == wanted["name"]]
        if own:
            wait = wanted.get("wait_s")
            cases[wanted["name"]] = {
                "concurrency": wanted["concurrency"],
                "requests": own[0]["requests"],
                "ideal": wanted["concurrency"] / wait if wait else None,
                **case(own),
            }
    # Later runs last: their threads are those that were chosen.
    commands = {run["server"]: without_threads(run) for run in runs if run["command"]}
    return {
        "date": measured["date"],
        "machine": measured["machine"],
        "processes": measured["processes"],
        "rounds": max(run["round"] for run in runs),
        "cases": cases,
        "commands": commands,
    }


def without_threads(run: Mapping[str, Any]) -> str:
    """Return the command of a run without its paths, and with THREADS in place of the number that was tried."""
    words = [
        word.rsplit("/", 1)[-1] if "/bin" in word or "-stock/" in word else word for word in run["command"].split()
    ]
    if not run["threads"]:
        return " ".join(words)
    number = str(run["threads"])
    told = [
        "THREADS" if word == number and "threads" in before else word.replace(f"threads={number}", "threads=THREADS")
        for before, word in zip(["", *words], words, strict=False)
    ]
    return " ".join(told)


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


def ranked(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the names of the servers of a case, the fastest first.

    Args:
        found: the figures by server.
    """
    return sorted(found, key=lambda name: -found[name].get("ratio", 0))


def best_peer(figures: Mapping[str, Mapping[str, Any]], key: str, most: bool = True) -> tuple[str, float] | None:
    """Return the other server whose median is the best, with that median; None if none was measured.

    Args:
        figures: the servers of a case.
        key: the figure.
        most: whether the most is the best, rather than the least.
    """
    found = [(name, figures[name][key]["median"]) for name in PEERS if figures.get(name, {}).get(key)]
    return (max if most else min)(found, key=lambda item: item[1], default=None)


def verdict(cases: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return sentences that interpret the servers' figures.

    Args:
        cases: those of :func:`servers`.
    """
    said = []
    for name, one in cases.items():
        figures = one["servers"]
        ours = figures.get(OURS, {}).get("requests_per_second")
        if not ours:
            continue
        sentence = (
            f"At {one['concurrency']:,} concurrent{WHERE.get(name, '')}, {OURS} serves {ours['median']:,.0f} requests"
        )
        sentence += (
            f" per second, {100 * ours['median'] / one['ideal']:.0f} % of the ideal" if one["ideal"] else " per second"
        )
        best = best_peer(figures, "requests_per_second")
        if best:
            sentence += f": {ours['median'] / best[1]:.2f} × {best[0]}, the best of the others"
        said.append(f"{sentence}.")
    return said or [f"{OURS} was not measured: there is nothing to compare with."]
