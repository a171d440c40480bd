"""What a stop cost: the requests that were cut, and the workers that were killed without any."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..host import systemd

# What the patched uWSGI says where the time of a stop is over (07-stop.patch).
_CUT = re.compile(r"\[uwsgi-stop\] worker \d+: (?P<requests>\d{1,7}) requests were cut (?P<seconds>\d{1,7}) seconds .*")
_KILLED = re.compile(r"\[uwsgi-stop\] worker \d+ was killed (?P<seconds>\d{1,7}) seconds .*")
# Lines of a unit in which they are looked for: they are among its last.
_LINES = 500


@dataclass(frozen=True)
class Toll:
    """What a stop cost.

    Args:
        requests: how many requests were cut.
        workers: how many workers had to be ended although no request kept them.
        seconds: how long after the stop began, at the latest.
    """

    requests: int = 0
    workers: int = 0
    seconds: int = 0

    def __add__(self, other: Toll) -> Toll:
        """Return what two stops cost together."""
        return Toll(self.requests + other.requests, self.workers + other.workers, max(self.seconds, other.seconds))


def taken(units: Iterable[str], after: str | None) -> Toll:
    """Return what the stop of units has cost.

    Args:
        units: the units that were stopped.
        after: the end of the journal before the stop.

    Raises:
        SystemdError: the journal cannot be read.
    """
    total = Toll()
    for unit in units:
        # systemd's own patience ends later, for all of the unit's processes at once.
        timeout = unit.endswith(".service") and systemd.show(unit, "Result")["Result"] == "timeout"
        total += Toll(workers=int(timeout))
        for line in systemd.journal(unit, _LINES, after):
            if match := _CUT.fullmatch(line):
                requests = int(match["requests"])
                total += Toll(requests, int(not requests), int(match["seconds"]))
            elif match := _KILLED.fullmatch(line):
                total += Toll(workers=1, seconds=int(match["seconds"]))
    return total


def told(found: Mapping[str, Any]) -> list[str]:
    """Return what to tell an operator of a toll, one sentence each; nothing where it is none."""
    requests, workers, seconds = (found.get(name, 0) for name in ("requests", "workers", "seconds"))
    when = f"{seconds} s after the stop began"
    said = []
    if requests:
        were = "1 request was" if requests == 1 else f"{requests} requests were"
        said.append(f"{were} cut {when}: set flask_uwsgi_stop_timeout above the longest request or stream")
    if workers:
        were = "1 worker was" if workers == 1 else f"{workers} workers were"
        said.append(
            f"{were} killed {when if seconds else 'when the time for the stop was over'}, without a request: look for "
            "threads or exit hooks of the application that do not end, or raise flask_uwsgi_stop_timeout"
        )
    return said
