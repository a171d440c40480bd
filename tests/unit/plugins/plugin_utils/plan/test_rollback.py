from dataclasses import replace

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic.status import Status
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan.rollback import Rollback, conflicts, plan, target

from tests.support import status

NOTHING = replace(
    Status.read(status.unobserved()),
    generation=None,
    platform="",
    kept=[],
    rollback=None,
    drift=["no generation serves"],
)


def host(*kept: str, rollback: str | None = None, drift: tuple[str, ...] = ()) -> Status:
    """Return the status of a host whose first generation serves."""
    served = Status.read(status.SERVING)
    return replace(served, generation=kept[0], kept=list(kept), rollback=rollback, drift=list(drift))


SERVING = host("g3", "g2", "g1", rollback="g2")


@pytest.mark.parametrize(
    ("status", "to", "wanted"),
    [
        (SERVING, "previous", "g2"),
        (host("g1"), "previous", None),
        (NOTHING, "previous", None),
        (SERVING, "g1", "g1"),
        (SERVING, "g3", "g3"),
        (SERVING, "g9", None),
        (NOTHING, "g1", None),
    ],
)
def test_the_target_is_the_previous_or_the_named_one(status: Status, to: str, wanted: str | None) -> None:
    assert target(status, to) == wanted


def test_a_host_goes_back_to_the_previous_generation() -> None:
    assert plan(SERVING, "shop", "previous") == Rollback(
        app="shop",
        asked="previous",
        to="g2",
        before="g3",
        settled=False,
        problems=[],
        text="g3 -> g2; traffic moves once it is proven; also kept: g3, g1 (-e to=…)",
        platform="debian-12-x86_64-py3.11",
    )


def test_a_host_goes_back_to_another_address() -> None:
    served = replace(SERVING, addresses={"g3": "0.0.0.0:81", "g2": "0.0.0.0:80", "g1": None})
    found = plan(served, "shop", "previous")
    assert (found.moves, found.listen) == (True, "0.0.0.0:80")
    assert not plan(served, "shop", "g3").moves
    # It is damaged: the address is unknown.
    assert not plan(served, "shop", "g1").moves


def test_a_host_goes_to_the_named_generation() -> None:
    found = plan(SERVING, "shop", "g1")
    assert (found.to, found.problems, found.settled) == ("g1", [], False)
    assert found.text.startswith("g3 -> g1; ")


def test_a_host_that_already_serves_the_target_is_not_changed() -> None:
    done = host("g2", "g3", "g1", rollback="g2")
    found = plan(done, "shop", "previous")
    assert (found.settled, found.problems) == (True, [])
    assert found.text == "nothing to do: generation g2 already serves; also kept: g3, g1 (-e to=…)"
    assert plan(host("g1"), "shop", "g1").text == "nothing to do: generation g1 already serves"


def test_a_host_that_already_serves_the_target_and_drifted_is_repaired() -> None:
    drifted = host("g2", "g3", rollback="g2", drift=("x is down", "y is gone"))
    found = plan(drifted, "shop", "previous")
    assert (found.settled, found.problems) == (False, [])
    assert found.text == "repair of generation g2: x is down; y is gone"


def test_a_host_without_a_deploy_is_refused_with_the_remedy() -> None:
    for to in ("previous", "g1"):
        assert plan(NOTHING, "shop", to).problems == ["nothing is deployed on this host: deploy first"]
        assert not plan(NOTHING, "shop", to).settled


def test_a_host_without_a_previous_generation_is_refused() -> None:
    assert plan(host("g1"), "shop", "previous").problems == [
        "flask_uwsgi_rollback_to=previous: no generation served here before g1; kept are: g1"
    ]


def test_a_generation_that_is_not_on_the_host_is_refused_with_those_that_are() -> None:
    assert plan(SERVING, "shop", "g9").problems == [
        "flask_uwsgi_rollback_to=g9 is not on this host: set it to one of those kept: g3, g2, g1"
    ]


# Several hosts.


def plans(to: str, **statuses: Status) -> dict[str, Rollback]:
    return {name: plan(found, "shop", to) for name, found in statuses.items()}


def test_hosts_that_go_to_the_same_generation_agree() -> None:
    # As after a rollback that only reached the first one.
    found = plans("previous", web1=host("g2", "g3", rollback="g2"), web2=SERVING)
    assert conflicts(found) == {}
    assert [(each.to, each.settled, each.problems) for each in found.values()] == [("g2", True, []), ("g2", False, [])]


def test_hosts_with_different_targets_are_refused() -> None:
    found = plans("previous", web1=SERVING, web2=host("g3", "g1", rollback="g1"), web3=host("g3"))
    assert conflicts(found) == {
        "shop": "flask_uwsgi_rollback_to=previous is not the same on every host (web1: g2, web2: g1, web3: none): "
        "name one (-e to=…)"
    }
    assert [len(each.problems) for each in found.values()] == [0, 0, 1]


def test_the_same_release_has_another_name_on_another_platform() -> None:
    newer = replace(host("h3", "h2", rollback="h2"), platform="debian-13-x86_64-py3.13")
    assert conflicts(plans("previous", web1=SERVING, web2=newer)) == {}
    other = replace(newer, kept=["h3", "h1"], rollback="h1")
    found = conflicts(plans("previous", web1=SERVING, web2=newer, web3=other))["shop"]
    assert "(web2: h2, web3: h1)" in found
    # Nothing is known of the platform of a host without a deploy.
    assert "(web2: h2, web3: none)" in conflicts(plans("previous", web1=SERVING, web2=newer, web3=NOTHING))["shop"]


def test_a_name_that_one_host_lacks_is_refused() -> None:
    found = plans("g1", web1=SERVING, web2=host("g3", "g2", rollback="g2"))
    assert "(web1: g1, web2: none)" in conflicts(found)["shop"]


def test_a_host_without_a_deploy_disagrees_too() -> None:
    assert "(web1: g2, web2: none)" in conflicts(plans("previous", web1=SERVING, web2=NOTHING))["shop"]


def test_hosts_of_another_application_have_targets_of_their_own() -> None:
    blog = plan(host("b2", "b1", rollback="b1"), "blog", "previous")
    assert conflicts({**plans("previous", web1=SERVING), "web2": blog}) == {}
    split = {**plans("previous", web1=SERVING), "web2": blog, "web3": plan(host("b2"), "blog", "previous")}
    assert list(conflicts(split)) == ["blog"]
