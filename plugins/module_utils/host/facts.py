"""The platform and the limits of a host, read from /proc and /etc without running anything."""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from . import listening, packages
from .foreign import capture

# As os-release(5) orders them.
_RELEASES = (Path("/etc/os-release"), Path("/usr/lib/os-release"))
# /lib is a folder of its own where /usr is not merged; 64-bit libraries of a Red Hat system are in lib64.
_LIBRARIES = (Path("/usr/lib"), Path("/lib"), Path("/usr/lib64"))


def facts(base: Path) -> dict[str, Any]:
    """Return the platform and the limits of this host.

    Args:
        base: the directory that will hold the application; the free space of its file system is reported.

    Returns:
        ``platform`` is what artifacts are built for; ``version`` is the code name of a distribution that has no number
        yet. ``systemd_version`` is 0 without systemd, and ``package_manager`` is ``apt``, ``dnf`` or empty.
        ``nofile`` and ``tasks`` come from the hard limits of PID 1: a service cannot get more where systemd lacks
        CAP_SYS_RESOURCE (containers), so the lower of these and the kernel's own limits applies.
    """
    name, version = distribution()
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    limits = _limits(1)
    return {
        "distribution": name,
        "version": version,
        "architecture": platform.machine(),
        "python": python,
        "interpreter": os.path.realpath(sys.executable),
        "platform": f"{name}-{version}-{platform.machine()}-py{python}",
        "libpython": any(_libraries(f"libpython{python}.so.1.0")),
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
        "systemd_version": systemd_version(),
        "package_manager": packages.manager(),
        "shared_mounts": _shared("/run"),
        "addresses": listening.addresses(),
        "ipv6": listening.has_ipv6(),
        "machine": f"{_text('/etc/machine-id')} {platform.node()}",
    }


def distribution(files: Iterable[Path] = _RELEASES) -> tuple[str, str]:
    """Return the name of the distribution, and its version or its code name; see os-release(5)."""
    text = next((path.read_text(errors="replace") for path in files if path.is_file()), "")
    pairs = (line.partition("=") for line in text.splitlines() if not line.startswith("#"))
    said = {key.strip(): "".join(shlex.split(value)) for key, _, value in pairs if value}
    return said.get("ID", "linux"), said.get("VERSION_ID") or said.get("VERSION_CODENAME") or "rolling"


def systemd_version() -> int:
    """Return the version of systemd, from the name of its library; systemctl is asked only without one."""
    names = " ".join(path.name for path in _libraries("systemd/libsystemd-shared-*.so"))
    if found := re.findall(r"libsystemd-shared-(\d+)", names):
        return max(map(int, found))
    if not shutil.which("systemctl"):
        return 0
    said = re.match(r"systemd (\d+)", capture(("systemctl", "--version"), 30).stdout)
    return int(said[1]) if said else 0


def _libraries(name: str) -> Iterator[Path]:
    """Yield the files of a name in the folders of libraries, with and without that of an architecture."""
    for folder in _LIBRARIES:
        yield from folder.glob(name)
        yield from folder.glob(f"*/{name}")


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
