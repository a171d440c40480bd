"""Reads what the archive of an application's code contains, on the controller."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import PurePosixPath


@lru_cache(maxsize=4)
def files(archive: str) -> tuple[PurePosixPath, ...]:
    """Return the files in an archive of code, relative to the source.

    Args:
        archive: its path. Its name contains the digest of its content, so it is read once for all hosts.
    """
    with tarfile.open(archive) as tar:
        return tuple(PurePosixPath(member.name) for member in tar if member.isreg())


def below(archive: str, folders: Sequence[str]) -> dict[str, int]:
    """Return how many files of an archive are in each of the given folders, if any."""
    counts = {folder: sum(file.is_relative_to(folder) for file in files(archive)) for folder in folders}
    return {folder: count for folder, count in counts.items() if count}


def absent(archive: str, folders: Sequence[str]) -> list[str]:
    """Return the given folders that an archive does not have, neither as a folder nor as a file, itself or above it."""
    wanted, there = {folder: PurePosixPath(folder) for folder in folders}, set()
    for file in files(archive):
        there |= {name for name, path in wanted.items() if file.is_relative_to(path) or path.is_relative_to(file)}
    return [folder for folder in folders if folder not in there]


def in_the_way(archive: str, folders: Sequence[str]) -> dict[str, str]:
    """Return for each folder the file of an archive that is in its place or in that of a folder above it."""
    known = {str(file) for file in files(archive)}
    places = {folder: (folder, *map(str, PurePosixPath(folder).parents)) for folder in folders}
    return {folder: file for folder, paths in places.items() for file in paths if file in known}
