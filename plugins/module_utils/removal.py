"""What an application leaves on a host, and how to be rid of it."""

from __future__ import annotations

import shutil
from pathlib import Path

from . import kinds, systemd
from .layout import Layout
from .swap import close_socket, enabled_generations, socket_addresses, stop_all

# Where systemd's StateDirectory, CacheDirectory and LogsDirectory are.
_DATA = ("/var/lib", "/var/cache", "/var/log")


def paths(layout: Layout, *, data: bool) -> list[Path]:
    """Return what there is to remove.

    Args:
        layout: the application's paths.
        data: whether the application's data count.
    """
    units = _units(layout)
    folders = (layout.units, layout.volatile_units)
    found = [path for unit in units for end in ("", ".d") for folder in folders for path in folder.glob(unit + end)]
    found += [path for unit in units for path in layout.units.glob(f"*.wants/{unit}")]
    found += [layout.root, *(kind.runtime(layout) for kind in kinds.KINDS), layout.tried, layout.sysctl]
    if data:
        found += [Path(folder) / layout.app for folder in _DATA]
    return sorted({path for path in found if path.exists() or path.is_symlink()})


def remove(layout: Layout, *, data: bool) -> None:
    """Stop the application gracefully and remove it.

    Args:
        layout: the application's paths.
        data: whether to remove the application's data too.

    Raises:
        SystemdError: what serves cannot be stopped. Nothing was removed.
    """
    stop_all(layout)
    for name in enabled_generations(layout):
        systemd.systemctl("--no-reload", "disable", layout.service(name))
    for address in socket_addresses(layout):
        close_socket(layout, address)
    for path in paths(layout, data=data):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for path in (layout.lock, layout.trial):
        path.unlink(missing_ok=True)
    systemd.systemctl("daemon-reload")
    systemd.systemctl("reset-failed", *_units(layout))


def _units(layout: Layout) -> list[str]:
    return [*(kind.unit(layout, "*") for kind in kinds.KINDS), layout.socket("*")]
