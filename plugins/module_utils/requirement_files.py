"""Reads what an application requires as plain requirements, on the controller and without running anything.

Files of an application may tell pip and uv where to look for packages, and what to build. Such options do not count
here: they are left out and named. The operator's own configuration of uv says where packages come from.
"""

from __future__ import annotations

import codecs
import os
import re
import stat
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.flaskops.uwsgi.plugins.module_utils.artifact import ArtifactError, masked

# Bytes and files; a lock of a thousand packages has one megabyte.
_MOST = 2**23
_FILES = 100
_INCLUDE = re.compile(r"(?P<option>-r|-c|--requirement|--constraint)(?:\s+|=|(?<=-[rc]))(?P<name>\S+)")
_EDITABLE = re.compile(r"(-e|--editable)\b|(-e(?=\S))")
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


@dataclass
class Wanted:
    """What is required and what limits it, one requirement an entry, with the hashes that it has.

    ``ignored`` names the options that do not count, ``inputs`` has all that was read. ``dynamic`` tells that only a
    build would say what is required.
    """

    requirements: list[str] = field(default_factory=list)
    constraints: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    dynamic: bool = False


def read(file: Path, inside: Path | None) -> Wanted:
    """Return what a requirements file says, and the files that it includes.

    Args:
        file: the file.
        inside: the folder that nothing may lead out of; None for a file that the operator keeps elsewhere.

    Raises:
        ArtifactError: a file does not exist, is none, or leads out; a line is no requirement of a release.
    """
    wanted = Wanted()
    _read(file, inside, wanted, wanted.requirements, set())
    wanted.ignored = list(dict.fromkeys(wanted.ignored))
    return wanted


def _read(file: Path, inside: Path | None, wanted: Wanted, target: list[str], seen: set[tuple[Path, bool]]) -> None:
    role = target is wanted.constraints
    if (file.resolve(), role) in seen:
        return
    seen.add((file.resolve(), role))
    if len(seen) > _FILES:
        raise ArtifactError(f"flask_uwsgi_requirements includes more than {_FILES} files: put them into fewer")
    content = text(file, inside)
    wanted.inputs.append(content)
    for line in _lines(content):
        if include := _INCLUDE.match(line):
            if "://" in include["name"]:
                raise ArtifactError(
                    f"flask_uwsgi_requirements={file} includes {masked(include['name'])}, an address: download it "
                    "into the source, and include the file"
                )
            constrains = include["option"].lstrip("-")[0] == "c"
            inner = wanted.constraints if constrains or role else wanted.requirements
            _read(file.parent / include["name"], inside, wanted, inner, seen)
        elif line.startswith("-") and not _EDITABLE.match(line):
            wanted.ignored.append(f"{masked(re.split(r'[ =]', line)[0])} of {file.name}")
        else:
            requirement, options = _release(line, file)
            target.append(requirement)
            wanted.ignored += [f"{option} of {file.name}" for option in options]


def _lines(content: str) -> Iterator[str]:
    for line in re.sub(r"\\\r?\n", " ", content).splitlines():
        stripped = re.sub(r"(^|\s)#.*$", "", line).strip()
        if stripped:
            yield stripped


def _release(line: str, file: Path) -> tuple[str, list[str]]:
    """Return a line as a requirement with its hashes, and its other options."""
    head, *options = re.split(r"\s+--", line)
    hashes = [f" --{option.strip()}" for option in options if option.startswith("hash")]
    others = [f"--{re.split(r'[ =]', option)[0]}" for option in options if not option.startswith("hash")]
    insist_on_release(head.strip(), f"flask_uwsgi_requirements={file}")
    return head.strip() + "".join(hashes), others


def insist_on_release(text: str, variable: str) -> None:
    """Refuse a requirement that is none, or none of a release of the registry.

    Args:
        text: the requirement, without hashes.
        variable: the variable and its value, for the message.

    Raises:
        ArtifactError: it is an address, a path, or nothing that can be read.
    """
    # Ansible needs it, so the controller has it; hosts do not.
    from packaging.requirements import InvalidRequirement, Requirement

    path = text.startswith((".", "/", "-e", "--editable", "~")) or text.endswith((".whl", ".tar.gz", ".zip"))
    try:
        address = path or "://" in text.partition(";")[0].partition("#")[0] or bool(Requirement(text).url)
    except InvalidRequirement as error:
        why = str(error).splitlines()[0]
        raise ArtifactError(
            f"{variable} cannot be locked: {masked(text)[:200]!r} is no requirement ({why}): correct it"
        ) from error
    if address:
        raise ArtifactError(
            f"{variable} cannot be locked: {masked(text)[:200]!r} is no release of the registry, which alone has a "
            "hash. Require a release; a folder of the source needs flask_uwsgi_python_path and no line here"
        )


def text(file: Path, inside: Path | None) -> str:
    """Return the text of a file.

    Args:
        file: the file.
        inside: the folder that it must be in, after all links; None for any.

    Raises:
        ArtifactError: it does not exist, is no file, leads out, is too large, or is no text.
    """
    if inside and not file.resolve().is_relative_to(inside.resolve()):
        raise ArtifactError(
            f"flask_uwsgi_requirements includes {file}, which is outside of the source {inside}: put it into the source"
        )
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as stream:
            content = stream.read(_MOST + 1) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
    except FileNotFoundError as error:
        raise ArtifactError(
            f"flask_uwsgi_requirements includes {file}, which does not exist on the controller: correct the -r or -c"
        ) from error
    except OSError as error:
        raise ArtifactError(
            f"flask_uwsgi_requirements={file} cannot be read: {error.strerror}. Set it to a file"
        ) from error
    if content is None or len(content) > _MOST:
        raise ArtifactError(
            f"flask_uwsgi_requirements={file} is {'no file' if content is None else 'larger than 8 MiB'}: set it to a "
            "requirements file or pyproject.toml"
        )
    mark, encoding = next(((mark, name) for mark, name in _MARKS if content.startswith(mark)), (b"", "utf-8"))
    try:
        return content[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        raise ArtifactError(
            f"flask_uwsgi_requirements={file} is no text in UTF-8 (byte {error.start}): save it as UTF-8"
        ) from error


def project(file: Path, inside: Path | None) -> Wanted:
    """Return what a pyproject.toml requires (PEP 621).

    Args:
        file: the pyproject.toml.
        inside: the folder that it must be in; None for any.

    Raises:
        ArtifactError: it cannot be read, or requires what is no release.
    """
    content = text(file, inside)
    document = toml(content, file)
    section = table(document, "project")
    wanted = Wanted(inputs=[content], dynamic="project" not in document or "dependencies" in section.get("dynamic", ()))
    uv = table(table(document, "tool"), "uv")
    wanted.ignored = [f"[tool.uv] of {file.name}"] if uv else []
    dependencies = section.get("dependencies", [])
    if not isinstance(dependencies, list) or not all(isinstance(one, str) for one in dependencies):
        raise ArtifactError(f"flask_uwsgi_requirements={file} has no list of texts in project.dependencies: correct it")
    for dependency in dependencies:
        insist_on_release(dependency, f"flask_uwsgi_requirements={file}")
        _insist_on_no_source(dependency, uv, file)
    wanted.requirements = dependencies
    return wanted


def _insist_on_no_source(dependency: str, uv: dict[str, Any], file: Path) -> None:
    """Refuse to take from the registry what the project takes from elsewhere: it may be another's of that name."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    name = canonicalize_name(Requirement(dependency).name)
    if name in map(canonicalize_name, table(uv, "sources")):
        raise ArtifactError(
            f"flask_uwsgi_requirements={file} takes {name} from [tool.uv.sources], which does not count here, and the "
            f"registry's {name} may be another: publish it to the registry that uv of the controller is configured "
            "for and remove that line, or give a lock, with exact versions and hashes"
        )


def toml(content: str, file: Path) -> dict[str, Any]:
    """Return a document of TOML.

    Raises:
        ArtifactError: it is none.
    """
    try:
        return tomllib.loads(content)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"flask_uwsgi_requirements={file} is no valid TOML: {error}. Correct it") from error


def table(document: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a table of a document of TOML; empty where there is none."""
    found = document.get(name, {})
    return found if isinstance(found, dict) else {}
