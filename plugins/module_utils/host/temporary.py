"""Units that exist only while something runs in them, such as a migration or a check."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from . import files, kinds, runtime, systemd, trees
from .layout import Layout

# Seconds that systemd may take beyond a unit's own limits.
GRACE = 15
_LIFE = ("Starting ", "Finished ", "Failed to start ", "Stopping ", "Stopped ", "Started ")


@contextmanager
def installed(
    layout: Layout, pattern: str, targets: Mapping[Path, Path | str], *, join: bool = False
) -> Iterator[None]:
    """Install unit files for the duration of the context, and remove them whatever happens.

    Args:
        layout: the application's paths.
        pattern: matches the units of this kind.
        targets: installed path to stored path, or to a text of its own.
        join: whether a unit that a killed run left running continues; otherwise it is stopped first.

    Raises:
        SystemdError: systemd does not respond, or refuses the units.
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
    """Stop the units that match a pattern, and remove their files, and what they left in their runtime directory.

    Args:
        layout: the application's paths.
        pattern: matches the units of a kind.

    Raises:
        SystemdError: systemd does not respond.
    """
    # A pattern is used because a unit that systemd could not load is then no error.
    systemd.systemctl("stop", pattern, timeout=90 + GRACE)
    trees.remove(runtime.folder(layout, pattern))
    found = [*layout.units.glob(pattern), *layout.units.glob(f"{pattern}.d")]
    for path in found:
        trees.remove(path)
    if found:
        systemd.systemctl("daemon-reload")
        systemd.systemctl("reset-failed", pattern)


def files_left(layout: Layout, at_work: Iterable[str]) -> list[Path]:
    """Return the files of temporary units whose kind does not stay on a host and has no unit running.

    Args:
        layout: the application's paths.
        at_work: what :func:`systemd.leftovers` returned.
    """
    busy = {unit.partition("@")[0] for unit in at_work}
    patterns = [layout.unit(kind, "*") for kind in kinds.TEMPORARY if not kind.lasting_files]
    # The template, and the settings of its instances.
    found = (path for unit in patterns for suffix in ("", ".d") for path in layout.units.glob(unit + suffix))
    return sorted(path for path in found if path.name.partition("@")[0] not in busy)


def printed(unit: str, after: str | None) -> list[str]:
    """Return what a unit's processes printed, without what systemd says about the unit.

    Args:
        unit: the unit's name.
        after: a cursor of the journal; only what was logged after it is returned.
    """
    chatter = (f"{unit}: ", *_LIFE)
    return [line for line in systemd.journal(unit, 200, after) if line.strip() and not line.startswith(chatter)]
