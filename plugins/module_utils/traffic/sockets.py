"""The listening sockets of an application: lists and closes them."""

from __future__ import annotations

import re

from ..host import systemd, trees
from ..host.facts import listeners
from ..host.layout import Layout


def listening(address: str) -> bool:
    """Ask the kernel whether something listens on an address (``0.0.0.0:8040``): systemd can be wrong about it."""
    bind, _, port = address.partition(":")
    return bool(listeners(bind, int(port)))


def addresses(layout: Layout) -> list[str]:
    """Return the addresses that the application's socket units listen on, or would at boot."""
    pattern = re.compile(re.escape(f"{layout.app}@") + r"(.+)\.socket(?:\.d)?")
    names = [path.name for path in (*layout.units.glob("*.d"), *layout.units.glob("*.wants/*"))]
    return sorted({*systemd.sockets(layout), *(match[1] for name in names if (match := pattern.fullmatch(name)))})


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
