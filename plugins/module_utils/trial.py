"""Lets other generations serve for a while, and brings back the one that was found, also when nobody asks any more.

Whoever tries has to say again and again that he still does: each time the trial is good for some more seconds. When
they are over, a watchman on the host ends it: a controller that was killed, or lost its network, cannot.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import lock
from .layout import Layout
from .swap import Swap, forget_trial, remove_orphans

_LOOK_S = 1.0


class TrialError(Exception):
    """A trial cannot begin, or is over."""


def _state(layout: Layout) -> dict[str, Any] | None:
    try:
        document: dict[str, Any] = json.loads(layout.trial.read_text())
    except (OSError, ValueError):
        return None
    return document


def _write(path: Path, document: Mapping[str, Any]) -> None:
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(document))
    partial.rename(path)


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
    if tried and not lock.same(tried["who"], who):
        raise TrialError(f"{layout.app} is being tried by another run: {lock.describe(tried['who'])}")
    current = layout.current_generation()
    if not current:
        raise TrialError(f"{layout.app} is not deployed below {layout.base} on this host: deploy it first")
    with lock.exclusive(layout, who):
        # Read again: the watchman may just have ended it.
        state = _state(layout)
        if not state and not begins:
            raise TrialError(f"the trial of {layout.app} is over: its time ran out, or somebody deployed. Try again")
        found = str(state["found"] if state else current)
        # Seconds since the boot, which /run does not outlive either: a clock that jumps ends no trial.
        _write(layout.trial, {"found": found, "who": dict(who), "until": time.monotonic() + seconds})
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
    with lock.exclusive(layout, who):
        state = _state(layout)
        if not state or (overdue and time.monotonic() < state["until"]):
            return False
        return abandon(layout)


def abandon(layout: Layout) -> bool:
    """End a trial, whoever tries; the caller holds the application's lock.

    Returns:
        whether there was one.

    Raises:
        SwapError: the generation that was found serves no more. What was tried last does.
    """
    state = _state(layout)
    if not state:
        return False
    found = str(state["found"])
    Swap(layout, found, canary=False, trial=True).run()
    forget_trial(layout, found)
    remove_orphans(layout)
    return True


def watch(layout: Layout, who: Mapping[str, Any]) -> bool:
    """Wait until a trial has ended, and end it when its time is over.

    Args:
        layout: the application's paths.
        who: the run of Ansible that tries.

    Returns:
        whether it had to be ended.
    """
    while (state := _state(layout)) and lock.same(state["who"], who):
        # A step that is still at work has the lock; the trial may be extended behind it.
        with suppress(lock.LockedError):
            if time.monotonic() >= state["until"] and end(layout, who, overdue=True):
                lock.release(layout, who)
                return True
        time.sleep(_LOOK_S)
    return False
