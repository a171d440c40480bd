"""Makes text that others wrote (an application, visitors, a build) safe for a terminal; limited in size, and lossy."""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from collections.abc import Iterable, Sequence

# Characters of a line to show.
MOST_LINE = 8192
# Bytes of an output to read.
MOST = 32 << 20
_PIECE = 1 << 16


def printable(text: str, most: int = MOST_LINE) -> str:
    """Return a line without trailing blanks, with the characters that a terminal would obey or not show spelled out.

    These are control characters, those that change the direction of text, and those without a width
    (``str.isprintable``: Unicode's categories Other and Separator, except the space).

    Args:
        text: the line.
        most: characters after which it is truncated, with a note that says so.
    """
    shown = text[:most].expandtabs().rstrip()
    spelt = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in shown)
    return f"{spelt} … ({len(text) - most} more characters)" if len(text) > most else spelt


def printables(lines: Iterable[str]) -> list[str]:
    """Return each line as :func:`printable` does."""
    return [printable(line) for line in lines]


def capture(command: Sequence[str], timeout: float, most: int = MOST) -> subprocess.CompletedProcess[str]:
    """Run a command and return its output, whatever its bytes and size.

    Args:
        command: the command.
        timeout: seconds after which it is killed.
        most: bytes of standard output after which it is killed; what came until then is returned, and it counts as
            successful.

    Raises:
        subprocess.TimeoutExpired: it did not end in time.
        OSError: it cannot be run.
    """
    deadline = time.monotonic() + timeout
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process, selectors.DefaultSelector() as selector:  # fmt: skip
        output, errors = bytearray(), bytearray()
        for stream, kept in ((process.stdout, output), (process.stderr, errors)):
            if stream:
                selector.register(stream, selectors.EVENT_READ, kept)
        try:
            while selector.get_map():
                ready = selector.select(max(0.0, deadline - time.monotonic()))
                if not ready:
                    raise subprocess.TimeoutExpired(command, timeout)
                for key, _ in ready:
                    piece = os.read(key.fd, _PIECE)
                    if not piece:
                        selector.unregister(key.fileobj)
                    # The beginning of its errors says the most.
                    elif key.data is output or len(errors) < _PIECE:
                        key.data.extend(piece)
                if len(output) > most:
                    process.kill()
                    break
            else:
                process.wait(max(0.1, deadline - time.monotonic()))
        finally:
            if process.poll() is None:
                process.kill()
    cut = len(output) > most
    return subprocess.CompletedProcess(
        list(command),
        0 if cut else process.returncode,
        output[:most].decode(errors="replace"),
        errors.decode(errors="replace"),
    )
