"""Whether the reservation of an application that was found on a host stands in the way of this run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...module_utils.traffic import reservation
from . import controller
from .truth import truth


def problems(owner: Mapping[str, Any] | None, break_lock: Any) -> list[str]:
    """Return who else is changing the application, and what to do.

    Args:
        owner: who has reserved it on the host, with the age of the reservation, or None.
        break_lock: the variable ``flask_uwsgi_break_lock``.
    """
    ours = reservation.same(owner, controller.identity())
    if not owner or ours or truth(break_lock) or not controller.lives(owner):
        return []
    idle, lease = int(owner.get("idle_s", 0)), int(owner.get("lease", reservation.LEASE_S))
    if idle >= lease:
        return []
    return [
        f"the application is being changed on this host: {reservation.describe(owner)}; its last step here was "
        f"{idle} s ago. Wait for it to end. Without another step the reservation ends in {lease - idle} s "
        "(flask_uwsgi_lease). If you know that the run has ended, run again with -e flask_uwsgi_break_lock=true"
    ]


def replaceable(owner: Mapping[str, Any] | None, break_lock: Any) -> dict[str, Any]:
    """Return whose reservation may be replaced: that of a run that has ended, or anybody's with ``break_lock``."""
    if not owner or problems(owner, break_lock):
        return {}
    if truth(break_lock) or not controller.lives(owner):
        return {key: value for key, value in owner.items() if key != "renewed"}
    # Only its lease has ended: the run may renew it until the host replaces it.
    return dict(owner)
