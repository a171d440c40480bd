"""Reads the patches that this collection applies to what it builds, from a folder for each NAME-VERSION."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ...module_utils.release.artifact import ArtifactError, Requirement, pin


def patches_of(entries: Iterable[Requirement], folder: Path) -> dict[str, dict[str, str]]:
    """Return the patches of installed packages: for each NAME-VERSION that has any, names to contents.

    Args:
        entries: the installed packages.
        folder: the folder of patches.

    Raises:
        ArtifactError: a patched package is required in a version without patches, which lacks their fixes.
    """
    from packaging.utils import canonicalize_name

    found: dict[str, dict[str, dict[str, str]]] = {}
    for path in sorted(folder.glob("*/*.patch")):
        name, _, version = path.parent.name.rpartition("-")
        found.setdefault(canonicalize_name(name), {}).setdefault(version, {})[path.name] = path.read_text()
    wanted = {}
    for entry in entries:
        versions = found.get(entry.name)
        if versions and pin(entry) not in versions:
            there = ", ".join(versions)
            raise ArtifactError(
                f"artifact_server_lock pins {entry.name}=={pin(entry)}, but the patches that the role depends on are "
                f"for {there}: pin {entry.name}=={there} there"
            )
        if versions:
            wanted[f"{entry.name}-{pin(entry)}"] = versions[pin(entry)]
    return wanted
