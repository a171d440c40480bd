"""Names and packs what is deployed: an application's code and the wheels it runs on.

An artifact is named by its content (code, locks, platform): the same input has the same id wherever and whenever it is
built, and any change gives another. Ids are short, for people; code that finds something by an id compares the whole
SHA-256 that is kept beside it.
"""

from __future__ import annotations

import fcntl
import fnmatch
import gzip
import hashlib
import io
import json
import os
import re
import stat
import tarfile
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..host import files
from ..host.distributions import normalised

# Part of every id: raise it when a change to packing or building changes what hosts get.
RECIPE = "2"
ID_LENGTH = 12
# The application server, whose versions an application cannot choose.
SERVER = frozenset({"uwsgi", "gevent", "greenlet"})
# Written last into every release and virtual environment on a host: the SHA-256 of its content.
MARKER = ".complete"
# The limit on nested folders, far more than any project has. Beyond a thousand, Python's directory walks fail.
DEEPEST = 100
# Characters of a name in a message.
_SHOWN = 120
_CHUNK = 1 << 20

# https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md, which also says that a pointer is smaller than 1024 bytes.
_LFS = re.compile(rb"version https://(git-lfs|hawser)\.github\.com/spec/v1\n(ext-[^\n]*\n)*oid sha256:")
_LFS_MOST = 1024

_REQUIREMENT = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^]]*\])?\s*(?P<pin>===?\s*[^\s;\\]+)?")


class ArtifactError(Exception):
    """The input cannot become an artifact, or a stored artifact has changed."""


@dataclass(frozen=True)
class Requirement:
    """One entry of a lock: its normalised name, and its full text as pip reads it."""

    name: str
    text: str


def digest(*parts: str) -> str:
    """Return the hexadecimal SHA-256 of a sequence of strings."""
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode()
        whole.update(len(data).to_bytes(8, "big") + data)
    return whole.hexdigest()


def short(whole: str) -> str:
    """Return the id that people see instead of a digest."""
    return whole[:ID_LENGTH]


def marked(folder: Path) -> str:
    """Return the digest that marks a directory on a host as complete; empty if it is not."""
    try:
        return (folder / MARKER).read_text(errors="replace").strip()
    except OSError:
        return ""


def masked(text: str) -> str:
    """Return a text without the accounts and passwords in its addresses."""
    return re.sub(r"//[^/\s]+@", "//…@", text)


def sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashed(stream)


def hashed(stream: IO[bytes], algorithm: str = "sha256") -> str:
    """Return the hexadecimal hash of what a stream has left."""
    found = hashlib.new(algorithm)
    while chunk := stream.read(_CHUNK):
        found.update(chunk)
    return found.hexdigest()


def source_files(source: Path, exclude: Iterable[str], root: Path | None = None) -> list[Path]:
    """Return the files of an application, relative to its folder and sorted.

    Args:
        source: the application's folder.
        exclude: shell patterns; a file is left out if its name or a folder above it matches one.
        root: the folder that no link may lead out of, such as the repository above the source; by default the source.

    Raises:
        ArtifactError: the folder does not exist, cannot be read or contains no file, or it contains what cannot be
            packed as it is: a link that leads out or to what is excluded, a special file, or a pointer to a file in Git
            LFS.
    """
    if not source.is_dir():
        raise ArtifactError(
            f"flask_uwsgi_source={source} is not a directory on the controller: "
            "set it to the folder that holds your application"
        )
    patterns = list(exclude)
    within = Path(os.path.realpath(root or source))

    def wanted(*names: str) -> bool:
        return not any(fnmatch.fnmatch(name, pattern) for name in names for pattern in patterns)

    def refuse(error: OSError) -> None:
        raise ArtifactError(
            f"flask_uwsgi_source={source} cannot be read: {error.strerror}: {str(error.filename)!r}. Correct its mode, "
            "or add the name to artifact_exclude"
        )

    files = []
    for folder, folders, names in os.walk(source, onerror=refuse):
        folders[:] = filter(wanted, folders)
        for path in (Path(folder, name) for name in (*folders, *filter(wanted, names))):
            relative = path.relative_to(source)
            try:
                problem = _problem(path, relative, within, wanted)
            except OSError as error:
                refuse(error)
            if problem:
                raise ArtifactError(f"flask_uwsgi_source={source} holds {quoted(str(relative))}, {problem}")
            if path.is_file():
                files.append(relative)
    if not files:
        raise ArtifactError(f"flask_uwsgi_source={source} holds no file to deploy")
    return sorted(files)


def _problem(path: Path, relative: Path, within: Path, wanted: Callable[..., bool]) -> str:
    """Return why a file or folder of a source cannot be packed, and what to do; empty if it can."""
    exclude = "or add its name to artifact_exclude"
    if len(relative.parts) > DEEPEST:
        return f"which is nested more than {DEEPEST} folders deep: move it up, {exclude}"
    if not plain(str(relative)):
        return f"whose name is not UTF-8 or contains control characters: rename it, {exclude}"
    if relative == Path(MARKER):
        return f"a name that every release uses itself: rename it, {exclude}"
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        if problem := link_problem(path, within):
            return f"{problem}, {exclude}"
        leads = Path(os.path.realpath(path))
        if not wanted(*leads.relative_to(within).parts):
            return f"a link to {str(path.readlink())!r}, which artifact_exclude excludes: remove it, {exclude}"
        mode = leads.lstat().st_mode
        if stat.S_ISDIR(mode):
            return f"a link to a folder, which is not followed: put the folder in its place, {exclude}"
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        return f"which is a FIFO, a socket or a device: remove it, {exclude}"
    if stat.S_ISREG(mode) and path.stat().st_size < _LFS_MOST:
        with opened(path) as stream:
            if _LFS.match(stream.read()):
                return (
                    "a pointer to a file in Git LFS, not the file itself: set flask_uwsgi_source to a clone in which "
                    f"`git lfs pull` was run, put the file itself into the repository, {exclude}"
                )
    return ""


def plain(name: str) -> bool:
    """Return whether a file's name is UTF-8 and without control characters."""
    return not any(unicodedata.category(character) in ("Cc", "Cs") for character in name)


def quoted(name: str) -> str:
    """Return a file's name as messages show it: quoted, and shortened if it is very long."""
    return repr(name) if len(name) <= _SHOWN else f"{name[:_SHOWN]!r}…"


def link_problem(path: Path, within: Path) -> str:
    """Return why a link may not be packed, and what to do; empty if it leads to something inside a folder.

    Args:
        path: the link.
        within: the folder, with its own links resolved.
    """
    leads = Path(os.path.realpath(path))
    if not leads.is_relative_to(within):
        return f"a link to {str(path.readlink())!r}, which leads out of the source: put the file itself in its place"
    if not leads.exists():
        return f"a link to {str(path.readlink())!r}, which does not exist: remove it"
    return ""


def opened(path: Path) -> io.BufferedReader:
    """Open a regular file of a source for reading, without blocking on anything that has taken its place.

    Raises:
        ArtifactError: it cannot be read, or is not a regular file.
    """
    try:
        descriptor = os.open(os.path.realpath(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}. Correct its mode, or exclude it") from error
    stream = os.fdopen(descriptor, "rb")
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        stream.close()
        raise ArtifactError(f"{path} is not a file: remove it, or exclude it")
    return stream


def code_id(source: Path, files: Iterable[Path], added: Mapping[str, str]) -> str:
    """Return the digest of the code: names, executable bits and contents, and nothing else.

    Args:
        source: the application's folder.
        files: the files to pack, relative to it.
        added: names and contents of additional files.
    """
    return digest(
        RECIPE,
        *(f"{file}:{_executable(source / file)}:{_sha256(source / file)}" for file in files),
        *(f"{name}\0{content}" for name, content in sorted(added.items())),
    )


def _sha256(path: Path) -> str:
    with opened(path) as stream:
        return hashed(stream)


def _executable(path: Path) -> bool:
    return bool(path.stat().st_mode & 0o100)


def pack_code(source: Path, files: Iterable[Path], added: Mapping[str, str], target: Path) -> int:
    """Write the code as a tar.gz whose bytes depend only on the code, and return its unpacked size in bytes.

    Args:
        source: the application's folder.
        files: the files to pack, relative to it.
        added: names and contents of additional files.
        target: the archive to write; it appears complete or not at all.
    """
    unpacked = 0
    with tempfile.TemporaryFile(dir=target.parent) as archive:
        with (
            gzip.GzipFile(fileobj=archive, mode="wb", mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w") as tar,
        ):
            for file in files:
                with opened(source / file) as stream:
                    size = os.fstat(stream.fileno()).st_size
                    unpacked += _add(tar, str(file), stream, size, executable=_executable(source / file))
            for name, text in sorted(added.items()):
                content = text.encode()
                unpacked += _add(tar, name, io.BytesIO(content), len(content), executable=False)
        archive.seek(0)
        write(target, archive)
    return unpacked


def _add(tar: tarfile.TarFile, name: str, content: IO[bytes], size: int, executable: bool) -> int:
    entry = tarfile.TarInfo(name)
    entry.size = size
    entry.mode = 0o755 if executable else 0o644
    tar.addfile(entry, content)
    return size


def write(target: Path, content: bytes | IO[bytes]) -> None:
    """Write a file of the cache; it appears complete or not at all."""
    # Several hosts are planned at once, each in its own process.
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
    """Return the first entry that has no exact version or no hash; None if the entries are a lock."""
    return next((entry for entry in entries if not (pin(entry) and "--hash=" in entry.text)), None)


def pin(entry: Requirement) -> str:
    """Return the exact version that an entry requires; empty if it requires none."""
    match = _REQUIREMENT.match(entry.text)
    return (match["pin"] or "").lstrip("= ") if match else ""


def shown(entry: Requirement) -> str:
    """Return an entry for display, without its hashes and without secrets in addresses."""
    return masked(entry.text.split(" --hash", 1)[0])


def rendered(entries: Iterable[Requirement]) -> str:
    """Return entries as a requirements file, each hash on a line of its own."""
    return "".join(entry.text.replace(" --hash", " \\\n    --hash") + "\n" for entry in entries)


def read_lock(path: Path, variable: str) -> list[Requirement]:
    """Read a lock, and check that every entry is pinned and hashed.

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
    try:
        entries = list(requirements(path.read_text()))
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{variable}={path} is not UTF-8 text (byte {error.start}): save it as UTF-8") from error
    if entry := loose(entries):
        raise ArtifactError(
            f"{variable}={path} is not a lock: {shown(entry)!r} has no exact version "
            "or no --hash. Create one with `pip-compile --generate-hashes` or "
            "`uv pip compile --generate-hashes`"
        )
    return entries


def server_entries(
    application: list[Requirement], server: list[Requirement]
) -> tuple[list[Requirement], list[Requirement], list[str]]:
    """Return the application's and the server's entries without duplicates, and what the operator should know.

    uWSGI, gevent and greenlet come from the server, which was tested with its own versions. For other packages that
    both have, the application's version is used.

    Args:
        application: the lock of the application.
        server: the lock of the server.
    """
    own = [entry for entry in application if _server_name(entry.name) not in {one.name for one in server} & SERVER]
    chosen = {entry.name for entry in own}
    rest = [entry for entry in server if entry.name not in chosen]
    return own, rest, replaced(application, server)


def replaced(application: Iterable[Requirement], server: Iterable[Requirement]) -> list[str]:
    """Return a sentence for each package for which an application requires another version than the server's.

    Args:
        application: what it requires.
        server: the lock of the server.
    """
    pins = {entry.name: pin(entry) for entry in server if entry.name in SERVER}
    found = []
    for entry in application:
        name = _server_name(entry.name)
        head = shown(entry).partition(";")[0].strip()
        if name in pins and head not in (name, f"{name}=={pins[name]}"):
            found.append(
                f"{name} {pins[name]} of artifact_server_lock is installed, although the requirements say {head}: "
                f"this service is tested only with {pins[name]}"
            )
    return list(dict.fromkeys(found))


def is_server(entry: Requirement) -> bool:
    """Return whether an entry belongs to the application server."""
    return _server_name(entry.name) in SERVER


def _server_name(name: str) -> str:
    # The same server under another name, which installs the same command.
    return "uwsgi" if name == "pyuwsgi" else name


def wheelhouse_id(entries: Iterable[Requirement], platform: str, *others: str) -> str:
    """Return the digest of a wheelhouse: what is installed, on which platform.

    Args:
        entries: all requirements, of the application, the server and the build tools.
        platform: distribution, architecture and Python, such as ``debian-12-x86_64-py3.11``.
        others: anything else that the wheels depend on.
    """
    return digest(RECIPE, platform, *sorted(entry.text for entry in entries), *others)


def record(archive: Path, inputs: str, **facts: Any) -> dict[str, Any]:
    """Write a record with an archive's checksum beside it, and return the record.

    Args:
        archive: the archive.
        inputs: the digest of everything it was made from; its name contains a part of it.
        facts: anything else that its users must know.
    """
    entry = {"file": archive.name, "sha256": sha256(archive), "inputs": inputs, **facts}
    write(archive.with_name(archive.name + ".json"), json.dumps(entry, indent=2).encode() + b"\n")
    return entry


def keep(fetched: Path, archive: Path, inputs: str, **facts: Any) -> dict[str, Any]:
    """Move an archive into the cache with its record, unless another run has just put the same one there.

    Two builds of the same inputs may differ in their bytes, and the first may already be in use.

    Args:
        fetched: the archive, in the cache's folder.
        archive: its final path.
        inputs: the digest of everything it was made from.
        facts: anything else that its users must know.

    Returns:
        the record of the archive that is now in place.
    """
    with archive.with_name(f".{archive.name}.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        try:
            there = recorded(archive, inputs)
        except ArtifactError:
            there = None
        if there:
            fetched.unlink()
            return there
        archive.with_name(archive.name + ".json").unlink(missing_ok=True)
        files.place(fetched, archive)
        return record(archive, inputs, **facts)


def recorded(archive: Path, inputs: str) -> dict[str, Any] | None:
    """Return an archive's record, or None if the archive is missing, incomplete, or made from something else.

    Args:
        archive: the archive.
        inputs: the digest of everything it must have been made from.

    Raises:
        ArtifactError: the archive is not the one that the record describes.
    """
    beside = archive.with_name(archive.name + ".json")
    if not (archive.is_file() and beside.is_file()):
        return None
    try:
        entry = json.loads(beside.read_text())
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict) or entry.get("inputs") != inputs:
        return None
    if sha256(archive) != entry.get("sha256"):
        raise ArtifactError(
            f"artifact {archive} is damaged: its SHA-256 is not the recorded {str(entry.get('sha256'))[:16]}…. "
            f"Nothing was shipped. Remove it (`rm {archive}*`) and deploy again: it is then rebuilt"
        )
    return entry
