"""What a pyproject.toml says of the project's requirements (PEP 621)."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from ansible_collections.flaskops.uwsgi.plugins.module_utils.artifact import ArtifactError


def uv_lock(file: Path) -> Path | None:
    """Return the uv.lock beside a pyproject.toml; None where there is none."""
    lock = file.with_name("uv.lock")
    return lock if lock.is_file() else None


def is_project(file: Path) -> bool:
    """Tell whether a pyproject.toml says what a project requires, and not only how tools are set.

    Raises:
        ArtifactError: it cannot be read, or says it in a way that is no standard.
    """
    document = _read(file)
    if uv_lock(file):
        return True
    if "dependencies" in _list(_table(document, "project"), "dynamic"):
        raise ArtifactError(
            f"flask_uwsgi_requirements={file} has dynamic dependencies, which only a build would tell: set "
            "flask_uwsgi_requirements to the file that lists them"
        )
    if "project" not in document and "dependencies" in _table(_table(document, "tool"), "poetry"):
        raise ArtifactError(
            f"flask_uwsgi_requirements={file} has its dependencies in tool.poetry alone: export them (poetry export "
            "--output requirements.txt), or list them in project.dependencies"
        )
    return "project" in document


def insist_on_python(file: Path, platform: str) -> None:
    """Refuse a project that is not for the host's Python, which uv 0.13 locks all the same.

    Args:
        file: the pyproject.toml.
        platform: distribution, architecture and Python, such as ``debian-12-x86_64-py3.11``.

    Raises:
        ArtifactError: its requires-python excludes it.
    """
    # Ansible needs it, so the controller has it; hosts do not.
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    needs = str(_table(_read(file), "project").get("requires-python", ""))
    python = platform.rpartition("-py")[2]
    try:
        allowed = SpecifierSet(needs)
    except InvalidSpecifier as error:
        raise ArtifactError(
            f"flask_uwsgi_requirements={file} has requires-python={needs!r}, which is no range of versions: correct it"
        ) from error
    # The platform does not tell the last number.
    if not any(allowed.contains(f"{python}.{last}") for last in range(50)):
        raise ArtifactError(
            f"flask_uwsgi_requirements={file} has requires-python={needs!r}, and {platform} has Python {python}: "
            "deploy to another distribution, or widen it"
        )


def _table(document: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a table of a document; an empty one where there is none, or something else."""
    found = document.get(name)
    return found if isinstance(found, dict) else {}


def _list(table: dict[str, Any], name: str) -> list[Any]:
    found = table.get(name)
    return found if isinstance(found, list) else []


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    # tomllib descends into what is nested.
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"flask_uwsgi_requirements={file} is no valid TOML: {error}. Correct it") from error
