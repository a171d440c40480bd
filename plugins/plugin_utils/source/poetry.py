"""Reads the releases of a project's dependencies from a poetry.lock, as requirements with hashes. Nothing runs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...module_utils.release.artifact import ArtifactError
from .requirement_files import table, toml

# The first version that lists the groups of each package.
_WITH_GROUPS = (2, 1)
_MAIN = "main"
# Their allowed characters; anything else could be another line of a requirements file.
_NAME, _VERSION, _HASH = (re.compile(text) for text in (r"[\w.-]+", r"[\w.!+-]+", r"sha\d+:[0-9a-f]+"))


def has_groups(document: dict[str, Any]) -> bool:
    """Return whether a poetry.lock lists the groups of each package."""
    version = str(table(document, "metadata").get("lock-version", ""))
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    return numbers >= _WITH_GROUPS


def requirements(text: str, file: Path, wanted: list[str]) -> str:
    """Return what a poetry.lock installs of the project's own dependencies, as a requirements file with hashes.

    Args:
        text: the lock, whose packages have groups.
        file: its path, for messages.
        wanted: the normalised names that the project requires.

    Raises:
        ArtifactError: it is not valid, lacks what the project requires, or has something other than a release of a
            registry.
    """
    from packaging.utils import canonicalize_name

    packages = list(_packages(toml(text, file), file))
    if missing := sorted(set(wanted) - {canonicalize_name(str(one["name"])) for one in packages}):
        raise ArtifactError(
            f"flask_uwsgi_requirements={file} does not have {missing[0]}, which its pyproject.toml requires: run "
            "`poetry lock`"
        )
    lines = []
    for one in packages:
        if one.get("optional") or _MAIN not in one.get("groups", ()):
            continue
        name, version = str(one["name"]), str(one["version"])
        if (source := table(one, "source").get("type", "legacy")) != "legacy":
            raise ArtifactError(
                f"flask_uwsgi_requirements={file} has {name!r} from a {source}, which is not a release of the "
                "registry: require a release, and run `poetry lock`"
            )
        hashes = sorted(str(found.get("hash", "")) for found in one.get("files", ()) if isinstance(found, dict))
        lines.append(f"{name}=={version}{_marker(one, file)}" + "".join(f" --hash={found}" for found in hashes))
        if not (_NAME.fullmatch(name) and _VERSION.fullmatch(version) and all(map(_HASH.fullmatch, hashes))):
            raise ArtifactError(f"flask_uwsgi_requirements={file} has an entry {name[:80]!r} that Poetry did not write")
    return "".join(f"{line}\n" for line in lines)


def versions(text: str, file: Path) -> list[str]:
    """Return the versions of a poetry.lock, as requirements; without packages that have several versions."""
    from packaging.utils import canonicalize_name

    found = [(canonicalize_name(str(one["name"])), str(one["version"])) for one in _packages(toml(text, file), file)]
    several = Counter(name for name, _ in found)
    return [
        f"{name}=={version}"
        for name, version in found
        if several[name] == 1 and _NAME.fullmatch(name) and _VERSION.fullmatch(version)
    ]


def _packages(document: dict[str, Any], file: Path) -> Iterator[dict[str, Any]]:
    packages = document.get("package", [])
    for one in packages if isinstance(packages, list) else []:
        if not isinstance(one, dict) or not {"name", "version"} <= one.keys():
            raise ArtifactError(f"flask_uwsgi_requirements={file} is not a lock of Poetry: run `poetry lock`")
        yield one


def _marker(package: dict[str, Any], file: Path) -> str:
    """Return the marker of a package, which is one for all of its groups or one for each."""
    # Ansible needs it, so the controller has it; hosts may not.
    from packaging.markers import InvalidMarker, Marker

    found = package.get("markers", "")
    text = str(found.get(_MAIN, "") if isinstance(found, dict) else found)
    if not text:
        return ""
    try:
        return f" ; {Marker(text)}"
    except InvalidMarker as error:
        raise ArtifactError(
            f"flask_uwsgi_requirements={file} has a marker of {package['name']!r} that cannot be read: run "
            "`poetry lock`"
        ) from error
