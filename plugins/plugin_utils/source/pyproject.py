"""Reads the metadata of a project other than its requirements (PEP 621, setup.cfg, setup.py), running nothing."""

from __future__ import annotations

import configparser
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...module_utils.release.artifact import ArtifactError
from .requirement_files import table, text, toml

# A setup.py that installs something, and does not have the name by chance.
_SETUP = re.compile(r"\b(setuptools|distutils)\b.*\bsetup\s*\(", re.DOTALL)
# Stands for a name that only a build can determine.
UNNAMED = "the-project"
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


@dataclass(frozen=True)
class Project:
    """A folder that a build backend turns into a wheel.

    Args:
        file: the file that says so, relative to the folder.
        name: its normalised name; empty if only a build can determine it.
    """

    file: str
    name: str


def project_of(folder: Path, files: Collection[Path], asked: bool = False) -> Project | None:
    """Return the project in a folder, if its files say how to build it (PEP 517); None otherwise.

    Args:
        folder: the application's folder.
        files: its deployed files, relative to it.
        asked: whether its requirements name the folder itself, as pip requires for a project that names no backend.

    Raises:
        ArtifactError: one of its files cannot be read.
    """
    if Path("pyproject.toml") in files:
        document = _read(folder / "pyproject.toml")
        tools = table(document, "tool")
        section, poetry = table(document, "project"), table(tools, "poetry")
        if table(tools, "uv").get("package") is False or poetry.get("package-mode") is False:
            return None
        if "build-system" in document or (asked and section):
            return Project("pyproject.toml", _name(section.get("name", poetry.get("name"))) or _legacy(folder, files))
    if Path("setup.py") in files and _SETUP.search(text(folder / "setup.py", folder)):
        return Project("setup.py", _legacy(folder, files))
    if name := _legacy(folder, files):
        return Project("setup.cfg", name)
    return None


def source_folders(files: Collection[Path]) -> list[str]:
    """Return the folder ``src`` of a project that is not built, if it contains what is imported.

    Args:
        files: the deployed files of its folder, relative to it.
    """
    inside = [file.relative_to("src") for file in files if file.parts[0] == "src" and file.suffix == ".py"]
    importable = any(
        len(file.parts) == 1 or (len(file.parts) == 2 and file.name == "__init__.py" and file.parts[0].isidentifier())
        for file in inside
    )
    return ["src"] if importable and Path("__init__.py") not in inside else []


def _legacy(folder: Path, files: Collection[Path]) -> str:
    """Return the name that setup.cfg gives a project; empty if it has none."""
    if Path("setup.cfg") not in files:
        return ""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(text(folder / "setup.cfg", folder))
    except configparser.Error:
        return ""
    return _name(parser.get("metadata", "name", fallback=""))


def _name(given: object) -> str:
    from packaging.utils import canonicalize_name

    return canonicalize_name(given) if isinstance(given, str) and _NAME.fullmatch(given) else ""


def beside(file: Path, name: str) -> Path | None:
    """Return the file of a name beside a pyproject.toml; None if there is none."""
    found = file.with_name(name)
    return found if found.is_file() else None


def is_project(file: Path) -> bool:
    """Return whether a pyproject.toml lists the requirements of a project, and not only settings of tools.

    Raises:
        ArtifactError: it cannot be read.
    """
    document = _read(file)
    poetry = table(table(document, "tool"), "poetry")
    return bool(beside(file, "uv.lock")) or "project" in document or "dependencies" in poetry


def required(file: Path) -> list[str]:
    """Return the normalised names that a project always requires, from PEP 621 and Poetry.

    Raises:
        ArtifactError: it cannot be read.
    """
    from packaging.utils import canonicalize_name

    document = _read(file)
    listed = table(document, "project").get("dependencies", [])
    poetry = table(table(table(document, "tool"), "poetry"), "dependencies")
    names = [match[0] for one in listed if isinstance(one, str) and (match := _NAME.match(one))]
    names += [
        name for name, how in poetry.items() if name != "python" and not (isinstance(how, dict) and how.get("optional"))
    ]
    return sorted({str(canonicalize_name(name)) for name in names})


def insist_on_python(file: Path, platform: str, variable: str = "flask_uwsgi_requirements") -> None:
    """Refuse a project that is not for the host's Python, which uv 0.13 would lock anyway.

    Args:
        file: the pyproject.toml.
        platform: distribution, architecture and Python, such as ``debian-12-x86_64-py3.11``.
        variable: the variable that named it, for the message.

    Raises:
        ArtifactError: its requires-python excludes it, or is not valid.
    """
    # Ansible needs it, so the controller has it; hosts may not.
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    needs = str(table(_read(file), "project").get("requires-python", ""))
    python = platform.rpartition("-py")[2]
    try:
        specifiers = SpecifierSet(needs)
    except InvalidSpecifier as error:
        raise ArtifactError(
            f"{variable}={file} has requires-python={needs!r}, which is not a version range: correct it"
        ) from error
    # The platform does not include the last number.
    if not any(specifiers.contains(f"{python}.{last}") for last in range(50)):
        raise ArtifactError(
            f"{variable}={file} has requires-python={needs!r}, but {platform} has Python {python}: "
            "name another one with flask_uwsgi_python, deploy to another distribution, or widen it"
        )


def bare(file: Path) -> str:
    """Return a minimal pyproject.toml of the same project, which uv needs to read its lock.

    Raises:
        ArtifactError: it cannot be read.
    """
    # Only the text of names and versions is kept.
    section = table(_read(file), "project")
    kept = {"name": "app", "version": "0", "requires-python": ">=3"} | {
        name: value for name, value in section.items() if name in ("name", "requires-python") and isinstance(value, str)
    }
    lines = (f'{name} = "{value}"\n' for name, value in kept.items() if not set(value) & set('"\\\n\r'))
    return "[project]\n" + "".join(lines)


def _read(file: Path) -> dict[str, Any]:
    return toml(text(file, None), file)
