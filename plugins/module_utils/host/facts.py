"""The platform and the limits of a host, read from /proc and /etc without running anything."""

from __future__ import annotations

import platform
import shutil
import sys
from pathlib import Path
from typing import Any

from . import listening, packages


def facts(base: Path) -> dict[str, Any]:
    """Return the platform and the limits of this host.

    Args:
        base: the directory that will hold the application; the free space of its file system is reported.

    Returns:
        ``platform`` is what artifacts are built for. ``nofile`` and ``nproc`` are the hard limits of
        PID 1: a service cannot get more where systemd lacks CAP_SYS_RESOURCE (containers), so the lower of
        these and the kernel's own limits applies.
    """
    release = platform.freedesktop_os_release()
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    version = release.get("VERSION_ID", "")
    limits = _limits(1)
    return {
        "distribution": release["ID"],
        "version": version,
        "architecture": platform.machine(),
        "python": python,
        "interpreter": sys.executable,
        "platform": f"{release['ID']}-{version}-{platform.machine()}-py{python}",
        "libpython": any(Path("/usr/lib").glob(f"*/libpython{python}.so.1.0")),
        "somaxconn": _number("/proc/sys/net/core/somaxconn"),
        "file_max": _number("/proc/sys/fs/file-max"),
        "nofile": min(limits["Max open files"], _number("/proc/sys/fs/nr_open")),
        "tasks": min(
            limits["Max processes"],
            _number("/proc/sys/kernel/pid_max"),
            _number("/proc/sys/kernel/threads-max"),
            _cgroup_pids(),
        ),
        "free_mb": shutil.disk_usage(_existing(base)).free // 2**20,
        "systemd": Path("/run/systemd/system").is_dir(),
        "package_manager": packages.manager(),
        "shared_mounts": _shared("/run"),
        "addresses": listening.addresses(),
        "ipv6": listening.has_ipv6(),
        "machine": f"{_text('/etc/machine-id')} {platform.node()}",
    }


def _shared(path: str) -> bool:
    """Return whether mounts below a path in one namespace appear in the others (mount_namespaces(7))."""
    mounts = [line.split() for line in Path("/proc/1/mountinfo").read_text().splitlines()]
    last = {mount[4]: mount for mount in mounts if mount[4] in ("/", path)}
    return any(field.startswith("shared:") for field in last.get(path, last.get("/", []))[6:])


def _limits(pid: int) -> dict[str, int]:
    limits = {}
    for line in Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]:
        name, hard = line[:26].strip(), line[47:68].strip()
        limits[name] = sys.maxsize if hard == "unlimited" else int(hard)
    return limits


def _number(path: str) -> int:
    return int(Path(path).read_text())


def _text(path: str) -> str:
    return Path(path).read_text().strip() if Path(path).is_file() else ""


def _cgroup_pids() -> int:
    path = Path("/sys/fs/cgroup/pids.max")
    text = path.read_text().strip() if path.is_file() else "max"
    return sys.maxsize if text == "max" else int(text)


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path
