"""The bridge that hosts share, on a subnet that nothing else uses."""

import fcntl
import hashlib
import ipaddress
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.paths import Layout
from sandbox.process import run

CANDIDATES = tuple(ipaddress.IPv4Network(f"10.213.{third}.0/24") for third in range(40, 56))
# The addresses above are for what hosts share, such as that of a pair of load balancers.
FIRST_HOST, LAST_HOST = 11, 199
IPV6 = Path("/proc/net/if_inet6")


def free_subnet(routes: Iterable[str], preferred: ipaddress.IPv4Network) -> ipaddress.IPv4Network:
    """Return a subnet that no route of the controller overlaps.

    Args:
        routes: destinations as printed by ``ip route`` ("default", "192.0.2.0/24", "192.0.2.7").
        preferred: the one to use if it is free.

    Raises:
        SandboxError: all are taken.
    """
    taken = [ipaddress.IPv4Network(route) for route in routes if route != "default"]
    for subnet in (preferred, *CANDIDATES):
        if not any(subnet.overlaps(network) for network in taken):
            return subnet
    raise SandboxError(
        f"the controller has routes to all of {CANDIDATES[0]} to {CANDIDATES[-1]}",
        "remove those that are not needed: `ip route` shows them",
    )


def ipv6_subnet(subnet: ipaddress.IPv4Network) -> ipaddress.IPv6Network:
    """Return the private subnet of IPv6 beside one of IPv4, in the same digits: fd00:10:213:40::/64."""
    return ipaddress.IPv6Network(f"fd00:{':'.join(str(subnet.network_address).split('.')[:3])}::/64")


def ipv6_address(address: str) -> str:
    """Return the address of IPv6 of the host that has an address of IPv4, in the same digits: fd00:10:213:40::11."""
    *net, last = address.split(".")
    return f"fd00:{':'.join(net)}::{last}"


def mac_address(address: str) -> str:
    """Return the hardware address for an address.

    If it changed at each boot, the controller would send to the old one until its ARP cache expires.
    """
    return f"02:00:{ipaddress.IPv4Address(address).packed.hex(':')}"


def rules_to_delete(saved: str, network: str) -> str:
    """Return the input for iptables-restore that deletes netavark's rules for a network.

    Args:
        saved: output of iptables-save.
        network: its name, from which netavark derives the names of its chains (netavark, create_network_hash).
    """
    chain = rf"NETAVARK-(?:DN-)?{hashlib.sha512(network.encode()).hexdigest()[:13].upper()}\b"
    subnets = re.findall(rf"-A POSTROUTING -s (\S+) -j {chain}", saved)
    ours = re.compile("|".join([chain, *(rf"-A NETAVARK_FORWARD -[sd] {re.escape(s)} " for s in subnets)]))
    script: list[str] = []
    for table in re.findall(r"^\*.*?^COMMIT$", saved, re.MULTILINE | re.DOTALL):
        name, *lines, commit = table.splitlines()
        found = [line for line in lines if ours.search(line)]
        rules = [line.replace("-A ", "-D ", 1) for line in found if line.startswith("-A ")]
        chains = [f"-X {line[1:].split()[0]}" for line in found if line.startswith(":")]
        script += [name, *rules, *chains, commit]
    return "\n".join([*script, ""])


class Network:
    """The podman network of one state directory."""

    def __init__(self, layout: Layout) -> None:
        self.name = f"flaskops-{layout.tag}"
        # The kernel allows fifteen characters.
        self.interface = self.name.replace("-", "")[:15]
        self._file = layout.networks / f"{self.name}.json"
        # The address that was assigned last; podman only reads .json files.
        self._last = layout.networks / f"{self.name}.last"

    @property
    def has_ipv6(self) -> bool:
        """Whether hosts get an address of IPv6, too."""
        return bool(json.loads(self._file.read_text())["ipv6_enabled"]) if self._file.exists() else False

    def _is_up(self) -> bool:
        return Path("/sys/class/net", self.interface).exists()

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Let only one sandbox of the machine at a time choose a subnet, which is in use once its first host runs."""
        # Locks a directory that every machine has: a file would be a trace that nothing could remove.
        descriptor = os.open("/run", os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def ensure(self) -> ipaddress.IPv4Network:
        """Write podman's configuration of the network, with a subnet that is currently free.

        Returns:
            The subnet; the same as before if possible.

        Raises:
            SandboxError: none is free.
        """
        preferred = CANDIDATES[0]
        if self._file.exists():
            preferred = ipaddress.IPv4Network(json.loads(self._file.read_text())["subnets"][0]["subnet"])
            if self._is_up():
                return preferred
        routes = json.loads(run(["ip", "-json", "-4", "route"], "reading routes") or "[]")
        subnet = free_subnet((r["dst"] for r in routes if r.get("dev") != self.interface), preferred)
        gateways: list[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, object]] = [(subnet, subnet[1])]
        # A kernel without IPv6 has no such table.
        if IPV6.is_file():
            gateways.append((ipv6_subnet(subnet), ipv6_subnet(subnet)[1]))
        # Written here because only newer podman lets one name the interface.
        configuration = {
            "name": self.name,
            "id": hashlib.sha256(self.name.encode()).hexdigest(),
            "driver": "bridge",
            "network_interface": self.interface,
            "created": "2026-01-01T00:00:00Z",
            "subnets": [{"subnet": str(net), "gateway": str(gateway)} for net, gateway in gateways],
            "ipv6_enabled": len(gateways) > 1,
            "internal": False,
            "dns_enabled": False,
            "ipam_options": {"driver": "host-local"},
        }
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(json.dumps(configuration, indent=2))
        return subnet

    def address(self, previous: str | None, taken: Iterable[str]) -> str:
        """Return the address for a host: its old one, adapted if the subnet has changed, or a free one.

        The one that has been free for the longest time, so that late packets for a removed host do not reach another.
        """
        subnet = self.ensure()
        if previous:
            return str(subnet[ipaddress.IPv4Address(previous).packed[-1]])
        addresses = list(map(str, list(subnet.hosts())[FIRST_HOST - 1 : LAST_HOST]))
        last = self._last.read_text() if self._last.is_file() else ""
        begin = addresses.index(last) + 1 if last in addresses else 0
        found = next(a for a in (*addresses[begin:], *addresses[:begin]) if a not in taken)
        self._last.parent.mkdir(parents=True, exist_ok=True)
        self._last.write_text(found)
        return found

    def remove(self) -> None:
        """Remove the bridge, and the firewall rules that podman leaves behind when it is killed."""
        if self._is_up():
            run(["ip", "link", "delete", self.interface], f"removing {self.interface}")
        # With nftables, podman separates the rules by network and removes them itself.
        for family in ("iptables", "ip6tables") if shutil.which("iptables-save") else ():
            script = rules_to_delete(run([f"{family}-save"], "reading firewall rules"), self.name)
            run([f"{family}-restore", "--noflush"], "removing firewall rules", script.encode())
