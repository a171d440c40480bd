"""The bridge that hosts share: a subnet nobody else uses, and one address a host for good."""

import hashlib
import ipaddress
import json
from collections.abc import Iterable
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.paths import Layout
from sandbox.process import run

CANDIDATES = tuple(ipaddress.IPv4Network(f"10.213.{third}.0/24") for third in range(40, 56))
NAME = "sandbox"
FIRST_HOST = 11


def free_subnet(routes: Iterable[str], preferred: ipaddress.IPv4Network = CANDIDATES[0]) -> ipaddress.IPv4Network:
    """Return a subnet that no route of the controller overlaps.

    Args:
        routes: destinations as ``ip route`` names them ("default", "192.0.2.0/24", "192.0.2.7").
        preferred: the one to take if it is free.

    Raises:
        SandboxError: all candidates are taken.
    """
    taken = [ipaddress.IPv4Network(route) for route in routes if route != "default"]
    for subnet in (preferred, *CANDIDATES):
        if not any(subnet.overlaps(network) for network in taken):
            return subnet
    raise SandboxError(
        f"no subnet is free among {CANDIDATES[0]} to {CANDIDATES[-1]}",
        "remove routes that `ip route` shows and nothing needs",
    )


class Network:
    """The podman network of one state directory."""

    def __init__(self, layout: Layout) -> None:
        self._file = layout.networks / f"{NAME}.json"
        # The kernel takes fifteen characters.
        self.interface = f"flaskops{layout.tag[:7]}"

    @property
    def subnet(self) -> ipaddress.IPv4Network | None:
        """The subnet in use, or None before the first host."""
        if not self._file.exists():
            return None
        return ipaddress.IPv4Network(json.loads(self._file.read_text())["subnets"][0]["subnet"])

    def is_up(self) -> bool:
        """Tell whether the bridge exists, that is, whether a connection would stay on this machine."""
        return Path("/sys/class/net", self.interface).exists()

    def ensure(self) -> ipaddress.IPv4Network:
        """Write podman's configuration of the network, with a subnet that is free here and now."""
        if self.subnet and self.is_up():
            return self.subnet
        routes = json.loads(run(["ip", "-json", "-4", "route", "show", "table", "all"], "reading routes") or "[]")
        foreign = [r["dst"] for r in routes if r.get("dev") != self.interface and r.get("type") != "broadcast"]
        subnet = free_subnet(foreign, self.subnet or CANDIDATES[0])
        self._file.parent.mkdir(parents=True, exist_ok=True)
        # Written here because only newer podman lets one name the interface.
        configuration = {
            "name": NAME,
            "id": hashlib.sha256(self.interface.encode()).hexdigest(),
            "driver": "bridge",
            "network_interface": self.interface,
            "created": "2026-01-01T00:00:00Z",
            "subnets": [{"subnet": str(subnet), "gateway": str(subnet[1])}],
            "ipv6_enabled": False,
            "internal": False,
            "dns_enabled": False,
            "ipam_options": {"driver": "host-local"},
        }
        self._file.write_text(json.dumps(configuration, indent=2))
        return subnet

    def address(self, subnet: ipaddress.IPv4Network, previous: str | None, taken: set[str]) -> str:
        """Return the address for a host: the one it had, by its place in the subnet, or a free one.

        Raises:
            SandboxError: the subnet is full.
        """
        if previous:
            return str(subnet[int(ipaddress.IPv4Address(previous)) & 0xFF])
        for host in list(subnet.hosts())[FIRST_HOST - 1 :]:
            if str(host) not in taken:
                return str(host)
        raise SandboxError(f"{subnet} has no address left", "take down hosts: `python3 -m sandbox list`")


def remove_interface(interface: str) -> None:
    """Remove the bridge if podman has left it behind."""
    if Path("/sys/class/net", interface).exists():
        run(["ip", "link", "delete", interface], f"removing {interface}")
