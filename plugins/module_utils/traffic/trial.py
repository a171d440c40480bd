"""Lets other generations serve for a while, and brings back the one that was found, also when nobody asks any more.

Whoever tries has to say again and again that he still does: each time the trial is good for some more seconds. When
they are over, a watchman on the host ends it: a controller that was killed, or lost its network, cannot.
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
    """A trial cannot begin, or is over."""


@dataclass(frozen=True)
class Trial:
    """A trial that lasts.

    Args:
        who: the run of Ansible that tries; empty where the record is damaged.
        until: when it is over, in seconds since the boot: a clock that jumps ends no trial.
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
    # Nobody can extend it, and anybody may end it.
    return Trial({}, 0.0)


def begin(layout: Layout, who: Mapping[str, Any], seconds: float) -> str:
    """Begin a trial; where this run has begun it already, let it last some more seconds from now.

    Args:
        layout: the application's paths.
        who: the run of Ansible that tries; it holds the application's reservation.
        seconds: how long the trial is good for.

    Returns:
        the generation that was found, and comes back.

    Raises:
        TrialError: nothing is deployed that could come back, or somebody else tries.
        LockedError: somebody else changes the application.
    """
    return _prolong(layout, who, seconds, begins=True)


def extend(layout: Layout, who: Mapping[str, Any], seconds: float) -> str:
    """Let a trial last some more seconds from now, as :func:`begin` does, but begin none.

    Raises:
        TrialError: it is over, and nobody would end another one.
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
        # Read again: the watchman may just have ended it.
        state = _state(layout)
        if not state and not begins:
            raise TrialError(f"the trial of {layout.app} is over: its time ran out, or somebody deployed. Try again")
        document = {"who": dict(who), "until": time.monotonic() + seconds}
        files.write(layout.trial, json.dumps(document), 0o600)
        return found


def end(layout: Layout, who: Mapping[str, Any] | None, *, overdue: bool = False) -> bool:
    """Bring back the generation that was found, and remove those that were tried.

    Args:
        layout: the application's paths.
        who: the run of Ansible that tried.
        overdue: whether to end it only if its time is over.

    Returns:
        whether there was a trial to be ended.

    Raises:
        LockedError: somebody else changes the application.
        SwapError: the generation that was found serves no more. What was tried last does.
    """
    with reservation.exclusive(layout, who):
        state = _state(layout)
        if not state or (overdue and time.monotonic() < state.until):
            return False
        return abandon(layout)


def abandon(layout: Layout) -> bool:
    """End a trial, whoever tries; the caller holds the application's lock.

    Returns:
        whether there was one.

    Raises:
        SwapError: the generation that was found serves no more. What was tried last does.
    """
    found = layout.deployed_generation()
    if not found or not layout.trial.exists():
        return False
    # Any move that is not one of a trial ends it.
    Swap(layout, found, canary=False).run()
    return True


def watch(layout: Layout, who: Mapping[str, Any]) -> bool:
    """Wait until a trial has ended, and end it when its time is over.

    Args:
        layout: the application's paths.
        who: the run of Ansible that tries.

    Returns:
        whether it had to be ended.
    """
    while (state := _state(layout)) and reservation.same(state.who, who):
        # A step that is still at work has the lock; the trial may be extended behind it.
        with suppress(reservation.LockedError):
            if time.monotonic() >= state.until and end(layout, who, overdue=True):
                reservation.release(layout, who)
                return True
        time.sleep(_LOOK_S)
    return False
