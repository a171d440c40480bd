"""Units that exist only while something runs in them, such as a migration or a check."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from . import files, kinds, systemd, trees
from .layout import Layout

# Seconds that systemd may take on top of what a unit's own limits allow.
GRACE = 15
_LIFE = ("Starting ", "Finished ", "Failed to start ", "Stopping ", "Stopped ", "Started ")


@contextmanager
def installed(
    layout: Layout, pattern: str, targets: Mapping[Path, Path | str], *, join: bool = False
) -> Iterator[None]:
    """Install unit files while the context lasts; whatever happens, nothing of them is left.

    Args:
        layout: the application's paths.
        pattern: matches the units of this kind.
        targets: installed path to stored path, or to a text of its own.
        join: whether a unit that a killed run has left at work goes on; otherwise it is stopped first.

    Raises:
        SystemdError: systemd does not answer, or refuses the units.
    """
    if not join:
        remove(layout, pattern)
    try:
        for target, stored in targets.items():
            files.put(target, stored if isinstance(stored, str) else stored.read_text())
        systemd.systemctl("daemon-reload")
        yield
    finally:
        remove(layout, pattern)


def remove(layout: Layout, pattern: str) -> None:
    """Stop the units that match a pattern, and remove their files.

    Args:
        layout: the application's paths.
        pattern: matches the units.

    Raises:
        SystemdError: systemd does not answer.
    """
    # By pattern: a unit that systemd could not even load is no error here.
    systemd.systemctl("stop", pattern, timeout=90 + GRACE)
    found = [*layout.units.glob(pattern), *layout.units.glob(f"{pattern}.d")]
    for path in found:
        trees.remove(path)
    if found:
        systemd.systemctl("daemon-reload")
        systemd.systemctl("reset-failed", pattern)


def files_left(layout: Layout, at_work: Iterable[str]) -> list[Path]:
    """Return the files of temporary units that do not stay on a host, where none of their kind is at work.

    Args:
        layout: the application's paths.
        at_work: what :func:`systemd.leftovers` returned.
    """
    busy = {unit.partition("@")[0] for unit in at_work}
    patterns = [layout.unit(kind, "*") for kind in kinds.TEMPORARY if not kind.lasting_files]
    # The template itself, and its instances' settings.
    found = (path for unit in patterns for suffix in ("", ".d") for path in layout.units.glob(unit + suffix))
    return sorted(path for path in found if path.name.partition("@")[0] not in busy)


def printed(unit: str, after: str | None) -> list[str]:
    """Return what a unit's processes printed, without what systemd says of the unit.

    Args:
        unit: the unit's name.
        after: a cursor of the journal; what was logged before it is left out.
    """
    chatter = (f"{unit}: ", *_LIFE)
    return [line for line in systemd.journal(unit, 200, after) if line.strip() and not line.startswith(chatter)]
