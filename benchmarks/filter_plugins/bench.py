"""Filters for benchmarks/servers.yml: which server is measured when, and with how many threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any


def variants(servers: Sequence[Mapping[str, Any]], cases: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return each server with each number of threads that it is tried with.

    Args:
        servers: each with a ``name``; ``threaded`` if it is tried with several numbers of threads, which replace
            ``{threads}`` in its ``command``; and ``cases``, the names of its cases, if not all are.
        cases: each with a ``name`` and the numbers of ``threads`` to try.

    Returns:
        Variants: the server with the ``name`` of the variant, that of the ``server``, its ``threads`` (0 if it is tried
        with one setting only) and its ``cases``, in the order of ``cases``.
    """
    found = []
    for server in servers:
        own = [case for case in cases if case["name"] in server.get("cases", [case["name"]])]
        for count in sorted({count for case in own for count in case["threads"]}) if server.get("threaded") else [0]:
            one = {
                **server,
                "name": f"{server['name']}-{count}" if count else server["name"],
                "server": server["name"],
                "threads": count,
                "cases": [case["name"] for case in own if not count or count in case["threads"]],
            }
            if "command" in server:
                one["command"] = server["command"].replace("{threads}", str(count))
            found.append(one)
    return found


def deployed(
    servers: Sequence[Mapping[str, Any]], cases: Sequence[Mapping[str, Any]], port: int
) -> list[dict[str, Any]]:
    """Return the variants of the servers that the role deploys, each an application with a port of its own.

    Args:
        servers: see :func:`variants`.
        cases: see :func:`variants`.
        port: the first one's.
    """
    return [
        {**one, "app": one["name"].replace("-", "_"), "port": port + place}
        for place, one in enumerate(variants(servers, cases))
    ]


def candidates(tried: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the turns that choose the threads: each variant of a server that has several, with all its cases.

    Args:
        tried: what :func:`variants` returns.
    """
    return [{"round": 0, "variant": one["name"], "cases": one["cases"]} for one in tried if one["threads"]]


def best(tried: Sequence[Mapping[str, Any]], runs: Sequence[Mapping[str, Any]], server: str, case: str) -> str:
    """Return the variant of a server that serves a case best: without a failed request, then most requests per second.

    Args:
        tried: what :func:`variants` returns.
        runs: the records of the turns that choose.
        server: its name.
        case: its name.
    """
    able: list[str] = [one["name"] for one in tried if one["server"] == server and case in one["cases"]]
    rates = {
        run["variant"]: (run["complete"] == run["answered"], run["requests_per_second"])
        for run in runs
        if (run["round"], run["case"], run["outcome"]) == (0, case, "measured")
    }
    return max(able, key=lambda name: rates.get(name, (False, 0)))


def turns(tried: Sequence[Mapping[str, Any]], runs: Sequence[Mapping[str, Any]], number: int) -> list[dict[str, Any]]:
    """Return the turns of a round, in which each server serves each of its cases once, with the threads chosen for it.

    Every round begins with another server, so that none is always the first on an idle machine.

    Args:
        tried: what :func:`variants` returns.
        runs: the records of the turns that choose.
        number: of the round, from 1 on.
    """
    found = []
    for one in tried:
        cases = [case for case in one["cases"] if best(tried, runs, one["server"], case) == one["name"]]
        if cases:
            found.append({"round": number, "variant": one["name"], "cases": cases})
    # A third further each time, so that three rounds begin far apart.
    first = (number - 1) * max(1, len(found) // 3) % max(1, len(found))
    return found[first:] + found[:first]


class FilterModule:
    """The filters by name."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by the names that templates use."""
        return {
            "bench_applications": deployed,
            "bench_variants": variants,
            "bench_candidates": candidates,
            "bench_turns": turns,
        }
