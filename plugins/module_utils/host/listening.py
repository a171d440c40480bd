"""What listens on this host, and on which addresses: the kernel's tables, read without running anything."""

from __future__ import annotations

import ipaddress
import os
import stat
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from .address import Address

_LISTEN = "0A"
# Of unix(7)'s table: a socket that listens (SO_ACCEPTCON).
_ACCEPTS = 0x10000
_IPV6 = Path("/proc/net/if_inet6")
# Of an address of IPv6 with a zone (RFC 4007): of a link, not of the host.
_LINK = "20"


@dataclass(frozen=True, order=True)
class Process:
    """A process.

    Args:
        pid: its number; 0 if it is hidden.
        name: its name.
    """

    pid: int
    name: str


def addresses() -> list[str]:
    """Return the addresses of this host, from the kernel's tables; those of a link alone are left out."""
    lines = Path("/proc/net/fib_trie").read_text().splitlines()
    found = {
        lines[place].split()[-1]
        for place, below in enumerate(lines[1:])
        if "|--" in lines[place] and "host LOCAL" in below
    }
    rows = [line.split() for line in _IPV6.read_text().splitlines()] if has_ipv6() else []
    return sorted(found) + sorted(str(ipaddress.IPv6Address(int(row[0], 16))) for row in rows if row[3] != _LINK)


def has_ipv6() -> bool:
    """Return whether the kernel can listen on an address of IPv6."""
    return _IPV6.is_file()


def holders(wanted: Address, besides: Collection[Address] = ()) -> list[Process]:
    """Return the processes whose listening sockets collide with an address.

    Args:
        wanted: the address.
        besides: addresses whose sockets do not count.

    Returns:
        the processes; one with the number 0 if it is hidden.
    """
    inodes = listeners(wanted, besides)
    if not inodes:
        return []
    found = [holder for process in Path("/proc").iterdir() if (holder := _holder(process, inodes))]
    return sorted(found) or [Process(0, "a hidden process")]


def listeners(wanted: Address, besides: Collection[Address] = ()) -> set[str]:
    """Return the listening sockets that collide with an address, by their names in /proc.

    Args:
        wanted: the address.
        besides: addresses whose sockets do not count.
    """
    if wanted.path:
        return set() if wanted in besides else _on_path(wanted.path)
    return _on_port(wanted, besides)


def _on_path(path: str) -> set[str]:
    # The table goes on listing a socket whose file was removed, and to which nobody can connect.
    if not _is_socket(Path(path)):
        return set()
    # num, reference count, protocol, flags, type, state, inode, path
    rows = (line.split(maxsplit=7) for line in Path("/proc/net/unix").read_text(errors="replace").splitlines()[1:])
    return {f"socket:[{row[6]}]" for row in rows if len(row) == 8 and row[7] == path and int(row[3], 16) & _ACCEPTS}


def _on_port(wanted: Address, besides: Collection[Address]) -> set[str]:
    inodes = set()
    for table in ("tcp", "tcp6"):
        path = Path("/proc/net") / table
        for line in path.read_text().splitlines()[1:] if path.is_file() else ():
            fields = line.split()
            held, _, port = fields[1].partition(":")
            found = Address(_read(held), int(port, 16))
            # The tables do not say what is of IPv6 only.
            if fields[3] == _LISTEN and found not in besides and wanted.collides(found):
                inodes.add(f"socket:[{fields[9]}]")
    return inodes


def _read(held: str) -> str:
    """Return an address of the kernel's tables, which has the words of the machine, as people write it."""
    packed = b"".join(bytes.fromhex(held[place : place + 8])[::-1] for place in range(0, len(held), 8))
    found = ipaddress.ip_address(packed)
    return str(getattr(found, "ipv4_mapped", None) or found)


def _holder(process: Path, inodes: set[str]) -> Process | None:
    if not process.name.isdigit():
        return None
    try:
        if any(str(descriptor.readlink()) in inodes for descriptor in (process / "fd").iterdir()):
            return Process(int(process.name), (process / "comm").read_text(errors="replace").strip())
    except OSError:
        # The process, or one of its files, is gone in the meantime.
        return None
    return None


def is_left_over(path: Path) -> bool:
    """Return whether a path is free for a UNIX socket: nothing is there, or a socket on which nothing listens.

    systemd replaces whatever is there.
    """
    return not os.path.lexists(path) or (_is_socket(path) and not _on_path(str(path)))


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.lstat().st_mode)
    except OSError:
        return False
