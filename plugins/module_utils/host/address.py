"""What an application can listen on: an address with a port, or the path of a UNIX socket. The one definition.

Written out, as in a manifest and for people, they are ``0.0.0.0:8040``, ``[::]:8040`` and ``/run/shop.sock``. The
socket unit of an address has an instance of its own, in which IPv6 has no brackets and a path has colons for slashes:
``0.0.0.0:8040``, ``:::8040`` and ``:run:shop.sock``. systemd's own escapes are backslashes, which are escapes once more
in ``Sockets=``, in the patterns of systemctl, and in a shell.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import PurePosixPath

# All addresses: of IPv4 alone, and of IPv4 and IPv6.
ANY = "0.0.0.0"
DUAL = "::"
# Of which a manifest is made; a damaged one can have anything.
FORM = re.compile(r"[^\s/]+:\d{1,5}|(/[A-Za-z0-9._-]+)+")
# The kernel's, without the zero byte at the end (unix(7)).
LONGEST_PATH = 107
# What systemd allows in the name of a unit, in which a path has colons for slashes (systemd.unit(5)).
_PATH = re.compile(r"(/[A-Za-z0-9._-]+)+\.sock")
_WITH_PORT = re.compile(r"(?P<host>\[[^]]*\]|[^:\[\]]+):(?P<port>\d+)")
REMEDY = (
    "0.0.0.0 (all addresses of IPv4), [::] (IPv4 and IPv6), one address of the host, or the path of a UNIX socket such "
    "as /run/shop.sock"
)


@dataclass(frozen=True)
class Address:
    """What an application listens on.

    Args:
        bind: an address, IPv6 without brackets; or the absolute path of a UNIX socket.
        port: the TCP port; 0 for a path.
    """

    bind: str
    port: int

    @property
    def path(self) -> str:
        """The path of a UNIX socket; empty for TCP."""
        return self.bind if self.bind.startswith("/") else ""

    @property
    def text(self) -> str:
        """The address as people write it."""
        return self.path or f"{bracketed(self.bind)}:{self.port}"

    def collides(self, other: Address) -> bool:
        """Return whether two programs of one host cannot listen on both."""
        if self.path or other.path:
            return self.path == other.path
        if self.port != other.port:
            return False
        binds = {self.bind, other.bind}
        of_ipv4 = not any(":" in bind for bind in binds)
        return len(binds) == 1 or DUAL in binds or (ANY in binds and of_ipv4)


def bracketed(host: str) -> str:
    """Return a host as a URL has it, and wherever a port follows: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def problem(given: str) -> str:
    """Return why nothing can listen on a value of ``flask_uwsgi_bind``, with the remedy; empty if something can."""
    if given.startswith("unix:"):
        return f"is not valid: set it to the path alone, {given[5:] or '/run/shop.sock'}"
    if "/" in given:
        return _path_problem(given)
    if with_port := _WITH_PORT.fullmatch(given):
        return f"has a port: set it to {with_port['host']}, and flask_uwsgi_port to {with_port['port']}"
    if "%" in given:
        return f"has a zone, which systemd's sockets do not know: set it to {REMEDY}"
    try:
        found = ipaddress.ip_address(_bare(given))
    except ValueError:
        return f"is not valid: set it to {REMEDY}"
    if given.startswith("[") and found.version == 4:
        return f"is not valid: set it to {found}, for only IPv6 is in brackets"
    if mapped := getattr(found, "ipv4_mapped", None):
        return f"is an IPv4 address written as IPv6: set it to {mapped}"
    if found.is_multicast or (found.version == 6 and found.is_link_local):
        kind = "a multicast address" if found.is_multicast else "a link-local address, which needs a zone"
        return f"is {kind}: set it to {REMEDY}"
    return ""


def _path_problem(given: str) -> str:
    if not given.startswith("/"):
        return f"is a relative path: set it to an absolute one, such as /run/{PurePosixPath(given).name or 'shop.sock'}"
    if (length := len(given.encode())) > LONGEST_PATH:
        return f"has {length} bytes, and the kernel allows {LONGEST_PATH}: set it to a shorter path"
    if not _PATH.fullmatch(given) or not {".", ".."}.isdisjoint(given.split("/")):
        return (
            "is not valid: set it to an absolute path of A-Z, a-z, 0-9, ., _ and - that ends in .sock, without . and "
            ".. in it"
        )
    return ""


def _bare(host: str) -> str:
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def canonical(given: str) -> str:
    """Return a value of ``flask_uwsgi_bind`` in its one form.

    Args:
        given: a value without a problem; any other is returned as it is.
    """
    try:
        return str(ipaddress.ip_address(_bare(given)))
    except ValueError:
        return given


def of(bind: str, port: int) -> Address:
    """Return the address of the settings.

    Args:
        bind: an address, with or without brackets; or a path.
        port: the port, which does not count for a path.
    """
    bind = canonical(bind)
    return Address(bind, 0 if bind.startswith("/") else port)


def read(text: str) -> Address:
    """Return an address that was written out; of a damaged manifest it can be one that nothing listens on."""
    if text.startswith("/"):
        return Address(text, 0)
    host, _, port = text.rpartition(":")
    return Address(canonical(host), int(port) if re.fullmatch(r"[0-9]{1,9}", port) else 0)


def instance(text: str) -> str:
    """Return the instance of the unit of an address that is written out; also for a pattern such as ``*``."""
    return text.replace("[", "").replace("]", "").replace("/", ":")


def is_instance(text: str) -> bool:
    """Return whether that instance is the address itself, so that systemd can write it (``%i``)."""
    return instance(text) == text


def of_instance(name: str) -> str:
    """Return the address, written out, whose unit has an instance."""
    # An address of IPv6 can begin with two colons.
    if name.startswith(":") and not name.startswith("::"):
        return name.replace(":", "/")
    host, _, port = name.rpartition(":")
    return f"{bracketed(host)}:{port}" if ":" in host else name
