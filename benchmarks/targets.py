"""What this project holds itself to, beside what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CROWD = 10_000


@dataclass(frozen=True)
class Target:
    """One goal.

    Args:
        goal: in words, with its figure.
        limit: the figure.
        measured: what was measured, in the same unit; None where it was not.
        least: whether the limit is the least that will do, and not the most.
        unit: of the figure, shown after it.
    """

    goal: str
    limit: float
    measured: float | None
    least: bool = True
    unit: str = ""

    def row(self) -> dict[str, str]:
        """Show it as texts by column."""
        if self.measured is None:
            return {"target": self.goal, "measured": "–", "met": "not measured"}
        met = self.measured >= self.limit if self.least else self.measured <= self.limit
        digits = 0 if self.unit in ("", " %") else 2
        return {
            "target": self.goal,
            "measured": f"{self.measured:,.{digits}f}{self.unit}",
            "met": "yes" if met else "no",
        }


def targets(results: Mapping[str, Any], comparison: Mapping[str, Any], peers: tuple[str, ...]) -> list[Target]:
    """Return every goal.

    Args:
        results: what benchmarks/results.py keeps.
        comparison: what benchmarks/comparison.py keeps; empty where there is none.
        peers: the servers that are not ours.
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
            "threads serve 10 × threads = 3000", 10,
            _ratio(_rate(summary.get(("threads", results["concurrency"]))), many), unit=" ×",
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
    ]  # fmt: skip


def _rate(row: Mapping[str, Any] | None) -> float | None:
    found = (row or {}).get("requests_per_second")
    return float(found["median"]) if found else None


def _ratio(value: float | None, base: float | None, times: float = 1) -> float | None:
    return times * value / base if value is not None and base else None
