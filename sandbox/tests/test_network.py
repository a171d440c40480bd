import hashlib
import json
from ipaddress import IPv4Network, IPv6Address
from pathlib import Path

import pytest

from sandbox import network as network_module
from sandbox.errors import SandboxError
from sandbox.network import (
    CANDIDATES,
    Network,
    free_subnet,
    ipv6_address,
    ipv6_subnet,
    mac_address,
    rules_to_delete,
)
from sandbox.paths import Layout


def test_a_subnet_is_kept_while_it_is_free() -> None:
    assert free_subnet(["default", "192.0.2.0/24"], CANDIDATES[3]) == CANDIDATES[3]


@pytest.mark.parametrize("route", ["10.213.40.0/24", "10.213.40.7", "10.213.40.0/23", "10.213.40.128/25"])
def test_a_subnet_that_overlaps_a_route_is_replaced(route: str) -> None:
    assert not free_subnet([route], CANDIDATES[0]).overlaps(IPv4Network(route))


def test_an_error_is_raised_when_all_subnets_are_taken() -> None:
    with pytest.raises(SandboxError, match="ip route"):
        free_subnet(["10.0.0.0/8"], CANDIDATES[0])


def test_addresses_are_stable_and_unique(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(layout)
    monkeypatch.setattr(network, "ensure", lambda: IPv4Network("10.213.41.0/24"))
    assert network.address(None, []) == "10.213.41.11"
    assert network.address(None, ["10.213.41.11", "10.213.41.12"]) == "10.213.41.13"
    assert network.address("10.213.40.12", ["10.213.40.12"]) == "10.213.41.12"


def test_a_recently_released_address_is_assigned_last(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(layout)
    monkeypatch.setattr(network, "ensure", lambda: IPv4Network("10.213.41.0/28"))
    assert [network.address(None, []) for _ in range(5)] == [f"10.213.41.{last}" for last in (11, 12, 13, 14, 11)]
    assert network.address(None, ["10.213.41.12"]) == "10.213.41.13"
    monkeypatch.setattr(network, "ensure", lambda: IPv4Network("10.213.41.0/24"))
    (layout.networks / f"{network.name}.last").write_text("10.213.41.199")
    assert network.address(None, []) == "10.213.41.11"
    # An address of an earlier sandbox, or none.
    (layout.networks / f"{network.name}.last").write_text("192.0.2.1")
    assert network.address(None, []) == "10.213.41.11"


def test_the_hardware_address_is_derived_from_the_address() -> None:
    assert mac_address("10.213.40.11") == "02:00:0a:d5:28:0b"


def test_the_address_of_ipv6_is_in_the_subnet_beside_that_of_ipv4() -> None:
    assert ipv6_address("10.213.40.11") == "fd00:10:213:40::11"
    for subnet in CANDIDATES:
        beside = ipv6_subnet(subnet)
        assert all(IPv6Address(ipv6_address(str(host))) in beside for host in subnet.hosts())
        assert not any(beside.overlaps(ipv6_subnet(other)) for other in CANDIDATES if other != subnet)


@pytest.mark.parametrize("has_ipv6", [True, False])
def test_hosts_have_ipv6_if_the_kernel_has(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, has_ipv6: bool
) -> None:
    table = tmp_path / "if_inet6"
    if has_ipv6:
        table.touch()
    monkeypatch.setattr(network_module, "IPV6", table)
    monkeypatch.setattr(network_module, "run", lambda *_: "[]")
    network = Network(layout)
    assert not network.has_ipv6
    subnet = network.ensure()
    assert network.has_ipv6 is has_ipv6
    written = json.loads((layout.networks / f"{network.name}.json").read_text())
    both = [str(subnet), str(ipv6_subnet(subnet))]
    assert [one["subnet"] for one in written["subnets"]] == (both if has_ipv6 else both[:1])


def test_only_the_networks_own_firewall_rules_are_deleted() -> None:
    ours = hashlib.sha512(b"flaskops-x").hexdigest()[:13].upper()
    saved = f"""\
*filter
:FORWARD ACCEPT [0:0]
:NETAVARK_FORWARD - [0:0]
-A NETAVARK_FORWARD -d 10.88.0.0/16 -j ACCEPT
-A NETAVARK_FORWARD -d 10.213.40.0/24 -j ACCEPT
COMMIT
*nat
:NETAVARK-AAAAAAAAAAAAA - [0:0]
:NETAVARK-DN-{ours} - [0:0]
:NETAVARK-{ours} - [0:0]
-A POSTROUTING -s 10.88.0.0/16 -j NETAVARK-AAAAAAAAAAAAA
-A POSTROUTING -s 10.213.40.0/24 -j NETAVARK-{ours}
-A NETAVARK-AAAAAAAAAAAAA -d 10.88.0.0/16 -j ACCEPT
-A NETAVARK-{ours} -d 10.213.40.0/24 -j ACCEPT
COMMIT
"""
    assert rules_to_delete(saved, "flaskops-x").splitlines() == [
        "*filter",
        "-D NETAVARK_FORWARD -d 10.213.40.0/24 -j ACCEPT",
        "COMMIT",
        "*nat",
        f"-D POSTROUTING -s 10.213.40.0/24 -j NETAVARK-{ours}",
        f"-D NETAVARK-{ours} -d 10.213.40.0/24 -j ACCEPT",
        f"-X NETAVARK-DN-{ours}",
        f"-X NETAVARK-{ours}",
        "COMMIT",
    ]
