"""The folders that are kept across releases: where they are stored, and where the application finds them.

They are stored beside the application's other data, ``/var/lib/APP``, not in it: at each start systemd creates them as
root and gives them to the account. In a directory of the account's, a link could lead it to any other directory. ::

    /var/lib/APP-persistent/                owned by root
    /var/lib/APP-persistent/instance/       owned by the account, mounted on /opt/APP/releases/RELEASE/instance
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path, PurePosixPath
from typing import Any

from .layout import Layout

# An installed package has its instance folder in the virtual environment.
VENV = "venv"
# They appear in units, where % and : have a meaning.
_SAFE = re.compile(r"[A-Za-z0-9._/+-]+")


class PersistentError(Exception):
    """A folder cannot be mounted where it is needed."""


@dataclass(frozen=True)
class Folder:
    """A folder that is kept across releases.

    Args:
        name: its name in ``flask_uwsgi_persistent``.
        store: where it is stored.
        mount: where the application finds it.
    """

    name: str
    store: Path
    mount: Path


def folders(layout: Layout, release: str, venv: str, names: Sequence[str]) -> list[Folder]:
    """Return the folders of a generation.

    Args:
        layout: the application's paths.
        release: the id of its release.
        venv: the id of its virtual environment.
        names: the value of ``flask_uwsgi_persistent``.
    """
    return [Folder(name, layout.persistent / _stored(name), _mount(layout, release, venv, name)) for name in names]


def _stored(name: str) -> str:
    # Never one inside another: that would be in a directory of the account's.
    return name.replace("/", "-")


def _mount(layout: Layout, release: str, venv: str, name: str) -> Path:
    path = PurePosixPath(name)
    if path.parts[0] == VENV:
        return layout.venvs / venv / path.relative_to(VENV)
    return layout.releases / release / path


def problems(names: Any) -> Iterator[str]:
    """Yield what is wrong with a value of ``flask_uwsgi_persistent``."""
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        yield f"flask_uwsgi_persistent={names} is not valid: set it to a list of folders of the source"
        return
    bad = [name for name in names if not _is_valid(name)]
    for name in bad:
        yield (
            f"flask_uwsgi_persistent has {name!r}, which is not a folder of the source: write it relative to the "
            "source, such as instance or data/uploads, with A-Z, a-z, 0-9, ., _, + and -; or as "
            "venv/var/NAME-instance, where Flask keeps the instance folder of an installed package"
        )
    good = [name for name in names if name not in bad]
    # A folder that contains another comes first.
    for outer, inner in combinations(sorted(good), 2):
        if PurePosixPath(inner).is_relative_to(outer) or _stored(inner) == _stored(outer):
            yield (
                f"flask_uwsgi_persistent has {outer!r} and {inner!r}, which would be stored in the same place: remove "
                "one of them"
            )


def _is_valid(name: str) -> bool:
    path = PurePosixPath(name)
    whole = bool(path.parts) and str(path) == name and not path.is_absolute() and ".." not in path.parts
    return whole and bool(_SAFE.fullmatch(name)) and name != VENV and not name.startswith("-")


def missing(wanted: Sequence[Folder]) -> list[Folder]:
    """Return the folders that cannot be mounted yet because the mount point is missing.

    Raises:
        PersistentError: something else is in its place.
    """
    absent = []
    for folder in wanted:
        # A release has no links; a virtual environment has some.
        if folder.mount.resolve() != folder.mount.parent.resolve() / folder.mount.name:
            raise PersistentError(
                f"flask_uwsgi_persistent has {folder.name!r}, and {folder.mount} is a link: rename one"
            )
        places = [folder.mount, *folder.mount.parents]
        if file := next((place for place in places if place.exists() and not place.is_dir()), None):
            raise PersistentError(
                f"flask_uwsgi_persistent has {folder.name!r}, and {file} is a file: name a folder, or rename one"
            )
        if not folder.mount.is_dir():
            absent.append(folder)
    return absent


def make(wanted: Sequence[Folder]) -> None:
    """Create the mount points, empty and owned by root: without a mount, nothing writes there."""
    for folder in wanted:
        folder.mount.mkdir(mode=0o755, parents=True, exist_ok=True)
