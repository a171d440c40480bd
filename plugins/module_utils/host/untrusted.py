"""Reads files and sockets that the service's account can replace, without trusting them.

Root does both. The account can put a link, a pipe or a directory in place of any file in its runtime directories, send
a response of any size at one byte a second, and write any document. So nothing here follows a link, waits for a writer
at the other end of a pipe, reads more than a limit, or takes longer than one deadline.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .foreign import printable

# Bytes. The stats of 4 workers with 3000 cores each are 4 MB.
MOST = 64 << 20
# Linux never uses a higher one (proc(5), pid_max).
MOST_PID = 1 << 22
_PIECE = 1 << 16


class UntrustedError(Exception):
    """Something that the service's account can write is not as expected.

    Args:
        path: the file or socket.
        reason: what is wrong with it.
    """

    def __init__(self, path: Path, reason: str) -> None:
        # The reason can quote what was read.
        self.reason = printable(reason, 500)
        self.path = path
        super().__init__(f"{self.reason} ({path})")


def read(path: Path, most: int = MOST, owner: int | None = None) -> bytes:
    """Return the content of a regular file.

    Args:
        path: the file. Its directory must not be replaceable by the account.
        most: maximum size in bytes.
        owner: the uid of the account that must own it; None for any.

    Raises:
        UntrustedError: it does not exist, is not a regular file, belongs to another account, or is too large.
    """
    try:
        # Without O_NONBLOCK, opening a pipe waits for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise UntrustedError(path, _said(error)) from error
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or owner not in (None, found.st_uid):
        os.close(descriptor)
        wrong = "belongs to another account" if stat.S_ISREG(found.st_mode) else "not a regular file"
        raise UntrustedError(path, wrong)
    with os.fdopen(descriptor, "rb") as stream:
        try:
            content = stream.read(most + 1)
        except OSError as error:
            raise UntrustedError(path, _said(error)) from error
    if len(content) > most:
        raise UntrustedError(path, f"larger than {most} bytes")
    return content


def read_pid(path: Path) -> int:
    """Return the process id in a file.

    Raises:
        UntrustedError: it cannot be read, or contains something else.
    """
    text = read(path, 64).decode(errors="replace").strip()
    found = process_id(int(text)) if text.isascii() and text.isdigit() else None
    if found is None:
        raise UntrustedError(path, "it does not contain a process id")
    return found


def process_id(value: object) -> int | None:
    """Return a value as a process id, or None if it is not one: it becomes part of paths, and receives signals."""
    return value if type(value) is int and 0 < value <= MOST_PID else None


def document(content: bytes, path: Path) -> Any:
    """Return a parsed JSON document.

    Args:
        content: the JSON.
        path: where it was read, for the error.

    Raises:
        UntrustedError: it is not JSON, contains NaN or infinity, is nested too deeply, or has a number with too many
            digits.
    """
    try:
        return json.loads(content, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise UntrustedError(path, f"not JSON: {reason}") from error


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON number")


def is_socket(path: Path) -> bool:
    """Return whether a path is a socket itself, not a link to one."""
    try:
        return stat.S_ISSOCK(path.lstat().st_mode)
    except OSError:
        return False


def connect(path: Path, timeout: float) -> None:
    """Connect to a UNIX socket without sending a request.

    Raises:
        UntrustedError: nothing listens, or not within the timeout.
    """
    with _connected(path, time.monotonic() + timeout):
        return


def ask(
    path: Path,
    request: bytes,
    timeout: float,
    *,
    most: int = MOST,
    enough: Callable[[bytearray], bool] = lambda answer: False,
) -> bytes:
    """Send a request to a UNIX socket and return the response.

    Args:
        path: the socket. Its directory must not be replaceable by the account.
        request: what to send; may be empty.
        timeout: seconds in total: connecting, sending, and the whole response.
        most: maximum size of the response in bytes.
        enough: returns whether the response so far is complete. Without it, the response ends when the other side
            closes the connection.

    Raises:
        UntrustedError: it is not a socket, nothing listens, or the response is incomplete at the timeout or too large.
    """
    deadline = time.monotonic() + timeout
    answer = bytearray()
    with _connected(path, deadline) as connection:
        try:
            # Its timeout covers all of the data. Sending nothing would fail if the other side has answered and closed.
            if request:
                connection.sendall(request)
            while not enough(answer):
                connection.settimeout(_left(deadline))
                piece = connection.recv(_PIECE)
                if not piece:
                    break
                answer += piece
                if len(answer) > most:
                    raise UntrustedError(path, f"a response larger than {most} bytes")
        except OSError as error:
            raise UntrustedError(path, _said(error, timeout)) from error
    return bytes(answer)


@contextmanager
def _connected(path: Path, deadline: float) -> Iterator[socket.socket]:
    timeout = deadline - time.monotonic()
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            # The socket that is checked is the one that is connected to, even if it is replaced in between.
            place = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if not stat.S_ISSOCK(os.fstat(place).st_mode):
                    raise UntrustedError(path, "not a socket")
                _connect(connection, f"/proc/self/fd/{place}", deadline)
            finally:
                os.close(place)
            connection.settimeout(_left(deadline))
        except OSError as error:
            raise UntrustedError(path, _said(error, timeout)) from error
        yield connection


def _connect(connection: socket.socket, address: str, deadline: float) -> None:
    while True:
        connection.settimeout(_left(deadline))
        try:
            connection.connect(address)
            return
        except BlockingIOError:
            # Its queue is full; a UNIX socket with a timeout does not wait for space (connect(2), EAGAIN).
            time.sleep(min(0.01, _left(deadline)))


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError(errno.ETIMEDOUT, "timed out")
    return left


def _said(error: OSError, timeout: float | None = None) -> str:
    if isinstance(error, TimeoutError) and timeout is not None:
        return f"timed out after {timeout:.1f} s"
    if error.errno == errno.ELOOP:
        return "a symbolic link"
    return error.strerror or str(error)
