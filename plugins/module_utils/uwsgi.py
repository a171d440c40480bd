"""What a running uWSGI instance tells: its stats, and its health over the private socket."""

from __future__ import annotations

import http.client
import json
import socket
import time
from pathlib import Path
from typing import Any

# Seconds that an attempt must have had for its silence to tell anything.
_TELLING_S = 0.5


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a UNIX socket.

    Args:
        path: the socket.
        timeout: seconds for each read.
    """

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect, as its base class asks for."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def read_stats(path: Path, timeout: float = 5) -> dict[str, Any]:
    """Return uWSGI's stats document.

    Args:
        path: the stats server's UNIX socket.
        timeout: seconds for each read.

    Raises:
        OSError: nobody listens there, or it does not answer in time.
        ValueError: the answer is not JSON.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        connection.connect(str(path))
        chunks = iter(lambda: connection.recv(1 << 16), b"")
        document: dict[str, Any] = json.loads(b"".join(chunks))
    return document


def respawns(path: Path) -> int:
    """Return how often the master had to start a worker anew because one had died.

    Args:
        path: the stats server's UNIX socket.

    Raises:
        OSError: nobody listens there, or it does not answer in time.
        ValueError: the answer is not JSON.
    """
    # uWSGI counts the first start as well.
    return sum(max(0, worker["respawn_count"] - 1) for worker in read_stats(path)["workers"])


def health(path: Path, target: str, timeout: float) -> tuple[int, str]:
    """Ask an instance for its health over its private UNIX socket.

    Args:
        path: the instance's UNIX socket, which speaks HTTP.
        target: the path to GET, such as ``/healthz``.
        timeout: seconds for each read; the body's first piece is enough.

    Returns:
        the HTTP status and the first 2000 characters of the body; of a redirect, where it leads.

    Raises:
        OSError: nobody listens, or no answer within the timeout.
    """
    connection = UnixConnection(path, timeout)
    try:
        connection.request("GET", target)
        response = connection.getresponse()
        if 300 <= response.status < 400 and (leads := response.getheader("Location")):
            return response.status, f"a redirect to {leads}"
        return response.status, response.read1(2000).decode(errors="replace")
    except http.client.HTTPException as error:
        raise OSError(f"no HTTP answer: {error!r}") from error
    finally:
        connection.close()


def accepts(path: Path, timeout: float) -> None:
    """Connect to an instance, and ask nothing.

    Raises:
        OSError: nobody listens.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout)
        connection.connect(str(path))


def await_health(path: Path, target: str, status: int, timeout: float) -> str | None:
    """Ask until the instance answers as wanted.

    Args:
        path: the instance's UNIX socket.
        target: the path to GET; empty where it is enough that a connection is accepted.
        status: the HTTP status that means healthy.
        timeout: seconds after which it counts as unhealthy.

    Returns:
        None when healthy, else what the last attempt got that the deadline did not cut short.
    """
    deadline = time.monotonic() + timeout
    problem = ""
    while True:
        remaining = deadline - time.monotonic()
        try:
            if not target:
                accepts(path, max(remaining, 0.1))
                return None
            answered, body = health(path, target, max(remaining, 0.1))
            problem = f"GET {target} answered {answered} instead of {status}: {body[:300].strip()}"
            if answered == status:
                return None
            if 300 <= answered < 400 and "a redirect to " in body:
                problem += (
                    f". Set flask_uwsgi_health_path to a path that answers everybody, or flask_uwsgi_health_status "
                    f"to {answered} if that is healthy"
                )
        except OSError as error:
            # One that the deadline cut short tells less than the answer before it.
            if not problem or remaining >= _TELLING_S:
                problem = f"{f'GET {target} got no answer' if target else 'it takes no connection'}: {error}"
        if time.monotonic() >= deadline:
            return problem
        time.sleep(0.1)
