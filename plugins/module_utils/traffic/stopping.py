"""Stops the service, and ends what a killed run has left running."""

from __future__ import annotations

from collections.abc import Iterable

from ..host import kinds, systemd, temporary, trees
from ..host.layout import Layout
from ..release import generation as gen
from . import service, toll

# Seconds that systemd itself may take beyond the times that the operator set.
GRACE = 15


def stop_all(layout: Layout) -> tuple[bool, toll.Toll]:
    """Stop an application gracefully, its sockets first: a connection would start it again.

    Returns:
        whether anything ran or listened, and the requests that the stop cut.

    Raises:
        SystemdError: it does not stop in time.
    """
    units = service.open_units(layout)
    cost = stop(layout, units) if units else toll.Toll()
    return end_leftovers(layout) or bool(units), cost


def stop(layout: Layout, units: Iterable[str]) -> toll.Toll:
    """Stop units gracefully, wait until they have stopped, and return the requests that this cut."""
    units, end = list(units), systemd.cursor()
    systemd.systemctl("stop", *units, timeout=GRACE + longest_stop(layout))
    return toll.taken(units, end)


def longest_stop(layout: Layout) -> float:
    """Return the longest time, in seconds, that any generation on the host gives its requests to finish."""
    manifests = (gen.best_known(layout, path.name) for path in layout.generations.glob("[!.]*"))
    return max((found.stop_timeout for found in manifests if found), default=0.0)


def end_leftovers(layout: Layout, generation: str = "") -> bool:
    """End what a killed module has left running, and remove its unit files.

    Args:
        layout: the application's paths.
        generation: the generation that is about to serve; its own commands may finish within their time, since nothing
            would run them again.

    Returns:
        whether anything was left.

    Raises:
        SystemdError: it does not end in time.
    """
    left = systemd.leftovers(layout)
    spared = {layout.unit(kind, generation) for kind in kinds.TASKS}
    ended = [unit for unit in left if unit not in spared]
    if ended:
        stop(layout, ended)
    if left:
        systemd.systemctl("reset-failed", *(layout.unit(kind, "*") for kind in kinds.TEMPORARY))
    # Files of running units are kept.
    stale = temporary.files_left(layout, systemd.leftovers(layout))
    for path in stale:
        trees.remove(path)
    if stale:
        systemd.systemctl("daemon-reload")
    # The one runtime directory that outlives its unit.
    trees.remove(layout.check_runtime)
    return bool(ended or stale)
