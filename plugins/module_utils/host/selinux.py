"""SELinux on a host: what it decides of a virtual environment, and the labels without which systemd cannot start it.

systemd (``init_t``) may read what is below ``/opt`` (``usr_t``), and run only programs that are labelled so. The policy
of RHEL names ``/opt/…/bin``, but a new file gets the label of its directory. What runs is ``unconfined_service_t``,
also with NoNewPrivileges (``init_nnp_daemon_domain``).
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from .foreign import capture

_ROOT = Path("/sys/fs/selinux")
# What systemd may start; see the module corecommands of the policy.
_PROGRAM = "bin_t"
_TIMEOUT = 600


class SELinuxError(Exception):
    """The labels could not be set."""


def mode() -> str:
    """Return ``enforcing``, ``permissive``, or ``disabled``, as it is also in a container."""
    try:
        # libselinux takes a read-only one for none: that of a container's host.
        if os.statvfs(_ROOT).f_flag & os.ST_RDONLY:
            return "disabled"
        return "enforcing" if (_ROOT / "enforce").read_text().strip() == "1" else "permissive"
    except OSError:
        return "disabled"


def program_type(folder: Path) -> str:
    """Return the type that the policy gives to a program of a virtual environment; empty if that does not matter.

    Args:
        folder: the directory of the environments.
    """
    if mode() != "enforcing":
        return ""
    try:
        # user:role:type:level.
        fields = _run("matchpathcon", "-n", str(folder / "x/bin/x")).strip().split(":")
    except SELinuxError:
        # Nobody can tell; systemd will.
        return ""
    return fields[2] if len(fields) > 2 else ""


def problem(type_: str, base: str) -> str:
    """Return why systemd could not start programs below a base directory, and what to do; empty if it can.

    Args:
        type_: what :func:`program_type` returned.
        base: ``flask_uwsgi_base_dir``.
    """
    if type_ in ("", _PROGRAM):
        return ""
    return (
        f"flask_uwsgi_base_dir={base} is a directory whose programs SELinux labels {type_}, which systemd may not "
        f"start: set it to a directory below /opt, or run `semanage fcontext -a -e /opt {base}` on the host"
    )


def relabel(folder: Path) -> None:
    """Give a directory and everything below it the labels of the policy; without SELinux, do nothing.

    Raises:
        SELinuxError: they cannot be set.
    """
    if mode() != "disabled":
        _run("restorecon", "-R", "-F", str(folder))


def _run(*command: str) -> str:
    try:
        done = capture(command, _TIMEOUT)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SELinuxError(f"`{' '.join(command)}` cannot be run: {error}") from error
    if done.returncode:
        raise SELinuxError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
    return done.stdout
