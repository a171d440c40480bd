"""Watches the workers of one uWSGI instance, whose master runs this beside them.

uWSGI's own ``harakiri`` cannot do this: it has one clock for all requests of a worker, and with ``post-buffering`` it
kills healthy workers (2.0.31, ``core/reader.c``: ``inc_harakiri`` of a clock that is 0). Its ``reload-on-rss`` checks
only when a request ends.

    python guard.py STATS_SOCKET HANG_SECONDS MEMORY_MB
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_PAGE = os.sysconf("SC_PAGE_SIZE")
# Seconds for the stats, and their size in bytes.
_PATIENCE = 10.0
_MOST = 64 << 20
# proc(5), pid_max.
_MOST_PID = 1 << 22


class Hang:
    """Records which workers make no progress, and since when.

    A request has made progress if it has sent something since, and all have if one of them has ended. A WebSocket may
    be silent forever. So may a response that has begun, such as an event stream, as long as its worker has time
    for others: in gevent mode while its loop runs, in threads mode while it has a free core.

    Args:
        limit: seconds that this may last; 0 for no limit.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        # For each worker and each of its cores, the last state, and since when.
        self._since: dict[tuple[int, int | str], tuple[object, float]] = {}

    def found(self, workers: Iterable[dict[str, Any]], now: float) -> list[int]:
        """Return the process ids of the workers that hang.

        Args:
            workers: from uWSGI's stats.
            now: seconds of a monotonic clock.
        """
        before, self._since = self._since, {}
        return [worker["pid"] for worker in workers if worker["pid"] > 0 and self._hangs(worker, now, before)]

    def _hangs(
        self, worker: dict[str, Any], now: float, before: dict[tuple[int, int | str], tuple[object, float]]
    ) -> bool:
        def still(part: int | str, seen: object) -> bool:
            key = (worker["pid"], part)
            last, since = before.get(key, (None, now))
            self._since[key] = (seen, since if last == seen else now)
            return bool(self.limit) and now - self._since[key][1] >= self.limit

        busy = {number: core for number, core in enumerate(worker["cores"]) if core["in_request"]}
        silent = [
            core
            for number, core in busy.items()
            if still(number, (worker["requests"], core.get("sent", 0))) and not core.get("websocket", 0)
        ]
        # Above 0 only in gevent mode.
        turns = worker.get("turns", 0)
        if still("turns", turns) and turns and busy:
            return True
        none_free = not turns and len(busy) == len(worker["cores"])
        return any(none_free or not core.get("sent", 0) for core in silent)


def stats(path: str) -> list[dict[str, Any]]:
    """Return the workers as uWSGI's stats show them; none while it starts or ends, or shows something else."""
    try:
        document = json.loads(answer(path))
    except (OSError, ValueError, RecursionError):
        return []
    workers = document.get("workers") if isinstance(document, dict) else None
    return [worker for worker in workers if sound(worker)] if isinstance(workers, list) else []


def answer(path: str) -> bytes:
    """Return what the stats server sends, within one deadline in total."""
    deadline = time.monotonic() + _PATIENCE
    content = bytearray()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_PATIENCE)
        connection.connect(path)
        while piece := connection.recv(1 << 16):
            content += piece
            left = deadline - time.monotonic()
            if left <= 0 or len(content) > _MOST:
                raise TimeoutError
            connection.settimeout(left)
    return bytes(content)


def sound(worker: object) -> bool:
    """Return whether a worker of the stats has all fields that are read; its process id receives a signal."""
    if not isinstance(worker, dict):
        return False
    pid, requests, cores, turns = (worker.get(name, 0) for name in ("pid", "requests", "cores", "turns"))
    counts = type(pid) is int and 0 <= pid <= _MOST_PID and type(requests) is int and type(turns) is int
    return counts and isinstance(cores, list) and all(isinstance(core, dict) and "in_request" in core for core in cores)


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process; 0 for one that has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE / 2**20
    except (OSError, IndexError):
        return 0.0


def kill(pid: int, reason: str) -> None:
    """Kill a worker; its master then starts another."""
    print(f"guard: worker with pid {pid} is killed and replaced: {reason}", flush=True)
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def watch(path: str, hang: Hang, memory_mb: float) -> None:
    """Watch forever."""
    # The stats of thousands of cores cost milliseconds; memory is cheap to read, and can grow fast.
    period = max(1.0, hang.limit / 10) if hang.limit else 10.0
    pids: list[int] = []
    looked = float("-inf")
    while True:
        now = time.monotonic()
        if now - looked >= period:
            looked, workers = now, stats(path)
            pids = [worker["pid"] for worker in workers if worker["pid"] > 0]
            for pid in hang.found(workers, now):
                kill(pid, f"it has requests, and none has ended for {hang.limit:.0f} s (flask_uwsgi_hang_timeout)")
        for pid in pids if memory_mb else []:
            if (used := resident_mb(pid)) > memory_mb:
                kill(pid, f"it uses {used:.0f} MB, more than {memory_mb:.0f} (flask_uwsgi_worker_memory_mb)")
        time.sleep(1.0 if memory_mb else period)


if __name__ == "__main__":
    watch(sys.argv[1], Hang(float(sys.argv[2])), float(sys.argv[3]))
