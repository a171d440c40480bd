"""The account and the group of an application on a host."""

from __future__ import annotations

import grp
import os
import pwd
import re
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from . import kinds
from .listening import Process

_PROC = Path("/proc")


class AccountError(Exception):
    """An account or a group cannot be created or removed."""


@dataclass(frozen=True)
class Account:
    """An account or a group.

    Args:
        name: its name.
        number: its uid or gid.
        made: whether the role created it, and may therefore remove it.
    """

    name: str
    number: int
    made: bool = False


def user(name: str) -> Account | None:
    """Return an account of the host by its name."""
    try:
        return Account(name, pwd.getpwnam(name).pw_uid)
    except (KeyError, ValueError):
        return None


def group(name: str) -> Account | None:
    """Return a group of the host by its name."""
    try:
        return Account(name, grp.getgrnam(name).gr_gid)
    except (KeyError, ValueError):
        return None


def user_name(uid: int) -> str:
    """Return the name of an account, or its number if it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    """Return the name of a group, or its number if it has none."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def lives_in(uid: int, home: Path) -> bool:
    """Return whether the home of an account other than root is a directory."""
    try:
        return uid != 0 and Path(pwd.getpwuid(uid).pw_dir) == home
    except KeyError:
        return False


def described(name: str) -> dict[str, Any] | None:
    """Return the number, groups and shell of an account, or None if it does not exist."""
    try:
        entry = pwd.getpwnam(name)
    except (KeyError, ValueError):
        return None
    return {
        "name": name,
        "uid": entry.pw_uid,
        "group": group_name(entry.pw_gid),
        "groups": sorted(group_name(gid) for gid in os.getgrouplist(name, entry.pw_gid)),
        "shell": entry.pw_shell,
    }


def runs_in_unit(app: str, pid: int) -> bool:
    """Return whether a process runs in one of an application's own units.

    Args:
        app: the application's name.
        pid: the process.

    Raises:
        OSError: it has ended.
    """
    own = rf"/{re.escape(app)}({'|'.join(kinds.SUFFIXES)})@[^/]*\.service(/|$)"
    return bool(re.search(own, (_PROC / str(pid) / "cgroup").read_text(), re.MULTILINE))


def processes(app: str, uid: int) -> list[Process]:
    """Return the processes that an account runs outside an application's own units.

    Args:
        app: the application's name.
        uid: the account's number.
    """
    found = []
    for process in _PROC.glob("[0-9]*"):
        try:
            status = (process / "status").read_text(errors="replace")
            uids = re.search(r"^Uid:(.*)$", status, re.MULTILINE)
            if not uids or str(uid) not in uids[1].split() or runs_in_unit(app, int(process.name)):
                continue
            name = (process / "comm").read_text(errors="replace").strip()
        except OSError:
            # It has ended in the meantime.
            continue
        found.append(Process(int(process.name), name))
    return sorted(found)


def make_group(name: str) -> Account:
    """Create a system group.

    Raises:
        AccountError: it cannot be created.
    """
    _run("groupadd", "--system", name)
    return _made(group(name), f"group {name}")


def make_user(name: str, group_: str, home: Path) -> Account:
    """Create a system account without login and without a home directory.

    Raises:
        AccountError: it cannot be created.
    """
    where = ("--no-create-home", "--home-dir", str(home))
    _run("useradd", "--system", "--gid", group_, "--shell", "/usr/sbin/nologin", *where, name)
    return _made(user(name), f"account {name}")


def remove_user(account: Account) -> None:
    """Remove an account and nothing else.

    Raises:
        AccountError: it cannot be removed.
    """
    # userdel also removes a primary group of the same name (USERGROUPS_ENAB in login.defs).
    if other := group("nogroup") or group("nobody"):
        _run("usermod", "--gid", other.name, account.name)
    _run("userdel", account.name)


def remove_group(account: Account) -> None:
    """Remove a group.

    Raises:
        AccountError: it cannot be removed.
    """
    _run("groupdel", account.name)


def members(of: Account) -> list[str]:
    """Return the accounts that belong to a group, as their primary group or not."""
    primary = {entry.pw_name for entry in pwd.getpwall() if entry.pw_gid == of.number}
    return sorted(primary.union(grp.getgrgid(of.number).gr_mem))


def _made(there: Account | None, what: str) -> Account:
    if not there:
        raise AccountError(
            f"{what} was created but cannot be found: check the host's user database (/etc/nsswitch.conf)"
        )
    return replace(there, made=True)


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AccountError(f"`{' '.join(command)}` cannot be run: {error}") from error
    if done.returncode:
        raise AccountError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
