from typing import Any

import pytest

from benchmarks import results
from benchmarks.targets import Target, targets


def spread(value: float) -> dict[str, float]:
    return {"median": value, "min": value, "max": value}


def row(variant: str, concurrency: int, rate: float, p99: float, failed: int = 0) -> dict[str, Any]:
    return {"variant": variant, "concurrency": concurrency, "failed": failed,
            "requests_per_second": spread(rate), "p99_ms": spread(p99)}  # fmt: skip


COMPARISON = {
    "summary": [
        row("gevent", 10000, 4000, 4000),
        row("threads", 1000, 3000, 400),
        row("threads-3000", 1000, 500, 4000),
    ]
}


def met(found: list[Target]) -> dict[str, tuple[str, str]]:
    return {target.goal.partition(":")[0]: (target.row()["measured"], target.row()["met"]) for target in found}


def test_each_target_is_judged_by_its_own_figures(document: dict[str, Any]) -> None:
    found = met(targets(document, COMPARISON, results.PEERS))
    assert found["gevent serves 80 % of the ideal"] == ("80 %", "yes")
    assert found["gevent serves 1.5 × the best of the others"] == ("2.00 ×", "yes")
    assert found["threads = 3000 serve 90 % of the default threads"] == ("17 %", "no")
    # 10,000 at 4,000 a second are 2.5 s.
    assert [target.row()["measured"] for target in targets(document, COMPARISON, ())][5] == "1.60 ×"
    assert found["nothing to do, 4 hosts"] == ("1.30 ×", "yes")
    assert [target.row()["met"] for target in targets(document, COMPARISON, ())][6:8] == ["yes", "yes"]


def test_a_target_that_was_not_measured_has_no_figure(document: dict[str, Any]) -> None:
    found = met(targets(document, {}, ()))
    assert found["threads serve 90 % of gevent"] == ("–", "not measured")
    assert found["threads = 3000 serve 90 % of the default threads"] == ("–", "not measured")
    assert found["gevent serves 1.5 × the best of the others"] == ("–", "not measured")


@pytest.mark.parametrize(("failed", "answer"), [(0, "yes"), (1, "no")])
def test_one_failed_request_misses_the_target(document: dict[str, Any], failed: int, answer: str) -> None:
    comparison = {"summary": [row("gevent", 10000, 4000, 4000, failed)]}
    assert targets(document, comparison, ())[4].row()["met"] == answer
