"""What a pyproject.toml says of the project beside its requirements (PEP 621)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.flaskops.uwsgi.plugins.module_utils.artifact import ArtifactError
from ansible_collections.flaskops.uwsgi.plugins.module_utils.requirement_files import table, text, toml


def uv_lock(file: Path) -> Path | None:
    """Return the uv.lock beside a pyproject.toml; None where there is none."""
    lock = file.with_name("uv.lock")
    return lock if lock.is_file() else None


def is_project(file: Path) -> bool:
    """Tell whether a pyproject.toml says what a project requires, and not only how tools are set.

    Raises:
        ArtifactError: it cannot be read.
    """
    document = _read(file)
    poetry = table(table(document, "tool"), "poetry")
    return bool(uv_lock(file)) or "project" in document or "dependencies" in poetry


def insist_on_python(file: Path, platform: str) -> None:
    """Refuse a project that is not for the host's Python, which uv 0.13 locks all the same.

    Args:
        file: the pyproject.toml.
        platform: distribution, architecture and Python, such as ``debian-12-x86_64-py3.11``.

    Raises:
        ArtifactError: its requires-python excludes it, or is none.
    """
    # Ansible needs it, so the controller has it; hosts do not.
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    needs = str(table(_read(file), "project").get("requires-python", ""))
    python = platform.rpartition("-py")[2]
    try:
        specifiers = SpecifierSet(needs)
    except InvalidSpecifier as error:
        raise ArtifactError(
            f"flask_uwsgi_requirements={file} has requires-python={needs!r}, which is no range of versions: correct it"
        ) from error
    # The platform does not tell the last number.
    if not any(specifiers.contains(f"{python}.{last}") for last in range(50)):
        raise ArtifactError(
            f"flask_uwsgi_requirements={file} has requires-python={needs!r}, and {platform} has Python {python}: "
            "deploy to another distribution, or widen it"
        )


def bare(file: Path) -> str:
    """Return a pyproject.toml of the same project without anything else, for uv to read its lock by.

    Raises:
        ArtifactError: it cannot be read.
    """
    # What names and versions can be is text; nothing else of it is kept.
    section = table(_read(file), "project")
    kept = {"name": "app", "version": "0", "requires-python": ">=3"} | {
        name: value for name, value in section.items() if name in ("name", "requires-python") and isinstance(value, str)
    }
    lines = (f'{name} = "{value}"\n' for name, value in kept.items() if not set(value) & set('"\\\n\r'))
    return "[project]\n" + "".join(lines)


def _read(file: Path) -> dict[str, Any]:
    return toml(text(file, None), file)
