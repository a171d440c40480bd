"""Lets one deploy at a time change an application on a host; a second one is refused with the name of the first.

There are two locks. The *reservation* is a file that names its owner, and spans a whole deploy, which is many processes
on the host. Only the owner's controller knows whether the owner still runs, so it is a lease: each module of the owner
renews it, and after its length without renewal it may be replaced. The *file lock* spans one module, and the kernel
releases it whatever happens.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any

from ..host import untrusted
from ..host.foreign import printable
from ..host.layout import Layout

# The fields that identify a run of Ansible.
_IDENTITY = ("home", "pid", "start")
# A module continues after its Ansible was killed, but ends soon.
_PATIENCE = 30
# Bytes of a reservation.
_MOST = 1 << 16
# Seconds for which a reservation is valid without renewal, unless it has its own number.
LEASE_S = 1800


class LockedError(Exception):
    """Another run is changing the application."""


def same(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
    """Return whether two owners are the same run of Ansible."""
    return bool(one and other) and all((one or {}).get(key) == (other or {}).get(key) for key in _IDENTITY)


def describe(owner: Mapping[str, Any]) -> str:
    """Return a description of an owner, such as ``deploy by root@controller, pid 123, since 2026-11-24T03:12:00Z``."""
    return f"{owner.get('what')} by {owner.get('who')}, pid {owner.get('pid')}, since {owner.get('since')}"


def owner(layout: Layout) -> dict[str, Any] | None:
    """Return the run that has reserved the application on this host, or None."""
    try:
        document = untrusted.document(untrusted.read(layout.lock, _MOST), layout.lock)
    except untrusted.UntrustedError:
        return None
    return document if isinstance(document, dict) else None


def held(layout: Layout) -> dict[str, Any] | None:
    """Return the run that has reserved the application, with the age of the reservation, or None.

    Returns:
        the owner, ``renewed`` (the time of its last module on this host, in the file system's nanoseconds) and
        ``idle_s`` (the seconds since then, by this host's clock).
    """
    try:
        renewed = layout.lock.lstat().st_mtime_ns
    except OSError:
        return None
    found = owner(layout)
    return found and aged(found, renewed)


def aged(owner: Mapping[str, Any], renewed: int) -> dict[str, Any]:
    """Return an owner with its age.

    Args:
        owner: the run.
        renewed: the time of its last sign of life on this host, in the file system's nanoseconds.

    Returns:
        the owner, ``renewed``, and ``idle_s`` (the seconds since then, by this host's clock).
    """
    return {**owner, "renewed": renewed, "idle_s": max(0, time.time_ns() - renewed) // 10**9}


def busy(layout: Layout) -> bool:
    """Return whether a module is changing the application now."""
    try:
        descriptor = os.open(layout.lock, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def reserve(layout: Layout, who: Mapping[str, Any], replace: Mapping[str, Any] | None = None) -> bool:
    """Reserve the application for a run of Ansible.

    Args:
        layout: the application's paths.
        who: the run; see the lookup ``run_identity``.
        replace: an owner whose reservation is replaced; if it has ``renewed``, only if it was not renewed since.

    Returns:
        whether the reservation is new.

    Raises:
        LockedError: another run has it.
    """
    with exclusive(layout, who, replace) as stream:
        if same(owner(layout), who):
            return False
        _write(stream, json.dumps(dict(who)))
        return True


def release(layout: Layout, who: Mapping[str, Any]) -> bool:
    """Release a run's own reservation, and return whether there was one.

    Args:
        layout: the application's paths.
        who: the run; if it has ``renewed``, only if it was not renewed since.
    """
    found = held(layout)
    if not found or not unchanged(found, who):
        return False
    with exclusive(layout, who) as stream:
        _write(stream, "")
    return True


def _write(stream: IO[str], text: str) -> None:
    stream.seek(0)
    stream.truncate()
    stream.write(text)
    stream.flush()


@contextmanager
def exclusive(
    layout: Layout,
    who: Mapping[str, Any] | None = None,
    replace: Mapping[str, Any] | None = None,
    reserved: bool = False,
    patience: float = _PATIENCE,
) -> Iterator[IO[str]]:
    """Hold the application's lock for the duration of the context.

    Args:
        layout: the application's paths.
        who: the run of Ansible, or None for a person.
        replace: an owner whose reservation is ignored; if it has ``renewed``, only if it was not renewed since.
        reserved: whether the run must still hold its reservation.
        patience: seconds to wait for a running module.

    Raises:
        LockedError: another run has reserved the application, a module is still running, or the reservation that the
            run must hold is gone.
    """
    layout.lock.parent.mkdir(exist_ok=True)
    deadline = time.monotonic() + patience
    while (stream := _locked(layout.lock)) is None:
        if time.monotonic() >= deadline:
            other = owner(layout)
            name = describe(other) if other and not same(other, who) else _holder(layout.lock)
            raise LockedError(_refusal(layout, name))
        time.sleep(0.2)
    with stream:
        found = held(layout)
        if found and not same(found, who) and not unchanged(found, replace or {}):
            raise LockedError(_refusal(layout, describe(found)))
        ours = same(found, who)
        if reserved and not ours:
            raise LockedError(
                f"{layout.app} is no longer reserved for this run on this host: the reservation was not renewed "
                "within its lease (flask_uwsgi_lease), and another run has taken it since. Deploy again to make a new "
                "plan"
            )
        if ours:
            os.utime(stream.fileno())
        yield stream
        # The lease counts from the end of a long step.
        if ours:
            os.utime(stream.fileno())


def exclusive_to(layout: Layout, asked: Mapping[str, Any]) -> AbstractContextManager[IO[str]]:
    """Hold the application's lock, for a module with the arguments ``RESERVED``.

    Args:
        layout: the application's paths.
        asked: the module's arguments.

    Raises:
        LockedError: as :func:`exclusive`.
    """
    return exclusive(layout, asked["run"], asked["replace"], asked["reserved"])


def unchanged(found: Mapping[str, Any], seen: Mapping[str, Any]) -> bool:
    """Return whether a reservation is the one that was seen and, if ``renewed`` is given, was not renewed since."""
    return same(found, seen) and seen.get("renewed") in (None, found["renewed"])


def _locked(path: Path) -> IO[str] | None:
    """Return the lock's file, locked, or None if another process has locked it.

    Only root may open it: any process that can open a file can lock it. A removal unlinks the file while others
    wait for it: what they then have locked is no longer the lock.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise LockedError(f"{path} cannot be opened: {error.strerror}. Remove it, and try again") from error
    stream = os.fdopen(descriptor, "w+")
    try:
        if stat.S_IMODE(os.fstat(descriptor).st_mode) != 0o600:
            os.fchmod(descriptor, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), path.lstat()):
            return stream
    except (BlockingIOError, FileNotFoundError):
        pass
    stream.close()
    return None


def _holder(path: Path) -> str:
    """Return the process that has locked a file, according to the kernel (proc(5), /proc/locks)."""
    try:
        inode = str(path.lstat().st_ino)
        rows = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
        pid = next(row[4] for row in rows if row[1] == "FLOCK" and row[5].rpartition(":")[2] == inode and row[4] > "0")
        name = printable((Path("/proc") / pid / "comm").read_text(errors="replace"))
        return f"process {pid} ({name}) of user id {(Path('/proc') / pid).stat().st_uid} is at work"
    except (OSError, StopIteration, IndexError):
        return "a module is at work"


def _refusal(layout: Layout, name: str) -> str:
    return f"{layout.app} is being changed on this host: {name}. Wait for it to end, then try again"
