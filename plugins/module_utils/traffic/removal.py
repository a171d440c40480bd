"""Removes what an application leaves on a host."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..host import accounts, kinds, marks, names, ownership, systemd, trees
from ..host.accounts import Account, AccountError
from ..host.layout import Layout
from ..host.marks import Mark
from . import service, sockets
from .stopping import stop_all

# The files that a generation writes for its units; any others belong to the operator.
_SETTINGS = frozenset({"generation.conf", "listen.conf", "credentials.conf", "limits.conf", "trial.conf"})


class RemovalError(Exception):
    """The name belongs to something else, or a part of the application cannot be removed."""


@dataclass(frozen=True)
class Doomed:
    """What a removal removes, and what it keeps.

    Args:
        paths: files and directories to remove.
        user: the account to remove.
        group: the group to remove.
        kept: what has the application's name and is kept, each with the reason.
    """

    paths: tuple[Path, ...] = ()
    user: Account | None = None
    group: Account | None = None
    kept: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Return whether there is anything to remove."""
        return bool(self.paths or self.user or self.group)

    @property
    def names(self) -> list[str]:
        """Everything that is removed, for display."""
        those = [
            f"{kind} {account.name}" for kind, account in (("account", self.user), ("group", self.group)) if account
        ]
        return [*(str(path) for path in self.paths), *those]


def doomed(layout: Layout, *, data: bool) -> Doomed:
    """Return what there is to remove.

    Args:
        layout: the application's paths.
        data: whether the application's data and its account are removed as well.

    Raises:
        RemovalError: the name belongs to something else.
    """
    mark = marks.current(layout) or marks.read(layout)
    kept: list[str] = []
    owned = (*layout.data, layout.persistent)
    if mark and mark.data_only:
        paths = [*_directories(layout, mark, owned if data else (), kept)]
    elif strange := ownership.foreign(layout):
        raise RemovalError(ownership.refusal(layout, strange))
    else:
        runtime = map(layout.runtime_of, kinds.KINDS)
        paths = [*_units(layout, kept)]
        paths += _directories(layout, mark, (*runtime, *(owned if data else ())), kept)
        if mark or (layout.root.is_dir() and any(layout.root.iterdir())):
            paths.append(layout.root)
        if layout.sysctl.is_file() and not layout.sysctl.is_symlink():
            paths.append(layout.sysctl)
    if data and layout.commands.is_file():
        paths.append(layout.commands)
    # Left by a removal that was killed.
    paths += map(trees.trash, owned if data else ())
    found = sorted({path for path in paths if marks.lstat(path)})
    if not mark or not data:
        return Doomed(tuple(found), kept=tuple(kept))
    user = _spare_user(layout, mark, kept)
    group = _spare_group(layout, mark, user, kept)
    return Doomed((*found, *([layout.mark] if marks.lstat(layout.mark) else [])), user, group, tuple(kept))


def _units(layout: Layout, kept: list[str]) -> Iterator[Path]:
    """Yield the units, their settings and the links that enable them; what the operator added is kept."""
    # Those of addresses that are no instance of the template.
    yield from (path for path in layout.units.glob(layout.socket("?*")) if ownership.is_written(path))
    for template in (layout.socket_template, *(layout.unit(kind, "") for kind in kinds.KINDS)):
        instances = template.replace("@.", "@?*.")
        yield layout.units / template
        yield from layout.units.glob(f"*.wants/{instances}")
        # Units of one generation alone, from a trial.
        yield from layout.volatile_units.glob(instances)
        for folder in (*layout.units.glob(f"{instances}.d"), *layout.volatile_units.glob(f"{instances}.d")):
            strange = sorted(path.name for path in folder.iterdir() if path.name not in _SETTINGS)
            if folder.is_symlink() or strange:
                kept.append(f"{folder}: it contains {strange[0] if strange else 'a link'}, which was not deployed")
                yield from (path for path in folder.iterdir() if path.name in _SETTINGS and not folder.is_symlink())
            else:
                yield folder
        own = layout.units / f"{template}.d"
        if marks.lstat(own):
            kept.append(f"{own}: it was not deployed")


def _directories(layout: Layout, mark: Mark | None, paths: Iterable[Path], kept: list[str]) -> Iterator[Path]:
    """Yield the directories that are the application's; anything else in their place is kept."""
    for path in paths:
        status = marks.lstat(path)
        if not status:
            continue
        of_service = mark and mark.user and status.st_uid == mark.user.number
        # systemd creates some of those in /run for root; in /var a directory owned by root is not the application's.
        of_root = status.st_uid == 0 and path not in layout.data
        mine = of_service or of_root or accounts.lives_in(status.st_uid, layout.root)
        if path == layout.persistent:
            mine = ownership.persistent(layout, mark)
        if names.reserved(layout.app) or not stat.S_ISDIR(status.st_mode) or not mine:
            kept.append(f"{path}: it is {ownership.describe(path)}, not the application's")
        else:
            yield path


def _spare_user(layout: Layout, mark: Mark, kept: list[str]) -> Account | None:
    """Return the account if it was created for the application and nothing else needs it."""
    user = mark.user
    there = accounts.user(user.name) if user else None
    if not user or not there:
        return None
    reasons = []
    if not user.made or there.number != user.number:
        reasons.append("it is not known to have been created by a deploy")
    users = [
        other.app for other, its in marks.applications(layout).items() if its.user and its.user.number == user.number
    ]
    if users:
        reasons.append(f"the application {', '.join(users)} runs with it")
    if running := accounts.processes(layout.app, user.number):
        reasons.append(f"it runs {running[0].name} (pid {running[0].pid})")
    if reasons:
        kept.append(f"account {user.name}: {'; '.join(reasons)}")
        return None
    return user


def _spare_group(layout: Layout, mark: Mark, user: Account | None, kept: list[str]) -> Account | None:
    """Return the group if it was created for the application and nobody else is in it."""
    group = mark.group
    there = accounts.group(group.name) if group else None
    if not group or not there:
        return None
    reasons = []
    if not group.made or there.number != group.number:
        reasons.append("it is not known to have been created by a deploy")
    elif others := [name for name in accounts.members(group) if not user or name != user.name]:
        reasons.append(f"{', '.join(others)} belongs to it")
    users = [
        other.app for other, its in marks.applications(layout).items() if its.group and its.group.number == group.number
    ]
    if users:
        reasons.append(f"the application {', '.join(users)} runs with it")
    if reasons:
        kept.append(f"group {group.name}: {'; '.join(reasons)}")
        return None
    return group


def remove(layout: Layout, *, data: bool) -> Doomed:
    """Stop the application gracefully and remove it.

    Args:
        layout: the application's paths.
        data: whether to remove the application's data and its account as well.

    Returns:
        what was removed, and what was kept.

    Raises:
        RemovalError: the name belongs to something else, and nothing was changed; or a part cannot be removed.
        SystemdError: the running service cannot be stopped. Nothing was removed.
    """
    if not doomed(layout, data=data):
        return Doomed()
    mark = marks.current(layout) or marks.read(layout)
    if mark:
        # Without a mark, an older application could not be recognised once it is half removed.
        marks.write(layout, mark)
    try:
        stop_all(layout)
        for name in service.enabled_generations(layout):
            systemd.systemctl("--no-reload", "disable", layout.service(name))
        for address in sockets.addresses(layout):
            sockets.close(layout, address)
        # Nothing of the application runs any more.
        going = doomed(layout, data=data)
        for path in going.paths:
            if path != layout.mark:
                trees.remove(path)
        for path in (layout.lock, layout.trial, layout.tried):
            path.unlink(missing_ok=True)
        systemd.systemctl("daemon-reload")
        systemd.systemctl("reset-failed", *(layout.unit(kind, "*") for kind in kinds.KINDS), layout.socket("*"))
        if going.user:
            accounts.remove_user(going.user)
        if going.group:
            accounts.remove_group(going.group)
    except (OSError, AccountError) as error:
        raise RemovalError(
            f"the application {layout.app} is stopped, but not all of it can be removed: {error}. Correct this, and "
            "remove it again"
        ) from error
    if data:
        layout.mark.unlink(missing_ok=True)
    elif mark:
        marks.write(layout, replace(mark, data_only=True))
    return going
