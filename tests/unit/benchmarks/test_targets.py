from typing import Any

import pytest

from benchmarks.targets import Target, targets


def spread(value: float) -> dict[str, float]:
    return {"median": value, "min": value, "max": value}


def row(variant: str, concurrency: int, rate: float, p99: float, failed: int = 0) -> dict[str, Any]:
    return {"variant": variant, "concurrency": concurrency, "failed": failed,
            "requests_per_second": spread(rate), "p99_ms": spread(p99)}  # fmt: skip


COMPARISON = {
    "summary": [
        row("gevent", 1000, 3600, 400),
        row("gevent", 10000, 4000, 4000),
        row("threads", 1000, 3000, 400),
        row("threads-3000", 1000, 500, 4000),
        row("threads-3000", 4000, 3050, 2900),
        row("stock-threads-3000", 1000, 240, 8000),
    ]
}
AT_1000, AT_4000 = "at 1,000 concurrent", "at 4,000 concurrent"


def met(found: list[Target]) -> dict[str, tuple[str, str]]:
    return {target.goal: (target.row()["measured"], target.row()["met"]) for target in found}


def test_each_target_is_judged_by_its_own_figures(document: dict[str, Any]) -> None:
    found = met(targets(document, COMPARISON))
    assert found[f"gevent with its log serves 85 % of the ideal {AT_1000}"] == ("76 %", "no")
    assert found[f"gevent serves 1.6 × the best of the others {AT_4000}"] == ("2.00 ×", "yes")
    # 0.4 ms, granian 0.5 ms, gunicorn 0.8 ms.
    cpu = f"the CPU of a request of the best of the others is 1.2 × that of gevent {AT_4000}"
    assert found[cpu] == ("1.25 ×", "yes")
    assert found[f"threads serve 90 % of gevent {AT_1000}, both with their log"] == ("83 %", "no")
    assert found[f"threads = 3000 serve 90 % of the default threads {AT_1000}"] == ("17 %", "no")
    assert found[f"threads = 3000 serve 2 × those of uWSGI as released {AT_1000}"] == ("2.08 ×", "yes")
    assert found["gevent, 10,000 concurrent: no request fails"] == ("0", "yes")
    # 10,000 at 4,000 a second are 2.5 s.
    assert found["gevent, 10,000 concurrent: p99 at most 2 × (10,000 ÷ requests per second)"] == ("1.60 ×", "yes")
    assert found["nothing to do, 1 host: at most 5 s"] == ("4.10 s", "yes")
    assert found["nothing to do, 1 host: at most 10 round trips"] == ("5", "yes")
    assert found["nothing to do, 4 hosts: at most 1.3 × the time of 1"] == ("1.30 ×", "yes")
    assert found["new code, 8 hosts: at most 27 s"] == ("27.20 s", "no")


RATE = f"4 × 224 to 4 × 3,000 threads serve 3,000 requests per second {AT_4000}"
P99 = f"4 × 224 to 4 × 3,000 threads: p99 at most 3 s {AT_4000}"


def crowded(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["servers"]["cases"]["crowd"]
    return found


def test_threads_are_judged_by_their_worst_number(document: dict[str, Any]) -> None:
    # The 3,000 of `make compare`.
    found = met(targets(document, COMPARISON))
    assert (found[RATE], found[P99]) == (("3,050 req/s", "yes"), ("2.90 s", "yes"))
    # One that was not chosen.
    crowded(document)["candidates"]["uwsgi-threads"]["500"] |= {
        "requests_per_second": spread(2999.0), "p99_ms": spread(3001.0),
    }  # fmt: skip
    found = met(targets(document, COMPARISON))
    assert (found[RATE], found[P99]) == (("2,999 req/s", "no"), ("3.00 s", "no"))


def test_the_chosen_threads_count_with_their_rounds(document: dict[str, Any]) -> None:
    crowded(document)["candidates"]["uwsgi-threads"]["224"]["requests_per_second"] = spread(1.0)
    assert met(targets(document, COMPARISON))[RATE] == ("3,050 req/s", "yes")
    crowded(document)["servers"]["uwsgi-threads"]["requests_per_second"] = spread(2000.0)
    assert met(targets(document, COMPARISON))[RATE] == ("2,000 req/s", "no")


def test_threads_that_did_not_finish_miss_the_targets(document: dict[str, Any]) -> None:
    del crowded(document)["candidates"]["uwsgi-threads"]["500"]["requests_per_second"]
    del crowded(document)["candidates"]["uwsgi-threads"]["500"]["p99_ms"]
    found = met(targets(document, COMPARISON))
    assert (found[RATE], found[P99]) == (("0 req/s", "no"), ("no end", "no"))


def test_a_target_that_was_not_measured_has_no_figure(document: dict[str, Any]) -> None:
    del document["servers"]["cases"]["crowd"]
    found = met(targets(document, {}))
    assert found[f"threads serve 90 % of gevent {AT_1000}, both with their log"] == ("–", "not measured")
    assert found[f"gevent serves 1.6 × the best of the others {AT_4000}"] == ("–", "not measured")
    assert found[f"any number of threads serve 3,000 requests per second {AT_4000}"] == ("–", "not measured")
    assert all(target.met is None for target in targets({}, {}))


@pytest.mark.parametrize(("failed", "answer"), [(0, "yes"), (1, "no")])
def test_one_failed_request_misses_the_target(document: dict[str, Any], failed: int, answer: str) -> None:
    comparison = {"summary": [row("gevent", 10000, 4000, 4000, failed)]}
    assert met(targets(document, comparison))["gevent, 10,000 concurrent: no request fails"][1] == answer
