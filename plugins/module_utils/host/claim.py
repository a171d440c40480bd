"""Creates what an application owns on a host before anything else: its mark, its account and its directories."""

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
    """A name belongs to something else."""


def missing(layout: Layout, user_name: str, group_name: str) -> list[str]:
    """Return how the application's mark, account and directories differ from what a deploy leaves, a sentence for each.

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
        found.append(f"{layout.mark} does not record the owner of {layout.root}")
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
    """Return whether a mark records the owner of a deployed application."""
    if not mark or mark.data_only or mark.base != str(layout.base):
        return False
    return all(
        said is not None and there is not None and (said.name, said.number) == (there.name, there.number)
        for said, there in ((mark.user, account), (mark.group, the_group))
    )


def _folders(layout: Layout) -> tuple[Path, ...]:
    return (layout.root, layout.releases, layout.venvs, layout.generations)


def claim(layout: Layout, user_name: str, group_name: str) -> None:
    """Mark the application as this role's, and create its account, its group and its directories.

    Args:
        layout: the application's paths.
        user_name: the service's account.
        group_name: the service's group.

    Raises:
        ClaimError: a name now belongs to something else. Nothing was changed.
        AccountError: the account or the group cannot be created.
    """
    if strange := ownership.foreign(layout) or ownership.taken(layout):
        raise ClaimError(ownership.refusal(layout, strange))
    before = marks.read(layout)
    user, group = accounts.user(user_name), accounts.group(group_name)
    # The mark comes first, and records an account as created by the role only once it is: a killed run may leave an
    # account behind, but never claims one that somebody else created.
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
    """Return an existing account, marked as created by the role if the mark says so of the same account."""
    same = before and there and (before.name, before.number) == (there.name, there.number)
    return before if same else there
