"""Code that both clients share: the command line, the request, the measurement and the result. Only sending differs.

It only imports the standard library: each client has its own libraries, and is measured without the other's.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import json
import math
import platform
import re
import resource
import signal
import sys
import time
import tokenize
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

LOGIN = "/user_manage/user/login"
KINDS = ("refused", "reset", "timeout", "status", "other")
# Besides one for each connection: standard streams, event loop, resolver, modules.
SPARE_FILES = 64
# What the libraries raise when the server closes the connection before its response is complete. By name, since they
# are not imported here.
CLOSED = ("IncompleteRead", "ClientPayloadError", "ServerDisconnectedError")
# Tokens that are not code, besides those of layout.
LAYOUT = (tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)


@dataclass(frozen=True)
class Options:
    """The checked command line.

    Attributes:
        url: the URL of all requests.
        requests: number of requests.
        concurrency: number of requests in flight.
        timeout_s: seconds that a whole request may take, from the connect to the last byte.
        token: sent as the header `token`.
        user_id: sent in the body, like the next two.
        password: a made-up one.
        expires_time: seconds.
    """

    url: str
    requests: int
    concurrency: int
    timeout_s: float
    token: str
    user_id: str
    password: str
    expires_time: int

    def arguments(self) -> list[str]:
        """Return the equivalent command line."""
        return [
            self.url,
            f"--requests={self.requests}",
            f"--concurrency={self.concurrency}",
            f"--timeout={self.timeout_s}",
            f"--token={self.token}",
            f"--user-id={self.user_id}",
            f"--password={self.password}",
            f"--expires-time={self.expires_time}",
        ]


@dataclass
class Answer:
    """What a client received of one response: its status, once the response is complete."""

    status: int | None = None


class Load:
    """The requests to send, and their results.

    Attributes:
        url: the URL of the POST requests.
        headers: their headers, besides those that each library adds.
        body: the JSON body, created once: creating it is not part of sending.
        requests: number of requests to send.
        concurrency: number of requests in flight.
        timeout_s: seconds that a whole request may take.
        latencies_s: seconds of each request that was answered with 200.
        failures: number of other requests, by kind.
        examples: the message of the first failure of each kind.
    """

    def __init__(self, options: Options) -> None:
        self.url = options.url
        self.headers = {"Content-Type": "application/json", "token": options.token}
        self.body = json.dumps(
            {"user_id": options.user_id, "password": options.password, "expires_time": options.expires_time}
        ).encode()
        self.requests = options.requests
        self.concurrency = options.concurrency
        self.timeout_s = options.timeout_s
        self.latencies_s: list[float] = []
        self.failures = dict.fromkeys(KINDS, 0)
        self.examples: dict[str, str] = {}

    @contextlib.contextmanager
    def request(self) -> Iterator[Answer]:
        """Measure one request, which fails unless its block ends without an error and with status 200."""
        answer = Answer()
        begun = time.perf_counter()
        try:
            yield answer
        # Whatever the error is, a user would have got no response.
        except Exception as error:
            self._fail(*failure(error, self.timeout_s))
        else:
            if answer.status == 200:
                self.latencies_s.append(time.perf_counter() - begun)
            else:
                self._fail("status", f"status {answer.status}")

    def _fail(self, kind: str, text: str) -> None:
        self.failures[kind] += 1
        self.examples.setdefault(kind, text)


def main(client: str, file: str, libraries: Sequence[str], send: Callable[[Load], None]) -> int:
    """Run a client as a command: JSON on standard output, a line for people on standard error.

    Args:
        client: its name.
        file: its source file.
        libraries: the distributions that it uses.
        send: sends all requests of a load.

    Returns:
        0 if every request was answered with 200, otherwise 1; a wrong command line exits with 2.
    """
    # Ctrl-C must end it immediately, without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    parser = make_parser(
        f"python -m clients.{client}_client",
        f"Send POST requests concurrently with {' and '.join(libraries)}, and measure them. The status is 0 if every "
        "request was answered with 200, 1 if not, 2 if it was called wrongly.",
    )
    load = Load(read(parser, parser.parse_args()))
    started_at = now()
    cpu_before_s = cpu_s()
    begun = time.perf_counter()
    send(load)
    duration_s = time.perf_counter() - begun
    used_s = cpu_s() - cpu_before_s
    measured = {
        "client": client,
        "libraries": {library: version(library) for library in libraries},
        "python": platform.python_version(),
        "lines": lines_of(file),
        "started_at": started_at,
        **result(load, duration_s, used_s),
    }
    print(json.dumps(measured, indent=2))
    print(describe(measured), file=sys.stderr)
    return 0 if measured["failed"] == 0 else 1


def result(load: Load, duration_s: float, used_s: float) -> dict[str, Any]:
    """Return the measurements as plain data; missing ones are None."""
    ordered_ms = sorted(latency * 1000 for latency in load.latencies_s)
    return {
        "url": load.url,
        "requests": load.requests,
        "concurrency": load.concurrency,
        "ok": len(ordered_ms),
        "failed": sum(load.failures.values()),
        "failures": load.failures,
        "examples": load.examples,
        "duration_s": round(duration_s, 4),
        "requests_per_second": round(len(ordered_ms) / duration_s, 1),
        **{f"{name}_ms": percentile(ordered_ms, percent) for name, percent in (("p50", 50), ("p99", 99), ("max", 100))},
        "cpu_s": round(used_s, 3),
        "peak_memory_mb": round(peak_memory_mb(), 1),
    }


def describe(measured: dict[str, Any]) -> str:
    """Return a result as one line for people."""
    parts = [
        f"{measured['client']}: {measured['ok']:,} of {measured['requests']:,} requests answered with 200 "
        f"in {measured['duration_s']:.2f} s, {measured['concurrency']:,} at the same time"
    ]
    if measured["ok"]:
        parts.append("p50 {p50_ms:,.0f} ms, p99 {p99_ms:,.0f} ms, longest {max_ms:,.0f} ms".format_map(measured))
    parts.append("{cpu_s:.2f} s of CPU, {peak_memory_mb:.0f} MB, {lines} lines of code".format_map(measured))
    if measured["failed"]:
        parts.append(describe_failures(measured))
    return "; ".join(parts)


def describe_failures(measured: dict[str, Any]) -> str:
    """Return how many requests failed, and the message of the first of each kind."""
    kinds = (
        f"{kind} {count:,} ({measured['examples'][kind]})" for kind, count in measured["failures"].items() if count
    )
    return f"{measured['failed']:,} failed: {', '.join(kinds)}"


def failure(error: Exception, timeout_s: float) -> tuple[str, str]:
    """Return the kind and the message of an error.

    The libraries wrap the system's errors, requests up to four times: the first known one in the
    chain says what happened.
    """
    seen: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in seen:
        if isinstance(link, TimeoutError):
            return "timeout", f"no complete response within {timeout_s:g} s"
        if isinstance(link, ConnectionRefusedError) or getattr(link, "errno", None) == errno.ECONNREFUSED:
            return "refused", _said(link)
        if (
            isinstance(link, ConnectionError)
            or getattr(link, "errno", None) in (errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE)
            or type(link).__name__ in CLOSED
        ):
            return "reset", _said(link)
        seen.append(link)
        link = link.__cause__ or link.__context__
    return "other", _said(error)


def percentile(ordered: Sequence[float], percent: int) -> float | None:
    """Return the smallest of ordered values that `percent` of them do not exceed; None if there are none."""
    return round(ordered[max(math.ceil(len(ordered) * percent / 100), 1) - 1], 2) if ordered else None


def cpu_s() -> float:
    """Return the CPU seconds this process has used."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak_memory_mb() -> float:
    """Return the peak memory of this process."""
    # Linux includes in ru_maxrss what the parent used when it started this process: a client that is started by a
    # large program would seem as large. VmHWM starts from zero with the program.
    with contextlib.suppress(OSError):
        if peak := re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text()):
            return int(peak[1]) / 1024
    unit = 1024 * 1024 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def lines_of(file: str | Path) -> int:
    """Count the lines of code of a Python source, without blank lines, comments and docstrings."""
    with tokenize.open(file) as opened:
        text = opened.read()
    source = text.splitlines()
    code: set[int] = set()
    statement: list[tokenize.TokenInfo] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NEWLINE:
            # A statement that is only a string does nothing: it is a docstring.
            if any(part.type != tokenize.STRING for part in statement):
                code.update(line for part in statement for line in range(part.start[0], part.end[0] + 1))
            statement.clear()
        elif token.type not in LAYOUT:
            statement.append(token)
    return sum(1 for line in code if source[line - 1].strip())


def now() -> str:
    """Return the time as ISO 8601, in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def make_parser(program: str, description: str) -> argparse.ArgumentParser:
    """Return a parser with the flags that both clients and the comparison have; `read` takes its result."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("url", type=_url, help=f"http://HOST:PORT, for the login there ({LOGIN}), or with another path")
    parser.add_argument("--requests", type=count, default=300, help="how many in all (default: 300)")
    parser.add_argument("--concurrency", type=count, help="how many at the same time (default: all)")
    parser.add_argument("--timeout", type=_seconds, default=30.0, help="seconds for a request (default: 30)")
    parser.add_argument("--token", type=_token, default="made-up-token", help="the header `token`")
    parser.add_argument("--user-id", default="user-1", help="in the body")
    parser.add_argument("--password", default="made-up-password", help="in the body; others see command lines")
    parser.add_argument("--expires-time", type=count, default=3600, help="in the body, seconds (default: 3600)")
    return parser


def read(parser: argparse.ArgumentParser, parsed: argparse.Namespace) -> Options:
    """Check flags against each other, and allow as many open files as the load needs; exit with 2 if that fails."""
    concurrency = parsed.concurrency or parsed.requests
    if concurrency > parsed.requests:
        parser.error(f"--concurrency {concurrency} is more than --requests {parsed.requests}")
    try:
        allow_open_files(concurrency + SPARE_FILES)
    except ValueError as error:
        parser.error(str(error))
    return Options(
        url=parsed.url,
        requests=parsed.requests,
        concurrency=concurrency,
        timeout_s=parsed.timeout,
        token=parsed.token,
        user_id=parsed.user_id,
        password=parsed.password,
        expires_time=parsed.expires_time,
    )


def allow_open_files(needed: int) -> None:
    """Raise the limit of open files to what is needed, or raise ValueError: each connection is an open file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise ValueError(
            f"this process may open {hard} files at most, and needs {needed}, one for each connection and "
            f"{SPARE_FILES} more: lower --concurrency, or raise the hard limit (ulimit -Hn, as root)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def count(text: str) -> int:
    """Parse a positive whole number, for argparse."""
    if not (text.isascii() and text.isdecimal() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def _url(text: str) -> str:
    wanted = f"{text!r} is not http://HOST:PORT or http://HOST:PORT/PATH"
    try:
        url = urlsplit(text)
        # Accessing the port checks it.
        usable = url.scheme in ("http", "https") and url.port != 0
    except ValueError:
        raise argparse.ArgumentTypeError(wanted) from None
    # The libraries would refuse each request, or send something unintended, such as a name before an @.
    if not usable or not re.fullmatch(r"(\w[\w.-]*|\[[0-9a-fA-F:.]+\])(:\d+)?", url.netloc) or re.search(r"\s", text):
        raise argparse.ArgumentTypeError(wanted)
    return url._replace(path=LOGIN).geturl() if url.path in ("", "/") else text


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < (seconds := float(text)) < math.inf:
            return seconds
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")


def _token(text: str) -> str:
    if not re.fullmatch(r"[!-~]([ -~]*[!-~])?", text):
        raise argparse.ArgumentTypeError(f"{text!r} cannot be sent in a header: use ASCII letters, digits and signs")
    return text


def _said(error: BaseException) -> str:
    # Some messages have several lines.
    return " ".join(str(error).split()) or type(error).__name__
