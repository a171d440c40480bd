"""The resources that a command and its child processes use."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# Measuring memory may use this part of one core: the longer a measurement takes, the rarer it is.
_SHARE = 0.03
_PAUSE_S = 0.2


@dataclass(frozen=True)
class Usage:
    """The resources that were used.

    Args:
        seconds: from start to end.
        cpu_s: CPU seconds, user and system, of all processes.
        main_mb: the peak memory of the command itself, in MB.
        tree_mb: the peak memory of all processes together, with shared pages counted once. It is sampled a few times a
            second at most, so a short peak is missed.
    """

    seconds: float
    cpu_s: float
    main_mb: float
    tree_mb: float


class _Memory(threading.Thread):
    """Samples a process and its descendants until the process has ended."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self._ended = threading.Event()
        self.main_mb = self.tree_mb = 0.0

    def run(self) -> None:
        pause = 0.0
        while not self._ended.wait(pause):
            before = time.thread_time()
            self.main_mb = max(self.main_mb, _mb(self._pid, "status", "VmHWM:"))
            self.tree_mb = max(self.tree_mb, sum(_mb(pid, "smaps_rollup", "Pss:") for pid in _family(self._pid)))
            pause = max(_PAUSE_S, (time.thread_time() - before) / _SHARE)

    def end(self) -> None:
        self._ended.set()
        self.join()


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str], output: Path) -> tuple[int, Usage]:
    """Run a command and return its exit status and the resources that it used.

    Args:
        command: the program and its arguments.
        folder: the working directory.
        environment: all environment variables.
        output: the file for its output.
    """
    with output.open("wb") as file:
        started = time.monotonic()
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=file, stderr=subprocess.STDOUT)
        memory = _Memory(process.pid)
        memory.start()
        # Unlike Popen.wait, this returns the CPU time of this child and of the descendants that it waited for.
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    memory.end()
    return process.returncode, Usage(seconds, used.ru_utime + used.ru_stime, memory.main_mb, memory.tree_mb)


def _family(pid: int) -> Iterator[int]:
    yield pid
    # Processes can end at any time.
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _family(int(child))


def _mb(pid: int, file: str, key: str) -> float:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
            if line.startswith(key):
                return int(line.split()[1]) / 1024
    return 0.0
