"""The listening sockets of an application: lists and closes them."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from ..host import accounts, marks, ownership, systemd, trees
from ..host import address as written
from ..host import listening as kernel
from ..host.layout import Layout


def listening(address: str) -> bool:
    """Ask the kernel whether something listens on an address (``0.0.0.0:8040``): systemd can be wrong about it."""
    return bool(kernel.listeners(written.read(address)))


def occupied(address: str) -> str:
    """Return what is in the place of a UNIX socket, or an empty string: systemd would remove it and listen there."""
    path = written.read(address).path
    return "" if not path or kernel.is_left_over(Path(path)) else ownership.describe(Path(path))


def misgranted(layout: Layout, address: str) -> str:
    """Return in a sentence that others can connect to a UNIX socket than its unit says, or an empty string."""
    path = Path(written.read(address).path)
    status = marks.lstat(path) if path.is_absolute() else None
    if not status:
        return ""
    group, mode = _access(layout, address)
    found, number = stat.S_IMODE(status.st_mode), accounts.group(group)
    if found == mode and number and status.st_gid == number.number:
        return ""
    return f"{path} is not open to root and the group {group} alone (mode {found:04o}, group {status.st_gid})"


def grant(layout: Layout, address: str) -> bool:
    """Give a UNIX socket the group and the mode that its unit names; systemd does so only when it opens one.

    Returns:
        whether it had others.

    Raises:
        OSError: there is no such group.
    """
    if not misgranted(layout, address):
        return False
    path, (group, mode) = Path(written.read(address).path), _access(layout, address)
    if not (found := accounts.group(group)):
        raise OSError(f"{layout.socket(address)} names the group {group}, which does not exist")
    os.chown(path, os.geteuid(), found.number, follow_symlinks=False)
    path.chmod(mode)
    return True


def _access(layout: Layout, address: str) -> tuple[str, int]:
    shown = systemd.show(layout.socket(address), "SocketGroup", "SocketMode")
    return shown["SocketGroup"], int(shown["SocketMode"], 8)


def addresses(layout: Layout) -> list[str]:
    """Return the addresses that the application's socket units listen on, or would at boot."""
    pattern = re.compile(re.escape(f"{layout.app}@") + r"(.+)\.socket(?:\.d)?")
    names = [path.name for path in (*layout.units.glob("*.d"), *layout.units.glob("*.wants/*"))]
    found = (written.of_instance(match[1]) for name in names if (match := pattern.fullmatch(name)))
    return sorted({*systemd.sockets(layout), *found})


def close(layout: Layout, address: str) -> None:
    """Close a listening socket and remove its unit; instances that still accept get what is queued in it."""
    unit = layout.socket(address)
    # A pattern is used because one that systemd does not know is already closed.
    pattern = f"{unit[:-1]}[{unit[-1]}]"
    systemd.systemctl("stop", pattern)
    systemd.systemctl("reset-failed", pattern)
    # systemd refuses to disable a unit without a unit file.
    if any(layout.units.glob(f"*.wants/{unit}")):
        systemd.systemctl("--no-reload", "disable", unit)
    trees.remove(layout.socket_dropin(address).parent)
    if (own := layout.socket_file(address)).name == unit:
        trees.remove(own)
