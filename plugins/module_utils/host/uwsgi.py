"""Asks a running uWSGI instance for its stats, and for its health over the private socket."""

from __future__ import annotations

import http.client
import io
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import health_answer as unhealthy
from . import untrusted
from .untrusted import UntrustedError

# Seconds after which an attempt without a response is meaningful.
_MEANINGFUL_S = 0.5
_BODY = 2000
_ERROR = 500
# Bytes of headers; http.client stops at 64 kB a line and 100 lines.
_HEADERS = 1 << 20
# The range of uWSGI's counters (uint64_t).
_MOST = 1 << 64


@dataclass(frozen=True)
class Worker:
    """A worker, as shown by the stats of its instance.

    Args:
        pid: its process id; 0 if it has no process.
        requests: how many requests it has served.
        exceptions: how many of these raised an exception.
        respawns: how often it was restarted because it had died.
        cores: how many requests it can serve at once.
        busy: how many it is serving now.
    """

    pid: int
    requests: int
    exceptions: int
    respawns: int
    cores: int
    busy: int


@dataclass(frozen=True)
class Stats:
    """The counters of a uWSGI instance.

    Args:
        listen_queue: connections that wait in the queue of the public socket.
        backlog: how many can wait; uWSGI does not report it for a UNIX socket.
        workers: its workers.
    """

    listen_queue: int
    backlog: int
    workers: tuple[Worker, ...]


def read_stats(path: Path, timeout: float = 10) -> Stats:
    """Return uWSGI's stats.

    Args:
        path: the stats server's UNIX socket.
        timeout: seconds in total.

    Raises:
        UntrustedError: nothing listens there, it does not respond in time, or the response is not what uWSGI writes.
    """
    document = untrusted.document(untrusted.ask(path, b"", timeout), path)
    try:
        return parse_stats(document)
    except (KeyError, TypeError, ValueError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else error
        raise UntrustedError(path, f"its stats are not what uWSGI writes: {what}") from error


def parse_stats(document: Any) -> Stats:
    """Return the part of the stats server's document that is used.

    Raises:
        KeyError, TypeError, ValueError: it is not what uWSGI writes.
    """
    found = _typed(document, dict, "the document")
    sockets = [_typed(one, dict, "a socket") for one in _typed(found["sockets"], list, "sockets")]
    workers = [_typed(one, dict, "a worker") for one in _typed(found["workers"], list, "workers")]
    return Stats(
        listen_queue=_count(found, "listen_queue"),
        backlog=max((_count(one, "max_queue") for one in sockets), default=0),
        workers=tuple(map(_worker, workers)),
    )


def _worker(found: Mapping[str, Any]) -> Worker:
    cores = [_typed(one, dict, "a core") for one in _typed(found["cores"], list, "cores")]
    pid = found["pid"]
    if pid != 0 and untrusted.process_id(pid) is None:
        raise ValueError("pid is not a process id")
    return Worker(
        pid=int(pid),
        requests=_count(found, "requests"),
        exceptions=_count(found, "exceptions"),
        # uWSGI counts the first start as well.
        respawns=max(0, _count(found, "respawn_count") - 1),
        cores=len(cores),
        busy=sum(bool(_count(core, "in_request")) for core in cores),
    )


def _typed(value: Any, wanted: type, name: str) -> Any:
    if not isinstance(value, wanted):
        raise TypeError(f"{name} is of type {type(value).__name__}, not {wanted.__name__}")
    return value


def _count(found: Mapping[str, Any], name: str) -> int:
    value = found[name]
    if type(value) is not int or not 0 <= value < _MOST:
        raise ValueError(f"{name} is not a count")
    return value


def respawns(path: Path) -> int:
    """Return how often the master restarted a worker because one had died.

    Args:
        path: the stats server's UNIX socket.

    Raises:
        UntrustedError: see :func:`read_stats`.
    """
    return sum(worker.respawns for worker in read_stats(path).workers)


@dataclass(frozen=True)
class Answer:
    """An HTTP response.

    Args:
        status: the HTTP status.
        location: where a redirect leads.
        body: the body, or its beginning.
    """

    status: int
    location: str
    body: str


def get(path: Path, target: str, timeout: float, *, wait_for: int | Callable[[int], int], host: str) -> Answer:
    """Send a GET request to an instance and read the response.

    Args:
        path: the instance's UNIX socket, which speaks HTTP.
        target: the path to GET, such as ``/healthz``.
        timeout: seconds in total.
        wait_for: bytes of the body to wait for, or a function that returns them for a status.
        host: the Host header.

    Raises:
        UntrustedError: nothing listens, or the response is incomplete at the timeout or not HTTP.
    """
    # HTTP/1.0 has no chunks, which could not be read in part.
    request = f"GET {target} HTTP/1.0\r\nHost: {host}\r\nAccept-Encoding: identity\r\nConnection: close\r\n\r\n"
    most = _HEADERS + (_BODY if callable(wait_for) else wait_for) + (1 << 20)
    content = untrusted.ask(path, request.encode(), timeout, most=most, enough=lambda answer: _enough(answer, wait_for))
    if not content:
        raise UntrustedError(path, "the connection was closed")
    try:
        response = _parsed(content)
        try:
            body = response.read()
        except http.client.IncompleteRead as error:
            body = error.partial
    except (http.client.HTTPException, OSError, ValueError) as error:
        raise UntrustedError(path, f"no HTTP answer: {str(error) or type(error).__name__}") from error
    return Answer(response.status, response.getheader("Location") or "", body.decode(errors="replace"))


def _enough(answer: bytearray, wait_for: int | Callable[[int], int]) -> bool:
    """Return whether a response has its headers, and as much of its body as they announce or as is waited for."""
    blank = answer.find(b"\r\n\r\n")
    if blank < 0:
        return len(answer) > _HEADERS
    there = len(answer) - blank - 4
    try:
        head = _parsed(bytes(answer[: blank + 4]))
    except (http.client.HTTPException, OSError, ValueError):
        return True
    wanted = wait_for(head.status) if callable(wait_for) else wait_for
    return there >= (wanted if head.length is None else min(wanted, head.length))


class _Received:
    """Bytes in place of a socket, for ``http.client.HTTPResponse``."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._content)


def _parsed(content: bytes) -> http.client.HTTPResponse:
    response = http.client.HTTPResponse(_Received(content), method="GET")  # type: ignore[arg-type]
    response.begin()
    return response


def health(path: Path, target: str, timeout: float, host: str = "localhost", wanted: int = 0) -> Answer:
    """Ask an instance for its health over its private UNIX socket.

    Args:
        path: the instance's UNIX socket, which speaks HTTP.
        target: the path to GET, such as ``/healthz``.
        timeout: seconds in total.
        host: the Host header.
        wanted: the status whose body does not matter; 0 for any.

    Returns:
        the response; for another status, with the first characters of its body.

    Raises:
        UntrustedError: nothing listens, or no response within the timeout.
    """
    answer = get(
        path, target, timeout, host=host, wait_for=lambda status: 1 if wanted in (0, status) else _BODY
    )  # fmt: skip
    return Answer(answer.status, answer.location, answer.body[:_BODY])


def await_health(
    path: Path,
    target: str,
    status: int,
    timeout: float,
    host: str = "localhost",
    remark: Callable[[str], None] = lambda _: None,
) -> str | None:
    """Ask until the instance responds with the expected status.

    Args:
        path: the instance's UNIX socket.
        target: the path to GET.
        status: the HTTP status that means healthy; 0 if any response is accepted, because no health path is set.
        timeout: seconds after which it counts as unhealthy.
        host: the Host header.
        remark: called with a sentence if a response is accepted that reports an error.

    Returns:
        None if healthy, else what the last attempt got that was not cut short by the deadline.
    """
    deadline = time.monotonic() + timeout
    problem = ""
    while True:
        remaining = deadline - time.monotonic()
        try:
            answer = health(path, target, max(remaining, 0.1), host, status)
            if not status and answer.status >= _ERROR:
                remark(
                    f"GET {target} answered {answer.status}: {unhealthy.gist(answer.body)}. No flask_uwsgi_health_path "
                    "is set, so any response is accepted: set it to a path that shows whether the application works"
                )
            if status in (0, answer.status):
                return None
            said = f"a redirect to {answer.location}" if answer.location else unhealthy.gist(answer.body)
            advice = unhealthy.advice(answer.status, status, target, host, answer.location)
            problem = f"GET {target} answered {answer.status} instead of {status}{f': {said}' if said else ''}"
            problem += f". {advice}" if advice else ""
        except UntrustedError as error:
            # An attempt that the deadline cut short says less than the response before it.
            if not problem or remaining >= _MEANINGFUL_S:
                problem = f"GET {target} got no answer: {error.reason}"
                if not status:
                    problem += ". Set flask_uwsgi_health_path to a path that answers"
        if time.monotonic() >= deadline:
            return problem
        time.sleep(0.1)
