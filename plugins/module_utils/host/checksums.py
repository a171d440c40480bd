"""Checksums of a generation's files, slow to compute for values that could be guessed."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from pathlib import Path

# Their values may be short, such as a PIN, and the checksum and the generation's id can be read by other accounts than
# root.
_GUESSABLE = re.compile(r"environment|files/.*", re.DOTALL)
_SLOW = "scrypt:"


# Ansible asks for the same one twice in one process.
@lru_cache(maxsize=64)
def slow(content: bytes, salt: str) -> str:
    """Return a hash that takes 50 ms and 16 MB on purpose: every attempt to guess the content costs that much."""
    return hashlib.scrypt(content, salt=salt.encode(), n=2**14, r=8, p=1, dklen=16).hex()


def checksum(name: str, content: str, app: str) -> str:
    """Return the checksum of a file that its manifest records.

    Args:
        name: the file's name, relative to the generation.
        content: the file's content.
        app: the application's name: the same values have different checksums in two applications.
    """
    if _GUESSABLE.fullmatch(name):
        return _SLOW + slow(content.encode(), f"{app} {name}")
    return hashlib.sha256(content.encode()).hexdigest()


def identity(name: str, content: str, app: str) -> str:
    """Return what a file contributes to the id of its generation."""
    return checksum(name, content, app) if _GUESSABLE.fullmatch(name) else content


def matches(recorded: str, name: str, file: Path, app: str) -> bool:
    """Return whether a file matches its manifest, which before version 0.2.0 held only SHA-256.

    Args:
        recorded: the checksum in the manifest.
        name: the file's name, relative to the generation.
        file: the file.
        app: the application's name.
    """
    try:
        content = file.read_bytes()
    except OSError:
        return False
    if recorded.startswith(_SLOW):
        return recorded == _SLOW + slow(content, f"{app} {name}")
    return recorded == hashlib.sha256(content).hexdigest()
