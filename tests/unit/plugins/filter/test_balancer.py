"""The filters of the role load_balancer."""

import re

from ansible_collections.flaskops.uwsgi.plugins.filter.balancer import FilterModule, abandoned, balancer_failures
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.run import controller

from tests.support import ROOT


def test_every_filter_that_the_role_uses_is_there() -> None:
    text = "".join(path.read_text() for path in (ROOT / "roles" / "load_balancer").rglob("*.yml"))
    assert set(re.findall(r"\| *flaskops\.uwsgi\.(\w+)", text)) == set(FilterModule().filters())


def test_the_messages_of_all_balancers_that_failed() -> None:
    results = [{"item": "lb1", "failed": True, "msg": "no"}, {"item": "lb2", "failed": False}]
    assert balancer_failures(results) == "lb1: no."


def test_only_what_an_ended_run_drained_is_abandoned() -> None:
    alive = controller.run("reboot")
    ended = {**alive, "start": "1"}
    elsewhere = {**ended, "home": "another"}
    drained = {"a": alive, "b": ended, "c": {**ended, "what": "drain"}, "d": elsewhere}
    assert abandoned(drained) == ["b"]
