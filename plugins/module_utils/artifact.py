"""Names and packs what is deployed: an application's code and the wheels it runs on.

An artifact is named by what goes into it (code, locks, platform), so that the same input has the same
id wherever and whenever it is built, and a change of any of them gives another.
"""

from __future__ import annotations

import fnmatch
import gzip
import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import files

# Part of every id: raise it when the way of packing or building changes what hosts get.
RECIPE = "1"
ID_LENGTH = 12

_REQUIREMENT = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^]]*\])?\s*(?P<pin>===?\s*[^\s;\\]+)?")


class ArtifactError(Exception):
    """The input cannot become an artifact, or a stored artifact is not what it was."""


@dataclass(frozen=True)
class Requirement:
    """One entry of a lock: its normalised name, and its whole text as pip reads it."""

    name: str
    text: str


def digest(*parts: str) -> str:
    """Return the short id of a sequence of strings."""
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode()
        whole.update(len(data).to_bytes(8, "big") + data)
    return whole.hexdigest()[:ID_LENGTH]


def normalised(name: str) -> str:
    """Return a distribution's name as the registry compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def masked(text: str) -> str:
    """Return a text without the accounts and passwords that stand in its addresses."""
    return re.sub(r"//[^/\s]+@", "//…@", text)


def sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def source_files(source: Path, exclude: Iterable[str]) -> list[Path]:
    """Return the files of an application, relative to its folder and sorted.

    Args:
        source: the application's folder.
        exclude: shell patterns; a file is left out when its name or a folder above it matches one.

    Raises:
        ArtifactError: the folder does not exist or holds no file.
    """
    if not source.is_dir():
        raise ArtifactError(
            f"flask_uwsgi_source={source} is not a directory on the controller: "
            "set it to the folder that holds your application"
        )
    patterns = list(exclude)

    def wanted(path: Path) -> bool:
        return not any(fnmatch.fnmatch(part, pattern) for part in path.parts for pattern in patterns)

    for path in source.rglob("*"):
        if path.is_symlink() and path.is_dir() and wanted(path.relative_to(source)):
            raise ArtifactError(
                f"flask_uwsgi_source={source} holds {path.relative_to(source)}, a link to a folder, which is not "
                "followed: put the folder in its place, or add the name to artifact_exclude"
            )
    found = (path.relative_to(source) for path in source.rglob("*") if path.is_file())
    files = sorted(path for path in found if wanted(path))
    if not files:
        raise ArtifactError(f"flask_uwsgi_source={source} holds no file to deploy")
    return files


def code_id(source: Path, files: Iterable[Path], added: Mapping[str, str]) -> str:
    """Return the id of the code: names, executable bits and contents, nothing else.

    Args:
        source: the application's folder.
        files: what of it is packed, relative to it.
        added: names and contents of further files.
    """
    return digest(
        RECIPE,
        *(f"{file}:{_executable(source / file)}:{sha256(source / file)}" for file in files),
        *(f"{name}\0{content}" for name, content in sorted(added.items())),
    )


def _executable(path: Path) -> bool:
    return bool(path.stat().st_mode & 0o100)


def pack_code(source: Path, files: Iterable[Path], added: Mapping[str, str], target: Path) -> None:
    """Write the code as a tar.gz whose bytes depend on the code alone.

    Args:
        source: the application's folder.
        files: what to pack, relative to it.
        added: names and contents of further files.
        target: the archive to write; it appears whole or not at all.
    """
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for file in files:
            _add(tar, str(file), (source / file).read_bytes(), executable=_executable(source / file))
        for name, content in sorted(added.items()):
            _add(tar, name, content.encode(), executable=False)
    write(target, buffer.getvalue())


def _add(tar: tarfile.TarFile, name: str, content: bytes, executable: bool) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    entry.mode = 0o755 if executable else 0o644
    tar.addfile(entry, io.BytesIO(content))


def write(target: Path, content: bytes) -> None:
    """Write a file of the cache; it appears whole or not at all."""
    # Several hosts are planned at once, each in a process of its own.
    files.write(target, content, writer=str(os.getpid()))


def requirements(text: str) -> Iterator[Requirement]:
    """Yield the entries of a requirements file, continuation lines joined and comments dropped."""
    joined = re.sub(r"\\\r?\n", " ", text)
    for line in joined.splitlines():
        stripped = re.sub(r"(^|\s)#.*$", "", line).strip()
        if not stripped:
            continue
        match = _REQUIREMENT.match(stripped)
        name = match["name"] if match else stripped
        yield Requirement(normalised(name), re.sub(r"\s+", " ", stripped))


def loose(entries: Iterable[Requirement]) -> Requirement | None:
    """Return the first entry that has no exact version or no hash; None where the entries are a lock."""
    return next((entry for entry in entries if not (pin(entry) and "--hash=" in entry.text)), None)


def pin(entry: Requirement) -> str:
    """Return the exact version that an entry wants; empty where it wants none."""
    match = _REQUIREMENT.match(entry.text)
    return (match["pin"] or "").lstrip("= ") if match else ""


def shown(entry: Requirement) -> str:
    """Return an entry for people: without its hashes, and without what is secret in an address."""
    return masked(entry.text.split(" --hash", 1)[0])


def rendered(entries: Iterable[Requirement]) -> str:
    """Return entries as a requirements file, each hash on a line of its own."""
    return "".join(entry.text.replace(" --hash", " \\\n    --hash") + "\n" for entry in entries)


def read_lock(path: Path, variable: str) -> list[Requirement]:
    """Read a lock and insist that it is one: every entry pinned and hashed.

    Args:
        path: the requirements file.
        variable: the variable that named it, for the message.

    Raises:
        ArtifactError: it does not exist, or an entry lacks its exact version or its hash.
    """
    if not path.is_file():
        raise ArtifactError(
            f"{variable}={path} does not exist on the controller: set it to a requirements file with hashes"
        )
    entries = list(requirements(path.read_text()))
    if entry := loose(entries):
        raise ArtifactError(
            f"{variable}={path} is not a lock: {shown(entry)!r} has no exact version "
            "or no --hash. Make one with `pip-compile --generate-hashes` or "
            "`uv pip compile --generate-hashes`"
        )
    return entries


def server_entries(application: list[Requirement], server: list[Requirement]) -> list[Requirement]:
    """Return the server's entries less those the application pins itself: its choice wins."""
    chosen = {entry.name for entry in application}
    return [entry for entry in server if entry.name not in chosen]


def wheelhouse_id(entries: Iterable[Requirement], platform: str, *others: str) -> str:
    """Return the id of a wheelhouse: what is installed, on which platform.

    Args:
        entries: all requirements, of the application, the server and the build tools.
        platform: distribution, architecture and Python, such as ``debian-12-x86_64-py3.11``.
        others: what else the wheels depend on.
    """
    return digest(RECIPE, platform, *sorted(entry.text for entry in entries), *others)


def record(archive: Path) -> dict[str, Any]:
    """Write down an archive's checksum beside it, and return what was written."""
    entry = {"file": archive.name, "sha256": sha256(archive)}
    write(archive.with_name(archive.name + ".json"), json.dumps(entry, indent=2).encode() + b"\n")
    return entry


def recorded(archive: Path) -> dict[str, Any] | None:
    """Return an archive's record, or None where the archive is not (wholly) there.

    Raises:
        ArtifactError: the archive is not the one the record describes.
    """
    beside = archive.with_name(archive.name + ".json")
    if not (archive.is_file() and beside.is_file()):
        return None
    try:
        entry: dict[str, Any] = json.loads(beside.read_text())
    except ValueError:
        return None
    if sha256(archive) != entry.get("sha256"):
        raise ArtifactError(
            f"artifact {archive} is damaged: its SHA-256 is not the recorded {str(entry.get('sha256'))[:16]}…. "
            f"Nothing was shipped. Remove it (`rm {archive}*`) and deploy again: it is then built anew"
        )
    return entry
