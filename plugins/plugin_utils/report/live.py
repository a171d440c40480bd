"""Shows at the bottom of a terminal what runs, and for how long."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from typing import Any

# Anything that ends sooner is not shown.
_AFTER = 1.0
_EVERY = 0.25
_CLEAR = "\r\x1b[K"


class Live:
    """Redraws the line every second, and removes it before anything else is written."""

    def __init__(self, display: Any) -> None:
        """Watch the output.

        Args:
            display: Ansible's Display, through which everything else is written.
        """
        self._possible = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._lock = threading.RLock()
        self._text, self._since, self._drawn = "", 0.0, ""
        if self._possible:
            self._before(display)
            atexit.register(self.show, "")
            threading.Thread(target=self._run, daemon=True).start()

    def show(self, text: str, since: float = 0.0) -> None:
        """Change the line; do nothing without a terminal.

        Args:
            text: what runs; empty for no line.
            since: when it began, in seconds of the monotonic clock.
        """
        with self._lock:
            self._text, self._since = text, since
            if not text:
                self._clear()

    def _run(self) -> None:
        while True:
            time.sleep(_EVERY)
            with self._lock:
                seconds = time.monotonic() - self._since
                if self._text and seconds >= _AFTER:
                    room = os.get_terminal_size(sys.stdout.fileno()).columns or 80
                    clock = f"  {minutes(seconds)}"
                    line = f"{self._text[: max(0, room - 1 - len(clock))]}{clock}"
                    if line != self._drawn:
                        self._write(f"{_CLEAR}{line}")
                        self._drawn = line

    def _clear(self) -> None:
        if self._drawn:
            self._drawn = ""
            self._write(_CLEAR)

    def _before(self, display: Any) -> None:
        write, process = display.display, os.getpid()

        def clear_and_write(*args: Any, **options: Any) -> None:
            # A forked worker has the lock in its state at that moment, and nothing to clear.
            if os.getpid() != process:
                write(*args, **options)
                return
            with self._lock:
                self._clear()
                write(*args, **options)

        display.display = clear_and_write

    @staticmethod
    def _write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


def minutes(seconds: float) -> str:
    """Return a time as minutes and seconds: 1:05."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
