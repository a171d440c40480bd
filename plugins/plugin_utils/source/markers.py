"""Which entries of a lock apply to a platform: one lock may be for several versions of Python."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from packaging.markers import InvalidMarker, Marker, UndefinedComparison, UndefinedEnvironmentName
from packaging.version import InvalidVersion

from ...module_utils.release.artifact import Requirement, read_lock


def locked(path: Path, variable: str, platform: str) -> list[Requirement]:
    """Return the entries of a lock that a platform may need.

    Args:
        path: the requirements file.
        variable: the variable that named it, for the message.
        platform: distribution, architecture and Python, such as ``debian-12-x86_64-py3.11``.

    Raises:
        ArtifactError: as :func:`read_lock`.
    """
    return applying(read_lock(path, variable), platform)


def applying(entries: Iterable[Requirement], platform: str) -> list[Requirement]:
    """Return the entries whose markers do not exclude a platform."""
    return [entry for entry in entries if applies(entry, platform) is not False]


def applies(entry: Requirement, platform: str) -> bool | None:
    """Return whether an entry's marker applies to a platform; None if that depends on more than is known here."""
    text = entry.text.split(" --hash", 1)[0].partition(";")[2].strip()
    if not text:
        return True
    if "platform_release" in text or "platform_version" in text:
        return None
    system, _, python = platform.rpartition("-py")
    known = {
        "implementation_name": "cpython", "os_name": "posix", "platform_machine": system.rpartition("-")[2],
        "platform_python_implementation": "CPython", "platform_release": "", "platform_system": "Linux",
        "platform_version": "", "python_version": python, "sys_platform": "linux", "extra": "",
    }  # fmt: skip
    found = set()
    try:
        for release in (0, 999):
            full = f"{python}.{release}"
            found.add(Marker(text).evaluate({**known, "python_full_version": full, "implementation_version": full}))
    except (InvalidMarker, UndefinedComparison, UndefinedEnvironmentName, InvalidVersion):
        return None
    return found.pop() if len(found) == 1 else None
