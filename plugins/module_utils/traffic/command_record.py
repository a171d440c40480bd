"""Records on one host, the keeper, for which generations the commands of a deploy have run, so that they run once.

The record outlives the run and the release, and is there before the application is: ::

    /var/lib/flaskops/APP.commands.json

It has the last deploy only. After another one has run its commands, those of an older generation run again: a migration
of another release may have happened in between.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..host import files, marks, untrusted
from ..host.layout import Layout
from . import reservation

RUNNING, DONE = "running", "done"
# Bytes. A deploy of a thousand hosts can have as many generations.
_MOST = 1 << 20
# What is known of an owner only when the record is read.
_READ = ("idle_s", "renewed")


class TakenError(Exception):
    """The record is another run's.

    Args:
        reason: what that means for the one who asks.
        record: what is recorded.
    """

    def __init__(self, reason: str, record: Record | None) -> None:
        super().__init__(reason)
        self.record = record


@dataclass(frozen=True)
class Record:
    """What is known of the commands of an application.

    Args:
        generations: the digests of all generations that the commands were run for.
        state: ``running`` or ``done``.
        by: the run of Ansible, with its lease, and, like a reservation, with ``renewed`` and ``idle_s``.
        on: the name of the host that ran them.
        at: when they began or, once they are done, ended.
    """

    generations: list[str]
    state: str
    by: dict[str, Any]
    on: str
    at: str

    def covers(self, generation: str, run: Mapping[str, Any] | None) -> bool:
        """Return whether the commands have run for a generation, or in the same run of Ansible for other hosts."""
        return self.state == DONE and (generation in self.generations or reservation.same(self.by, run))


def read(layout: Layout) -> Record | None:
    """Return the record, or None if there is none that counts: the commands then run."""
    path = layout.commands
    try:
        renewed = path.lstat().st_mtime_ns
        document = untrusted.document(untrusted.read(path, _MOST, owner=os.geteuid()), path)
    except (OSError, untrusted.UntrustedError):
        return None
    try:
        found = Record(**document)
    except TypeError:
        return None
    whole = (
        isinstance(found.generations, list)
        and all(isinstance(generation, str) for generation in found.generations)
        and found.state in (RUNNING, DONE)
        and isinstance(found.by, dict)
        and isinstance(found.on, str)
        and isinstance(found.at, str)
    )
    return replace(found, by=reservation.aged(found.by, renewed)) if whole else None


def claim(
    layout: Layout,
    generations: Sequence[str],
    on: str,
    run: Mapping[str, Any],
    replaced: Mapping[str, Any] | None = None,
) -> Record:
    """Claim the commands of generations for a run of Ansible, unless they have run.

    Args:
        layout: the application's paths.
        generations: the digests; the first one is that of the host that runs the commands, and decides.
        on: the name of that host.
        run: the run of Ansible, with its lease.
        replaced: the run whose claim does not count. With ``renewed`` it must not have been renewed since.

    Returns:
        the record: ``running``, and the run has to run the commands; or ``done``, and it must not.

    Raises:
        TakenError: another run is running them.
    """
    with _exclusive(layout):
        found = read(layout)
        if found and found.covers(generations[0], run):
            joined = _joined(found.generations, generations)
            return found if joined == found.generations else _written(layout, replace(found, generations=joined))
        if found and found.state == RUNNING and not _replaceable(found, run, replaced or {}):
            raise TakenError(f"the commands are being run on {found.on}: {reservation.describe(found.by)}", found)
        return _written(layout, Record(list(generations), RUNNING, dict(run), on, _now()))


def finish(layout: Layout, generations: Sequence[str], run: Mapping[str, Any]) -> Record:
    """Record that the commands have run.

    Args:
        layout: the application's paths.
        generations: the digests; those that are recorded already stay.
        run: the run of Ansible that has claimed them, or found that they had run.

    Raises:
        TakenError: the claim was lost, because its lease had ended.
    """
    with _exclusive(layout):
        found = read(layout)
        if not found or not (reservation.same(found.by, run) or found.covers(generations[0], run)):
            raise TakenError("the claim of this run has ended, and another run may have run the commands since", found)
        at = _now() if found.state == RUNNING else found.at
        return _written(layout, replace(found, generations=_joined(found.generations, generations), state=DONE, at=at))


def give_back(layout: Layout, run: Mapping[str, Any]) -> None:
    """Forget that a run has claimed the commands: they have not run to their end. Leave anything else alone."""
    with _exclusive(layout):
        found = read(layout)
        if found and found.state == RUNNING and reservation.same(found.by, run):
            layout.commands.unlink()
            files.sync(layout.commands.parent)


def _replaceable(found: Record, run: Mapping[str, Any], replaced: Mapping[str, Any]) -> bool:
    return reservation.same(found.by, run) or reservation.unchanged(found.by, replaced)


def _joined(some: Sequence[str], more: Sequence[str]) -> list[str]:
    return list(dict.fromkeys((*some, *more)))


def _written(layout: Layout, record: Record) -> Record:
    by = {key: value for key, value in record.by.items() if key not in _READ}
    files.write(layout.commands, json.dumps(asdict(replace(record, by=by)), indent=2) + "\n", 0o600)
    return record


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


@contextmanager
def _exclusive(layout: Layout) -> Iterator[None]:
    """Be the only one to change a record while the context lasts; root alone can open the directory."""
    marks.make_directory(layout)
    descriptor = os.open(layout.commands.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
