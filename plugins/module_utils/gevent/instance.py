"""Runs one generation without traffic for the gevent check, and reads what the hook in it has recorded.

The application can write everything that the instance writes, so it is read without trust or following links.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..failure import deaths
from ..failure.explain import MOST_READ
from ..host import kinds, systemd, temporary, untrusted
from ..host.journal import Said
from ..host.layout import Layout
from ..release import generation as gen

# Seconds that the hook's monitor has to report what waits; it looks every 0.02 s.
_REPORT_S = 3.0
# Seconds after which a stack that has not grown is considered complete.
_WRITTEN_S = 0.2
# Where the hub itself waits.
_IDLE = re.compile(r"/gevent/hub\.py:\d+ run$")
# Bytes of one of its documents.
_MOST = 4 << 20
_OWN = re.compile(r"^(?:Current thread|Stack \()", re.M)
_FRAME = re.compile(r'^  File "(?P<file>.+)", line (?P<line>\d+) in (?P<function>.+)$')


class Instance:
    """A generation that runs to be checked.

    Args:
        layout: the application's paths.
        generation: the generation's id.
    """

    def __init__(self, layout: Layout, generation: str) -> None:
        self.layout = layout
        self.generation = generation
        self.unit = layout.check(generation)
        self.logged_before = systemd.cursor()

    @property
    def socket(self) -> Path:
        """The socket that it answers on."""
        return self.layout.check_runtime / f"{self.generation}.sock"

    @property
    def worker(self) -> int | None:
        """The process id of its worker, or None if the recorded one cannot be right."""
        pid = untrusted.process_id(self.loaded().get("pid"))
        try:
            # A process chooses its name, which need not be text.
            parent = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1]
        except (OSError, IndexError):
            return None
        return pid if parent.decode() == self._master() else None

    def start(self, deadline: float) -> str | None:
        """Start it and wait until it is ready, and its worker has recorded what it has loaded.

        Args:
            deadline: the reading of the monotonic clock at which it is considered to hang.

        Returns:
            None if it is ready, else ``hangs``, ``memory`` or ``ended``.
        """
        systemd.systemctl("start", "--no-block", self.unit)
        while True:
            state = systemd.show(self.unit, "ActiveState", "Result", "Job")
            # The worker records what it has loaded on its own, and may be just about to.
            if state["ActiveState"] == "active" and self.loaded():
                return None
            if state["ActiveState"] == "failed" or (state["ActiveState"] == "inactive" and state["Job"] in ("", "0")):
                return "memory" if state["Result"] == "oom-kill" else "ended"
            if time.monotonic() >= deadline:
                return "hangs"
            time.sleep(0.1)

    def loaded(self) -> dict[str, Any]:
        """Return what the hook recorded while the application was loaded; empty before a worker runs."""
        return self._read("loaded.json")

    def activity(self) -> dict[str, Any]:
        """Return what has blocked the hub so far, and what waits now."""
        path = self.layout.check_runtime / "activity.json"
        # No link is followed and nothing is written, whatever the account has put there.
        with suppress(OSError):
            path.unlink(missing_ok=True)
            os.close(os.open(path.with_name("ask"), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        if found := self._activity():
            return found
        # Its interpreter is blocked; Python's own signal handler does not need it.
        worker = self.worker
        stack = self.stack(worker) if worker else []
        # A stack whose innermost frame is the hub's waits for events, and blocks nothing.
        blocks = stack and not _IDLE.search(stack[0])
        return {"blocked": [{"stack": stack, "count": 1}]} if blocks else {}

    def hanging(self) -> list[str]:
        """Return where the application hangs while it is loaded, the innermost frame first."""
        stack = self.stack(self._loader())
        if not stack or not _IDLE.search(stack[0]):
            return stack
        # The hub runs, so the hook, which handles the same signal, soon records what waits for it.
        waiting = self._activity().get("waiting")
        first = waiting[0] if isinstance(waiting, list) and waiting else None
        found = first.get("stack") if isinstance(first, dict) else None
        return list(map(str, found)) if isinstance(found, list) and found else stack

    def stack(self, pid: int) -> list[str]:
        """Return the stack of a process's main thread, the innermost frame first."""
        before = len(self._text("stacks"))
        # A signal to 0 or less would go to a whole group of processes.
        if not untrusted.process_id(pid):
            return []
        try:
            os.kill(pid, signal.SIGURG)
        except ProcessLookupError:
            return []
        deadline = time.monotonic() + _REPORT_S
        seen, since = "", time.monotonic()
        while time.monotonic() < deadline:
            time.sleep(0.05)
            text = self._text("stacks")[before:]
            if text != seen:
                seen, since = text, time.monotonic()
            # It is written line by line, by a process that may have to wait for a core.
            elif "Current thread" in text and time.monotonic() - since > _WRITTEN_S:
                return _frames(text)
        return []

    def crash(self) -> list[str]:
        """Return the stack of the worker that crashed last, innermost frame first; empty if it was killed."""
        _, fatal, text = self._text("stacks").rpartition("Fatal Python error")
        return _frames(text) if fatal else []

    def log(self) -> list[Said]:
        """Return what it logged."""
        return systemd.logged(self.unit, MOST_READ, self.logged_before)

    def state(self) -> dict[str, str]:
        """Return how its unit ended, as ``deaths.explain`` expects it."""
        return systemd.show(self.unit, *deaths.PROPERTIES)

    def _loader(self) -> int:
        """Return the process that loads the application: the worker, or the master if there is no worker yet."""
        master = self._master()
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                pid, _, rest = path.read_bytes().partition(b" (uwsgi) ")
            except OSError:
                continue
            if rest.split()[1:2] == [master.encode()]:
                return int(pid)
        return int(master)

    def _master(self) -> str:
        return systemd.show(self.unit, "MainPID")["MainPID"]

    def _activity(self) -> dict[str, Any]:
        """Return what the hook has recorded, waiting a little for it; empty if there is nothing."""
        deadline = time.monotonic() + _REPORT_S
        while not (found := self._read("activity.json")) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    def _read(self, name: str) -> dict[str, Any]:
        path = self.layout.check_runtime / name
        try:
            document = untrusted.document(untrusted.read(path, _MOST), path)
        except untrusted.UntrustedError:
            return {}
        return document if isinstance(document, dict) else {}

    def _text(self, name: str) -> str:
        try:
            return untrusted.read(self.layout.check_runtime / name, _MOST).decode(errors="replace")
        except untrusted.UntrustedError:
            return ""


def _frames(text: str) -> list[str]:
    """Return the frames of the thread that faulthandler calls the current one, or the only one it shows."""
    own = _OWN.split(text)[-1].partition("\n\n")[0]
    frames = (_FRAME.match(line) for line in own.splitlines())
    return [f"{frame['file']}:{frame['line']} {frame['function']}" for frame in frames if frame]


@contextmanager
def running(layout: Layout, generation: str, *, timeout: float, memory_mb: int) -> Iterator[Instance]:
    """Install the units of a check for the duration of the context, and remove everything whatever happens.

    Args:
        layout: the application's paths.
        generation: the generation's id.
        timeout: seconds after which systemd kills it, if nothing else does.
        memory_mb: megabytes of memory above which the kernel kills it.

    Raises:
        SystemdError: systemd refuses the units.
    """
    # Read after generation.conf, whose limits are those of a service.
    limits = {
        layout.dropin(layout.check(generation), "limits"): (
            f"[Service]\nMemoryMax={memory_mb}M\nMemorySwapMax=0\nRuntimeMaxSec={timeout + temporary.GRACE:.0f}\n"
            f"TimeoutStartSec={timeout + temporary.GRACE:.0f}\nTimeoutStopSec=5\n"
        )
    }
    with temporary.installed(layout, layout.check("*"), {**gen.targets(layout, generation, kinds.CHECK), **limits}):
        yield Instance(layout, generation)
