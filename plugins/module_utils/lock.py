"""Lets one deploy at a time change an application on a host, and lets the second one name the first.

Two locks, for two spans. The *reservation* is a file that names its owner: it spans a whole deploy, which is
many processes on the host, and only the controller can tell whether its owner still lives. The *file lock*
spans one module, and the kernel lets go of it whatever happens.
"""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

from .layout import Layout

# What tells one run of Ansible from another.
_IDENTITY = ("home", "pid", "start")
# A module whose Ansible was killed goes on to its end, which is near.
_PATIENCE = 30


class LockedError(Exception):
    """Somebody else is changing the application."""


def same(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
    """Tell whether two owners are the same run of Ansible."""
    return bool(one and other) and all((one or {}).get(key) == (other or {}).get(key) for key in _IDENTITY)


def describe(owner: Mapping[str, Any]) -> str:
    """Return an owner in words, such as ``deploy by root@controller, pid 123, since 2026-11-24T03:12:00Z``."""
    return f"{owner.get('what')} by {owner.get('who')}, pid {owner.get('pid')}, since {owner.get('since')}"


def owner(layout: Layout) -> dict[str, Any] | None:
    """Return who has reserved the application on this host, or None."""
    try:
        with layout.lock.open() as stream:
            return _read(stream)
    except OSError:
        return None


def _read(stream: IO[str]) -> dict[str, Any] | None:
    stream.seek(0)
    try:
        document = json.load(stream)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def busy(layout: Layout) -> bool:
    """Tell whether a module is changing the application at this moment."""
    try:
        with layout.lock.open() as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def reserve(layout: Layout, who: Mapping[str, Any], replace: Mapping[str, Any] | None = None) -> bool:
    """Reserve the application for a run of Ansible.

    Args:
        layout: the application's paths.
        who: the run; see the lookup ``run_identity``.
        replace: an owner that lives no more, and may be replaced.

    Returns:
        whether the reservation is new.

    Raises:
        LockedError: somebody else has it.
    """
    with exclusive(layout, who, replace) as stream:
        if same(_read(stream), who):
            return False
        _write(stream, json.dumps(dict(who)))
        return True


def release(layout: Layout, who: Mapping[str, Any]) -> bool:
    """Give a reservation back; another's is left alone. Return whether there was one."""
    if not same(owner(layout), who):
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
    patience: float = _PATIENCE,
) -> Iterator[IO[str]]:
    """Be the only one to change the application while the context lasts.

    Args:
        layout: the application's paths.
        who: the run of Ansible that asks, or None for a person.
        replace: an owner whose reservation does not count.
        patience: seconds to wait for a module that is at work.

    Raises:
        LockedError: another run has reserved the application, or a module is still at work.
    """
    layout.lock.parent.mkdir(exist_ok=True)
    with layout.lock.open("a+") as stream:
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if time.monotonic() >= deadline:
                    held = _read(stream)
                    name = describe(held) if held else "a module without a reservation"
                    raise LockedError(_refusal(layout, name)) from error
                time.sleep(0.2)
        held = _read(stream)
        if held and not same(held, who) and not same(held, replace):
            raise LockedError(_refusal(layout, describe(held)))
        yield stream


def _refusal(layout: Layout, name: str) -> str:
    return f"{layout.app} is being changed on this host: {name}. Wait for it to end, then try again"
