"""Removes directories, however deep they are, and whatever their owner does in the meantime.

The owner of a directory, or a process that works in it, can keep filling it while root removes it: ``rm`` and
``shutil.rmtree`` then find it not empty, and the latter fails at a depth of a thousand. So each directory is taken from
its owner before it is read, and its content is moved up to where nobody else has access.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

_PRIVATE = 0o700


def remove(path: Path, *, at_once: bool = False) -> None:
    """Remove a file, a link, a pipe, a socket, or a whole directory, without following links.

    Args:
        path: what to remove, in a directory that only this account can write to. It need not exist.
        at_once: whether a directory of this account's is gone or whole, too, at any moment at which this is killed.

    Raises:
        OSError: it cannot be removed, for instance because something is mounted in it.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        found = None
    if found and not stat.S_ISDIR(found.st_mode):
        path.unlink()
    elif found and found.st_uid == os.geteuid() and not at_once:
        _remove_own(path)
    elif found:
        _make_trash(trash(path))
        # One step puts it out of everyone's reach.
        path.rename(trash(path) / secrets.token_hex(8))
    # Also what a killed run left.
    if trash(path).is_dir() and not trash(path).is_symlink():
        _remove_own(trash(path))


def trash(path: Path) -> Path:
    """Return where a directory is kept while it is being removed."""
    return path.with_name(f".{path.name.removeprefix('.')}.removed")


def _make_trash(path: Path) -> None:
    try:
        path.mkdir(_PRIVATE)
    except FileExistsError:
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            raise


def _remove_own(path: Path) -> None:
    top = _take(path)
    try:
        while names := _names(top):
            for name in names:
                _remove_in(top, name)
    finally:
        os.close(top)
    path.rmdir()


def _remove_in(top: int, name: str) -> None:
    """Remove an entry of a directory, after moving the directories in that entry up."""
    try:
        os.unlink(name, dir_fd=top)
        return
    except IsADirectoryError:
        inner = _take(name, top)
    try:
        for child in _names(inner):
            try:
                os.unlink(child, dir_fd=inner)
            except IsADirectoryError:
                # Nobody can have guessed the name and put something there.
                os.rename(child, secrets.token_hex(8), src_dir_fd=inner, dst_dir_fd=top)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=top)


def _names(folder: int) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]


def _take(path: str | Path, folder: int | None = None) -> int:
    """Open a directory so that only this account can then change its content."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.fchown(descriptor, os.geteuid(), os.getegid())
        os.fchmod(descriptor, _PRIVATE)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
