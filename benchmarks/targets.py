"""This project's targets, and what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

CROWD = 10_000
# The numbers of recorded hosts; the last two are compared.
FLEET = (10, 100, 1000)
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
        digits = 0 if self.unit in ("", " %") else 2
        return {
            "target": self.goal,
            "measured": f"{self.measured:,.{digits}f}{self.unit}",
            "met": "yes" if self.met else "no",
        }


def targets(results: Mapping[str, Any], comparison: Mapping[str, Any], peers: tuple[str, ...]) -> list[Target]:
    """Return all targets.

    Args:
        results: the document of benchmarks/results.py.
        comparison: the document of benchmarks/comparison.py; empty if there is none.
        peers: the other servers.
    """
    rates = {
        name: one["requests_per_second"]["median"]
        for name, one in results["servers"].items()
        if one.get("requests_per_second")
    }
    summary = {(row["variant"], row["concurrency"]): row for row in comparison.get("summary", [])}
    best = max((rates[name] for name in peers if name in rates), default=None)
    ours = rates.get("uwsgi-gevent")
    many = _rate(summary.get(("threads-3000", results["concurrency"])))
    crowd = summary.get(("gevent", CROWD), {})
    alone, four = (results["deploys"].get("nothing to do", {}).get(hosts) for hosts in ("1", "4"))
    seconds = alone["seconds"]["median"] if alone else None
    return [
        Target("gevent serves 80 % of the ideal", 80, _ratio(ours, results["ideal"], 100), unit=" %"),
        Target("gevent serves 1.5 × the best of the others", 1.5, _ratio(ours, best), unit=" ×"),
        Target("threads serve 90 % of gevent", 90, _ratio(rates.get("uwsgi-threads"), ours, 100), unit=" %"),
        Target(
            "threads = 3000 serve 90 % of the default threads", 90,
            _ratio(many, _rate(summary.get(("threads", results["concurrency"]))), 100), unit=" %",
        ),
        Target(f"gevent, {CROWD:,} concurrent: no request fails", 0, crowd.get("failed"), least=False),
        Target(
            f"gevent, {CROWD:,} concurrent: p99 at most 2 × ({CROWD:,} ÷ requests per second)", 2,
            _ratio((crowd.get("p99_ms") or {}).get("median"), _ratio(CROWD, _rate(crowd), 1000)), least=False,
            unit=" ×",
        ),
        Target("nothing to do, 1 host: at most 5 s", 5, seconds, least=False, unit=" s"),
        Target(
            "nothing to do, 1 host: at most 10 round trips", 10,
            alone["round_trips"]["median"] if alone else None, least=False,
        ),
        Target(
            "nothing to do, 4 hosts: at most 1.3 × the time of 1", 1.3,
            _ratio(four["seconds"]["median"] if four else None, seconds), least=False, unit=" ×",
        ),
        *fleet(results.get("fleet", [])),
    ]  # fmt: skip


def fleet(runs: Sequence[Mapping[str, Any]]) -> list[Target]:
    """Return the targets for many hosts with nothing to do.

    Args:
        runs: the measurements of benchmarks/fleet; empty if there are none.
    """
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


def _rate(row: Mapping[str, Any] | None) -> float | None:
    found = (row or {}).get("requests_per_second")
    return float(found["median"]) if found else None


def _ratio(value: float | None, base: float | None, times: float = 1) -> float | None:
    return times * value / base if value is not None and base else None
