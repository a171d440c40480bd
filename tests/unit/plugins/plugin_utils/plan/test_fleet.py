"""Comparisons between the hosts that are deployed together."""

from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.address import read
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan import fleet
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan.plan import Plan


def placed(name: str, app: str, address: str, machine: str = "m1", user: str = "", **more: Any) -> Plan:
    wanted = read(address)
    known: dict[str, Any] = {"work": "deploy", "text": ["the plan"], **more}
    return Plan(name, app_name=app, machine=machine, wants=[wanted.bind, str(wanted.port), user or app], **known)


@pytest.mark.parametrize(
    ("other", "problem"),
    [
        (placed("b", "books", "0.0.0.0:8041"), ""),
        (placed("b", "books", "0.0.0.0:8040", machine="m2"), ""),
        (placed("b", "books", "127.0.0.2:8040"), ""),
        (
            placed("b", "books", "127.0.0.1:8040"),
            "flask_uwsgi_port=8040 is wanted by shop and by books on one host (a, b)",
        ),
        (
            placed("b", "books", "0.0.0.0:8040"),
            "flask_uwsgi_port=8040 is wanted by shop and by books on one host (a, b)",
        ),
        (placed("b", "books", "[::]:8040"), "flask_uwsgi_port=8040 is wanted by shop and by books on one host (a, b)"),
        (placed("b", "books", "/run/shop.sock"), ""),
        (
            placed("b", "books", "0.0.0.0:8041", user="shop"),
            "flask_uwsgi_user=shop is wanted by shop and by books on one host (a, b)",
        ),
        (placed("b", "shop", "0.0.0.0:8041"), "flask_uwsgi_app_name=shop is wanted by a and by b, which are one host"),
    ],
)
def test_applications_of_one_deploy_must_not_collide(other: Plan, problem: str) -> None:
    found = fleet.problems([placed("a", "shop", "127.0.0.1:8040"), other])
    assert [line.partition(": give")[0] for line in found] == ([problem] if problem else [])


def test_two_applications_cannot_have_one_path() -> None:
    plans = [placed("a", "shop", "/run/shop.sock"), placed("b", "books", "/run/shop.sock")]
    assert fleet.problems(plans) == [
        "flask_uwsgi_bind=/run/shop.sock is wanted by shop and by books on one host (a, b): "
        "give each application of a host a path of its own"
    ]


def test_three_on_one_machine_collide_once_for_each_pair() -> None:
    plans = [placed(name, name, "0.0.0.0:8040") for name in "abc"]
    assert [line.partition(" on one")[0] for line in fleet.problems(plans)] == [
        "flask_uwsgi_port=8040 is wanted by a and by b",
        "flask_uwsgi_port=8040 is wanted by a and by c",
        "flask_uwsgi_port=8040 is wanted by b and by c",
    ]


def test_a_problem_of_one_host_is_reported_without_its_name() -> None:
    assert fleet.problems([Plan("a", ["first", "second"])]) == ["first", "second"]


def test_problems_of_several_hosts_are_reported_once_with_their_names() -> None:
    plans = [Plan("a", ["x"]), placed("b", "shop", "0.0.0.0:1"), Plan("c", ["x"]), Plan("d", ["x", "y"])]
    assert fleet.problems(plans) == ["a, c: x", "d: x", "  y"]


def test_the_names_of_many_hosts_are_counted() -> None:
    plans = [placed(f"h{number}", "shop", "0.0.0.0:1", machine=f"m{number}") for number in range(12)]
    assert fleet.compared(plans, str).text == ["h0, h1, h2, h3, h4, h5, h6, h7 and 4 more: the plan"]


def test_the_first_host_of_each_application_with_something_to_do_leads() -> None:
    plans = [
        placed("a", "shop", "0.0.0.0:8040", work="nothing"),
        placed("b", "shop", "0.0.0.0:8040", machine="m4", work="release"),
        placed("c", "shop", "0.0.0.0:8040", machine="m2"),
        placed("d", "books", "0.0.0.0:8041", machine="m2"),
        placed("e", "shop", "0.0.0.0:8040", machine="m3"),
    ]
    found = fleet.compared(plans, str)
    assert found.leaders == {"shop": "c", "books": "d"}
    assert found.deploying == ["c", "d", "e"]


def test_a_host_that_is_only_repaired_does_not_lead_hosts_with_changes() -> None:
    plans = [
        placed("a", "shop", "0.0.0.0:8040", repairs=True),
        placed("b", "shop", "0.0.0.0:8040", machine="m2", commands=True),
        placed("c", "books", "0.0.0.0:8041", repairs=True),
    ]
    found = fleet.compared(plans, lambda app: f"first of {app}")
    assert found.leaders == {"shop": "b", "books": "c"}
    assert found.keepers == {"shop": "first of shop"}


def test_the_keeper_is_the_configured_host_and_none_without_commands() -> None:
    plans = [
        placed("a", "shop", "0.0.0.0:8040", commands=True, keeper="db"),
        placed("b", "books", "0.0.0.0:8041", keeper="db"),
        placed("c", "press", "0.0.0.0:8042", work="nothing"),
    ]
    assert fleet.compared(plans, str).keepers == {"shop": "db"}


def test_a_decision_of_auto_counts_for_the_same_application_and_artifact() -> None:
    threads = {"mode": "threads", "threads": 8}
    plans = [
        placed("a", "shop", "0.0.0.0:1", artifact="r1", undecided=True),
        placed("b", "shop", "0.0.0.0:1", artifact="r1", decided={"r1": threads}),
        placed("c", "shop", "0.0.0.0:1", artifact="r2", undecided=True),
        placed("d", "books", "0.0.0.0:2", artifact="r1", undecided=True),
    ]
    assert fleet.compared(plans, str).decisions == {"a": threads}


def test_one_host_builds_for_all_that_need_the_same() -> None:
    plans = [
        placed("a", "shop", "0.0.0.0:1", work="nothing"),
        placed("b", "shop", "0.0.0.0:1", builds="wheels-12"),
        placed("c", "shop", "0.0.0.0:1", builds="wheels-13"),
        placed("d", "shop", "0.0.0.0:1", builds="wheels-12"),
        placed("e", "shop", "0.0.0.0:1", builds="lock-1", work="resolve"),
        placed("f", "shop", "0.0.0.0:1", builds="lock-1", work="resolve"),
        placed("g", "shop", "0.0.0.0:1", builds="wheels-11", work="release"),
        placed("h", "shop", "0.0.0.0:1"),
    ]
    assert fleet.compared(plans, lambda _: "a").builders == ["b", "c", "e"]
