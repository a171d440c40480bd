"""The names that an application, its account and its directory may have, judged by value and by what is on a host."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from . import kinds

# Suffixes of the units and runtime directories of an application `x`, such as `x-canary`.
_SUFFIXES = tuple(filter(None, kinds.SUFFIXES))
# `x-persistent` holds the folders of `x` that are kept across releases.
_ENDS = (*_SUFFIXES, "-persistent")
_APP = re.compile(rf"(?!.*({'|'.join(_ENDS)})$)[a-z][a-z0-9_-]{{0,29}}")
APP_REMEDY = (
    "a name of a-z, 0-9, _ and -, at most 30 long, a letter first and none of "
    + ", ".join(_ENDS[:-1])
    + f" and {_ENDS[-1]} last"
)
# Names of the system, or of packages that hosts commonly get later. Those already there are found on the host.
_RESERVED = {
    "ansible", "apt", "containerd", "credentials", "cron", "dbus", "dnf", "docker", "dpkg", "flaskops", "getty", "lock",
    "log", "machines", "mount", "nobody", "nologin", "openssh", "podman", "polkit", "private", "root", "rpm", "rsyslog",
    "run", "shm", "ssh", "sshd", "sudo", "sysusers", "tmpfiles", "udev", "udisks2", "user", "utmp",
}  # fmt: skip
# Members of these can read or change what is not the application's, or become root.
_PRIVILEGED = {
    "root", "adm", "disk", "docker", "incus", "incus-admin", "kmem", "kvm", "libvirt", "lxd", "netdev", "podman",
    "render", "shadow", "staff", "sudo", "systemd-journal", "systemd-network", "tty", "utmp", "wheel",
}  # fmt: skip
_NOBODY = 65534
# Of Debian, and of RHEL.
_SHARED = ("nogroup", "nobody")
# Distributions assign the numbers below it, each for one purpose (Debian Policy, 9.2.2; up to 200 on RHEL).
_FIRST_SYSTEM_UID = 100
_NO_LOGIN = ("nologin", "false")
# These are cleared, hidden from services, the distribution's, or given to services by systemd.
_UNSAFE_BASES = (
    "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/proc", "/root", "/run", "/sbin", "/sys", "/tmp",
    "/usr", "/var/cache", "/var/lib", "/var/log", "/var/run", "/var/spool", "/var/tmp",
)  # fmt: skip
_SAFE_PATH = re.compile(r"[A-Za-z0-9._/+-]+")


def app_problem(name: str) -> str | None:
    """Return why no application can have a name, or None."""
    if _APP.fullmatch(name):
        return None
    return f"flask_uwsgi_app_name={name} is not valid: set it to {APP_REMEDY}"


def base_problem(base: str) -> str | None:
    """Return why a path cannot hold applications, or None."""
    if base.startswith("/") and ".." not in base.split("/") and str(PurePosixPath(base)) == base:
        return None
    return f"flask_uwsgi_base_dir={base} is not valid: set it to an absolute path without .., // or a slash at its end"


def reserved(name: str) -> bool:
    """Return whether a name is reserved for the system, even if nothing has it yet."""
    return name in _RESERVED or name.startswith("systemd")


def value_problems(s: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the names and the directory from their values alone.

    Args:
        s: the role's variables without their prefix.
    """
    name, base = str(s["app_name"]), str(s["base_dir"])
    if problem := app_problem(name):
        yield problem
    elif reserved(name):
        yield f"flask_uwsgi_app_name={name} is reserved for the system: choose another name"
    if problem := base_problem(base):
        yield problem
    elif not _SAFE_PATH.fullmatch(base):
        yield f"flask_uwsgi_base_dir={base} is not valid: set it to a path of A-Z, a-z, 0-9, ., _, + and -"
    elif base == "/" or (unsafe := _above(base)):
        where = "the root directory" if base == "/" else f"below {unsafe}" if base != unsafe else "a system directory"
        yield (
            f"flask_uwsgi_base_dir={base} is {where}, where an application would not be safe or could not start: "
            "set it to a directory such as /opt or /srv"
        )
    if s["user"] in ("root", "nobody"):
        yield (
            f"flask_uwsgi_user={s['user']} is an account with another purpose: set it to one that belongs to "
            "the application alone, or leave it out to have one created"
        )
    if problem := _group_problem(str(s["group"])):
        yield problem


def _above(base: str) -> str | None:
    return next((unsafe for unsafe in _UNSAFE_BASES if base == unsafe or base.startswith(f"{unsafe}/")), None)


def _group_problem(group: str) -> str | None:
    if group not in _PRIVILEGED and group not in _SHARED:
        return None
    why = "is shared by services without a group" if group in _SHARED else "gives rights beyond the application"
    return (
        f"flask_uwsgi_group={group} {why}: set it to a group that belongs to the application alone, or leave it out to "
        "have one created"
    )


def host_problems(s: Mapping[str, Any], app: Mapping[str, Any]) -> Iterator[str]:
    """Yield the problems of names that belong to something else on a host.

    Args:
        s: the role's variables without their prefix.
        app: ``app`` of the module ``host_state``.
    """
    name = s["app_name"]
    if found := app["foreign"]:
        listed = ", ".join(f"{entry['path']} ({entry['what']})" for entry in found)
        yield (
            f"flask_uwsgi_app_name={name} conflicts with what is on this host and does not belong to the application: "
            f"{listed}. Choose another name, or move those away"
        )
    owner = app["owner"]
    if owner and owner["base"] != s["base_dir"]:
        yield (
            f"flask_uwsgi_base_dir={s['base_dir']} is not the directory of the application {name} on this host, which "
            f"is {owner['base']}: set it to that, or remove the application there first"
        )
    for other in app["applications"]:
        if any(f"{other}{suffix}" == name or f"{name}{suffix}" == other for suffix in _SUFFIXES):
            yield (
                f"flask_uwsgi_app_name={name} and the application {other} of this host would share units: "
                "choose another name"
            )
    yield from _account_problems(s, app)
    yield from _directory_problems(s, app["directories"])


def _account_problems(s: Mapping[str, Any], app: Mapping[str, Any]) -> Iterator[str]:
    owner, accounts = app["owner"], app["accounts"]
    for kind in ("user", "group"):
        if owner and owner[kind] and owner[kind] != s[kind]:
            yield (
                f"flask_uwsgi_{kind}={s[kind]} is not what the application runs with on this host, which is "
                f"{owner[kind]}: set flask_uwsgi_{kind}={owner[kind]}, or remove the application first (its data is "
                "kept)"
            )
    user, group = accounts["user"], accounts["group"]
    if group and (group["gid"] in (0, _NOBODY)) and not _group_problem(s["group"]):
        yield f"flask_uwsgi_group={s['group']} has the number {group['gid']}: set it to a group with its own number"
    if not user:
        return
    reasons = []
    if user["uid"] == 0:
        reasons.append("it is root (number 0)")
    elif user["uid"] < _FIRST_SYSTEM_UID or user["uid"] == _NOBODY:
        reasons.append(f"its number {user['uid']} is one that distributions reserve for a purpose of their own")
    if user["shell"].rpartition("/")[2] not in _NO_LOGIN:
        reasons.append(f"it can log in (shell {user['shell'] or '/bin/sh'})")
    if privileged := sorted(_PRIVILEGED.intersection(user["groups"])):
        reasons.append(f"it is in the group {', '.join(privileged)}")
    if user["group"] != s["group"]:
        reasons.append(f"its primary group is {user['group']}, not flask_uwsgi_group={s['group']}")
    if accounts["applications"]:
        reasons.append(f"it is the account of the application {', '.join(accounts['applications'])}")
    if accounts["processes"]:
        running = ", ".join(f"{process['name']} (pid {process['pid']})" for process in accounts["processes"])
        reasons.append(f"it runs {running}")
    if reasons:
        yield (
            f"flask_uwsgi_user={s['user']} has another purpose on this host: {'; '.join(reasons)}. Set it to an "
            "account without login that belongs to the application alone, or leave it out to have one created"
        )


def replaceable(above: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield which directories others than root can replace, and why.

    Args:
        above: what ``ownership.above`` returns.
    """
    for entry in above:
        faults = [
            *(["is not a directory"] if entry["kind"] == "other" else []),
            *(["is a symbolic link"] if entry["kind"] == "link" else []),
            *([f"belongs to {entry['owner']}"] if entry["kind"] != "link" and entry["uid"] else []),
            *(["can be changed by others"] if entry["kind"] != "link" and int(entry["mode"], 8) & 0o022 else []),
        ]
        if faults:
            yield f"{entry['path']} {' and '.join(faults)}"


def _directory_problems(s: Mapping[str, Any], directories: Mapping[str, Any]) -> Iterator[str]:
    for fault in replaceable(directories["above"]):
        yield (
            f"flask_uwsgi_base_dir={s['base_dir']} is not safe: {fault}. Set it to a path of directories that root "
            "owns and nobody else can write to"
        )
    if directories["noexec"]:
        yield (
            f"flask_uwsgi_base_dir={s['base_dir']} is on a file system that is mounted noexec, so nothing in it can "
            "be run: mount it with exec, or set it to another directory"
        )
