"""Which server is measured when, and with how many threads."""

from collections import Counter
from typing import Any

import pytest
import yaml

from benchmarks.filter_plugins import bench
from benchmarks.results import ROOT
from tests.unit.benchmarks.conftest import CASES, run

SERVERS = [
    {"name": "ours", "mode": "gevent", "cases": ["wait", "crowd"]},
    {"name": "granian", "command": "granian --blocking-threads {threads} run:app", "threaded": True},
    {"name": "waitress", "command": "waitress --threads={threads}", "threaded": True, "cases": ["wait"]},
]
TRIED = bench.variants(SERVERS, CASES)


def tried(server: str, rates: dict[int, float], case: str = "wait", **changed: Any) -> list[dict[str, Any]]:
    """Return the runs that choose the threads."""
    return [run(server, 0, rate, threads=threads, case=case, **changed) for threads, rate in rates.items()]


def test_a_server_is_tried_with_the_threads_of_its_cases() -> None:
    assert [(one["name"], one["threads"], one["cases"]) for one in TRIED] == [
        ("ours", 0, ["wait", "crowd"]),
        ("granian-32", 32, ["compute"]),
        ("granian-224", 224, ["compute", "wait", "crowd"]),
        ("granian-500", 500, ["wait", "crowd"]),
        ("waitress-224", 224, ["wait"]),
        ("waitress-500", 500, ["wait"]),
    ]
    assert {one["name"]: one.get("command", "") for one in TRIED} == {
        "ours": "",
        "granian-32": "granian --blocking-threads 32 run:app",
        "granian-224": "granian --blocking-threads 224 run:app",
        "granian-500": "granian --blocking-threads 500 run:app",
        "waitress-224": "waitress --threads=224",
        "waitress-500": "waitress --threads=500",
    }


def test_each_variant_is_an_application_with_a_port() -> None:
    found = bench.deployed(SERVERS[:2], CASES, 8051)
    assert [(one["app"], one["port"]) for one in found] == [
        ("ours", 8051),
        ("granian_32", 8052),
        ("granian_224", 8053),
        ("granian_500", 8054),
    ]


def test_only_servers_with_a_choice_are_candidates() -> None:
    found = bench.candidates(TRIED)
    assert {turn["round"] for turn in found} == {0}
    assert [turn["variant"] for turn in found] == [one["name"] for one in TRIED[1:]]
    assert found[0]["cases"] == ["compute"]


@pytest.mark.parametrize(
    ("runs", "chosen"),
    [
        (tried("granian", {224: 3000, 500: 3001}), "granian-500"),
        (tried("granian", {224: 3000, 500: 2999}), "granian-224"),
        # A failed request weighs more than any rate.
        (tried("granian", {224: 3000}) + tried("granian", {500: 9000}, answered=19999), "granian-224"),
        (tried("granian", {224: 3000}, answered=19999) + tried("granian", {500: 9000}, answered=19990), "granian-500"),
        (tried("granian", {224: 100}) + tried("granian", {500: 9000}, outcome="failed"), "granian-224"),
        # The other case and the other server do not count.
        (tried("granian", {500: 9000}, case="crowd") + tried("granian", {224: 1}), "granian-224"),
        (tried("waitress", {500: 9000}) + tried("granian", {224: 1}), "granian-224"),
        # Nothing was measured.
        ([], "granian-224"),
    ],
)
def test_the_variant_that_serves_best_is_chosen(runs: list[dict[str, Any]], chosen: str) -> None:
    assert bench.best(TRIED, runs, "granian", "wait") == chosen


def test_a_counted_round_does_not_change_the_choice() -> None:
    runs = [*tried("granian", {224: 3000, 500: 2000}), run("granian", 1, 9000, threads=500)]
    assert bench.best(TRIED, runs, "granian", "wait") == "granian-224"


def test_a_round_has_each_server_once_in_each_of_its_cases() -> None:
    runs = tried("granian", {224: 1000, 500: 2000}) + tried("granian", {224: 2000, 500: 1000}, case="crowd")
    for number in (1, 2, 3):
        found = bench.turns(TRIED, runs, number)
        assert all(turn["round"] == number for turn in found)
        served = [(turn["variant"].partition("-")[0], case) for turn in found for case in turn["cases"]]
        assert Counter(served) == Counter(
            [("ours", "wait"), ("ours", "crowd"), *(("granian", case["name"]) for case in CASES), ("waitress", "wait")]
        )
        by_variant = {turn["variant"]: turn["cases"] for turn in found}
        assert by_variant["granian-500"] == ["wait"]
        assert by_variant["granian-224"] == ["crowd"]


def test_every_round_begins_with_another_server() -> None:
    assert len({bench.turns(TRIED, [], number)[0]["variant"] for number in (1, 2, 3)}) == 3
    assert bench.turns([], [], 2) == []


def test_the_committed_servers_can_be_planned() -> None:
    settings = yaml.safe_load((ROOT / "benchmarks" / "servers_vars.yml").read_text())
    cases, direct = settings["bench_cases"], settings["bench_direct"]
    names = {case["name"] for case in cases}
    assert set(direct) == names - {"secure"}
    # Each case starts from what a smaller one left.
    assert [case["concurrency"] for case in cases] == sorted(case["concurrency"] for case in cases)
    for server in settings["bench_peers"]:
        assert ("{threads}" in server["command"]) == bool(server.get("threaded")), server["name"]
