"""Reads the output of ApacheBench (``ab``).

One pure function, :func:`parse`, turns the output of one ``ab`` run into an :class:`AbResult`. It reads the
lines of every ``ab`` from 1.3 to the multi-threaded one of httpd's trunk, and the messages with which ``ab`` gives up.
It never raises: whatever was printed, the result contains what was measured and a description of what went wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from .engine import LoadError, version


@dataclass
class Failures:
    """How requests failed. ``ab`` counts one lost request under up to three kinds."""

    connect: int = 0
    receive: int = 0
    length: int = 0
    exceptions: int = 0
    write: int = 0


@dataclass(frozen=True)
class Times:
    """One line of the table "Connection Times"; ``sd_ms`` and ``median_ms`` are None under ``-S``."""

    min_ms: int
    mean_ms: int
    sd_ms: float | None
    median_ms: int | None
    max_ms: int


@dataclass
class AbResult:
    """The result of one run of ``ab``. A value that was not printed is None, a counter 0.

    Attributes:
        returncode: exit status; negative for a signal, as in :mod:`subprocess`.
        ab_version: the version from the banner, such as ``2.3``.
        document_length_bytes: length of the first response's body, with which all others are compared.
        concurrency: requests that were kept in flight.
        complete: requests that ended, successfully or not; after an abort the number that ``ab`` prints.
        failed: failed requests as ``ab`` counts them: up to three for one request.
        non_2xx: responses with another status; ``ab`` does not count these as failed.
        duration_s: seconds from the first connection to the last response.
        requests_per_second: complete requests by seconds.
        mean_ms: mean milliseconds of one request.
        percentiles_ms: milliseconds within which that percentage of the requests was served; 100 is the
            longest.
        times_ms: the table "Connection Times" by its lower-case labels.
        warnings: warnings that ``ab`` itself prints.
        error: why it ended early or what it printed instead of numbers; None after a complete run.
    """

    returncode: int = 0
    ab_version: str | None = None
    server_software: str | None = None
    tls_protocol: str | None = None
    document_path: str | None = None
    document_length_bytes: int | None = None
    concurrency: int | None = None
    complete: int = 0
    failed: int = 0
    failures: Failures = field(default_factory=Failures)
    non_2xx: int = 0
    keep_alive: int | None = None
    duration_s: float | None = None
    requests_per_second: float | None = None
    mean_ms: float | None = None
    transferred_bytes: int | None = None
    body_sent_bytes: int | None = None
    html_transferred_bytes: int | None = None
    transfer_kbytes_per_s: float | None = None
    times_ms: dict[str, Times] = field(default_factory=dict)
    percentiles_ms: dict[int, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    error: LoadError | None = None

    @property
    def p50_ms(self) -> int | None:
        """Milliseconds within which half of the requests were served."""
        return self.percentiles_ms.get(50)

    @property
    def p95_ms(self) -> int | None:
        """Milliseconds within which 95 % of the requests were served."""
        return self.percentiles_ms.get(95)

    @property
    def p99_ms(self) -> int | None:
        """Milliseconds within which 99 % of the requests were served."""
        return self.percentiles_ms.get(99)

    @property
    def max_ms(self) -> int | None:
        """Milliseconds of the longest request."""
        total = self.times_ms.get("total")
        return self.percentiles_ms.get(100, total.max_ms if total else None)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain data for JSON, including the computed values.

        Returns:
            The attributes by name, with ``p50_ms``, ``p95_ms``, ``p99_ms`` and ``max_ms``; the percentiles'
            keys are strings, as JSON requires.
        """
        data = asdict(self)
        data["percentiles_ms"] = {str(percent): ms for percent, ms in self.percentiles_ms.items()}
        for name in ("p50_ms", "p95_ms", "p99_ms", "max_ms"):
            data[name] = getattr(self, name)
        return data


def _finite(word: str) -> float:
    """Read a finite number; JSON, the format of reports, has no other."""
    number = float(word)
    if not math.isfinite(number):
        raise ValueError(f"{word} is not a finite number")
    return number


# Label as printed → attribute and how to read the value's first word. "Total POSTed" and "Broken pipe errors"
# are the names that older versions had for what is now "Total body sent" and "Write errors".
_LABELS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "Document Length": ("document_length_bytes", int),
    "Concurrency Level": ("concurrency", int),
    "Time taken for tests": ("duration_s", _finite),
    "Complete requests": ("complete", int),
    "Failed requests": ("failed", int),
    "Non-2xx responses": ("non_2xx", int),
    "Keep-Alive requests": ("keep_alive", int),
    "Total transferred": ("transferred_bytes", int),
    "Total body sent": ("body_sent_bytes", int),
    "Total POSTed": ("body_sent_bytes", int),
    "Total PUT": ("body_sent_bytes", int),
    "HTML transferred": ("html_transferred_bytes", int),
    "Requests per second": ("requests_per_second", _finite),
    "Transfer rate": ("transfer_kbytes_per_s", _finite),
}
_TEXTS = {
    "Server Software": "server_software",
    "SSL/TLS Protocol": "tls_protocol",
    "Document Path": "document_path",
}
_TIMES = ("Connect", "Processing", "Waiting", "Total")

# What ab prints when it gives up: part of the line → kind, remedy. Matched by words and not by number: the
# numbers are the operating system's. The first match wins, so causes come before their consequences.
_ERRORS: tuple[tuple[str, str, str], ...] = (
    (
        "Cannot use concurrency level greater than total number of requests",
        "usage",
        "request at least as many requests as are concurrent",
    ),
    ("Invalid Concurrency", "usage", "this ab cannot keep so many requests in flight; use fewer"),
    ("Invalid number of requests", "usage", "send at least one request"),
    ("invalid URL", "usage", "ab requires a path after host and port, even if only /"),
    ("POST data file", "data_file", "give the path of a readable file on the host that runs ab"),
    ("Too many open files", "open_files", "raise the limit of open files: ulimit -n, or LimitNOFILE="),
    (
        "Cannot assign requested address",
        "ports",
        "no local port was free: widen net.ipv4.ip_local_port_range, or wait a minute for old ones",
    ),
    ("apr_sockaddr_info_get", "unknown_host", "the host's name does not resolve on the host that runs ab"),
    ("Connection refused", "refused", "nothing listens there: does the service run, and is the port correct?"),
    ("No route to host", "unreachable", "no packet arrives: check routing and firewalls"),
    ("Network is unreachable", "unreachable", "no packet arrives: check routing and firewalls"),
    (
        "Connection reset by peer",
        "reset",
        "the server dropped a connection: did it stop, crash or run out of listen queue? See its journal",
    ),
    ("Broken pipe", "reset", "the server closed a connection too early: see its journal"),
    (
        "timeout specified has expired",
        "timeout",
        "no response within the timeout: the server hangs, its listen queue is full, or a firewall drops packets",
    ),
    ("SSL handshake failed", "tls", "the TLS handshake failed: does the server speak TLS on this port?"),
    ("SSL not compiled in", "usage", "this ab does not support https"),
    ("Could not allocate memory", "memory", "there was not enough memory for so many requests"),
    ("Test aborted after", "refused", "connecting failed repeatedly: is the service running?"),
)


def parse(stdout: str, stderr: str, returncode: int) -> AbResult:
    """Read what one run of ``ab`` printed.

    Args:
        stdout: its standard output, the plain format (not ``-w``).
        stderr: its standard error: progress, and the reason when it gave up.
        returncode: its exit status; negative for a signal.

    Returns:
        The numbers in the units of their names, and ``error`` if the run was not complete: ``ab`` gave up,
        was killed, or printed something without numbers.
    """
    found = AbResult(returncode)
    unreadable: list[str] = []
    lines = stdout.splitlines()
    for number, line in enumerate(lines):
        try:
            _read_line(line, found)
        except ValueError:
            unreadable.append(line.strip())
        if line.startswith(("WARNING: ", "ERROR: ")):
            # ab wraps these sentences after the first line.
            following = lines[number + 1].strip() if number + 1 < len(lines) else ""
            found.warnings.append(f"{line.strip()} {following}".strip())
    found.error = _error(found, unreadable, stdout, stderr)
    return found


def _read_line(line: str, found: AbResult) -> None:
    """Store what one line says; raise ValueError if a known label has no number."""
    label, colon, rest = line.strip().partition(":")
    words = rest.split()
    first = words[0] if words else ""
    if number := version("ab", label):
        found.ab_version = number
    elif line.endswith(" requests completed"):
        # In a short run this follows "Benchmarking HOST (be patient)..." on the same line.
        found.complete = int(line.removesuffix(" requests completed").rpartition(" ")[2])
    elif label.startswith("(Connect") and colon:
        for kind, count in _failure_counts(line).items():
            setattr(found.failures, kind, count)
    elif not colon:
        _read_percentile(line, found.percentiles_ms)
    elif label in ("Write errors", "Broken pipe errors"):
        found.failures.write = int(first)
    elif label == "Document Length" and first == "Variable":
        found.document_length_bytes = None
    elif label in _TEXTS:
        setattr(found, _TEXTS[label], rest.strip() or None)
    elif label == "Time per request" and "across" not in rest:
        found.mean_ms = _finite(first)
    elif label in _TIMES:
        found.times_ms[label.lower()] = _read_times(words)
    elif label in _LABELS:
        name, convert = _LABELS[label]
        setattr(found, name, convert(first))


def _failure_counts(line: str) -> dict[str, int]:
    """Read ``(Connect: 0, Receive: 1, Length: 1, Exceptions: 0)``; old versions omit some of them."""
    counts = {}
    for part in line.strip().strip("()").split(","):
        name, _colon, count = part.partition(":")
        if name.strip().lower() in Failures.__dataclass_fields__:
            counts[name.strip().lower()] = int(count)
    return counts


def _read_percentile(line: str, percentiles: dict[int, int]) -> None:
    """Read a line such as ``  99%   5012`` or `` 100%   6200 (longest request)``."""
    words = line.split()
    if len(words) >= 2 and words[0].endswith("%") and words[0][:-1].isdigit() and words[1].isdigit():
        percentiles[int(words[0][:-1])] = int(words[1])


def _read_times(words: Sequence[str]) -> Times:
    """Read min, mean, sd, median, max; or min, mean, max as ``-S`` and old versions print."""
    if len(words) == 3:
        low, mean, high = (int(word) for word in words)
        return Times(low, mean, None, None, high)
    if len(words) != 5:
        raise ValueError("neither three nor five times")
    return Times(int(words[0]), int(words[1]), _finite(words[2]), int(words[3]), int(words[4]))


def _error(found: AbResult, unreadable: list[str], stdout: str, stderr: str) -> LoadError | None:
    """Return why the run is not complete, or None."""
    returncode = found.returncode
    whole = "Complete requests:" in stdout
    if returncode != 0 or not whole:
        # A complete run may have had such errors and continued (-r): then the counters include them.
        said = stderr.splitlines() + stdout.splitlines()
        for part, kind, remedy in _ERRORS:
            line = next((line for line in said if part in line), None)
            if line is not None:
                ended = f" after {found.complete} requests" if found.complete else ""
                return LoadError(kind, f"ab gave up{ended}: {line.strip().removeprefix('ab: ')}", remedy)
    if returncode < 0:
        return LoadError("killed", f"ab was ended by signal {-returncode}")
    if returncode != 0:
        reason = next((line.strip() for line in stderr.splitlines() if line.strip()), "it printed no reason")
        return LoadError("failed", f"ab ended with status {returncode}: {reason}")
    if unreadable:
        return LoadError("unparsable", f"ab printed a number that cannot be read: {unreadable[0]!r}")
    if not whole:
        begins = next((line.strip() for line in stdout.splitlines() if line.strip()), "nothing")
        return LoadError("unparsable", f"ab printed no result; its output begins: {begins[:120]}")
    return None


def parse_percentiles_csv(text: str, complete: int) -> list[float]:
    """Read the file that ``ab -e`` writes: percent served and time in ms.

    For the last percents of 50 requests or fewer, ab reads past the end of its list and writes whatever is there (2.3,
    ``output_results``: ``stats[0.5 + done * i / 100]``); the longest request's time is used instead.

    Args:
        text: the file's content.
        complete: number of requests in it.

    Returns:
        Milliseconds for each percent from 0 on; empty if the text is not such a file. Older versions stop
        at 99, newer ones at 100.
    """
    curve: list[float] = []
    for line in text.splitlines()[1:]:
        percent, comma, ms = line.partition(",")
        try:
            if not comma or int(percent) != len(curve):
                return []
            curve.append(_finite(ms))
        except ValueError:
            return []
    for place in range(min(len(curve), 100)):
        if int(0.5 + complete * place / 100) >= complete:
            curve[place] = curve[-1] if len(curve) > 100 else curve[place - 1]
    return curve


def parse_requests_tsv(text: str) -> dict[int, int]:
    """Read the file that ``ab -g`` writes, a line for each request, not in order of time.

    Args:
        text: the file's content.

    Returns:
        Requests by whole milliseconds, as ab writes them (``ttime``); empty if the text is not such a file, or
        incomplete.
    """
    head, *lines = text.splitlines() or [""]
    columns = head.split("\t")
    if "ttime" not in columns:
        return {}
    place = columns.index("ttime")
    found: dict[int, int] = {}
    for line in lines:
        try:
            ms = int(line.split("\t")[place])
        except (IndexError, ValueError):
            return {}
        found[ms] = found.get(ms, 0) + 1
    return found
