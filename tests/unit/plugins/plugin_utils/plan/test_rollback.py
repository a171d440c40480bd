from dataclasses import replace

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic.status import Status
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan.rollback import Rollback, plan, target

from tests.support import status

NOTHING = replace(
    Status.read(status.unobserved()), generation=None, kept=[], rollback=None, drift=["no generation serves"]
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
    assert plan({"web1": SERVING}, "web1", "previous") == Rollback(
        to="g2",
        before="g3",
        settled=False,
        problems=[],
        text="g3 -> g2; traffic moves once it is proven; also kept: g3, g1 (-e to=…)",
    )


def test_a_host_goes_to_the_named_generation() -> None:
    found = plan({"web1": SERVING}, "web1", "g1")
    assert (found.to, found.problems, found.settled) == ("g1", [], False)
    assert found.text.startswith("g3 -> g1; ")


def test_a_host_that_already_serves_the_target_is_not_changed() -> None:
    done = host("g2", "g3", "g1", rollback="g2")
    found = plan({"web1": done}, "web1", "previous")
    assert (found.settled, found.problems) == (True, [])
    assert found.text == "nothing to do: generation g2 already serves; also kept: g3, g1 (-e to=…)"
    assert plan({"web1": host("g1")}, "web1", "g1").text == "nothing to do: generation g1 already serves"


def test_a_host_that_already_serves_the_target_and_drifted_is_repaired() -> None:
    drifted = host("g2", "g3", rollback="g2", drift=("x is down", "y is gone"))
    found = plan({"web1": drifted}, "web1", "previous")
    assert (found.settled, found.problems) == (False, [])
    assert found.text == "repair of generation g2: x is down; y is gone"


def test_a_host_without_a_deploy_is_refused_with_the_remedy() -> None:
    for to in ("previous", "g1"):
        assert plan({"web1": NOTHING}, "web1", to).problems == ["nothing is deployed on this host: deploy first"]
        assert not plan({"web1": NOTHING}, "web1", to).settled


def test_a_host_without_a_previous_generation_is_refused() -> None:
    assert plan({"web1": host("g1")}, "web1", "previous").problems == [
        "flask_uwsgi_rollback_to=previous: no generation served here before g1; kept are: g1"
    ]


def test_a_generation_that_is_not_on_the_host_is_refused_with_those_that_are() -> None:
    assert plan({"web1": SERVING}, "web1", "g9").problems == [
        "flask_uwsgi_rollback_to=g9 is not on this host: set it to one of those kept: g3, g2, g1"
    ]


# Several hosts.


def test_hosts_that_go_to_the_same_generation_agree() -> None:
    # As after a rollback that only reached the first one.
    statuses = {"web1": host("g2", "g3", rollback="g2"), "web2": SERVING}
    first, second = (plan(statuses, name, "previous") for name in statuses)
    assert (first.to, first.settled, first.problems) == ("g2", True, [])
    assert (second.to, second.settled, second.problems) == ("g2", False, [])


def test_hosts_with_different_targets_are_all_refused() -> None:
    statuses = {"web1": SERVING, "web2": host("g3", "g1", rollback="g1"), "web3": host("g3")}
    mixed = (
        "flask_uwsgi_rollback_to=previous is not the same on every host (web1: g2, web2: g1, web3: none): "
        "name one (-e to=…)"
    )
    for name in ("web1", "web2"):
        assert plan(statuses, name, "previous").problems == [mixed]
    assert plan(statuses, "web3", "previous").problems[1:] == [mixed]
    assert len(plan(statuses, "web3", "previous").problems) == 2


def test_a_name_that_one_host_lacks_is_refused_on_all() -> None:
    statuses = {"web1": SERVING, "web2": host("g3", "g2", rollback="g2")}
    assert len(plan(statuses, "web1", "g1").problems) == 1
    assert "(web1: g1, web2: none)" in plan(statuses, "web1", "g1").problems[0]
    assert len(plan(statuses, "web2", "g1").problems) == 2


def test_a_host_without_a_deploy_disagrees_too() -> None:
    found = plan({"web1": SERVING, "web2": NOTHING}, "web1", "previous")
    assert "(web1: g2, web2: none)" in found.problems[0]
