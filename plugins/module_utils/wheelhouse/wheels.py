"""Builds a wheelhouse on a build host: fetches by hash, builds each sdist separately, and collects the wheels.

Root compares and moves files; everything that reads them as code runs in its own :class:`Sandbox`, so that no package's
build can change another's wheel.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ..host.distributions import normalised
from ..release.artifact import hashed, requirements, sha256
from .sandbox import Sandbox, StepError, members

_WHEEL = re.compile(r"(?P<name>[A-Za-z0-9._]+)-(?P<version>[A-Za-z0-9.!+_]+)(-\d\w*)?-[\w.]+-[\w.]+-[\w.]+\.whl")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*")
_ENTRY = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*)\s*(\[[^]]*\])?\s*===?\s*(?P<version>[^\s;]+)\s*(;(?P<marker>.*))?")
_ALGORITHMS = ("sha256", "sha384", "sha512")
# Spellings of a version that PEP 440 allows, and the usual ones.
_SPELLINGS = (
    (r"[-_.]?(alpha|a)[-_.]?(\d*)", r"a\2"), (r"[-_.]?(beta|b)[-_.]?(\d*)", r"b\2"),
    (r"[-_.]?(preview|pre|rc|c)[-_.]?(\d*)", r"rc\2"), (r"[-_.]?(post|rev|r)[-_.]?(\d+)", r".post\2"),
    (r"[-_.]?dev[-_.]?(\d*)", r".dev\1"),
)  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One entry of a lock: what it requires, for which platforms, and its hashes by algorithm."""

    name: str
    version: str
    marker: str
    hashes: Mapping[str, list[str]]

    def __str__(self) -> str:
        """Return it as pip writes it; a project whose version only its build knows, by name alone."""
        return f"{self.name}=={self.version}" if self.version else self.name


@dataclass(frozen=True)
class File:
    """A file that belongs to an entry."""

    entry: Entry
    path: Path

    @property
    def is_wheel(self) -> bool:
        """Whether it needs no build."""
        return self.path.suffix == ".whl"


@dataclass(frozen=True)
class Wheel:
    """A wheel of the wheelhouse, and the SHA-256 of the file that it was built from; empty if it was fetched."""

    file: str
    sha256: str
    built_from: str


def entries(text: str) -> list[Entry]:
    """Return the entries of a lock.

    Raises:
        ValueError: one is not a pin with a hash.
    """
    found = []
    for requirement in requirements(text):
        head, *options = re.split(r"\s+--", requirement.text)
        entry = _ENTRY.fullmatch(head.strip())
        pairs = [option.removeprefix("hash=").partition(":") for option in options if option.startswith("hash=")]
        hashes = {name: [value.strip() for other, _, value in pairs if other == name] for name in _ALGORITHMS}
        hashes = {name: values for name, values in hashes.items() if values}
        if not entry or not hashes:
            raise ValueError(f"{head.strip()!r} has no exact version or no hash")
        found.append(Entry(normalised(entry["name"]), entry["version"], (entry["marker"] or "").strip(), hashes))
    return found


def fetch(sandbox: Sandbox, wanted: list[Entry], limit: int = 4096) -> list[File]:
    """Download a file for each entry that applies to this host, and compare each with the lock's hashes.

    Args:
        sandbox: where to run what accesses the registry.
        wanted: the entries.
        limit: maximum number of files.

    Raises:
        StepError: a file cannot be downloaded, or is not the one in the lock.
    """
    listed = sandbox.work / "entries.json"
    listed.write_text(json.dumps([asdict(entry) for entry in wanted]))
    archive = sandbox.run("the lock", "fetch", given={"entries.json": listed}, network=True)
    found: dict[int, File] = {}
    for number, path in contents(archive, limit, "the lock", sandbox.work / "files"):
        entry = wanted[int(number)] if number.isdecimal() and int(number) < len(wanted) else None
        if entry is None or int(number) in found:
            raise StepError("the lock", "failed", f"ERROR: {number}/{path.name} is unexpected")
        if not any(_digest(algorithm, path) in values for algorithm, values in entry.hashes.items()):
            expected = ", ".join(values[0] for values in entry.hashes.values())
            raise StepError(
                str(entry), "hash",
                f"ERROR: THESE PACKAGES DO NOT MATCH THE HASHES: {entry} is {_digest('sha256', path)}, not {expected}",
            )  # fmt: skip
        found[int(number)] = File(entry, path)
        if found[int(number)].is_wheel:
            _insist_on_name(entry.name, entry.version, path.name)
    archive.unlink()
    return [found[number] for number in sorted(found)]


def tools(sandbox: Sandbox, files: Iterable[File]) -> Path:
    """Create the virtual environment of the build tools, owned by root and read-only for builds.

    Args:
        sandbox: where to run the installation.
        files: the tools' wheels.

    Raises:
        StepError: it cannot be created.
    """
    wheels = sandbox.work / "wheels"
    wheels.mkdir()
    for file in files:
        if not file.is_wheel:
            raise StepError(
                str(file.entry), "failed", f"ERROR: artifact_build_lock has {file.entry}, which has no wheel"
            )
        shutil.copy(file.path, wheels)
    archive = sandbox.run("artifact_build_lock", "tools", given={"wheels": wheels})
    folder = sandbox.work / "tools"
    try:
        for member, tar in members(archive, 100_000):
            _unpack(member, tar, folder)
    except (ValueError, OSError) as error:
        raise StepError("artifact_build_lock", "failed", f"ERROR: its environment cannot be kept: {error}") from error
    archive.unlink()
    return folder


def _unpack(member: tarfile.TarInfo, tar: tarfile.TarFile, folder: Path) -> None:
    """Unpack a member, owned by root; parents come first, and none of them is ever a link."""
    path = folder / member.name
    if ".." in path.parts or member.name.startswith("/") or any(parent.is_symlink() for parent in path.parents):
        raise ValueError(f"{member.name} leads out of its folder")
    if member.isdir():
        path.mkdir(exist_ok=True)
    elif member.isreg() and (stream := tar.extractfile(member)):
        with path.open("xb") as target:
            shutil.copyfileobj(stream, target)
    elif member.issym():
        # Only its name is kept; it is followed in the sandbox, if at all.
        path.symlink_to(member.linkname)
        return
    else:
        raise ValueError(f"{member.name} is neither file, folder nor link")
    path.chmod(0o755 if member.mode & 0o100 else 0o644)


def build(sandbox: Sandbox, file: File, tools: Path, patches: Mapping[str, str]) -> Path:
    """Build the one wheel of an sdist or of a folder's archive, and return its path.

    Args:
        sandbox: where to run the build, without network.
        file: the sdist, whose hash has been checked.
        tools: the environment of the build tools.
        patches: names to contents, applied in the order of the names.

    Raises:
        StepError: it cannot be built, or the result is not its wheel.
    """
    subject = str(file.entry)
    # The build's account reads a copy; only root can read what was shipped.
    given = {"sdist": sandbox.work / "sdist" / subject}
    given["sdist"].mkdir(parents=True)
    shutil.copyfile(file.path, given["sdist"] / file.path.name)
    if patches:
        given["patches"] = sandbox.work / "patches" / subject
        given["patches"].mkdir(parents=True)
        for name, text in patches.items():
            (given["patches"] / name).write_text(text)
    # An sdist records its version.
    words = () if file.entry.version else ("unversioned",)
    archive = sandbox.run(subject, "wheel", file.path.name, *words, given=given, tools=tools)
    built = list(contents(archive, 2, subject, sandbox.work / "built" / subject))
    if len(built) != 1 or built[0][0] != ".":
        raise StepError(subject, "output", f"ERROR: its build left {len(built)} files instead of one wheel")
    target = built[0][1]
    if not _WHEEL.fullmatch(target.name):
        raise StepError(subject, "output", f"ERROR: its build left {target.name}, which is not a wheel")
    # For a project whose version only its build knows, the controller compares the name.
    if file.entry.version:
        _insist_on_name(file.entry.name, file.entry.version, target.name)
    archive.unlink()
    return target


def collect(wheels: Iterable[tuple[Path, str]], target: Path) -> list[Wheel]:
    """Write the wheels into one tar whose bytes depend only on them, and return its content.

    Args:
        wheels: the path of each, and the SHA-256 of the file that it was built from; empty if it was fetched.
        target: the archive. Only the owner of its directory may read it.

    Raises:
        StepError: two have the same name.
    """
    found: dict[str, Wheel] = {}
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o400)
    with os.fdopen(descriptor, "wb") as output, tarfile.open(fileobj=output, mode="w") as tar:
        os.fchown(descriptor, target.parent.stat().st_uid, -1)
        for path, built_from in sorted(wheels, key=lambda wheel: wheel[0].name):
            if path.name in found:
                raise StepError(path.name, "output", f"ERROR: two packages have the wheel {path.name}")
            found[path.name] = Wheel(path.name, sha256(path), built_from)
            member = tarfile.TarInfo(path.name)
            member.size = path.stat().st_size
            member.mode = 0o644
            with path.open("rb") as stream:
                tar.addfile(member, stream)
    return list(found.values())


def itself(path: Path, project: str = "") -> Entry:
    """Return a distribution of the application's own as an entry; its file name contains name and version.

    Args:
        path: the distribution.
        project: the name of the project if it is the archive of a folder, whose version only its build knows.

    Raises:
        StepError: the name does not contain them.
    """
    if project:
        return Entry(project, "", "", {"sha256": [sha256(path)]})
    stem = re.sub(r"(\.tar\.\w+|\.tgz|\.zip)$", "", path.name)
    wheel = _WHEEL.fullmatch(path.name)
    name, _, version = (wheel["name"], "", wheel["version"]) if wheel else stem.rpartition("-")
    if not name or not re.match(r"v?\d", version):
        raise StepError(path.name, "output", f"ERROR: {path.name} is not named NAME-VERSION, as an sdist is (PEP 625)")
    return Entry(normalised(name), version, "", {"sha256": [sha256(path)]})


def contents(archive: Path, most: int, subject: str, target: Path) -> Iterable[tuple[str, Path]]:
    """Write each file of a unit's tar into its own folder; yield the tar's folder, and the file.

    Args:
        archive: the tar.
        most: maximum number of files.
        subject: its subject, for messages.
        target: the folder to create.

    Raises:
        StepError: it has more, or anything but files.
    """
    try:
        for number, (member, tar) in enumerate(members(archive, most * 2 + 1)):
            path = Path(os.path.normpath(member.name))
            if member.isdir():
                continue
            if not member.isreg() or len(path.parts) > 2 or not _FILE.fullmatch(path.name):
                raise ValueError(f"{member.name!r} is not a plain file")
            written = target / str(number) / path.name
            written.parent.mkdir(parents=True)
            with written.open("xb") as stream:
                shutil.copyfileobj(tar.extractfile(member) or io.BytesIO(), stream)
            yield str(path.parent), written
    except (ValueError, tarfile.ReadError) as error:
        raise StepError(subject, "output", f"ERROR: its result cannot be read: {error}") from error


def _digest(algorithm: str, path: Path) -> str:
    with path.open("rb") as stream:
        return hashed(stream, algorithm)


def _insist_on_name(name: str, version: str, file: str) -> None:
    wheel = _WHEEL.fullmatch(file)
    found = (normalised(wheel["name"]), spelled(wheel["version"])) if wheel else None
    if found != (name, spelled(version)):
        raise StepError(f"{name}=={version}", "output", f"ERROR: {file} is not the wheel of {name}=={version}")


def spelled(version: str) -> str:
    """Return a version in its normal form (PEP 440) for comparison, without trailing zeros."""
    public, _, local = version.lower().strip().removeprefix("v").partition("+")
    for pattern, usual in _SPELLINGS:
        public = re.sub(pattern, usual, public)
    release = re.match(r"(?:\d+!)?\d+(?:\.\d+)*", public)
    end = release.end() if release else 0
    return re.sub(r"(\.0)+$", "", public[:end]) + public[end:] + "+" + re.sub(r"[-_]", ".", local)
