"""Decides which generations, releases and environments a host keeps, and removes the others."""

from __future__ import annotations

from pathlib import Path

from ..host import kinds, runtime, systemd, trees
from ..host.layout import Layout
from . import generation as gen


def prune(layout: Layout, new: str | None, old: str | None, keep: int) -> bool:
    """Remove generations beyond those to keep, then the releases and environments that no generation uses.

    Args:
        layout: the application's paths.
        new: the serving generation, if any; always kept.
        old: the one before it, the next rollback's target; always kept.
        keep: how many to keep in total.

    Returns:
        whether anything was removed.
    """
    # A generation that was only tried (see ``trial``) is not a rollback's target.
    safe = {name for name in (new, old if old and gen.served(layout, old) else None) if name}
    others = [name for name in gen.kept(layout) if name not in safe]
    # The serving one and the one before it: a rollback needs both.
    doomed = [name for name in others[max(keep, 2) - len(safe) :] if name not in runtime.at_work(layout)]
    for name in doomed:
        gen.remove(layout, name)
    return remove_orphans(layout) or bool(doomed)


def orphans(layout: Layout) -> list[Path]:
    """Return what no run will use again.

    These are the generations that never served or are damaged, and the releases and environments that no other
    generation uses. A running generation is never among them, whatever the records say.
    """
    wanted = {*gen.kept(layout), layout.current_generation(), *runtime.at_work(layout)}
    generations = list(layout.generations.glob("[!.]*"))
    # Those on trial (see ``trial``) are still needed.
    kept = [path for path in generations if layout.trial.exists() or path.name in wanted]
    named = {
        (link, (path / link).readlink().name)
        for path in kept
        for link in ("release", "venv")
        if (path / link).is_symlink()
    }
    manifests = [found for path in kept if (found := gen.manifest(layout, path.name))]
    named |= {pair for found in manifests for pair in (("release", found.release), ("venv", found.venv))}
    return [
        *(path for path in generations if path not in kept),
        # Of a removal that was killed; those of releases and environments are among the rest of theirs.
        *layout.generations.glob(".*.removed"),
        *(path for path in layout.releases.glob("*") if ("release", path.name) not in named),
        *(path for path in layout.venvs.glob("*") if ("venv", path.name) not in named),
    ]


def remove_orphans(layout: Layout) -> bool:
    """Remove what ``orphans`` finds; return whether there was anything."""
    found = orphans(layout)
    for path in found:
        if path.parent == layout.generations:
            gen.remove(layout, path.name)
        else:
            trees.remove(path, at_once=True)
    return bool(found)


def forget_trial(layout: Layout, serving: str) -> None:
    """Remove what a trial has left (see ``trial``): the generations that were only tried, and its record."""
    if not layout.trial.exists():
        return
    for path in layout.generations.glob("[!.]*"):
        if path.name != serving and not gen.served(layout, path.name):
            gen.remove(layout, path.name)
    units = [*(layout.unit(kind, "*") for kind in kinds.KINDS), layout.socket("*")]
    for pattern in (unit + suffix for unit in units for suffix in ("", ".d")):
        for path in layout.volatile_units.glob(pattern):
            trees.remove(path)
    systemd.systemctl("daemon-reload")
    layout.tried.unlink(missing_ok=True)
    layout.trial.unlink()
