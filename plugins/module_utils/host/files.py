"""Writes a host's state so that after a power failure each file, link or tree is either complete or unchanged.

A file is written beside its target, synced, renamed, and the rename is synced with its directory. Without the first
sync an ext4 or XFS file system may keep the name and lose the content; without the second it may lose both (rename(2),
fsync(2), and "All File Systems Are Not Created Equal", OSDI 2014).
"""

from __future__ import annotations

import ctypes
import os
import shutil
from pathlib import Path
from typing import IO, Any

from . import trees, untrusted

# Far more than any state file has.
_MOST = 4 << 20


class DamagedError(Exception):
    """A state file is not what was written."""


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a state file.

    Args:
        path: the file.

    Raises:
        DamagedError: it is missing, or anything but one JSON object. The message begins with the file's name.
    """
    try:
        content = untrusted.read(path, _MOST)
        # A file that was never synced can come back with its length but without its content.
        if not content.strip(b"\0 \t\r\n"):
            raise DamagedError(f"{path.name} is empty")
        document = untrusted.document(content, path)
    except untrusted.UntrustedError as error:
        missing = isinstance(error.__cause__, FileNotFoundError)
        raise DamagedError(f"{path.name} is {'missing' if missing else error.reason}") from error
    if not isinstance(document, dict):
        raise DamagedError(f"{path.name} is not a JSON object")
    return document


def write(
    path: Path,
    content: str | bytes | IO[bytes],
    mode: int | None = 0o644,
    group: int | None = None,
    *,
    writer: str = "",
) -> None:
    """Write a file completely, or leave the previous one unchanged.

    Args:
        path: the file; its directory exists.
        content: the new content, text as UTF-8; a stream is copied to its end, whatever its size.
        mode: the permissions, regardless of the umask; None for 0666 reduced by the umask.
        group: gid of the group, or None for that of the process.
        writer: distinguishes writers that may write the same file at the same time.

    Raises:
        OSError: the file cannot be written; the previous one is unchanged.
    """
    partial = _beside(path, writer)
    # Created exclusively, so never through a link that somebody put there.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(partial, flags, 0o666 if mode is None else 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            if group is not None:
                os.fchown(descriptor, -1, group)
            if mode is not None:
                os.fchmod(descriptor, mode)
            if isinstance(content, (str, bytes)):
                stream.write(content.encode() if isinstance(content, str) else content)
            else:
                shutil.copyfileobj(content, stream)
        place(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def place(made: Path, path: Path) -> None:
    """Move a finished file, directory or link into place, once it is on the disk.

    Args:
        made: a file, a directory or a link that is complete, on the same file system.
        path: its new path; a file or a link there is replaced.

    Raises:
        OSError: it cannot be synced or moved.
    """
    if not made.is_symlink():
        (sync_tree if made.is_dir() else sync)(made)
    made.rename(path)
    sync(path.parent)


def put(path: Path, content: str, mode: int = 0o644) -> bool:
    """Write a file unless it already has this content, and return whether it was written.

    Args:
        path: the file; its directory is created if it is missing.
        content: the content it should have.
        mode: the permissions of a file that is written.

    Raises:
        OSError: the file cannot be read or written; the previous one is unchanged.
    """
    if path.is_file() and path.read_bytes() == content.encode():
        return False
    if not path.parent.is_dir():
        path.parent.mkdir(mode=0o755)
        sync(path.parent.parent)
    write(path, content, mode)
    return True


def link(path: Path, target: str) -> bool:
    """Create a symbolic link, or replace one atomically, and return whether it changed.

    Args:
        path: the link.
        target: what it should point to.

    Raises:
        OSError: the link cannot be created; the previous one is unchanged.
    """
    if path.is_symlink() and str(path.readlink()) == target:
        return False
    partial = _beside(path)
    partial.symlink_to(target)
    place(partial, path)
    return True


def sync(path: Path) -> None:
    """Wait until the entries of a directory, or the content of a file, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Wait until a directory and everything below it are on the disk, before a marker declares it complete.

    It makes one call for the whole file system (syncfs(2)): a virtual environment has thousands of files, and waiting
    for each of them takes many times as long.

    Args:
        folder: the directory.

    Raises:
        OSError: it cannot be synced.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error), str(folder))
    finally:
        os.close(descriptor)


def _beside(path: Path, writer: str = "") -> Path:
    """Return where a file is written before it is moved into place, and remove what a killed writer left there."""
    name = path.name.removeprefix(".")
    partial = path.with_name(f".{name}.{writer}.partial" if writer else f".{name}.partial")
    try:
        partial.unlink(missing_ok=True)
    except IsADirectoryError:
        trees.remove(partial)
    return partial
