"""Lets other generations serve temporarily, and restores the original one, even if the controller is gone.

The run must extend the trial again and again, each time by some seconds. When they run out, a watchdog on the host ends
the trial: a controller that was killed or has lost its network cannot.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..host import files
from ..host.layout import Layout
from . import reservation
from .swap import Swap

_LOOK_S = 1.0


class TrialError(Exception):
    """A trial cannot begin, or has ended."""


@dataclass(frozen=True)
class Trial:
    """A trial in progress.

    Args:
        who: the run of Ansible that owns it; empty if the record is damaged.
        until: its end, in seconds since the boot, so that a clock that jumps does not end it.
    """

    who: Mapping[str, Any]
    until: float


def _state(layout: Layout) -> Trial | None:
    if not layout.trial.exists():
        return None
    try:
        said = files.read_object(layout.trial)
    except files.DamagedError:
        said = {}
    who, until = said.get("who"), said.get("until")
    if isinstance(who, dict) and isinstance(until, float):
        return Trial(who, until)
    # No run can extend it, and any run may end it.
    return Trial({}, 0.0)


def begin(layout: Layout, who: Mapping[str, Any], seconds: float) -> str:
    """Begin a trial, or extend the one that this run has already begun.

    Args:
        layout: the application's paths.
        who: the run of Ansible, which holds the application's reservation.
        seconds: how long the trial lasts from now.

    Returns:
        the original generation, which will be restored.

    Raises:
        TrialError: nothing is deployed that could be restored, or another run has a trial.
        LockedError: another run is changing the application.
    """
    return _prolong(layout, who, seconds, begins=True)


def extend(layout: Layout, who: Mapping[str, Any], seconds: float) -> str:
    """Extend a trial, like :func:`begin`, but do not begin one.

    Raises:
        TrialError: it has ended, and nothing would end a new one.
    """
    return _prolong(layout, who, seconds, begins=False)


def _prolong(layout: Layout, who: Mapping[str, Any], seconds: float, *, begins: bool) -> str:
    tried = _state(layout)
    if tried and tried.who and not reservation.same(tried.who, who):
        raise TrialError(f"{layout.app} is being tried by another run: {reservation.describe(tried.who)}")
    found = layout.deployed_generation()
    if not found:
        raise TrialError(f"{layout.app} is not deployed below {layout.base} on this host: deploy it first")
    with reservation.exclusive(layout, who):
        # Read again, since the watchdog may just have ended it.
        state = _state(layout)
        if not state and not begins:
            raise TrialError(f"the trial of {layout.app} has ended: its time ran out, or somebody deployed. Try again")
        document = {"who": dict(who), "until": time.monotonic() + seconds}
        files.write(layout.trial, json.dumps(document), 0o600)
        return found


def end(layout: Layout, who: Mapping[str, Any] | None, *, overdue: bool = False) -> bool:
    """Restore the original generation, and remove those that were tried.

    Args:
        layout: the application's paths.
        who: the run of Ansible that began it.
        overdue: whether to end it only if its time has run out.

    Returns:
        whether there was a trial to end.

    Raises:
        LockedError: another run is changing the application.
        SwapError: the original generation cannot serve. The one that was tried last does.
    """
    with reservation.exclusive(layout, who):
        state = _state(layout)
        if not state or (overdue and time.monotonic() < state.until):
            return False
        return abandon(layout)


def abandon(layout: Layout) -> bool:
    """End a trial of any run; the caller holds the application's lock.

    Returns:
        whether there was one.

    Raises:
        SwapError: the original generation cannot serve. The one that was tried last does.
    """
    found = layout.deployed_generation()
    if not found or not layout.trial.exists():
        return False
    # Any move that is not part of a trial ends it.
    Swap(layout, found, canary=False).run()
    return True


def watch(layout: Layout, who: Mapping[str, Any]) -> bool:
    """Wait until a trial has ended, and end it when its time runs out.

    Args:
        layout: the application's paths.
        who: the run of Ansible that began it.

    Returns:
        whether it had to be ended.
    """
    while (state := _state(layout)) and reservation.same(state.who, who):
        # A running step holds the lock, and may be followed by an extension of the trial.
        with suppress(reservation.LockedError):
            if time.monotonic() >= state.until and end(layout, who, overdue=True):
                reservation.release(layout, who)
                return True
        time.sleep(_LOOK_S)
    return False
