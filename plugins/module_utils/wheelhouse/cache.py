"""Keeps the wheels that a build host has built, so that another wheelhouse need not build the same package again.

Only root reads or writes it. A wheel's key covers everything that its build could see, so no other build and no change
of the host can lead to a different wheel.
"""

from __future__ import annotations

import fcntl
import inspect
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ..host import files, packages
from ..release.artifact import digest, sha256
from . import inside

ROOT = Path("/var/cache/flaskops-build")
# The number of wheels to keep, most recently used first.
_KEPT = 50


def key(sdist: Path, patches: Mapping[str, str], tools: Iterable[Path], python: Iterable[str] = ()) -> str:
    """Return the key of a wheel.

    Args:
        sdist: the source of the build.
        patches: the patches applied to it, names to contents.
        tools: the wheels of the build tools.
        python: what distinguishes the interpreter that it is built for, if that is not this one.
    """
    return digest(
        sha256(sdist),
        json.dumps(patches, sort_keys=True),
        *sorted(sha256(tool) for tool in tools),
        sys.version,
        *python,
        # A build can use any package of the host.
        packages.fingerprint(),
        inspect.getsource(inside),
    )


def find(name: str) -> Path | None:
    """Return the wheel of a key, or None if it was never built here."""
    with _locked():
        found = next((ROOT / name).glob("[!.]*.whl"), None)
        if found:
            os.utime(found.parent)
    return found


def keep(name: str, wheel: Path) -> None:
    """Keep a wheel under its key, and remove the least recently used ones."""
    with _locked(), wheel.open("rb") as content:
        folder = ROOT / name
        folder.mkdir(mode=0o700, exist_ok=True)
        files.write(folder / wheel.name, content, 0o600)
        for old in sorted(ROOT.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)[_KEPT:]:
            for path in old.iterdir():
                path.unlink()
            old.rmdir()


@contextmanager
def _locked() -> Iterator[None]:
    """Let one build at a time use the cache: several can run on a host."""
    ROOT.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(ROOT, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
