"""This project's targets, and what was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.figures import OURS, best_peer

CROWD = 10_000
# The numbers of recorded hosts; the last two are compared.
FLEET = (10, 100, 1000)
NOTHING = "nothing to do"
CORES = 2


@dataclass(frozen=True)
class Target:
    """One target.

    Args:
        goal: the target in words, with its figure.
        limit: the figure.
        measured: the measurement, in the same unit; None if it was not measured.
        least: whether the limit is a minimum rather than a maximum.
        unit: of the figure, shown after it.
    """

    goal: str
    limit: float
    measured: float | None
    least: bool = True
    unit: str = ""

    @property
    def met(self) -> bool | None:
        """Whether it is met; None if it was not measured."""
        if self.measured is None:
            return None
        return self.measured >= self.limit if self.least else self.measured <= self.limit

    def row(self) -> dict[str, str]:
        """Return it as texts by column."""
        if self.measured is None:
            return {"target": self.goal, "measured": "–", "met": "not measured"}
        digits = 0 if self.unit in ("", " %", " req/s") else 2
        return {
            "target": self.goal,
            "measured": f"{self.measured:,.{digits}f}{self.unit}" if math.isfinite(self.measured) else "no end",
            "met": "yes" if self.met else "no",
        }


def targets(results: Mapping[str, Any], comparison: Mapping[str, Any]) -> list[Target]:
    """Return all targets.

    Args:
        results: the document of benchmarks/results.py.
        comparison: the document of benchmarks/comparison.py; empty if there is none.
    """
    cases = results.get("servers", {}).get("cases", {})
    summary = {(row["variant"], row["concurrency"]): row for row in comparison.get("summary", [])}
    return [
        *served(cases),
        *modes(cases.get("crowd", {}), summary),
        *crowd(summary.get(("gevent", CROWD), {})),
        *deploys(results.get("deploys", {}).get("kinds", {})),
        *fleet(results.get("fleet", {}).get("runs", [])),
    ]


def served(cases: Mapping[str, Mapping[str, Any]]) -> list[Target]:
    """Return the targets for gevent mode beside the ideal and the other servers.

    Args:
        cases: of benchmarks/figures.py.
    """
    wait, many = (cases.get(name, {}) for name in ("wait", "crowd"))
    logged = wait.get("servers", {}).get("uwsgi-gevent-log")
    found = many.get("servers", {})
    ours = found.get(OURS, {})
    rate, cpu = (best_peer(found, key, most) for key, most in (("requests_per_second", True), ("cpu_ms", False)))
    return [
        Target(
            "gevent with its log serves 85 % of the ideal at 1,000 concurrent", 85,
            _ratio(_rate(logged), wait.get("ideal"), 100), unit=" %",
        ),
        Target(
            "gevent serves 1.6 × the best of the others at 4,000 concurrent", 1.6,
            _ratio(_rate(ours), rate and rate[1]), unit=" ×",
        ),
        Target(
            "the CPU of a request of the best of the others is 1.2 × that of gevent at 4,000 concurrent", 1.2,
            _ratio(cpu and cpu[1], ours.get("cpu_ms", {}).get("median")), unit=" ×",
        ),
    ]  # fmt: skip


def modes(many: Mapping[str, Any], summary: Mapping[tuple[str, int], Mapping[str, Any]]) -> list[Target]:
    """Return the targets for threads mode.

    Args:
        many: the case with many requests in flight, of benchmarks/figures.py; empty if it was not measured.
        summary: the entries of `make compare` by variant and requests in flight.
    """
    threads, most, stock, gevent = (
        summary.get((name, 1000), {}) for name in ("threads", "threads-3000", "stock-threads-3000", "gevent")
    )
    one = many.get("servers", {}).get("uwsgi-threads", {})
    # Each number of threads; the one that was chosen with the median of its rounds.
    tried = {**many.get("candidates", {}).get("uwsgi-threads", {}), **({str(one["threads"]): one} if one else {})}
    if tried and (article := summary.get(("threads-3000", many["concurrency"]))):
        tried["3000"] = article
    counts = sorted(tried, key=int)
    named = f"4 × {int(counts[0]):,} to 4 × {int(counts[-1]):,}" if counts else "any number of"
    rates, slowest = ([_median(found, key) for found in tried.values()] for key in ("requests_per_second", "p99_ms"))
    return [
        Target(
            "threads serve 90 % of gevent at 1,000 concurrent, both with their log", 90,
            _ratio(_rate(threads), _rate(gevent), 100), unit=" %",
        ),
        Target(
            "threads = 3000 serve 90 % of the default threads at 1,000 concurrent", 90,
            _ratio(_rate(most), _rate(threads), 100), unit=" %",
        ),
        Target(
            "threads = 3000 serve 2 × those of uWSGI as released at 1,000 concurrent", 2,
            _ratio(_rate(most), _rate(stock)), unit=" ×",
        ),
        Target(
            f"{named} threads serve 3,000 requests per second at 4,000 concurrent", 3000,
            min((rate or 0 for rate in rates), default=None), unit=" req/s",
        ),
        Target(
            f"{named} threads: p99 at most 3 s at 4,000 concurrent", 3,
            max((math.inf if ms is None else ms / 1000 for ms in slowest), default=None), least=False, unit=" s",
        ),
    ]  # fmt: skip


def crowd(entry: Mapping[str, Any]) -> list[Target]:
    """Return the targets for very many requests in flight.

    Args:
        entry: of `make compare`; empty if it was not measured.
    """
    return [
        Target(f"gevent, {CROWD:,} concurrent: no request fails", 0, entry.get("failed"), least=False),
        Target(
            f"gevent, {CROWD:,} concurrent: p99 at most 2 × ({CROWD:,} ÷ requests per second)", 2,
            _ratio(_median(entry, "p99_ms"), _ratio(CROWD, _rate(entry), 1000)), least=False, unit=" ×",
        ),
    ]  # fmt: skip


def deploys(kinds: Mapping[str, Mapping[str, Any]]) -> list[Target]:
    """Return the targets for deploys.

    Args:
        kinds: figures by kind and number of hosts; empty if there are none.
    """
    alone, four = (kinds.get(NOTHING, {}).get(hosts, {}) for hosts in ("1", "4"))
    eight = kinds.get("new code", {}).get("8", {})
    seconds = _median(alone, "seconds")
    return [
        Target("nothing to do, 1 host: at most 5 s", 5, seconds, least=False, unit=" s"),
        Target("nothing to do, 1 host: at most 10 round trips", 10, _median(alone, "round_trips"), least=False),
        Target(
            "nothing to do, 4 hosts: at most 1.3 × the time of 1", 1.3, _ratio(_median(four, "seconds"), seconds),
            least=False, unit=" ×",
        ),
        Target("new code, 8 hosts: at most 27 s", 27, _median(eight, "seconds"), least=False, unit=" s"),
    ]  # fmt: skip


def fleet(runs: Sequence[Mapping[str, Any]]) -> list[Target]:
    """Return the targets for many hosts with nothing to do.

    Args:
        runs: the measurements of benchmarks/fleet; empty if there are none.
    """
    runs = [run for run in runs if run.get("kind", NOTHING) == NOTHING]
    seconds = {run["hosts"]: run["seconds"] for run in runs}
    _, many, most = FLEET
    each = {hosts: _ratio(seconds.get(hosts), hosts) for hosts in (many, most)}
    first, last = (pick(runs, key=lambda run: run["hosts"], default=None) for pick in (min, max))
    further = last["hosts"] - first["hosts"] if first and last else 0
    cpu = last["cpu_s"] - first["cpu_s"] if first and last else None
    return [
        Target(
            f"nothing to do, {most:,} hosts: at most 1.3 × the time for each host of {many}", 1.3,
            _ratio(each[most], each[many]), least=False, unit=" ×",
        ),
        Target(
            f"nothing to do, {most:,} hosts: at most 180 s on {CORES} cores", 180, seconds.get(most), least=False,
            unit=" s",
        ),
        Target(
            "nothing to do: at most 0.1 s of the controller's CPU for each further host", 0.1, _ratio(cpu, further),
            least=False, unit=" s",
        ),
    ]  # fmt: skip


def _median(figures: Mapping[str, Any], key: str) -> float | None:
    found = figures.get(key)
    return float(found["median"]) if found else None


def _rate(figures: Mapping[str, Any] | None) -> float | None:
    return _median(figures or {}, "requests_per_second")


def _ratio(value: float | None, base: float | None, times: float = 1) -> float | None:
    return times * value / base if value is not None and base else None
