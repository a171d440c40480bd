"""The secrets of a generation on its host: files that only root can read, which systemd passes to the service.

They are encrypted with the host's own key if the host can. That depends on the host, and the result of encryption is
different each time, so nothing here is part of a generation's name. ::

    credentials/NAME         the value, possibly encrypted
    credentials.json         whether they are encrypted, and the checksum of each
    units/credentials.conf   lists them for systemd
"""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..host import files
from .artifact import sha256

FOLDER = "credentials"
RECORD = "credentials.json"
UNIT = "units/credentials.conf"


class UnableError(Exception):
    """The host cannot encrypt, or cannot decrypt what it encrypted."""


@dataclass(frozen=True)
class _Record:
    """How the secrets of a generation are stored.

    Args:
        encrypted: whether they are encrypted.
        checksums: the SHA-256 of each file, by name.
    """

    encrypted: bool
    checksums: Mapping[str, Any]


def write(generation: Path, secrets: Mapping[str, str]) -> str:
    """Write the secrets of a generation, either all encrypted or none.

    Args:
        generation: the generation's directory.
        secrets: name to value.

    Returns:
        why they are not encrypted; an empty string if they are.
    """
    folder = generation / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    contents, why = {name: value.encode() for name, value in secrets.items()}, ""
    try:
        contents = {name: _encrypted(name, value) for name, value in contents.items()}
    except UnableError as error:
        why = str(error)
    for name, content in contents.items():
        files.write(folder / name, content, 0o600)
    files.write(generation / UNIT, _unit(generation, secrets, encrypted=not why), 0o644)
    checksums = {name: sha256(folder / name) for name in secrets}
    files.write(generation / RECORD, json.dumps(asdict(_Record(not why, checksums))), 0o600)
    return why


def encrypted(generation: Path) -> bool | None:
    """Return whether the secrets of a generation are encrypted; None if there are none."""
    record = _record(generation)
    return record.encrypted if record else None


def spoiled(generation: Path, names: Collection[str]) -> list[str]:
    """Return the files that have changed since they were written, relative to the generation's directory.

    Args:
        generation: the generation's directory.
        names: the secrets that its manifest names.
    """
    if not names:
        return []
    record = _record(generation)
    if not record:
        return [RECORD]
    found = [f"{FOLDER}/{name}" for name in sorted(names) if not _whole(generation / FOLDER / name, record)]
    unit = generation / UNIT
    if not unit.is_file() or unit.read_bytes() != _unit(generation, names, encrypted=record.encrypted).encode():
        found.append(UNIT)
    return found


def stale(generation: Path, secrets: Mapping[str, str]) -> list[str]:
    """Return the files that :func:`spoiled` finds, and those that do not contain the expected value.

    A host that has lost its key cannot read what it encrypted, which would only show at the next start.
    """
    found = spoiled(generation, secrets)
    if RECORD in found:
        return found
    return sorted({*found, *(f"{FOLDER}/{name}" for name in secrets if _value(generation, name) != secrets[name])})


def hide(generation: Path, names: Collection[str], lines: Iterable[str]) -> list[str]:
    """Return lines of an application's log with its secrets masked.

    Args:
        generation: the generation's directory.
        names: the secrets that its manifest names.
        lines: what it logged; a secret of several lines is several lines here as well.
    """
    blot = blotter(generation, names)
    return [blot(line) for line in lines]


def blotter(generation: Path, names: Collection[str]) -> Callable[[str], str]:
    """Return a function that masks the secrets of a generation in a text; see :func:`hide`."""
    values = [_value(generation, name) or "" for name in names]
    # Masking a shorter one would mask unrelated text as well.
    parts = sorted({part for value in values for part in value.splitlines() if len(part) > 3}, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, parts)) or r"(?!)")
    return lambda text: pattern.sub("********", text)


def _value(generation: Path, name: str) -> str | None:
    try:
        content = (generation / FOLDER / name).read_bytes()
        return (_creds("decrypt", name, content) if encrypted(generation) else content).decode()
    except (OSError, UnableError, UnicodeDecodeError):
        return None


def _record(generation: Path) -> _Record | None:
    try:
        document = files.read_object(generation / RECORD)
    except files.DamagedError:
        return None
    encrypted, checksums = document.get("encrypted"), document.get("checksums")
    return _Record(encrypted, checksums) if isinstance(encrypted, bool) and isinstance(checksums, dict) else None


def _whole(path: Path, record: _Record) -> bool:
    if not path.is_file() or path.is_symlink():
        return False
    status = path.stat()
    closed = (status.st_uid, stat.S_IMODE(status.st_mode)) == (os.geteuid(), 0o600)
    return closed and sha256(path) == record.checksums.get(path.name)


def _unit(generation: Path, names: Collection[str], *, encrypted: bool) -> str:
    directive = "LoadCredentialEncrypted" if encrypted else "LoadCredential"
    lines = (f"{directive}={name}:{generation / FOLDER / name}\n" for name in sorted(names))
    return "".join(
        ("# Written by Ansible: the secrets of this generation, as this host keeps them.\n[Service]\n", *lines)
    )


def _encrypted(name: str, value: bytes) -> bytes:
    content = _creds("encrypt", name, value)
    if _creds("decrypt", name, content) != value:
        raise UnableError("systemd-creds does not decrypt what it encrypted")
    return content


def _creds(verb: str, name: str, content: bytes) -> bytes:
    # Not bound to the state of the firmware: an update of it would prevent the service from starting.
    options = ["--tpm2-pcrs="] if verb == "encrypt" else []
    try:
        done = subprocess.run(
            ["systemd-creds", verb, *options, f"--name={name}", "-", "-"],
            input=content, capture_output=True, timeout=60, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnableError(f"systemd-creds cannot be run: {error}") from error
    if done.returncode:
        raise UnableError(" ".join(done.stderr.decode(errors="replace").split()) or f"systemd-creds {verb} failed")
    return done.stdout
