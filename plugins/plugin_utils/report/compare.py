"""Plans a comparison of several ways to serve, and interprets its figures.

Pure functions over plain data. :func:`document` creates the content of ``reports/compare/compare.json``.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...module_utils.traffic.status import Status
from .loadtest import run_record

FORMAT = 1
# Medians closer than this are considered equal: the clock of ab and two shared cores cause as much noise.
_ALIKE = 0.05
# The share of a bound above which the bound is considered the reason.
_NEAR = 0.85
_FIGURES = ("requests_per_second", "p50_ms", "p95_ms", "p99_ms", "max_ms", "rss_mb", "threads")


def requests_for(concurrency: int, per_client: int, most: int) -> int:
    """Return the number of requests of one run.

    Args:
        concurrency: requests in flight.
        per_client: requests that each client makes …
        most: … up to this total. Each client makes at least one.
    """
    return max(concurrency, min(concurrency * per_client, most))


def schedule(
    variants: Sequence[Mapping[str, Any]], ladder: Sequence[int], rounds: int, per_client: int, most: int
) -> list[dict[str, Any]]:
    """Return the turns of a comparison: one variant each, with its runs.

    Every round begins with another variant, so that none is always the first on an idle machine.

    Args:
        variants: each with a ``name``.
        ladder: requests in flight, one number for each run.
        rounds: number of turns of each variant.
        per_client: see :func:`requests_for`.
        most: see :func:`requests_for`.
    """
    runs = [{"concurrency": c, "requests": requests_for(c, per_client, most)} for c in sorted(set(ladder))]
    count = len(variants)
    return [
        {"round": number + 1, "variant": variants[(place + number) % count]["name"], "runs": runs}
        for number in range(rounds)
        for place in range(count)
    ]


def problems(settings: Mapping[str, Any], hosts: Sequence[str]) -> list[str]:
    """Return what is wrong with the settings of a comparison, each with its remedy.

    Args:
        settings: the role's variables without their prefix, as they were given.
        hosts: the hosts of the play.
    """
    found = []
    if len(hosts) != 1:
        found.append(f"a comparison loads one host, but the play has {len(hosts)}: name it with --limit HOST")
    for name, low, high in (("rounds", 1, 100), ("requests_per_client", 1, 10**6), ("requests_max", 1, 10**7),
                            ("time_limit_s", 5, 3600), ("health_timeout_s", 1, 3600)):  # fmt: skip
        if not _whole(settings[name], low, high):
            found.append(f"compare_{name}={settings[name]} is not valid: set it to a whole number, {low} to {high}")
    ladder = settings["concurrency"]
    if not isinstance(ladder, list) or not ladder or not all(_whole(c, 1, 10**6) for c in ladder):
        found.append(f"compare_concurrency={ladder} is not valid: set it to a list of whole numbers, such as [1, 100]")
    variants = settings["variants"]
    if not isinstance(variants, list) or not variants or not all(isinstance(one, Mapping) for one in variants):
        return [*found, f"compare_variants={variants} is not valid: set it to a list of dictionaries"]
    names = [str(one.get("name")) for one in variants]
    if len(set(names)) < len(names):
        found.append(f"compare_variants has names twice ({', '.join(names)}): give each its own name")
    for one in variants:
        told = f"compare_variants has {dict(one)}"
        if not str(one.get("name") or "").replace("-", "").isalnum():
            found.append(f"{told}: give it a name of letters, digits and -")
        if one.get("mode") not in ("gevent", "threads"):
            found.append(f"{told}: set its mode to gevent or threads")
        if not _whole(one.get("cores"), 1, 100000):
            found.append(f"{told}: set its cores (greenlets or threads per worker) to a whole number")
    return found


def _whole(value: Any, low: int, high: int) -> bool:
    try:
        return low <= int(str(value)) <= high
    except ValueError:
        return False


def machine(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts about a machine that matter to a reader of the figures."""
    processor = [str(part) for part in facts.get("ansible_processor", [])]
    names = ("distribution", "distribution_version")
    return {
        "cores": facts.get("ansible_processor_nproc") or facts.get("ansible_processor_vcpus"),
        "processor": processor[2] if len(processor) > 2 else "",
        "memory_mb": facts.get("ansible_memtotal_mb"),
        "distribution": " ".join(str(facts.get(f"ansible_{name}", "")) for name in names),
        "kernel": facts.get("ansible_kernel"),
    }


def run(turn: Mapping[str, Any], result: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, Any]:
    """Create the record of one run.

    Args:
        turn: variant, round, concurrency and requests.
        result: the registered result of the module ``flaskops.uwsgi.ab``.
        status: what the module ``flaskops.uwsgi.status`` returned after the run; empty if the host did not respond.
    """
    record = run_record(turn["variant"], turn["requests"], turn["concurrency"], result)
    complete = record.complete or 0
    # ab counts a lost request under up to three kinds.
    lost = min(record.failed or 0, complete) + (record.non_2xx or 0)
    answered = max(0, complete - lost)
    if record.outcome == "measured" and not answered:
        record = replace(record, outcome="failed", reason=f"none of {complete} requests got a good answer")
    found = Status.read(status) if status else None
    observed = found and found.observed
    return {
        **record.to_dict(),
        **turn,
        "answered": answered,
        "threads": (observed and observed.threads_per_worker * observed.workers) or None,
        "rss_mb": observed and observed.rss_mb,
        "generation": found and found.generation,
    }


def document(
    facts: Mapping[str, Any], variants: Sequence[Mapping[str, Any]], runs: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Create the document of a comparison.

    Args:
        facts: the settings and the machines; kept as they are. ``wait_s`` is the endpoint's wait in seconds, or None if
            unknown.
        variants: name, mode, cores and processes of each.
        runs: the records of :func:`run`.
    """
    ladder = sorted({run["concurrency"] for run in runs})
    summary = [_summary(one["name"], c, runs) for one in variants for c in ladder]
    found = {"format": FORMAT, **facts, "variants": list(variants), "runs": list(runs), "summary": summary}
    return found | {"verdict": verdict(found)}


def _summary(variant: str, concurrency: int, all_runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    runs = [run for run in all_runs if (run["variant"], run["concurrency"]) == (variant, concurrency)]
    measured = [run for run in runs if run["outcome"] == "measured"]
    found: dict[str, Any] = {
        "variant": variant,
        "concurrency": concurrency,
        "rounds": len(measured),
        "requests": sum(run["complete"] or 0 for run in runs),
        "failed": sum((run["complete"] or 0) - run["answered"] for run in runs),
        "reasons": sorted({run["reason"] for run in runs if run["reason"]}),
    }
    for name in _FIGURES:
        values = [run[name] for run in measured if run.get(name) is not None]
        found[name] = {"median": statistics.median(values), "min": min(values), "max": max(values)} if values else None
    return found


def ideal(concurrency: int, wait_s: float | None) -> float | None:
    """Return the maximum requests per second for this many clients, each of which waits for its response."""
    return concurrency / wait_s if wait_s else None


def verdict(found: Mapping[str, Any]) -> list[str]:
    """Return sentences about what the figures mean, and why.

    Args:
        found: variants, summary and the facts.
    """
    rows = {(row["variant"], row["concurrency"]): row for row in found["summary"]}
    ladder = sorted({row["concurrency"] for row in found["summary"]})
    names = [one["name"] for one in found["variants"]]
    sentences = []
    whole = [c for c in ladder if all(rows[name, c]["requests_per_second"] for name in names)]
    same = [c for c in whole if alike([rows[name, c]["requests_per_second"] for name in names])]
    if same:
        top = max(same)
        rate = statistics.median(rows[name, top]["requests_per_second"]["median"] for name in names)
        limit = ideal(top, found.get("wait_s"))
        reason = (
            f", since {top} clients that wait {found['wait_s']} s can send no more than {limit:,.0f} requests per "
            "second"
            if limit and rate >= _NEAR * limit
            else ""
        )
        sentences.append(f"At {top} concurrent all serve {rate:,.0f} req/s: indistinguishable{reason}.")
    apart = [c for c in whole if c not in same]
    if apart:
        at = 1000 if 1000 in apart else max(apart)
        ranked = sorted(names, key=lambda name: -rows[name, at]["requests_per_second"]["median"])
        best, last = ranked[0], ranked[-1]
        rates = {name: rows[name, at]["requests_per_second"]["median"] for name in ranked}
        list_of = ", ".join(f"{name} {rates[name]:,.0f}" for name in ranked)
        ratio = rates[best] / rates[last] if rates[last] else float("inf")
        reason = why(found, rows[last, at], last, at)
        sentences.append(f"At {at} concurrent (req/s): {list_of}; {best} serves {ratio:.1f} × {last}{reason}.")
    lost = [
        f"{name} lost {row['failed']:,} of {row['requests']:,} at {c}"
        for c in ladder
        for name in names
        if (row := rows[name, c])["failed"]
    ]
    if lost:
        sentences.append(f"Failed requests: {'; '.join(lost)}.")
    elif whole:
        sentences.append("No request failed.")
    missing = [f"{name} at {c}" for c in ladder for name in names if not rows[name, c]["requests_per_second"]]
    if missing:
        sentences.append(f"Not measured: {', '.join(missing)}; the table has the reasons.")
    if not whole:
        sentences.insert(0, "Nothing can be compared: all variants were measured together at no concurrency.")
    return sentences


def alike(spreads: Iterable[Mapping[str, float]]) -> bool:
    """Return whether medians differ by no more than the rounds of one variant, or only slightly."""
    found = list(spreads)
    medians = [one["median"] for one in found]
    if max(medians) - min(medians) <= _ALIKE * max(medians):
        return True
    return max(one["min"] for one in found) <= min(one["max"] for one in found)


def why(found: Mapping[str, Any], row: Mapping[str, Any], name: str, concurrency: int) -> str:
    """Return the reason why a variant serves less than the others, if the figures show one."""
    variant = next(one for one in found["variants"] if one["name"] == name)
    slots = variant["cores"] * variant["processes"]
    wait = found.get("wait_s")
    rate = row["requests_per_second"]["median"]
    if wait and slots < concurrency and rate >= _NEAR * slots / wait:
        return f", whose {slots:,} {'threads' if variant['mode'] == 'threads' else 'greenlets'} are all busy"
    threads = (row["threads"] or {}).get("median")
    if variant["mode"] == "threads" and threads and threads > concurrency:
        return f", each of whose {threads:,.0f} threads the kernel has to consider for every connection"
    return ""
