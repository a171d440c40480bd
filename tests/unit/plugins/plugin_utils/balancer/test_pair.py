"""The network of a shared address, from the facts of a balancer."""

import pytest
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.balancer.pair import Network, network

FACTS = {
    "ansible_interfaces": ["lo", "eth0", "eth-1"],
    "ansible_lo": {"ipv4": {"address": "127.0.0.1", "netmask": "255.0.0.0"}},
    "ansible_eth0": {"ipv4": {"address": "10.0.0.2", "netmask": "255.255.255.0"}},
    "ansible_eth_1": {"ipv6": [{"address": "fd00::2", "prefix": "64"}]},
}


@pytest.mark.parametrize(
    ("vip", "found"),
    [("10.0.0.9", Network("eth0", "10.0.0.2")), ("fd00::9", Network("eth-1", "fd00::2"))],
)
def test_the_network_that_has_it(vip: str, found: Network) -> None:
    assert network(vip, FACTS) == found


def test_the_balancer_that_has_it_keeps_it() -> None:
    held = [{"address": "fd00::9", "prefix": "128"}, {"address": "fd00::2", "prefix": "64"}]
    assert network("fd00::9", FACTS | {"ansible_eth_1": {"ipv6": held}}) == Network("eth-1", "fd00::2")


@pytest.mark.parametrize(
    ("vip", "problem"),
    [
        ("10.0.1.9", "load_balancer_vip=10.0.1.9 is in none of this host's networks, which are 10.0.0.0/24 (eth0), "),
        ("127.0.0.9", "load_balancer_vip=127.0.0.9 is in none"),
        ("vip.example.org", "load_balancer_vip=vip.example.org is not an IP address: set it to"),
        ("10.0.0.2", "load_balancer_vip=10.0.0.2 is this host's own address: set it to a free one of 10.0.0.0/24."),
        ("fd00::2", "load_balancer_vip=fd00::2 is this host's own address: set it to a free one of fd00::/64."),
    ],
)
def test_an_address_without_a_network_is_refused(vip: str, problem: str) -> None:
    assert network(vip, FACTS).problem.startswith(problem)
