"""Where the servers of a load balancer are: its configuration decides, at each reload and each start."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..host.address import bracketed

_BACKEND = re.compile(r"\s*(?:backend|listen)\s+(\S+)")
_SERVER = re.compile(r"(\s*server\s+(\S+)\s+)(\S+):(\d+)(?:(\s.*?maxconn\s+)\d+)?(?!\S)")
# Of `show servers state`: the fields of a line in front of the port (management.txt, "show servers state").
_BEFORE_PORT = 18


@dataclass(frozen=True)
class Place:
    """Where a server is.

    Args:
        address: its address, or a name that HAProxy has looked up when it started.
        port: its port.
        capacity: the requests that it serves at the same time.
    """

    address: str
    port: int
    capacity: int

    @property
    def listen(self) -> str:
        """Address and port."""
        return f"{bracketed(self.address)}:{self.port}"

    def from_here(self, now: str) -> Place:
        """Return the place as the runtime API wants it, without a name.

        Args:
            now: address and port that the server has now. A name is taken for the address that it had.
        """
        try:
            ipaddress.ip_address(self.address)
        except ValueError:
            return replace(self, address=now.rpartition(":")[0].strip("[]"))
        return self


def moved(configuration: str, places: Mapping[str, Place]) -> str:
    """Return a configuration in which servers are elsewhere.

    Args:
        configuration: the configuration.
        places: the place of each server that has moved, by its name.
    """

    def line(text: str) -> str:
        if not (found := _SERVER.match(text)) or not (place := places.get(found[2])):
            return text
        limit = f"{found[5]}{place.capacity}" if found[5] else ""
        return f"{found[1]}{place.listen}{limit}{text[found.end() :]}"

    return "\n".join(line(text) for text in configuration.split("\n"))


def settled(states: str, configuration: str) -> str:
    """Return the states of servers with the ports that the configuration has.

    HAProxy would prefer the port in the states, and connect to where a server no longer is.

    Args:
        states: what `show servers state` answers.
        configuration: the configuration that will be loaded.
    """
    ports, backend = {}, ""
    for text in configuration.split("\n"):
        if found := _BACKEND.match(text):
            backend = found[1]
        elif found := _SERVER.match(text):
            ports[backend, found[2]] = found[4]
    return "\n".join(_with_port(line, ports) for line in states.split("\n"))


def _with_port(line: str, ports: Mapping[tuple[str, str], str]) -> str:
    fields = line.split(" ")
    if len(fields) > _BEFORE_PORT and fields[0].isdigit() and (port := ports.get((fields[1], fields[3]))):
        fields[_BEFORE_PORT] = port
    return " ".join(fields)
