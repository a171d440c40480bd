"""What a run of Ansible asks the network once, for all its hosts: each is planned in a process of its own."""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Callable
from pathlib import Path

from ...module_utils.release.artifact import ArtifactError, digest
from . import controller

# Seconds; no run takes as long.
_OLD = 7 * 86_400


def once(cache: Path, key: str, work: Callable[[], str]) -> str:
    """Return what the work returned when it was first wanted in this run of Ansible.

    Others that want the same at the same time wait for it. A failure is kept as well, so that many hosts
    do not wait for many time-outs.

    Args:
        cache: a folder on the controller.
        key: names the work.
        work: what to do.

    Raises:
        ArtifactError: the work raised it, now or earlier in this run.
    """
    run = controller.identity()
    answer = cache / f"once-{digest(key, run['home'], str(run['pid']), run['start'])}.json"
    with answer.open("a+") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        stream.seek(0)
        lines = stream.read().splitlines()
        if len(lines) < 2:
            _forget(cache)
            # Before the work begins, so that a run that is killed leaves nothing that nobody may remove.
            stream.truncate(0)
            print(json.dumps(run), file=stream, flush=True)
            try:
                found = {"result": work()}
            except ArtifactError as error:
                found = {"problem": str(error)}
            print(json.dumps(found), file=stream)
        else:
            found = json.loads(lines[1])
    if "problem" in found:
        raise ArtifactError(found["problem"])
    return found["result"]


def _forget(cache: Path) -> None:
    """Remove the answers of runs that have ended, and old ones, because a run before a restart counts as alive."""
    for answer in cache.glob("once-*.json"):
        try:
            run = json.loads(answer.read_text().splitlines()[0])
            old = time.time() - answer.stat().st_mtime > _OLD
        except (OSError, ValueError, IndexError):
            # Removed by another, or about to be written.
            continue
        if old or not controller.lives(run):
            answer.unlink(missing_ok=True)
