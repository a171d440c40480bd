"""Makes on a host what an application owns there before anything else: its mark, its account and its directories."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

from . import accounts, marks, ownership
from .accounts import Account
from .layout import Layout
from .marks import Mark

_MODE = 0o750


class ClaimError(Exception):
    """A name is somebody else's."""


def missing(layout: Layout, user_name: str, group_name: str) -> list[str]:
    """Return what of the application's own is not as a deploy leaves it, one sentence each.

    Args:
        layout: the application's paths.
        user_name: the service's account.
        group_name: the service's group.
    """
    account, the_group = accounts.user(user_name), accounts.group(group_name)
    found = [
        f"{kind} {name} is missing"
        for kind, name, there in (("account", user_name, account), ("group", group_name, the_group))
        if not there
    ]
    if not _names(marks.read(layout), layout, account, the_group):
        found.append(f"{layout.mark} does not say whose {layout.root} is")
    for path in _folders(layout):
        status = marks.lstat(path)
        if not status or not stat.S_ISDIR(status.st_mode):
            found.append(f"{path} is missing")
        elif the_group and (
            (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) != (os.geteuid(), the_group.number, _MODE)
        ):
            whose = f"{accounts.user_name(status.st_uid)}:{accounts.group_name(status.st_gid)}"
            wanted = f"{_MODE:04o} {accounts.user_name(os.geteuid())}:{group_name}"
            found.append(f"{path} is {stat.S_IMODE(status.st_mode):04o} {whose}, not {wanted}")
    return found


def _names(mark: Mark | None, layout: Layout, account: Account | None, the_group: Account | None) -> bool:
    """Tell whether a mark says of a deployed application whose it is."""
    if not mark or mark.data_only or mark.base != str(layout.base):
        return False
    return all(
        said is not None and there is not None and (said.name, said.number) == (there.name, there.number)
        for said, there in ((mark.user, account), (mark.group, the_group))
    )


def _folders(layout: Layout) -> tuple[Path, ...]:
    return (layout.root, layout.releases, layout.venvs, layout.generations)


def claim(layout: Layout, user_name: str, group_name: str) -> None:
    """Mark the application as this role's, and make its account, its group and its directories.

    Args:
        layout: the application's paths.
        user_name: the service's account.
        group_name: the service's group.

    Raises:
        ClaimError: a name is somebody else's by now. Nothing was changed.
        AccountError: the account or the group cannot be made.
    """
    if strange := ownership.foreign(layout) or ownership.taken(layout):
        raise ClaimError(ownership.refusal(layout, strange))
    before = marks.read(layout)
    user, group = accounts.user(user_name), accounts.group(group_name)
    # Marked before anything is made, and as made by the role only once it is: a killed run rather leaves an account
    # behind than claims one that somebody else made.
    mark = Mark(
        layout.app,
        str(layout.base),
        _as_before(before.user if before else None, user),
        _as_before(before.group if before else None, group),
    )
    marks.write(layout, mark)
    if not group:
        group = accounts.make_group(group_name)
        mark = replace(mark, group=group)
        marks.write(layout, mark)
    if not user:
        mark = replace(mark, user=accounts.make_user(user_name, group_name, layout.root))
        marks.write(layout, mark)
    for path in _folders(layout):
        path.mkdir(mode=0o700, parents=path == layout.root, exist_ok=True)
        os.chown(path, os.geteuid(), group.number, follow_symlinks=False)
        path.chmod(_MODE)


def _as_before(before: Account | None, there: Account | None) -> Account | None:
    """Return an account that is there, as made by the role if the mark says that of this one."""
    same = before and there and (before.name, before.number) == (there.name, there.number)
    return before if same else there
