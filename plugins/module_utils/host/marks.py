"""The mark that a deploy leaves for an application, and how to recognise applications from before there were marks.

Only root can read the mark. It is written before anything is created for the application, and removed last. ::

    /var/lib/flaskops/APP.json
"""

from __future__ import annotations

import json
import os
import re
import stat
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from . import accounts, files, names, untrusted
from .accounts import Account
from .layout import Layout

# More than any mark, manifest, reservation, unit or sysctl file of this role has.
_MOST_BYTES = 2**20


@dataclass(frozen=True)
class Mark:
    """The record that an application is this role's.

    Args:
        app: its name.
        base: the directory that holds the application's.
        user: the service's account; None until it exists.
        group: the service's group; None until it exists.
        data_only: whether the application was removed but its data and its account were kept.
    """

    app: str
    base: str
    user: Account | None = None
    group: Account | None = None
    data_only: bool = False

    @classmethod
    def from_json(cls, text: str) -> Mark:
        """Read a mark.

        Raises:
            ValueError: it is not what ``write`` writes.
        """
        try:
            said = json.loads(text)
            user, group = (
                Account(str(entry["name"]), int(entry["number"]), entry["made"] is True) if entry else None
                for entry in (said["user"], said["group"])
            )
            return cls(str(said["app"]), str(said["base"]), user, group, said["data_only"] is True)
        except (KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"not a mark: {error!r}") from error


def read(layout: Layout) -> Mark | None:
    """Return an application's mark, or None if there is no valid one."""
    text = read_text(layout.mark)
    try:
        mark = Mark.from_json(text) if text else None
    except ValueError:
        # The next deploy rewrites a damaged mark.
        return None
    return mark if mark and mark.app == layout.app else None


def write(layout: Layout, mark: Mark) -> None:
    """Write an application's mark, completely or not at all, even if the power fails."""
    make_directory(layout)
    files.write(layout.mark, json.dumps(asdict(mark), indent=2) + "\n", 0o600)


def make_directory(layout: Layout) -> None:
    """Make the directory of what the role knows of applications, which only root can enter."""
    layout.mark.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    layout.mark.parent.chmod(0o700)


def current(layout: Layout) -> Mark | None:
    """Return the mark of a deployed application, or what it would be if it was deployed before there were marks."""
    mark = read(layout)
    if mark and not mark.data_only and mark.base == str(layout.base):
        return mark
    return _unmarked(layout)


def _unmarked(layout: Layout) -> Mark | None:
    """Recognise a deployment by its generation, which only root can have written."""
    link = lstat(layout.current)
    if not link or not stat.S_ISLNK(link.st_mode) or link.st_uid != os.geteuid():
        return None
    target = layout.current.readlink()
    folder = layout.root / target
    if len(target.parts) != 2 or target.parts[0] != layout.generations.name:
        return None
    if not all(is_directory_of_root(path) for path in (layout.root, layout.generations, folder)):
        return None
    settings = dict(re.findall(r"^(\w+)=(.*)$", read_text(folder / "units/app@.service"), re.MULTILINE))
    # A damaged manifest has no name; the unit has it, too.
    named = settings.get("SyslogIdentifier")
    with suppress(ValueError, RecursionError):
        manifest = json.loads(read_text(folder / "manifest.json"))
        named = manifest.get("app_name", named) if isinstance(manifest, dict) else named
    if named != layout.app:
        return None
    return Mark(
        layout.app, str(layout.base), accounts.user(settings.get("User", "")), accounts.group(settings.get("Group", ""))
    )


def applications(layout: Layout) -> dict[Layout, Mark]:
    """Return the other applications of the host: those with a mark, and those beside this one without."""
    marked = (path.stem for path in layout.mark.parent.glob("[!.]*.json"))
    unmarked = (path.parent.name for path in layout.base.glob("*/current"))
    found = {}
    for name in sorted({*marked, *unmarked} - {layout.app}):
        if names.app_problem(name):
            continue
        other = replace(layout, app=name)
        mark = read(other)
        if mark:
            other = replace(other, base=Path(mark.base))
        elif not (mark := _unmarked(other)):
            continue
        found[other] = mark
    return found


def is_directory_of_root(path: Path) -> bool:
    """Return whether a path is a directory, not a link to one, that only root and its group can write to."""
    status = lstat(path)
    return bool(
        status and stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & stat.S_IWOTH
    )


def lstat(path: Path) -> os.stat_result | None:
    """Return the status of a path itself, or None if it does not exist."""
    try:
        return path.lstat()
    except OSError:
        return None


def read_text(path: Path) -> str:
    """Return the content of a regular file that root owns; an empty string for anything else."""
    try:
        return untrusted.read(path, _MOST_BYTES, owner=os.geteuid()).decode(errors="replace")
    except untrusted.UntrustedError:
        return ""
