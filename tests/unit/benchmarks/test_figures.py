"""What single measurements come to."""

from typing import Any

import pytest

from benchmarks import figures
from tests.unit.benchmarks.conftest import CASES, DEPLOYS, MEASURED, RUNS, run


def servers(document: dict[str, Any], case: str = "wait") -> dict[str, Any]:
    found: dict[str, Any] = document["servers"]["cases"][case]["servers"]
    return found


def test_the_figures_of_a_server_are_medians_of_the_rounds(document: dict[str, Any]) -> None:
    found = servers(document)
    assert found["uwsgi-gevent"]["requests_per_second"] == {"median": 4000, "min": 3900, "max": 4100}
    assert found["granian"]["ratio"] == 0.5
    # 8 s for 20,000 requests, and 950 of 1,000 ticks.
    assert found["granian"]["cpu_ms"]["median"] == pytest.approx(0.4)
    assert found["granian"]["busy"]["median"] == 0.95
    assert found["granian"]["failed"] == 30


def test_a_request_in_flight_costs_what_the_load_added(document: dict[str, Any]) -> None:
    # 100 MB at most under load and 80 MB before any request, for 1,000 and 4,000 in flight.
    assert servers(document)["uwsgi-gevent"]["memory_kb"]["median"] == pytest.approx(20.48)
    assert servers(document, "crowd")["uwsgi-gevent"]["memory_kb"]["median"] == pytest.approx(5.12)
    assert servers(document)["uwsgi-gevent"]["memory_mb"]["median"] == 100


def test_the_runs_that_chose_the_threads_are_candidates_only(document: dict[str, Any]) -> None:
    case = document["servers"]["cases"]["wait"]
    assert case["servers"]["granian"]["threads"] == 500
    assert case["servers"]["granian"]["requests_per_second"]["max"] == 2000
    rates = {count: one["requests_per_second"]["median"] for count, one in case["candidates"]["granian"].items()}
    assert rates == {"224": 1900, "500": 2100}
    assert document["servers"]["rounds"] == 3


def test_a_case_without_a_wait_has_no_ideal_and_one_without_a_run_is_left_out() -> None:
    found = figures.servers({**MEASURED, "runs": [run("uwsgi-gevent", 1, 7000.0, case="compute", concurrency=100)]})
    assert list(found["cases"]) == ["compute"]
    assert found["cases"]["compute"]["ideal"] is None
    assert figures.servers(MEASURED)["cases"]["crowd"]["ideal"] == 20000


def test_without_the_reference_there_is_no_ratio() -> None:
    found = figures.servers({**MEASURED, "cases": CASES, "runs": [run("granian", 1, 2000.0)]})
    assert "ratio" not in found["cases"]["wait"]["servers"]["granian"]
    assert "nothing to compare with" in figures.verdict(found["cases"])[0]


def test_the_verdict_names_ideal_and_best(document: dict[str, Any]) -> None:
    assert figures.verdict(document["servers"]["cases"]) == [
        "At 1,000 concurrent, uwsgi-gevent serves 4,000 requests per second, 80 % of the ideal: 2.00 × granian, "
        "the best of the others.",
        "At 4,000 concurrent, uwsgi-gevent serves 6,600 requests per second, 33 % of the ideal: 2.00 × "
        "gunicorn-gevent, the best of the others.",
    ]


def test_the_same_server_unpatched_is_not_one_of_the_others() -> None:
    found = {name: {"cpu_ms": {"median": value}} for name, value in (("stock-gevent", 0.1), ("granian", 0.3))}
    assert figures.best_peer(found, "cpu_ms", most=False) == ("granian", 0.3)
    assert figures.best_peer({"uwsgi-bare": {"cpu_ms": {"median": 0.1}}}, "cpu_ms") is None


@pytest.mark.parametrize(
    ("command", "threads", "shown"),
    [
        ("/opt/venv/bin/granian --workers 4 --threads 224 --backlog 224", 224,
         "granian --workers 4 --threads THREADS --backlog 224"),
        ("/opt/venv/bin/waitress-serve --threads=224 run:app", 224, "waitress-serve --threads=THREADS run:app"),
        ("/opt/bench-stock/uwsgi --gevent 3000", 0, "uwsgi --gevent 3000"),
    ],
)  # fmt: skip
def test_a_command_is_shown_without_paths_and_with_any_threads(command: str, threads: int, shown: str) -> None:
    assert figures.without_threads({"command": command, "threads": threads}) == shown


def test_only_servers_that_were_started_with_a_command_have_one() -> None:
    assert set(figures.servers(MEASURED)["commands"]) == {run["server"] for run in RUNS if run["command"]}


def test_growth_is_the_seconds_per_further_host() -> None:
    found = figures.deploys(DEPLOYS)
    assert found["first"]["8"]["seconds"]["median"] == pytest.approx(51)
    assert found["first"]["8"]["round_trips"]["median"] == 320
    assert figures.growth(found["first"]) == pytest.approx(3)


def test_nothing_measured_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        figures.spread([])
