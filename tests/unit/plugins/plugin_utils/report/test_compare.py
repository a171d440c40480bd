from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.report import compare
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.report.compare import Entry, Spread

from tests.support.comparison import VARIANTS, ab
from tests.support.status import SERVING, unobserved

Made = Callable[..., dict[str, Any]]
SETTINGS = {
    "concurrency": [1, 10],
    "requests_max": 6000,
    "requests_per_client": 20,
    "rounds": 3,
    "time_limit_s": 60,
    "health_timeout_s": 60,
    "variants": [{"name": "gevent", "mode": "gevent", "cores": 3000}],
}
TURN = {"variant": "gevent", "round": 1, "concurrency": 10, "requests": 1000}


@pytest.mark.parametrize(("concurrency", "requests"), [(1, 20), (100, 2000), (1000, 6000), (10000, 10000)])
def test_each_client_sends_at_least_one_request(concurrency: int, requests: int) -> None:
    assert compare.requests_for(concurrency, 20, 6000) == requests


def test_every_round_begins_with_another_variant() -> None:
    variants = [{"name": name} for name in "abc"]
    turns = compare.schedule(variants, [10, 1, 10], 3, 20, 6000)
    assert [turn["variant"] for turn in turns] == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]
    assert [turn["round"] for turn in turns] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert [run["concurrency"] for run in turns[0]["runs"]] == [1, 10]


def test_valid_settings_have_no_problem() -> None:
    assert compare.problems(SETTINGS, ["app1"]) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rounds": 0}, "compare_rounds=0 is not valid: set it to a whole number"),
        ({"time_limit_s": "x"}, "compare_time_limit_s=x"),
        ({"concurrency": []}, "compare_concurrency=[] is not valid: set it to a list"),
        ({"concurrency": [0]}, "compare_concurrency=[0]"),
        ({"concurrency": "1"}, "compare_concurrency=1"),
        ({"variants": []}, "compare_variants=[] is not valid"),
        ({"variants": [{"name": "a b", "mode": "gevent", "cores": 1}]}, "give it a name"),
        ({"variants": [{"name": "a", "mode": "fork", "cores": 1}]}, "set its mode to gevent or threads"),
        ({"variants": [{"name": "a", "mode": "gevent", "cores": "many"}]}, "set its cores"),
        ({"variants": [{"name": "a", "mode": "gevent", "cores": 1, "stock": "x"}]}, "set stock to true or false"),
        ({"variants": SETTINGS["variants"] * 2}, "names twice"),  # type: ignore[operator]
    ],
)
def test_an_invalid_setting_is_reported_with_the_remedy(settings: dict[str, Any], message: str) -> None:
    (problem,) = compare.problems(SETTINGS | settings, ["app1"])
    assert message in problem


@pytest.mark.parametrize("hosts", [[], ["app1", "app2"]])
def test_a_comparison_is_of_one_host(hosts: list[str]) -> None:
    (problem,) = compare.problems(SETTINGS, hosts)
    assert "name it with --limit HOST" in problem


@pytest.mark.parametrize(
    ("said", "answered"),
    [
        ({}, 1000),
        ({"non_2xx": 10}, 990),
        # Of h2load and wrk each failure is one request.
        ({"failed": 30, "failures": {"read": 20, "timeout": 10}, "non_2xx": 5}, 965),
        # ab counts a lost one up to three times, and an error page by its length, too.
        ({"failed": 540, "failures": {"connect": 0, "receive": 180, "length": 180, "exceptions": 180}}, 820),
        ({"failed": 30, "failures": {"receive": 0, "length": 30}, "non_2xx": 30}, 970),
        ({"failed": 3000, "failures": {"receive": 1000, "length": 1000, "exceptions": 1000}}, 0),
    ],
)
def test_lost_requests_are_not_answers(said: dict[str, Any], answered: int) -> None:
    assert compare.run(TURN, {"ab": ab(49.0, **said)}, {})["answered"] == answered


def test_a_run_has_what_the_host_said_after_it() -> None:
    record = compare.run(TURN, {"ab": ab(49.0)}, {**SERVING, "threads_per_worker": 3})
    assert (record["threads"], record["rss_mb"], record["generation"]) == (12, 195.8, "031ea839e33a")
    record = compare.run(TURN, {"ab": ab(49.0)}, unobserved())
    assert (record["threads"], record["rss_mb"], record["generation"]) == (None, None, "031ea839e33a")


def test_a_run_without_a_good_answer_has_measured_nothing() -> None:
    record = compare.run(TURN, {"ab": ab(49.0, non_2xx=1000)}, {})
    assert record["outcome"] == "failed"
    assert record["reason"] == "none of 1000 requests got a good answer"


def test_a_run_that_ab_could_not_make_has_no_numbers() -> None:
    record = compare.run(TURN, {"ab": {"outcome": "failed", "reason": "refused"}}, {})
    assert record["requests_per_second"] is record["threads"] is record["rss_mb"] is None


def test_a_run_whose_module_failed_has_the_reason() -> None:
    record = compare.run(TURN, {"failed": True, "msg": "MODULE FAILURE"}, {})
    assert (record["outcome"], record["reason"], record["answered"]) == ("failed", "MODULE FAILURE", 0)


def test_figures_are_medians_with_their_spread(made: Made) -> None:
    (row,) = made({"gevent": {1000: [3000.0, 4000.0, 3500.0]}})["summary"]
    assert row["requests_per_second"] == {"median": 3500, "min": 3000, "max": 4000}
    assert (row["rounds"], row["requests"], row["failed"], row["threads"]["median"]) == (3, 3000, 0, 8)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ((48, 49, 50), (47, 48, 49), True),
        ((100, 103, 104), (98, 99, 99.5), True),
        ((100, 130, 140), (90, 95, 99), False),
        ((80, 130, 140), (70, 95, 99), True),
    ],
)
def test_medians_within_the_spread_of_rounds_are_equal(one: Any, other: Any, same: bool) -> None:
    spreads = [Spread(median=middle, min=low, max=high) for low, middle, high in (one, other)]
    assert compare.alike(spreads) is same


def test_the_verdict_says_where_variants_differ_and_why(made: Made) -> None:
    found = made({"gevent": {10: [49.0] * 3, 1000: [3900.0] * 3}, "threads": {10: [49.1] * 3, 1000: [3100.0] * 3}})
    assert found["verdict"] == [
        "At 10 concurrent all serve 49 req/s: indistinguishable, since 10 clients that wait 0.2 s can send no more "
        "than 50 requests per second.",
        "At 1000 concurrent (req/s): gevent 3,900, threads 3,100; gevent serves 1.3 × threads, whose 640 threads are "
        "all busy.",
        "No request failed.",
    ]


def test_without_a_known_wait_there_is_no_ideal(made: Made) -> None:
    found = made({"gevent": {10: [49.0]}, "threads": {10: [49.0]}}, wait_s=None)
    assert found["verdict"][0] == "At 10 concurrent all serve 49 req/s: indistinguishable."


def test_a_run_that_measured_nothing_is_not_one_without_failures(made: Made) -> None:
    found = made({"gevent": {10: [49.0, 49.0]}, "threads": {10: [49.0, "reset"]}})
    assert "No request failed." not in found["verdict"]


def test_a_missing_measurement_is_reported(made: Made) -> None:
    found = made({"gevent": {10: [49.0]}, "threads": {10: ["no answer"]}})
    assert found["verdict"][0].startswith("Nothing can be compared")
    assert "Not measured: threads at 10; the table has the reasons." in found["verdict"]
    assert found["summary"][1]["reasons"] == ["no answer"]


def test_lost_requests_are_reported_with_their_number(made: Made) -> None:
    found = made({"gevent": {10: [49.0]}})
    row = Entry.read(found["summary"][0] | {"failed": 7})
    assert "gevent lost 7 of 1,000 at 10" in " ".join(compare.verdict(found["variants"], [row], None))


def test_a_comparison_interrupted_immediately_is_a_document_too() -> None:
    found = compare.document({"wait_s": 0.2}, VARIANTS, [])
    assert found["summary"] == []
    assert found["verdict"] == ["Nothing can be compared: all variants were measured together at no concurrency."]
