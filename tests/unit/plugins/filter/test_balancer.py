"""The filters of the role load_balancer."""

import re

from ansible_collections.flaskops.uwsgi.plugins.filter.balancer import (
    FilterModule,
    abandoned,
    balancer_failures,
    balancer_ports_taken,
)
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


def test_who_has_a_port_is_named() -> None:
    listening = """\
LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=40,fd=3))
LISTEN 0 511 *:80 *:* users:(("nginx",pid=7,fd=6),("nginx",pid=8,fd=6))
LISTEN 0 128 [::]:8443 [::]:*
LISTEN 0 511 *:443 *:* users:(("haproxy",pid=9,fd=6))
"""
    ports = {"load_balancer_http_port": 80, "load_balancer_https_port": 443}
    assert balancer_ports_taken(listening, ports) == [
        "load_balancer_http_port=80 is taken by nginx (process 7), nginx (process 8): stop it there, or choose "
        "another port."
    ]
    assert balancer_ports_taken(listening, {"load_balancer_https_port": 8443}) == [
        "load_balancer_https_port=8443 is taken by another program: stop it there, or choose another port."
    ]
