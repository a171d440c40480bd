"""Counts what a stop cut: requests, and workers that were killed without having any."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..host import systemd

# What the patched uWSGI logs if the time for a stop runs out (07-stop.patch).
_CUT = re.compile(r"\[uwsgi-stop\] worker \d+: (?P<requests>\d{1,7}) requests were cut (?P<seconds>\d{1,7}) seconds .*")
_KILLED = re.compile(r"\[uwsgi-stop\] worker \d+ was killed (?P<seconds>\d{1,7}) seconds .*")
# Number of a unit's last lines to search.
_LINES = 500


@dataclass(frozen=True)
class Toll:
    """What a stop cut.

    Args:
        requests: number of requests that were cut.
        workers: number of workers that had to be killed although they had no requests.
        seconds: seconds after the stop began, for the latest of them.
    """

    requests: int = 0
    workers: int = 0
    seconds: int = 0

    def __add__(self, other: Toll) -> Toll:
        """Return what two stops cut together."""
        return Toll(self.requests + other.requests, self.workers + other.workers, max(self.seconds, other.seconds))


def taken(units: Iterable[str], after: str | None) -> Toll:
    """Return what stopping units cut.

    Args:
        units: the units that were stopped.
        after: the end of the journal before the stop.

    Raises:
        SystemdError: the journal cannot be read.
    """
    total = Toll()
    for unit in units:
        # systemd's own timeout is longer, and applies to all of the unit's processes at once.
        timeout = unit.endswith(".service") and systemd.show(unit, "Result")["Result"] == "timeout"
        total += Toll(workers=int(timeout))
        for line in systemd.journal(unit, _LINES, after):
            if match := _CUT.fullmatch(line):
                requests = int(match["requests"])
                total += Toll(requests, int(not requests), int(match["seconds"]))
            elif match := _KILLED.fullmatch(line):
                total += Toll(workers=1, seconds=int(match["seconds"]))
    return total


def sentences(found: Mapping[str, Any]) -> list[str]:
    """Return the sentences that report a toll to an operator; none if nothing was cut."""
    requests, workers, seconds = (found.get(name, 0) for name in ("requests", "workers", "seconds"))
    when = f"{seconds} s after the stop began"
    said = []
    if requests:
        were = "1 request was" if requests == 1 else f"{requests} requests were"
        said.append(f"{were} cut {when}: set flask_uwsgi_stop_timeout above the longest request or stream")
    if workers:
        were = "1 worker was" if workers == 1 else f"{workers} workers were"
        said.append(
            f"{were} killed {when if seconds else 'when the time for the stop ran out'}, without a request: look for "
            "threads or exit hooks of the application that do not end, or raise flask_uwsgi_stop_timeout"
        )
    return said
