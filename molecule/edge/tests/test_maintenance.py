"""Hosts are drained and maintained under load: visitors notice nothing, and an ended run leaves nothing drained."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.edge import ONE, Site
from tests.support.service import wait

pytestmark = pytest.mark.timeout(300)
ANSWERED = {"GET 200", "POST 200"}


def orders(site: Site, name: str) -> int:
    """Return how many orders a host has executed."""
    return int(site.hosts[name].check_output("cat /var/lib/edge/done 2>/dev/null | wc -l"))


def test_a_drained_host_gets_nothing_until_it_serves_again(site: Site, play: Callable[..., Any]) -> None:
    first, second = site.hosts
    with site.visitors() as seen:
        done = play("drain", "--limit", first)
        assert done.returncode == 0, done.stdout
        before = orders(site, first)
        again = play("drain", "--limit", first)
        assert again.returncode == 0 and "changed=0" in again.stdout, again.stdout
        refused = play("drain", "--limit", second)
        status = play("status")
        site.balancer.check_output("systemctl restart haproxy && sleep 1")
        assert site.state(first).startswith("DRAIN")
        assert orders(site, first) == before
        back = play("undrain", "--limit", first)
        assert back.returncode == 0, back.stdout
        assert site.state(first) == "UP"
        wait(lambda: orders(site, first) > before, "orders on the host")
    # A restart closes the connections in flight.
    assert set(seen.outcomes) >= ANSWERED
    assert refused.returncode == 2
    assert f"without {second}, 0 of the 2 servers of flask would go on serving" in " ".join(refused.stdout.split())
    shown = " ".join(status.stdout.split())
    assert status.returncode == 0, status.stdout
    assert re.search(rf"{first} was drained by \S+@\S+ since \S+Z \(drain\)", shown), status.stdout


def test_hosts_are_rebooted_one_after_the_other(site: Site, play: Callable[..., Any]) -> None:
    boot = "systemctl show --property=UserspaceTimestampMonotonic"
    booted = {name: host.check_output(boot) for name, host in site.hosts.items()}
    before = site.done()
    with site.visitors() as seen:
        done = play("maintain", "-e", "action=reboot")
    assert done.returncode == 0, done.stdout
    assert {site.state(name) for name in site.hosts} == {"UP"}
    assert all(host.check_output(boot) != booted[name] for name, host in site.hosts.items())
    assert set(seen.outcomes) == ANSWERED, seen.outcomes
    assert site.done() - before == dict.fromkeys(seen.confirmed, 1)


@pytest.mark.full
def test_a_failed_action_stops_the_run_and_the_others_serve(site: Site, play: Callable[..., Any]) -> None:
    first, second = site.hosts
    with site.visitors() as seen:
        done = play("maintain", "-e", "action=restart_host_service", "-e", "load_balancer_host_service=nosuch")
    assert done.returncode == 2
    assert site.state(first).startswith("DRAIN") and site.state(second) == "UP"
    assert set(seen.outcomes) == ANSWERED, seen.outcomes
    # The run has ended, so the next one lets the host serve again.
    done = play("load_balancer")
    assert done.returncode == 0, done.stdout
    wait(lambda: site.state(first) == "UP", "the host up")


@pytest.mark.parametrize(
    ("playbook", "variables", "message"),
    [
        ("maintain", {}, "action= is not valid: set it to one of reboot, upgrade, restart_host_service"),
        ("maintain", {"action": "restart_host_service"}, "needs load_balancer_host_service: name the unit"),
        ("drain", {}, "without mol-edge-1, mol-edge-2, 0 of the 2 servers of flask would go on serving"),
    ],
)
def test_what_cannot_be_done_is_refused(
    site: Site, play: Callable[..., Any], playbook: str, variables: dict[str, str], message: str
) -> None:
    done = play(playbook, "-e", json.dumps(variables))
    assert done.returncode == 2
    assert message in " ".join(done.stdout.split())
    assert {site.state(name) for name in site.hosts} == {"UP"}


@pytest.mark.full
def test_requests_that_do_not_end_fail_the_drain_and_the_host_goes_on_serving(
    site: Site, play: Callable[..., Any]
) -> None:
    first = next(iter(site.hosts))
    with site.held(first) as held:
        done = play("drain", "--limit", first, "-e", "load_balancer_drain_timeout=1")
        said = " ".join(done.stdout.split())
        assert done.returncode == 2
        assert re.search(rf"flask/{first} has \d+ requests after load_balancer_drain_timeout=1 seconds", said), said
        wait(lambda: site.state(first) == "UP", "the host up")
        cut = play(
            "drain", "--limit", first, "-e", "load_balancer_drain_timeout=1", "-e", "load_balancer_drain_cut=true"
        )
        assert cut.returncode == 0, cut.stdout
        wait(held, "the request cut")
    assert play("undrain", "--limit", first).returncode == 0


@pytest.mark.full
def test_a_host_is_stopped_and_started_without_a_failed_request(site: Site, play: Callable[..., Any]) -> None:
    first = next(iter(site.hosts))
    before = site.done()
    with site.visitors() as seen:
        for playbook in ("stop", "start"):
            done = play(playbook, "--limit", first)
            assert done.returncode == 0, done.stdout
        wait(lambda: site.state(first) == "UP", "the host up")
    assert set(seen.outcomes) == ANSWERED, seen.outcomes
    assert site.done() - before == dict.fromkeys(seen.confirmed, 1)


@pytest.mark.full
def test_an_address_changes_and_nobody_notices(site: Site, play: Callable[..., Any]) -> None:
    """Back as well, by a rollback, and the next process of HAProxy knows the same address as this one."""
    before = site.done()
    with site.visitors() as seen:
        for playbook, port in (("deploy", 8041), ("rollback", 8040)):
            done = play(playbook, "-e", "flask_uwsgi_port=8041")
            assert done.returncode == 0, done.stdout
            assert {site.row(name)["addr"].rpartition(":")[2] for name in site.hosts} == {str(port)}, done.stdout
            site.balancer.check_output("systemctl reload haproxy")
            assert {site.row(name)["addr"].rpartition(":")[2] for name in site.hosts} == {str(port)}
            assert {site.state(name) for name in site.hosts} == {"UP"}
    assert set(seen.outcomes) == ANSWERED, seen.outcomes
    assert site.done() - before == dict.fromkeys(seen.confirmed, 1)
    # Every balancer's configuration has followed.
    for balancer in site.balancers.values():
        found = balancer.check_output(r"grep -Po '^    server mol-edge-\d \S+:\K\d+' /etc/haproxy/haproxy.cfg")
        assert found.split() == ["8040", "8040"]


@pytest.mark.full
def test_an_upgrade_of_haproxy_interrupts_nothing(site: Site, play: Callable[..., Any]) -> None:
    before = site.done()
    version = site.balancer.check_output("dpkg-query --show --showformat '${Version}' haproxy")
    master = site.balancer.check_output("systemctl show --property MainPID --value haproxy")
    # apt takes the package for an older one, and replaces it.
    site.balancer.check_output("sed -i '/^Package: haproxy$/,/^$/s/^Version: .*/&~/' /var/lib/dpkg/status")
    with site.visitors() as seen:
        done = play("load_balancer", *ONE, "-e", "load_balancer_upgrade=true")
        assert done.returncode == 0, done.stdout
    assert set(seen.outcomes) == ANSWERED, seen.outcomes
    assert site.done() - before == dict.fromkeys(seen.confirmed, 1)
    assert site.balancer.check_output("dpkg-query --show --showformat '${Version}' haproxy") == version
    # The same master, which runs the new program.
    assert site.balancer.check_output("systemctl show --property MainPID --value haproxy") == master
    assert site.balancer.check_output(f"readlink /proc/{master}/exe") == "/usr/sbin/haproxy"


def test_a_port_that_something_else_has_is_refused(site: Site, play: Callable[..., Any]) -> None:
    start = "systemd-run --quiet --unit=other python3 -m http.server 8099"
    site.balancer.check_output(start)
    try:
        wait(lambda: site.balancer.run("ss -Hltn sport = :8099").stdout, "the other program")
        done = play("load_balancer", *ONE, "-e", "load_balancer_http_port=8099")
    finally:
        site.balancer.check_output("systemctl stop other")
    said = " ".join(done.stdout.split())
    assert done.returncode == 2
    assert "load_balancer_http_port=8099 is taken by python3 (process" in said
    assert site.request("GET", "/where").status == 200


def test_a_request_is_followed_by_its_id(site: Site) -> None:
    number = site.where()["headers"]["X-Request-Id"]
    assert number in site.balancer.check_output("journalctl --unit haproxy --lines 200 --no-pager --output cat")
    logs = "journalctl --unit 'edge@*' --lines 200 --no-pager --output cat"
    assert sum(f"id={number}" in host.check_output(logs) for host in site.hosts.values()) == 1
