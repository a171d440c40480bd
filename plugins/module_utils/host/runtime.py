"""An application's runtime directory: what it contains, and who may write to it.

``/run/APP`` belongs to root: it holds the pidfiles, which an operator passes to ``kill``. Below it systemd creates a
directory for each instance, owned by the service's account, whose content is read only with ``untrusted``.

Up to version 0.1 the account owned ``/run/APP``, and the sockets of all generations were in it. Such a generation may
still run, or be the target of a rollback.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from . import files, systemd, trees, untrusted
from .layout import Layout


def folder(layout: Layout, unit: str) -> Path:
    """Return the directory with the sockets of an instance, which the service's account owns.

    Args:
        layout: the application's paths.
        unit: the instance's unit.
    """
    kind, _, generation = unit.removesuffix(".service").partition("@")
    if kind != layout.app:
        # For a canary, a relief or a check, systemd names it after the unit.
        return layout.runtime.with_name(kind)
    own = layout.runtime / generation
    if not own.is_dir() and untrusted.is_socket(layout.runtime / f"{generation}.sock"):
        return layout.runtime
    return own


def whole(layout: Layout, generation: str) -> bool:
    """Return whether the sockets of a running instance exist."""
    place = folder(layout, layout.service(generation))
    return all(untrusted.is_socket(place / f"{generation}.{suffix}") for suffix in ("sock", "stats"))


def owned_by_root(layout: Layout) -> bool:
    """Return whether only root can write to the application's runtime directory; also true if it is missing."""
    try:
        found = layout.runtime.lstat()
    except FileNotFoundError:
        return True
    return (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (os.geteuid(), os.getegid(), 0o755)


def claim(layout: Layout) -> bool:
    """Create the application's runtime directory, or take it back from the service's account.

    Returns:
        whether it did not belong to root.

    Raises:
        OSError: something else has its name, which only root can have put there.
    """
    claimed = not owned_by_root(layout)
    layout.runtime.mkdir(exist_ok=True)
    descriptor = os.open(layout.runtime, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchown(descriptor, os.geteuid(), os.getegid())
        os.fchmod(descriptor, 0o755)
    finally:
        os.close(descriptor)
    return claimed


def make_way(layout: Layout, generation: str, *, runs: bool) -> bool:
    """Claim the directory, and remove what would prevent a generation's start.

    Args:
        layout: the application's paths.
        generation: the generation.
        runs: whether it already runs, and needs what it has there.

    Returns:
        whether the directory did not belong to root.
    """
    claimed = claim(layout)
    # The unit itself replaces a pidfile.
    doomed = [name for name in _pidfiles(generation) if not _regular(layout.runtime / name)]
    doomed += [] if runs else [generation, f"{generation}.sock", f"{generation}.stats"]
    for name in doomed:
        trees.remove(layout.runtime / name)
    return claimed


def tidy(layout: Layout, running: Iterable[str], relieving: Iterable[str]) -> None:
    """Claim the directory, and remove everything that belongs to no running instance.

    Args:
        layout: the application's paths.
        running: the generations whose own instances run.
        relieving: the generations that a relief serves.
    """
    claim(layout)
    wanted = {layout.pidfile.name, *(_pidfiles(generation)[1] for generation in relieving)}
    for generation in running:
        wanted |= {generation, _pidfiles(generation)[0]}
        if folder(layout, layout.service(generation)) == layout.runtime:
            wanted |= {f"{generation}.sock", f"{generation}.stats"}
    for path in layout.runtime.iterdir():
        if path.name not in wanted:
            trees.remove(path)


def at_work(layout: Layout) -> set[str]:
    """Return the generations that have something here: a killed run can leave one running that no record names."""
    return {path.name.partition(".")[0] for path in layout.runtime.glob("[!.]*")}


def pidfile_pid(layout: Layout) -> int | None:
    """Return the process id that the application's pidfile names, or None if it names none."""
    try:
        target = layout.pidfile.readlink()
        # The account could write it while it owned the directory.
        return untrusted.read_pid(layout.runtime / target) if target.name == str(target) else None
    except (OSError, untrusted.UntrustedError):
        return None


def point_pidfile(layout: Layout, unit: str) -> bool:
    """Make the application's pidfile name the master of a unit.

    Args:
        layout: the application's paths.
        unit: the unit that serves.

    Returns:
        whether it named another one, or was forged.
    """
    pid = systemd.show(unit, "MainPID")["MainPID"]
    generation = unit.partition("@")[2].removesuffix(".service")
    service, relief = _pidfiles(generation)
    own = layout.runtime / (service if unit == layout.service(generation) else relief)
    true = pidfile_pid(layout) == int(pid) and layout.pidfile.readlink() == Path(own.name)
    # The account can overwrite what it owns, even in a directory of root's.
    if true and own.lstat().st_uid == os.geteuid() and owned_by_root(layout):
        return False
    claim(layout)
    for path in (own, layout.pidfile):
        # From the time when the account could create one: a rename does not replace a directory with a file.
        if path.is_dir() and not path.is_symlink():
            trees.remove(path)
    files.write(own, f"{pid}\n")
    files.link(layout.pidfile, own.name)
    return True


def _regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def _pidfiles(generation: str) -> tuple[str, str]:
    """Return the names of the pidfiles of a generation's own instance and of its relief."""
    return f"{generation}.pid", f"{generation}.relief.pid"
