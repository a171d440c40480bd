"""Compares a wheelhouse with the locks that it was built from. It reads the wheels without running them."""

from __future__ import annotations

import base64
import binascii
import configparser
import csv
import email
import hashlib
import io
import re
import stat
import tarfile
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from ...module_utils.release.artifact import (
    DEEPEST,
    MARKER,
    ArtifactError,
    Requirement,
    pin,
    plain,
    quoted,
    sha256,
)
from .markers import applies
from .pyproject import UNNAMED

# Maximum total bytes of a wheel's files, and of those that are read at once.
_MOST = 16 << 30
_MOST_TEXT = 64 << 20
_CHUNK = 1 << 20
_HASHES = ("sha256", "sha384", "sha512")
_HASH = re.compile(r"--hash=(?P<algorithm>\w+):(?P<value>[0-9a-fA-F]+)")
# What a virtual environment has in bin, including the server's command.
_OWNED = re.compile(r"(?P<owner>python|pip|uwsgi)(\d+(\.\d+)*)?t?|activate(\.\w+)?|deactivate|Activate\.ps1")
# The two ways for several distributions to share a package
# (https://packaging.python.org/en/latest/guides/packaging-namespace-packages/).
_NAMESPACE = re.compile(rb"extend_path|declare_namespace")
# What a command runs (https://packaging.python.org/en/latest/specifications/entry-points/).
_FUNCTION = re.compile(r"\s*[\w.]+\s*:\s*[\w.]+\s*(\[.*\]\s*)?")
_IMPORTED = (".py", ".pyc", ".so", ".pth")
_SHOWN = 20


@dataclass
class Wheel:
    """A wheel of the wheelhouse.

    Args:
        file: its name.
        name: its distribution's normalised name.
        version: its version.
        repaired: whether its tags say that it was built for machines other than the one that built it.
        hashes: its digests by algorithm.
        installs: what it installs, relative to the virtual environment, each with a value to compare it by.
    """

    file: str
    name: str
    version: Version
    repaired: bool
    hashes: dict[str, str]
    installs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Wanted:
    """An entry of a lock; it is optional if only the host knows whether its marker applies."""

    requirement: Requirement
    optional: bool

    @property
    def text(self) -> str:
        return f"{self.requirement.name}=={pin(self.requirement)}"

    def matches(self, wheel: Wheel) -> bool:
        if self.requirement.name != wheel.name:
            return False
        try:
            return SpecifierSet(f"=={pin(self.requirement)}").contains(wheel.version, prereleases=True)
        except InvalidSpecifier:
            return pin(self.requirement) == str(wheel.version)

    def has(self, hashes: Mapping[str, str]) -> bool:
        locked = {(found["algorithm"], found["value"].lower()) for found in _HASH.finditer(self.requirement.text)}
        return not locked.isdisjoint(hashes.items())


@dataclass(frozen=True)
class _Own:
    """The distribution, or the archive of the project, that is installed in addition to the locks."""

    path: Path
    project: str

    def __str__(self) -> str:
        return "flask_uwsgi_source" if self.project else self.path.name

    def has(self, wheel: Wheel) -> bool:
        """Return whether a wheel is it, or may have been built from it, as far as its name shows."""
        if self.project:
            return self.project in (wheel.name, UNNAMED)
        if self.path.suffix == ".whl":
            return wheel.file == self.path.name
        try:
            return str(parse_sdist_filename(self.path.name)[0]) == wheel.name
        except (InvalidSdistFilename, InvalidVersion):
            return True


def examine(
    archive: Path,
    entries: Iterable[Requirement],
    build: Iterable[Requirement],
    platform: str,
    distribution: Path | None = None,
    built: Mapping[str, str] | None = None,
    project: str = "",
) -> dict[str, Any]:
    """Return a wheelhouse's content, for its record.

    Args:
        archive: the wheelhouse, a tar of wheels.
        entries: the installed packages: the locks of the application and of the server.
        build: the lock of the build tools, whose ``installer`` installs them on the hosts.
        platform: distribution, architecture and Python, such as ``debian-12-x86_64-py3.11``.
        distribution: the wheel or sdist on the controller that is also installed.
        built: the wheels that were built from an sdist, each with the SHA-256 of that sdist. Without it, every wheel
            without a locked hash and without a tag of a repaired wheel counts as built (manylinux, musllinux).
        project: the name of the project if ``distribution`` is the archive of its folder; ``UNNAMED`` if
            only its build can determine the name.

    Returns:
        ``wheels`` (file to SHA-256), ``installs`` (those that are installed), ``installer`` (the file that installs
        them) and ``unpacked`` (bytes).

    Raises:
        ArtifactError: it does not match the locks, or a wheel is not safe to install. The message lists all problems.
    """
    problems: list[str] = []
    python = platform.rpartition("-py")[2]
    try:
        wheels, unpacked = _read(archive, python, problems)
    except tarfile.TarError as error:
        raise ArtifactError(f"{archive.name} is not a tar archive: {error}") from error
    wanted = list(_wanted(entries, platform))
    own = _Own(distribution, project) if distribution else None
    installer = _installer(wheels, build, problems)
    # The application may have it among its own.
    installed = [wheel for wheel in wheels if wheel is not installer or any(one.matches(wheel) for one in wanted)]
    for wheel in installed:
        problems += _strangers(wheel, wanted, own, built)
    problems += _counts(installed, wanted, own)
    problems += _collisions(installed)
    _insist(problems)
    return {
        "unpacked": unpacked,
        "installer": installer.file if installer else "",
        "installs": sorted(wheel.file for wheel in installed),
        "wheels": {wheel.file: wheel.hashes["sha256"] for wheel in wheels},
    }


def examine_wheel(path: Path, platform: str) -> None:
    """Check that a wheel on the controller is safe to install, before anything is built for it.

    Args:
        path: the wheel's path.
        platform: as for ``examine``.

    Raises:
        ArtifactError: it is not. The message lists all problems.
    """
    problems: list[str] = []
    with path.open("rb") as content:
        _wheel(path.name, content, platform.rpartition("-py")[2], problems)
    _insist(problems)


def _insist(problems: list[str]) -> None:
    """Raise the problems that were found, if any."""
    if problems:
        more = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise ArtifactError("\n".join(f"  - {problem}" for problem in [*problems[:_SHOWN], *more]))


def _read(archive: Path, python: str, problems: list[str]) -> tuple[list[Wheel], int]:
    wheels, unpacked = [], 0
    with tarfile.open(archive, "r:") as tar:
        for member in tar:
            if member.isdir() and not PurePosixPath(member.name).name:
                continue
            file = PurePosixPath(member.name).name
            content = tar.extractfile(member) if member.isreg() else None
            if content is None or str(PurePosixPath(member.name)) != file or not file.endswith(".whl"):
                problems.append(f"{quoted(member.name)} is not a wheel")
                continue
            unpacked += member.size
            if wheel := _wheel(file, content, python, problems):
                wheels.append(wheel)
    return wheels, unpacked


def _wheel(file: str, content: IO[bytes], python: str, problems: list[str]) -> Wheel | None:
    """Return a wheel, or None if its name is not that of a wheel; record what is wrong with it."""
    try:
        name, version, _, tags = parse_wheel_filename(file)
    except (InvalidWheelFilename, InvalidVersion) as error:
        problems.append(f"{quoted(file)} does not have the name of a wheel: {error}")
        return None
    repaired = any("linux" in tag.platform and not tag.platform.startswith("linux_") for tag in tags)
    wheel = Wheel(file, str(name), version, repaired, _hashes(content))
    content.seek(0)
    try:
        problems += (f"{file} {problem}" for problem in _content(content, wheel, python))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        problems.append(f"{file} cannot be read: {error}")
    return wheel


def _hashes(stream: IO[bytes]) -> dict[str, str]:
    found = {name: hashlib.new(name) for name in _HASHES}
    while chunk := stream.read(_CHUNK):
        for one in found.values():
            one.update(chunk)
    return {name: one.hexdigest() for name, one in found.items()}


def _content(stream: IO[bytes], wheel: Wheel, python: str) -> Iterator[str]:
    """Yield what is wrong with a wheel's content; record what it installs.

    Its layout is https://packaging.python.org/en/latest/specifications/binary-distribution-format/.
    """
    with zipfile.ZipFile(stream) as archive:
        entries = archive.infolist()
        if sum(entry.file_size for entry in entries) > _MOST:
            yield f"unpacks to more than {_MOST >> 30} GiB"
            return
        names = [entry.filename for entry in entries]
        if bad := [name for name in names if not _inside(name)]:
            yield f"holds {quoted(bad[0])}, which leads out of its folder or is not a valid file name"
            return
        if deep := [name for name in names if name.count("/") > DEEPEST]:
            yield f"holds {quoted(deep[0])}, which is nested more than {DEEPEST} folders deep"
            return
        if several := [name for name, count in Counter(names).items() if count > 1]:
            yield f"holds {quoted(several[0])} twice"
            return
        folders = {name.partition("/")[0] for name in names if name.partition("/")[0].endswith(".dist-info")}
        info = next(iter(folders), "")
        if len(folders) != 1 or canonicalize_name(info.removesuffix(".dist-info").rpartition("-")[0]) != wheel.name:
            yield f"does not have exactly its own .dist-info (there are: {', '.join(sorted(folders)) or 'none'})"
            return
        if len(data := {name.partition("/")[0] for name in names if name.partition("/")[0].endswith(".data")}) > 1:
            yield f"has several .data folders: {', '.join(sorted(data))}"
            return
        texts = {}
        for name in ("RECORD", "METADATA", "WHEEL", "entry_points.txt"):
            if f"{info}/{name}" in names:
                entry = archive.getinfo(f"{info}/{name}")
                if entry.file_size > _MOST_TEXT:
                    yield f"has a {name} of {entry.file_size} bytes"
                    return
                texts[name] = archive.read(entry).decode(errors="replace")
        yield from _metadata(texts.get("METADATA", ""), wheel)
        if not str(email.message_from_string(texts.get("WHEEL", ""))["Wheel-Version"] or "").startswith("1."):
            yield "has no file WHEEL of version 1"
        rows = list(csv.reader(io.StringIO(texts.get("RECORD", ""))))
        if (bad_row := next((row for row in rows if len(row) != 3), None)) is not None:
            yield f"has a line in its RECORD that is not a path, a hash and a size: {quoted(','.join(bad_row))}"
        listed = {row[0]: row[1] for row in rows if len(row) > 1}
        for entry in entries:
            if entry.is_dir():
                continue
            if stat.S_ISLNK(entry.external_attr >> 16):
                yield f"holds {quoted(entry.filename)}, a link"
                continue
            yield from _file(archive, entry, wheel, info, listed, python)
        yield from _commands(texts.get("entry_points.txt", ""), wheel)
    yield from (
        f"installs {quoted(path)}, which belongs to the virtual environment or the server: root and the service would "
        "run or read that instead"
        for path in wheel.installs
        if path in ("pyvenv.cfg", MARKER)
        or (
            (found := _OWNED.fullmatch(path.removeprefix("bin/")))
            and path.startswith("bin/")
            and not (found["owner"] in ("pip", "uwsgi") and found["owner"] == wheel.name)
        )
    )


def _inside(name: str) -> bool:
    parts = name.removesuffix("/").split("/")
    return plain(name) and "\\" not in name and not {"", ".", ".."} & set(parts)


def _metadata(text: str, wheel: Wheel) -> Iterator[str]:
    head = email.message_from_string(text.partition("\n\n")[0])
    name, version = str(head["Name"] or ""), str(head["Version"] or "")
    try:
        same = canonicalize_name(name.strip()) == wheel.name and Version(version) == wheel.version
    except InvalidVersion:
        same = False
    if not same:
        yield f"says that it is {name[:80]!r} {version[:80]!r}"


def _file(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, wheel: Wheel, info: str, listed: Mapping[str, str], python: str
) -> Iterator[str]:
    name = entry.filename
    digest, shared = hashlib.sha256(), False
    algorithm, _, expected = listed.get(name, "").partition("=")
    again = hashlib.new(algorithm) if algorithm in _HASHES else None
    with archive.open(entry) as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
            if again:
                again.update(chunk)
            shared = shared or (name.endswith("__init__.py") and bool(_NAMESPACE.search(chunk)))
    if name not in (f"{info}/RECORD", f"{info}/RECORD.jws", f"{info}/RECORD.p7s"):
        if name not in listed:
            yield f"holds {quoted(name)}, which its RECORD does not list"
        elif again and again.digest() != _decoded(expected):
            yield f"holds {quoted(name)}, which does not match its RECORD"
    top, _, rest = name.partition("/")
    site = f"lib/python{python}/site-packages"
    if top.endswith(".data"):
        scheme, _, rest = rest.partition("/")
        headers = f"include/site/python{python}/{wheel.name}"
        folders = {"purelib": site, "platlib": site, "scripts": "bin", "data": "", "headers": headers}
        if scheme not in folders or not rest:
            yield f"holds {quoted(name)}, which is installed nowhere"
            return
        path = str(PurePosixPath(folders[scheme], rest))
    else:
        path = f"{site}/{name}"
    # In an environment, lib64 is a link to lib.
    path = re.sub(r"^lib64/", "lib/", path)
    wheel.installs[path] = "a namespace" if shared else digest.hexdigest()


def _decoded(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (ValueError, binascii.Error):
        return b""


def _commands(text: str, wheel: Wheel) -> Iterator[str]:
    """Record the commands that are created from a wheel's entry points.

    They are described in https://packaging.python.org/en/latest/specifications/entry-points/.
    """
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(text)
    except configparser.Error as error:
        yield f"has entry points that cannot be read: {str(error).splitlines()[0]}"
        return
    for section in ("console_scripts", "gui_scripts"):
        for name, value in parser.items(section) if parser.has_section(section) else ():
            if not _inside(name) or "/" in name:
                yield f"has the command {quoted(name)}, which is not a valid file name"
            elif not _FUNCTION.fullmatch(value):
                yield f"has the command {quoted(name)}, which runs no function (module:function): {quoted(value)}"
            else:
                wheel.installs[f"bin/{name}"] = f"{section} {value}"


def _wanted(entries: Iterable[Requirement], platform: str) -> Iterator[_Wanted]:
    for entry in entries:
        needed = applies(entry, platform)
        if needed is not False:
            yield _Wanted(entry, optional=needed is None)


def _installer(wheels: Iterable[Wheel], build: Iterable[Requirement], problems: list[str]) -> Wheel | None:
    """Return the wheel in the lock of the build tools that root runs on the hosts to install the others."""
    locked = [_Wanted(entry, optional=False) for entry in build if entry.name == "installer"]
    if found := [wheel for wheel in wheels for one in locked if one.matches(wheel) and one.has(wheel.hashes)]:
        return found[0]
    named = f"{locked[0].text} of artifact_build_lock" if locked else "installer, which is not in artifact_build_lock"
    problems.append(f"there is no wheel of {named} with one of the hashes of that lock")
    return None


def _strangers(
    wheel: Wheel,
    wanted: Iterable[_Wanted],
    own: _Own | None,
    built: Mapping[str, str] | None,
) -> Iterator[str]:
    """Yield what is wrong with the origin of a wheel."""
    entries = [one for one in wanted if one.matches(wheel)]
    if not entries and own is not None and own.has(wheel):
        if own.path.suffix == ".whl" and wheel.hashes["sha256"] != sha256(own.path):
            yield f"{wheel.file} is not the file that flask_uwsgi_source names"
        return
    if not entries:
        locked = [one.text for one in wanted if one.requirement.name == wheel.name]
        yield f"{wheel.file} is not in the lock" + (f", which has {', '.join(locked)}" if locked else "")
    elif not any(one.has(wheel.hashes) for one in entries):
        sdist = (built or {}).get(wheel.file)
        if wheel.repaired or (built is not None and sdist is None):
            yield f"{wheel.file} has none of the hashes that the lock has for {entries[0].text}"
        elif sdist and not any(one.has({"sha256": sdist}) for one in entries):
            yield f"{wheel.file} was built from a file with none of the hashes of the lock for {entries[0].text}"


def _counts(wheels: list[Wheel], wanted: Iterable[_Wanted], own: _Own | None) -> Iterator[str]:
    """Yield the entries that have no wheel, or more than one."""
    entries = list(wanted)
    for one in entries:
        files = [wheel.file for wheel in wheels if one.matches(wheel)]
        if len(files) > 1:
            yield f"{one.text} has {len(files)} wheels: {', '.join(files)}"
        elif not files and not one.optional:
            yield f"{one.text} of the lock has no wheel"
    if own is not None:
        files = [wheel.file for wheel in wheels if own.has(wheel) and not any(one.matches(wheel) for one in entries)]
        if len(files) != 1:
            yield f"{own} has {len(files)} wheels, not one"


def _collisions(wheels: Iterable[Wheel]) -> Iterator[str]:
    """Yield the files that two wheels install, unless both install the same."""
    owners: dict[str, list[Wheel]] = defaultdict(list)
    for wheel in wheels:
        for path in wheel.installs:
            owners[path].append(wheel)
    for path, several in owners.items():
        harmless = path.count("/") == 3 and path.startswith("lib/") and not path.endswith(_IMPORTED)
        if len({wheel.installs[path] for wheel in several}) > 1 and not harmless:
            yield f"{' and '.join(wheel.file for wheel in several)} both install {quoted(path)}"
        for parent in map(str, PurePosixPath(path).parents):
            if parent in owners:
                yield f"{owners[parent][0].file} installs {quoted(parent)} as a file, {several[0].file} as a folder"
