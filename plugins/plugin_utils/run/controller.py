"""A run of Ansible on the controller: how it is named, and whether it still lives."""

from __future__ import annotations

import getpass
import multiprocessing
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_PROC = Path("/proc")


def identity() -> dict[str, Any]:
    """Return who runs Ansible, on which controller, and as which process.

    To be called in one of Ansible's workers, whose parent is the run's own process.
    """
    # A worker outlives a run that is killed. The kernel would call its new parent, which always lives, the run.
    parent = multiprocessing.parent_process()
    pid = (parent and parent.pid) or os.getppid()
    return {"who": f"{getpass.getuser()}@{platform.node()}", "home": _home(), "pid": pid, "start": _start(pid)}


def run(what: str) -> dict[str, Any]:
    """Return this run of Ansible as the owner of a reservation.

    Args:
        what: what the run does, such as ``deploy``.
    """
    return {**identity(), "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "what": what}


def lives(run: Mapping[str, Any]) -> bool:
    """Return whether a run is still at work; of one on another controller that is assumed.

    Args:
        run: what :func:`identity` returned then.
    """
    pid = run.get("pid")
    return run.get("home") != _home() or (isinstance(pid, int) and _start(pid) == run.get("start") != "")


def _home() -> str:
    """Return what no two controllers share: processes are comparable only within it."""
    boot = _PROC / "sys/kernel/random/boot_id"
    space = _PROC / "self/ns/pid"
    if not boot.is_file():
        return platform.node()
    return f"{platform.node()} {boot.read_text().strip()} {space.readlink()}"


def _start(pid: int) -> str:
    """Return when a process began, in the kernel's own count; empty where there is none (any more)."""
    try:
        # The name, in parentheses, can contain anything.
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        # One that has ended, and nobody has asked how, is no run.
        return "" if fields[0] == "Z" else fields[19]
    except OSError:
        return "" if _PROC.is_dir() else "unknown"
