"""Sends one worker the same request alone, then many times at once, and measures how far its requests overlap."""

from __future__ import annotations

import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..host.untrusted import UntrustedError
from ..host.uwsgi import get

# Requests alone; the first, which may import and connect, does not count. Two are enough if they are long, and many are
# sent if they are short: the shortest shows what the path needs on an otherwise idle host.
_ALONE = 4
_ALONE_SHORT = 12
_SHORT_S = 0.05
# Noise can only make a burst longer, so the shortest of a few is used; of long ones, two are sent.
_BURSTS = 4
_LONG_S = 0.5
# The share of a burst that a worker may wait for a core.
_NOISE = 0.3
_BODY = 1 << 20
# Milliseconds below which the processor determines how long a request takes, and waiting does not show.
FAST_MS = 5
# From here on, requests overlap; below, they wait for each other.
OVERLAPS = 0.5
# Milliseconds that a request may compute before others notice.
LONG_MS = 100
# The share of a burst in which a worker computes or wants to, and how much of a single request must be computing for
# the application to be the reason.
_BUSY, _COMPUTES = 0.6, 0.25
# Other load on a host comes and goes, so bursts that it disturbed are repeated, at this interval in seconds.
_MORE_BURSTS, _PAUSE_S = 40, 0.5


@dataclass(frozen=True)
class Answer:
    """The result of a request.

    Args:
        status: the HTTP status; 0 if there was no answer.
        seconds: how long it took.
        said: the body's first 500 characters, or why there is none.
        location: where a redirect leads.
    """

    status: int
    seconds: float
    said: str
    location: str = ""


@dataclass
class Measured:
    """The probe's measurements.

    Args:
        path: the path of the requests.
        requests: number of simultaneous requests.
        wanted: the expected status; 0 for any below 500.
        alone: the single requests.
        single_ms: their median.
        burst_ms: the shortest burst.
        overlap: 1 if all requests ran at the same time, 0 if one ran after the other.
        cpu_share: the share of the burst that the worker computed.
        busy_share: the same including the time that it waited for a core.
        statuses: how often each status occurred in the burst; 0 is no answer.
        said: a body or reason of an unexpected answer in the burst.
        unfinished: number of requests of the burst that did not end.
    """

    path: str
    requests: int
    wanted: int
    alone: list[Answer] = field(default_factory=list)
    single_ms: float | None = None
    burst_ms: float | None = None
    overlap: float | None = None
    cpu_share: float | None = None
    busy_share: float | None = None
    statuses: dict[str, int] = field(default_factory=dict)
    said: str = ""
    unfinished: int = 0

    def good(self, status: int) -> bool:
        """Return whether a status is as expected."""
        return status == self.wanted if self.wanted else 0 < status < 500

    @property
    def least_ms(self) -> float:
        """The shortest single request, the one least affected by other load on the host."""
        return min((one.seconds for one in self.alone[1:]), default=0.0) * 1000

    @property
    def computes(self) -> float:
        """How much of a single request's time the worker computes for one of many; a busy host lowers it."""
        if not self.least_ms or not self.burst_ms:
            return 0.0
        return (self.cpu_share or 0) * self.burst_ms / self.requests / self.least_ms

    @property
    def cpu_ms(self) -> float:
        """The milliseconds that the worker computes for one of many requests, however busy the host is."""
        return (self.cpu_share or 0) * (self.burst_ms or 0) / self.requests

    @property
    def busy(self) -> bool:
        """Whether the worker computed or waited for a core most of the time."""
        return (self.busy_share or 0) >= _BUSY or self.cpu_ms >= LONG_MS

    @property
    def starved(self) -> bool:
        """Whether the requests do not overlap because the host has other work, which says nothing about them."""
        if self.least_ms < FAST_MS or (self.overlap or 0) >= OVERLAPS:
            return False
        return self.busy and self.computes < _COMPUTES and self.cpu_ms < LONG_MS


def ask(socket: Path, path: str, timeout: float, host: str = "localhost") -> Answer:
    """Send one request and read its answer.

    Args:
        socket: the instance's UNIX socket, which speaks HTTP.
        path: the path to GET.
        timeout: seconds in total.
        host: the Host header.
    """
    started = time.monotonic()
    try:
        answer = get(socket, path, timeout, wait_for=_BODY, host=host)
        return Answer(answer.status, time.monotonic() - started, answer.body[:500], answer.location)
    except UntrustedError as error:
        return Answer(0, time.monotonic() - started, f"no answer: {error.reason}")


def burst(
    socket: Path, path: str, count: int, timeout: float, when_late: Callable[[], None], host: str = "localhost"
) -> tuple[list[Answer], float, int]:
    """Send many requests at once.

    Args:
        socket: the instance's UNIX socket.
        path: the path to GET.
        count: number of requests.
        timeout: seconds after which the remaining ones are abandoned.
        when_late: called at that time, while they still hang.
        host: the Host header.

    Returns:
        the answers, the seconds until the last one, and how many did not end.
    """
    answers: list[Answer] = []
    gate = threading.Barrier(count + 1)

    def client() -> None:
        gate.wait()
        answers.append(ask(socket, path, timeout + 5, host))

    threads = [threading.Thread(target=client, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    gate.wait()
    started = time.monotonic()
    for thread in threads:
        thread.join(max(0.0, started + timeout - time.monotonic()))
    elapsed = time.monotonic() - started
    ended = list(answers)
    if len(ended) < count:
        when_late()
    return ended, elapsed, count - len(ended)


def cpu(pid: int) -> tuple[float, float]:
    """Return the seconds that a process has computed, and has waited for a core (Linux: proc-schedstat)."""
    try:
        computed, waited, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
    except (OSError, ValueError):
        return 0.0, 0.0
    return int(computed) / 1e9, int(waited) / 1e9


def measure(
    socket: Path,
    path: str,
    pid: int,
    *,
    requests: int,
    wanted: int,
    deadline: float,
    patience: float,
    host: str = "localhost",
    when_late: Callable[[], None] = lambda: None,
) -> Measured:
    """Find out whether the requests of one worker overlap.

    Args:
        socket: the instance's UNIX socket.
        path: the path to GET.
        pid: the worker's process id.
        requests: number of requests to send at once.
        wanted: the expected HTTP status; 0 for any below 500.
        deadline: the reading of the monotonic clock by which to end.
        patience: seconds that a single request may take, and a burst beyond twice the time of its requests in sequence.
        host: the Host header.
        when_late: called while requests that do not end hang.
    """
    found = Measured(path, requests, wanted)
    alone: list[Answer] = []
    for number in range(_ALONE_SHORT):
        answer = ask(socket, path, _left(deadline, patience), host)
        alone.append(answer)
        if answer.status == 0:
            when_late()
        if not found.good(answer.status) or (number and answer.seconds > _LONG_S):
            break
        if number + 1 >= _ALONE and min(one.seconds for one in alone) > _SHORT_S:
            break
    # The content of a good answer does not matter.
    found.alone = [replace(one, said="") if found.good(one.status) else one for one in alone]
    if not found.good(alone[-1].status):
        return found
    found.single_ms = round(statistics.median(answer.seconds for answer in alone[1:]) * 1000, 2)
    for number in range(_BURSTS + _MORE_BURSTS):
        if number >= _BURSTS:
            time.sleep(_PAUSE_S)
            again = ask(socket, path, _left(deadline, patience), host)
            found.alone += [replace(again, said="")] if found.good(again.status) else []
        longest = _left(deadline, patience + 2 * requests * found.single_ms / 1000)
        before, started = cpu(pid), time.monotonic()
        answers, seconds, unfinished = burst(socket, path, requests, longest, when_late, host)
        after, whole = cpu(pid), time.monotonic() - started
        bad = [answer for answer in answers if not found.good(answer.status)]
        if found.burst_ms is None or seconds * 1000 < found.burst_ms or bad or unfinished:
            found.burst_ms = round(seconds * 1000, 2)
            found.cpu_share = round(min(1.0, (after[0] - before[0]) / whole), 3)
            found.busy_share = round(min(1.0, (sum(after) - sum(before)) / whole), 3)
        found.overlap = _overlap(found)
        found.statuses = {str(status): count for status, count in Counter(a.status for a in answers).items()}
        found.unfinished = unfinished
        if bad or unfinished:
            found.said = bad[0].said if bad else ""
            break
        late = time.monotonic() + 2 * seconds > deadline
        # Only a burst that ran or waited undisturbed says more than noise.
        calm = (found.busy_share or 0) - (found.cpu_share or 0) < _NOISE
        if found.overlap >= OVERLAPS or late or (number and calm and seconds > _LONG_S):
            break
        if number + 1 >= _BURSTS and not found.starved:
            break
    return found


def _overlap(found: Measured) -> float:
    # The shortest alone, as with bursts: other load on the host makes one longer, which would look like an overlap.
    least, seconds = found.least_ms, found.burst_ms or 0.0
    serial = found.requests * least
    return round(max(0.0, min(1.0, (serial - seconds) / max(serial - least, 1e-6))), 3)


def _left(deadline: float, most: float) -> float:
    return max(0.5, min(most, deadline - time.monotonic()))
