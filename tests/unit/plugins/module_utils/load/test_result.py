from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.load import result as load
from ansible_collections.flaskops.uwsgi.plugins.module_utils.load.ab import parse_requests_tsv


def result(histogram: dict[str, int], **changed: Any) -> dict[str, Any]:
    count = sum(histogram.values())
    return {
        "ab": {
            "outcome": "measured",
            "reason": "",
            "engine": "ab 2.3",
            "ab_version": "2.3",
            "requests": count,
            "concurrency": 5,
            "complete": count,
            "failed": 0,
            "failures": {"connect": 0},
            "non_2xx": 0,
            "began_s": 1000.0,
            "started_at": "2026-01-01T00:00:00+00:00",
            "duration_s": 2.0,
            "document_length_bytes": 3,
            "histogram_ms": histogram,
            **changed,
        }
    }


def test_percentiles_are_of_all_requests_and_not_the_mean_of_percentiles() -> None:
    # 99 fast ones on one host, one slow one on the other: the mean of the medians would be 505.
    found = load.merge({"load1": result({"10": 99}), "load2": result({"1000": 1})})
    assert (found["outcome"], found["complete"], found["concurrency"]) == ("measured", 100, 10)
    assert (found["p50_ms"], found["p99_ms"], found["max_ms"]) == (10, 1000, 1000)
    assert found["curve_ms"][98] == 10 and len(found["curve_ms"]) == 101
    assert found["warnings"] == []


@pytest.mark.parametrize(("percent", "ms"), [(0, 1), (50, 11), (94, 19), (95, 20), (99, 20), (100, 20)])
def test_percentiles_have_the_definition_of_ab(percent: int, ms: int) -> None:
    # Of 20 requests ab prints the 11th as its median; the nearest rank is the 10th.
    assert load.percentile(dict.fromkeys(range(1, 21), 1), percent) == ms


def test_without_requests_there_is_no_percentile() -> None:
    with pytest.raises(ValueError, match="the histogram is empty"):
        load.percentile({}, 50)


def test_the_time_is_from_the_first_start_to_the_last_end() -> None:
    found = load.merge({"load1": result({"1": 30}), "load2": result({"1": 10}, began_s=1001.0, duration_s=3.0)})
    assert found["duration_s"] == 4.0
    assert found["requests_per_second"] == 10
    assert found["warnings"] == ["the load hosts began 1.0 s apart: are their clocks correct?"]


def test_failures_are_summed() -> None:
    lost = {"failed": 2, "failures": {"connect": 2}, "non_2xx": 1}
    found = load.merge({"load1": result({"1": 5}, **lost), "load2": result({"1": 5}, **lost)})
    assert (found["failed"], found["failures"], found["non_2xx"]) == (4, {"connect": 4}, 2)


@pytest.mark.parametrize(
    ("registered", "reason"),
    [
        ({"msg": "Failed to connect", "unreachable": True}, "load2: Failed to connect"),
        ({}, "load2: it gave no result"),
        (
            {"ab": {"outcome": "failed", "reason": "ab was not found", "requests": 5, "concurrency": 5}},
            "load2: ab was not found",
        ),
    ],
)
def test_a_run_that_is_missing_on_one_host_is_no_measurement(registered: dict[str, Any], reason: str) -> None:
    found = load.merge({"load1": result({"1": 5}), "load2": registered})
    assert (found["outcome"], found["reason"]) == ("failed", reason)


def test_missing_measurements_are_not_invented() -> None:
    found = load.merge({"load1": {}})
    assert found["outcome"] == "failed"
    assert [found[name] for name in ("requests_per_second", "p50_ms", "max_ms", "started_at")] == [None] * 4
    assert found["curve_ms"] == []


def test_a_run_that_was_skipped_everywhere_is_skipped() -> None:
    skipped = {"ab": {"outcome": "skipped", "reason": "open files", "requests": 5, "concurrency": 5}}
    assert load.merge({"load1": skipped, "load2": skipped})["outcome"] == "skipped"


def test_shares_add_up_and_concurrency_never_exceeds_the_requests() -> None:
    for requests, concurrency in ((10, 9), (11, 10), (1000, 1000), (7, 1)):
        found = load.shares(["a", "b", "c"], requests, concurrency, 5)
        assert sum(one.concurrency for one in found) == concurrency
        assert all(one.requests >= one.concurrency >= 1 for one in found)
    assert [one.host for one in load.shares(["a", "b"], 10, 1, 0)] == ["a"]


def test_the_result_of_an_order_names_every_host() -> None:
    orders = [
        {"ansible_job_id": "1", "share": {"host": "load1"}, "ansible_loop_var": "share"},
        {"msg": "no route", "unreachable": True, "share": {"host": "load2"}, "ansible_loop_var": "share"},
    ]
    found = load.sent(orders, [{**result({"1": 1}), "__loadtest_order": orders[0]}, {"skipped": True}])
    assert found["load1"] == result({"1": 1})
    assert found["load2"]["msg"] == "no route"


def test_ab_s_lines_become_a_histogram() -> None:
    text = "starttime\tseconds\tctime\tdtime\tttime\twait\nMon\t1\t0\t5\t5\t5\nMon\t1\t0\t7\t7\t7\nMon\t1\t0\t5\t5\t5\n"
    assert parse_requests_tsv(text) == {5: 2, 7: 1}
    assert parse_requests_tsv("") == {} == parse_requests_tsv("other\tfile\n")
