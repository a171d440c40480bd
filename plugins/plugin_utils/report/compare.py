"""Plans a comparison of several ways to serve, and interprets its figures.

Pure functions over plain data. :func:`document` creates the content of ``reports/compare/compare.json``.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ...module_utils.traffic.status import Status
from .loadtest import Run, run_record

FORMAT = 1
# Medians closer than this are considered equal: the clock of ab and two shared cores cause as much noise.
_ALIKE = 0.05
# The share of a bound above which the bound is considered the reason.
_NEAR = 0.85
_FIGURES = ("requests_per_second", "p50_ms", "p95_ms", "p99_ms", "max_ms", "rss_mb", "threads")


@dataclass(frozen=True)
class Spread:
    """A figure of several rounds."""

    median: float
    min: float
    max: float


@dataclass(frozen=True)
class Entry:
    """What the rounds of one variant came to at one concurrency; a figure is None if no round measured it.

    Args:
        variant: the variant's name.
        concurrency: requests in flight.
        rounds: the rounds that measured.
        requests: requests of all rounds that ended.
        failed: those without a good answer.
        reasons: why rounds did not measure.
        requests_per_second: complete requests by seconds.
        p50_ms: milliseconds within which half of the requests were served; likewise the other latencies.
        rss_mb: resident memory of the workers in megabytes.
        threads: their threads.
    """

    variant: str
    concurrency: int
    rounds: int
    requests: int
    failed: int
    reasons: list[str]
    requests_per_second: Spread | None
    p50_ms: Spread | None
    p95_ms: Spread | None
    p99_ms: Spread | None
    max_ms: Spread | None
    rss_mb: Spread | None
    threads: Spread | None

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Entry:
        """Return the entry that a document's summary has."""
        figures = {name: document[name] and Spread(**document[name]) for name in _FIGURES}
        return cls(**{name: figures.get(name, document[name]) for name in cls.__dataclass_fields__})


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
        entry = f"compare_variants has {dict(one)}"
        if not str(one.get("name") or "").replace("-", "").isalnum():
            found.append(f"{entry}: give it a name of letters, digits and -")
        if one.get("mode") not in ("gevent", "threads"):
            found.append(f"{entry}: set its mode to gevent or threads")
        if not isinstance(one.get("stock", False), bool):
            found.append(f"{entry}: set stock to true or false")
        if not _whole(one.get("cores"), 1, 100000):
            found.append(f"{entry}: set its cores (greenlets or threads per worker) to a whole number")
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
    answered = max(0, complete - _lost(record))
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


def _lost(record: Run) -> int:
    """Return how many requests got no good answer."""
    failures: Mapping[str, int] = record.rest.get("failures", {})
    if "length" not in failures:
        return min(record.failed or 0, record.complete or 0) + (record.non_2xx or 0)
    # ab counts one lost request under up to three kinds, and an error page by its length and by its status.
    return max(*failures.values(), record.non_2xx or 0)


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
    summary = [_entry(one["name"], c, runs) for one in variants for c in ladder]
    return {
        "format": FORMAT,
        **facts,
        "variants": list(variants),
        "runs": list(runs),
        "summary": [asdict(entry) for entry in summary],
        "verdict": verdict(variants, summary, facts.get("wait_s")),
    }


def _entry(variant: str, concurrency: int, all_runs: Sequence[Mapping[str, Any]]) -> Entry:
    runs = [run for run in all_runs if (run["variant"], run["concurrency"]) == (variant, concurrency)]
    measured = [run for run in runs if run["outcome"] == "measured"]
    figures: dict[str, Spread | None] = {}
    for name in _FIGURES:
        values = [run[name] for run in measured if run.get(name) is not None]
        figures[name] = Spread(statistics.median(values), min(values), max(values)) if values else None
    return Entry(
        variant=variant,
        concurrency=concurrency,
        rounds=len(measured),
        requests=sum(run["complete"] or 0 for run in runs),
        failed=sum((run["complete"] or 0) - run["answered"] for run in runs),
        reasons=sorted({run["reason"] for run in runs if run["reason"]}),
        **figures,
    )


def ideal(concurrency: int, wait_s: float | None) -> float | None:
    """Return the maximum requests per second for this many clients, each of which waits for its response."""
    return concurrency / wait_s if wait_s else None


def verdict(variants: Sequence[Mapping[str, Any]], summary: Sequence[Entry], wait_s: float | None) -> list[str]:
    """Return sentences about what the figures mean, and why.

    Args:
        variants: name, mode, cores and processes of each.
        summary: the figures of each at each concurrency.
        wait_s: the endpoint's wait in seconds; None if unknown.
    """
    rows = {(entry.variant, entry.concurrency): entry for entry in summary}
    rates = {place: entry.requests_per_second for place, entry in rows.items() if entry.requests_per_second}
    ladder = sorted({entry.concurrency for entry in summary})
    names = [one["name"] for one in variants]
    sentences = []
    whole = [c for c in ladder if all((name, c) in rates for name in names)]
    same = [c for c in whole if alike([rates[name, c] for name in names])]
    if same:
        top = max(same)
        rate = statistics.median(rates[name, top].median for name in names)
        limit = ideal(top, wait_s)
        reason = (
            f", since {top} clients that wait {wait_s} s can send no more than {limit:,.0f} requests per second"
            if limit and rate >= _NEAR * limit
            else ""
        )
        sentences.append(f"At {top} concurrent all serve {rate:,.0f} req/s: indistinguishable{reason}.")
    apart = [c for c in whole if c not in same]
    if apart:
        at = 1000 if 1000 in apart else max(apart)
        served = {name: rates[name, at].median for name in names}
        ranked = sorted(names, key=lambda name: -served[name])
        best, last = ranked[0], ranked[-1]
        list_of = ", ".join(f"{name} {served[name]:,.0f}" for name in ranked)
        ratio = served[best] / served[last] if served[last] else float("inf")
        variant = next(one for one in variants if one["name"] == last)
        reason = why(variant, served[last], at, wait_s)
        sentences.append(f"At {at} concurrent (req/s): {list_of}; {best} serves {ratio:.1f} × {last}{reason}.")
    lost = [
        f"{name} lost {row.failed:,} of {row.requests:,} at {c}"
        for c in ladder
        for name in names
        if (row := rows[name, c]).failed
    ]
    if lost:
        sentences.append(f"Failed requests: {'; '.join(lost)}.")
    elif whole and not any(row.reasons for row in rows.values()):
        sentences.append("No request failed.")
    missing = [f"{name} at {c}" for c in ladder for name in names if (name, c) not in rates]
    if missing:
        sentences.append(f"Not measured: {', '.join(missing)}; the table has the reasons.")
    if not whole:
        sentences.insert(0, "Nothing can be compared: all variants were measured together at no concurrency.")
    return sentences


def alike(spreads: Sequence[Spread]) -> bool:
    """Return whether medians differ by no more than the rounds of one variant, or only slightly."""
    medians = [one.median for one in spreads]
    if max(medians) - min(medians) <= _ALIKE * max(medians):
        return True
    return max(one.min for one in spreads) <= min(one.max for one in spreads)


def why(variant: Mapping[str, Any], rate: float, concurrency: int, wait_s: float | None) -> str:
    """Return the reason why a variant serves less than the others, if the figures show one.

    Args:
        variant: its name, mode, cores and processes.
        rate: its requests per second.
        concurrency: requests in flight.
        wait_s: the endpoint's wait in seconds; None if unknown.
    """
    slots = variant["cores"] * variant["processes"]
    if wait_s and slots < concurrency and rate >= _NEAR * slots / wait_s:
        return f", whose {slots:,} {'threads' if variant['mode'] == 'threads' else 'greenlets'} are all busy"
    return ""
