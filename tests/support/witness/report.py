"""The evaluation: what the samples say about one window of time. Pure functions, without a process or a clock."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

from tests.support.witness.samples import Sample

# More examples of failures would add nothing.
EXAMPLES = 5


@dataclass(frozen=True)
class Phase:
    """The requests that began within some seconds.

    Attributes:
        requests: the number that began.
        failed: the number of those without a good answer.
        p50_ms: the median of the time to the complete answer, of those that were answered; None if none was.
        p99_ms: the 99th percentile of it.
        max_ms: the longest.
        requests_per_second: the number answered per second.
    """

    requests: int
    failed: int
    p50_ms: float | None
    p99_ms: float | None
    max_ms: float | None
    requests_per_second: float


@dataclass(frozen=True)
class Report:
    """What the clients saw while something happened.

    A request belongs to the window in which it *began*, however late it ended. Failures are judged more strictly:
    those of every request that was in flight at any time from the window's start to the end of the seconds after
    it. So effects on requests that began before the event, or shortly after it, are not lost.

    Attributes:
        name: the window's name.
        clients: the number of clients.
        seconds: the length of the window.
        requests: the number of requests that began in the window.
        answered: how many of these were answered, by who answered: ``GENERATION (mode)``.
        failures: the number of failed requests, by kind: refused, reset, empty, timeout, status or other.
        examples: when, after how long and how some of them failed; at most five, all different.
        longest_gap_s: the longest time without an answer, from the window's start to the end of the seconds after
            it. Only good answers count. Both ends count as answers: a gap that crosses one is counted as far
            as it lies inside.
        before: the seconds of steady load before the window.
        during: the window.
        after: the seconds after it.
    """

    name: str
    clients: int
    seconds: float
    requests: int
    answered: dict[str, int]
    failures: dict[str, int]
    examples: tuple[str, ...]
    longest_gap_s: float
    before: Phase
    during: Phase
    after: Phase

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain data, for JSON."""
        return asdict(self)

    def describe(self) -> str:
        """Return the report as one line for people."""
        failed = sum(self.failures.values())
        by_kind = f" ({_counts(self.failures)}; {self.examples[0]})" if failed else ""
        p99 = ", ".join(_ms(phase.p99_ms) for phase in (self.before, self.during, self.after))
        return (
            f"{self.name}: {self.requests:,} requests in {self.seconds:.1f} s, {failed:,} failed{by_kind}; "
            f"answered by {_counts(self.answered) or 'nobody'}; longest gap {self.longest_gap_s * 1000:,.0f} ms; "
            f"p99 before, during, after: {p99} ms"
        )


def judge(
    samples: Iterable[Sample], name: str, clients: int, start: float, end: float, steady_s: float, after_s: float
) -> Report:
    """Judge a window.

    Args:
        samples: the results of the requests; all that began before ``end + after_s`` must be there.
        name: the window's name.
        clients: the number of clients.
        start: when the window began, in seconds of CLOCK_MONOTONIC.
        end: when it ended.
        steady_s: the seconds before it that are the baseline.
        after_s: the seconds after it that belong to the event, too.
    """
    first, last = start - steady_s, end + after_s
    near = [sample for sample in samples if sample.ended >= first and sample.begun < last]
    window = _begun(near, start, end)
    failed = [sample for sample in near if sample.failure is not None and sample.ended >= start]
    answers = sorted(sample.ended for sample in near if sample.failure is None and start <= sample.ended <= last)
    return Report(
        name=name,
        clients=clients,
        seconds=end - start,
        requests=len(window),
        answered=dict(Counter(sample.served_by for sample in window if sample.served_by is not None)),
        failures=dict(Counter(sample.failure for sample in failed if sample.failure is not None)),
        examples=_examples(failed, start),
        longest_gap_s=longest_gap([start, *answers, last]),
        before=phase(_begun(near, first, start), steady_s),
        during=phase(window, end - start),
        after=phase(_begun(near, end, last), after_s),
    )


def judge_all(samples: Sequence[Sample], name: str, clients: int) -> Report:
    """Judge a whole run as one window, from the first request to the last that ended.

    Its longest gap is only between answers: the first answer takes its time, and nothing came before it.

    Args:
        samples: the results of the requests, at least one.
        name: the run's name.
        clients: the number of clients.
    """
    start, end = min(sample.begun for sample in samples), max(sample.ended for sample in samples)
    report = judge(samples, name, clients, start, end, 0.0, 0.0)
    answers = sorted(sample.ended for sample in samples if sample.failure is None)
    return replace(report, longest_gap_s=longest_gap([*answers, end]))


def phase(begun: Sequence[Sample], seconds: float) -> Phase:
    """Sum up the requests that began within some seconds."""
    latencies_ms = sorted((sample.ended - sample.begun) * 1000 for sample in begun if sample.failure is None)
    return Phase(
        requests=len(begun),
        failed=len(begun) - len(latencies_ms),
        p50_ms=percentile(latencies_ms, 50),
        p99_ms=percentile(latencies_ms, 99),
        max_ms=percentile(latencies_ms, 100),
        requests_per_second=len(latencies_ms) / seconds if seconds else 0.0,
    )


def percentile(ordered: Sequence[float], percent: int) -> float | None:
    """Return the smallest of ordered values that ``percent`` of them do not exceed; None if there are none."""
    return ordered[max(math.ceil(len(ordered) * percent / 100), 1) - 1] if ordered else None


def longest_gap(times: Sequence[float]) -> float:
    """Return the longest time between neighbours in a row of times; 0 if there are fewer than two."""
    return max((later - earlier for earlier, later in pairwise(times)), default=0.0)


def _begun(samples: Iterable[Sample], start: float, end: float) -> list[Sample]:
    return [sample for sample in samples if start <= sample.begun < end]


def _examples(failed: Iterable[Sample], start: float) -> tuple[str, ...]:
    different: dict[tuple[str | None, str], Sample] = {}
    for sample in failed:
        different.setdefault((sample.failure, sample.text), sample)
    return tuple(
        f"at {sample.begun - start:+.3f} s, after {(sample.ended - sample.begun) * 1000:,.0f} ms: {kind}: {text}"
        for (kind, text), sample in list(different.items())[:EXAMPLES]
    )


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _ms(value: float | None) -> str:
    return "none" if value is None else f"{value:,.0f}"
