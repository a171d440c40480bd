"""Finds what has an application's name on a host but does not belong to the application."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import accounts, kinds, marks
from .layout import Layout
from .marks import Mark

_HEADER = "# Written by Ansible"
_UNIT_TYPES = "automount|device|mount|path|scope|service|slice|socket|swap|target|timer"
_PARTS = frozenset({"current", "generations", "releases", "venvs"})
_SYSCTL = re.compile(r"(net\.core\.somaxconn *= *\d+\s*)*")
_INIT_SCRIPTS = Path("/etc/init.d")


@dataclass(frozen=True)
class Found:
    """Something that has an application's name but does not belong to it.

    Args:
        path: where it is.
        what: what it is, in words.
    """

    path: str
    what: str


def foreign(layout: Layout) -> list[Found]:
    """Return what has a name that the application would use but does not belong to it."""
    if marks.current(layout):
        return []
    mark = marks.read(layout)
    uid = mark.user.number if mark and mark.user else None
    runtime = map(layout.runtime_of, kinds.KINDS)
    found = [what for path in (*runtime, *layout.data) if (what := _foreign_directory(layout, path, uid))]
    found += [*_foreign_root(layout), *_foreign_persistent(layout, uid)]
    for path in (layout.lock, layout.trial):
        if _exists(path) and not _is_record(path):
            found.append(Found(str(path), describe(path)))
    if _exists(layout.sysctl) and not ((text := marks.read_text(layout.sysctl)) and _SYSCTL.fullmatch(text)):
        found.append(Found(str(layout.sysctl), describe(layout.sysctl)))
    found += [Found(str(path), "a unit") for path in units(layout) if not _is_ours(layout, path)]
    if _exists(_INIT_SCRIPTS / layout.app):
        found.append(Found(str(_INIT_SCRIPTS / layout.app), "a start script"))
    return sorted(found, key=lambda entry: entry.path)


def taken(layout: Layout) -> list[Found]:
    """Return the folders of others that the units of a deployed application would take over.

    At the next start systemd gives a service's folders to its account, with everything in them. An application whose
    units had no folders for its cache and its log files may have neighbours there.
    """
    mark = marks.current(layout)
    if not mark:
        # ``foreign`` reports all of them.
        return []
    uid = mark.user.number if mark.user else None
    found = [_foreign_directory(layout, path, uid) for path in layout.data[1:] if not _is_empty_directory(path)]
    found += _foreign_persistent(layout, uid)
    return sorted((one for one in found if one), key=lambda entry: entry.path)


def persistent(layout: Layout, mark: Mark | None) -> bool:
    """Return whether the folders that are kept across releases belong to the application."""
    return not [*_foreign_persistent(layout, mark.user.number if mark and mark.user else None)]


def refusal(layout: Layout, strange: Collection[Found]) -> str:
    """Return why nothing is changed if a name belongs to something else."""
    listed = ", ".join(f"{entry.path} ({entry.what})" for entry in strange)
    return (
        f"flask_uwsgi_app_name={layout.app} is not an application of this role below "
        f"flask_uwsgi_base_dir={layout.base} on this host, and what has its name belongs to something else: {listed}. "
        "Correct the name or the directory. "
        "Nothing was changed."
    )


def units(layout: Layout) -> Iterator[Path]:
    """Yield every unit with the name of one of the application's, wherever systemd would load it from."""
    pattern = re.compile(rf"{re.escape(layout.app)}(|({'|'.join(kinds.SUFFIXES)})@[^/]*)\.({_UNIT_TYPES})")
    seen = set()
    for folder in layout.unit_folders:
        # /lib is a link to /usr/lib on hosts with a merged /usr.
        if (real := folder.resolve()) not in seen and folder.is_dir():
            seen.add(real)
            yield from sorted(path for path in folder.iterdir() if pattern.fullmatch(path.name))


def _is_ours(layout: Layout, unit: Path) -> bool:
    return unit.parent == layout.units and is_written(unit)


def is_written(unit: Path) -> bool:
    """Return whether a deploy wrote a unit file."""
    return marks.read_text(unit).startswith(_HEADER)


def _foreign_directory(layout: Layout, path: Path, uid: int | None) -> Found | None:
    """Return what is in a directory's place, unless it already belongs to the service's account."""
    status = marks.lstat(path)
    if not status or (
        stat.S_ISDIR(status.st_mode) and (status.st_uid == uid or accounts.lives_in(status.st_uid, layout.root))
    ):
        return None
    return Found(str(path), describe(path))


def _foreign_persistent(layout: Layout, uid: int | None) -> Iterator[Found]:
    """Yield what is in the place of the folders kept across releases, unless all of it belongs to the account."""
    path = layout.persistent
    if not _exists(path):
        return
    if not marks.is_directory_of_root(path):
        yield Found(str(path), describe(path))
    elif strange := sorted(entry.name for entry in path.iterdir() if _foreign_directory(layout, entry, uid)):
        yield Found(str(path), f"a directory that has {strange[0]}")


def _is_empty_directory(path: Path) -> bool:
    status = marks.lstat(path)
    return bool(status and stat.S_ISDIR(status.st_mode)) and not any(path.iterdir())


def _foreign_root(layout: Layout) -> Iterator[Found]:
    if not _exists(layout.root):
        return
    if not marks.is_directory_of_root(layout.root):
        yield Found(str(layout.root), describe(layout.root))
    elif strange := sorted(path.name for path in layout.root.iterdir() if path.name not in _PARTS):
        yield Found(str(layout.root), f"a directory that has {strange[0]}")


def _is_record(path: Path) -> bool:
    """Return whether a file is a reservation or the remains of one."""
    status = marks.lstat(path)
    if not status or not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
        return False
    text = marks.read_text(path)
    try:
        return not text.strip() or isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _exists(path: Path) -> bool:
    return marks.lstat(path) is not None


def describe(path: Path) -> str:
    """Return a description of what a path is and who owns it."""
    status = marks.lstat(path)
    if not status:
        return "nothing"
    if stat.S_ISLNK(status.st_mode):
        return "a symbolic link"
    kinds_of = ((stat.S_ISDIR, "directory"), (stat.S_ISREG, "file"), (stat.S_ISSOCK, "socket"))
    kind = next((name for fits, name in kinds_of if fits(status.st_mode)), "special file")
    return f"a {kind} of {accounts.user_name(status.st_uid)}"


def directories(layout: Layout) -> dict[str, Any]:
    """Return the directories above the application's.

    Args:
        layout: the application's paths.

    Returns:
        ``above``: what :func:`above` returns of the base; and whether its file system is mounted ``noexec``.
    """
    found = above(layout.base)
    last = next((Path(one["path"]) for one in reversed(found)), Path("/"))
    if marks.is_directory_of_root(layout.root):
        last = layout.root
    return {"above": found, "noexec": bool(os.statvfs(last).f_flag & os.ST_NOEXEC)}


def above(place: Path) -> list[dict[str, Any]]:
    """Return a directory and those above it, from ``/`` on, as far as they exist.

    Args:
        place: the directory.

    Returns:
        each with ``path``, ``kind`` (``directory``, ``link`` or ``other``), ``uid``, ``owner`` and ``mode``. The first
        that is no directory is the last.
    """
    found = []
    for path in (*reversed(place.parents), place):
        status = marks.lstat(path)
        if not status:
            break
        kind = "link" if stat.S_ISLNK(status.st_mode) else "directory" if stat.S_ISDIR(status.st_mode) else "other"
        found.append(
            {
                "path": str(path),
                "kind": kind,
                "uid": status.st_uid,
                "owner": accounts.user_name(status.st_uid),
                "mode": f"{stat.S_IMODE(status.st_mode):04o}",
            }
        )
        if kind != "directory":
            break
    return found
