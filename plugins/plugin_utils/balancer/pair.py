"""Where the address that two balancers share belongs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address, ip_interface
from typing import Any


@dataclass(frozen=True)
class Network:
    """The network of a balancer that has the shared address.

    Args:
        interface: the interface; empty if there is none.
        address: the balancer's own address there.
        problem: why there is none, with the remedy.
    """

    interface: str = ""
    address: str = ""
    problem: str = ""


def network(vip: str, facts: Mapping[str, Any]) -> Network:
    """Find the network that a shared address belongs to.

    Args:
        vip: the shared address.
        facts: the network facts of the balancer.
    """
    try:
        wanted: IPv4Address | IPv6Address = ip_address(vip)
    except ValueError:
        return Network(
            problem=f"load_balancer_vip={vip} is not an IP address: set it to one that both balancers can have."
        )
    # keepalived gives the host that serves the shared address with a network of its own, and facts have all of IPv6.
    shared = ip_interface(vip)
    seen = [(name, own) for name, own in _interfaces(facts) if wanted.version == 4 or own != shared]
    for name, own in seen:
        if own.ip == wanted:
            return Network(
                problem=f"load_balancer_vip={vip} is this host's own address: set it to a free one of {own.network}."
            )
        if wanted in own.network:
            return Network(name, str(own.ip))
    networks = ", ".join(f"{own.network} ({name})" for name, own in seen) or "none"
    return Network(
        problem=f"load_balancer_vip={vip} is in none of this host's networks, which are {networks}: set it to a free "
        "address of one of them."
    )


def _interfaces(facts: Mapping[str, Any]) -> Iterator[tuple[str, IPv4Interface | IPv6Interface]]:
    for name in facts.get("ansible_interfaces", []):
        found = facts.get(f"ansible_{name.replace('-', '_')}", {})
        if name == "lo":
            continue
        if own := found.get("ipv4"):
            yield name, ip_interface(f"{own['address']}/{own['netmask']}")
        for own in found.get("ipv6", []):
            yield name, ip_interface(f"{own['address']}/{own['prefix']}")
