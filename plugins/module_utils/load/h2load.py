"""Reads the output of h2load and its log of requests, and finds out why it made no connection.

h2load 1.52 ends with status 0 even if no connection was made, and does not print why.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections import Counter
from dataclasses import dataclass
from urllib.parse import urlsplit

from . import result
from .engine import LoadError

# Each protocol as h2load names it once a connection uses it; h2c is HTTP/2 without TLS.
SPOKEN = {"http/1.1": ("http/1.1",), "h2": ("h2", "h2c")}
_PROTOCOL = re.compile(r"^Application protocol: (\S+)", re.M)
_FINISHED = re.compile(r"^finished in ([0-9]{1,12}(?:\.[0-9]{1,9})?)(s|ms|us),", re.M)
_REQUESTS = re.compile(
    r"^requests: ([0-9]{1,15}) total, ([0-9]{1,15}) started, [0-9]+ done, [0-9]+ succeeded, [0-9]+ failed, "
    r"([0-9]{1,15}) errored, ([0-9]{1,15}) timeout",
    re.M,
)
_STATUS = re.compile(r"^status codes: ([0-9]{1,15}) 2xx, ([0-9]{1,15}) 3xx, ([0-9]{1,15}) 4xx, ([0-9]{1,15}) 5xx", re.M)
_TRAFFIC = re.compile(r"^traffic: \S+ \(([0-9]{1,18})\) total", re.M)
_PROGRESS = re.compile(r"^progress: ([0-9]{1,3}% done)", re.M)
# A line of the log: start, status (-1 if no response arrived), microseconds.
_REQUEST = re.compile(r"^[0-9]+\t([0-9]{3})\t([0-9]{1,15})$", re.M)
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
_HTTP2 = "enable HTTP/2 there (ALPN h2), or measure with protocol http/1.1"
_UNKNOWN_HOST = "getaddrinfo() failed"


@dataclass(frozen=True)
class H2loadResult(result.Measured):
    """The result of one run of h2load.

    Its failures have the kinds ``read`` (the connection or the stream ended first), ``timeout``, and ``unsent``, those
    of connections that were not made or had ended. The run takes the time to connect as well, and a request begins when
    it is sent.

    Args:
        protocol: what was spoken: ``http/1.1``, ``h2``, or ``h2c`` without TLS.
    """

    protocol: str


def parse(stdout: str, stderr: str, returncode: int | None, log: str, protocol: str) -> H2loadResult | LoadError:
    """Read what one run of h2load printed and logged.

    Args:
        stdout: its standard output.
        stderr: its standard error.
        returncode: its exit status; negative for a signal, None if it was ended because it took too long.
        log: the file that it wrote, with a line for each request.
        protocol: what it should speak, ``http/1.1`` or ``h2``.

    Returns:
        the numbers, or why there are none: kind ``connect`` if no connection was made, for which :func:`obstacle` finds
        the reason.
    """
    requests, status, finished = _REQUESTS.search(stdout), _STATUS.search(stdout), _FINISHED.search(stdout)
    spoken = _PROTOCOL.search(stdout)
    if returncode != 0 or not (requests and status and finished):
        return _error(stdout, stderr, returncode)
    if not spoken:
        return LoadError("connect", "h2load made no connection")
    if spoken[1] not in SPOKEN[protocol]:
        return LoadError("protocol", f"h2load should speak {protocol}, but spoke {spoken[1]}", _HTTP2)
    total, started, errored, timeout = (int(number) for number in requests.groups())
    by_class = [int(number) for number in status.groups()]
    complete = sum(by_class)
    if spoken[1] == "h2c" and not complete and errored > timeout:
        remedy = "most servers speak HTTP/2 with TLS only: use https, or protocol http/1.1"
        return LoadError("protocol", "no request got a response in HTTP/2 without TLS", remedy)
    histogram: Counter[float] = Counter()
    for line in _REQUEST.finditer(log):
        # To a tenth of a millisecond: a histogram of microseconds would have a line for every request.
        histogram[round(int(line[2]) / 1000, 1)] += 1
    if (logged := sum(histogram.values())) != complete:
        return LoadError("unparsable", f"h2load counted {complete} responses, but logged {logged}")
    unsent = min(errored, max(0, total - started))
    seconds = float(finished[1]) * _SECONDS[finished[2]]
    traffic = _TRAFFIC.search(stdout)
    return H2loadResult(
        complete=complete,
        failed=errored,
        failures={"read": max(0, errored - unsent - timeout), "timeout": timeout, "unsent": unsent},
        non_2xx=complete - by_class[0],
        duration_s=round(seconds, 3),
        requests_per_second=round(complete / seconds, 2) if seconds else 0.0,
        transferred_bytes=int(traffic[1]) if traffic else 0,
        protocol=spoken[1],
        histogram_ms=dict(histogram),
    )


def obstacle(url: str, connect_to: str, protocol: str, timeout_s: float) -> LoadError:
    """Find out why h2load made no connection, by making one as it does.

    Args:
        url: the URL of the run.
        connect_to: HOST or HOST:PORT to connect to; empty for that of the URL.
        protocol: what h2load should speak, ``http/1.1`` or ``h2``.
        timeout_s: seconds to wait for the connection.
    """
    parts, place = urlsplit(url), urlsplit(f"//{connect_to}")
    port = place.port or parts.port or (443 if parts.scheme == "https" else 80)
    where = f"{place.hostname or parts.hostname} port {port}"
    made = f"h2load made no connection to {where}"
    try:
        with socket.create_connection((place.hostname or parts.hostname, port), timeout_s) as connection:
            if parts.scheme == "http":
                return LoadError("connect", made, "the server closes its connections: see its log")
            with _context(protocol).wrap_socket(connection, server_hostname=parts.hostname) as secure:
                chosen = secure.selected_alpn_protocol()
    except ConnectionRefusedError:
        remedy = "nothing listens there: does the service run, and is the port correct?"
        return LoadError("refused", f"{made}: Connection refused", remedy)
    except ssl.SSLError as error:
        return LoadError("tls", f"{made}: {error.reason or error}", "does the port speak TLS?")
    except OSError as error:
        remedy = "check routing and firewalls, and whether the service runs"
        return LoadError("unreachable", f"{made}: {error.strerror or error}", remedy)
    if protocol == "h2" and chosen != "h2":
        return LoadError("protocol", f"{where} does not speak HTTP/2: it chose {chosen or 'no protocol'}", _HTTP2)
    return LoadError("connect", made, "the server closes its connections: see its log")


def _context(protocol: str) -> ssl.SSLContext:
    """Return the settings of a TLS connection that verifies nothing, as those of h2load."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    # With HTTP/1.1 as well, a server says that it prefers it. Without, it would only close the connection.
    context.set_alpn_protocols(["h2", "http/1.1"] if protocol == "h2" else ["http/1.1"])
    return context


def _error(stdout: str, stderr: str, returncode: int | None) -> LoadError:
    if returncode is None:
        progress = _PROGRESS.findall(stdout)
        done = f" ({progress[-1]})" if progress else ""
        return LoadError("time_limit", f"h2load did not finish within its time limit{done} and was ended")
    said = [line.strip() for line in [*stderr.splitlines(), *stdout.splitlines()] if line.strip()]
    if line := next((line for line in said if _UNKNOWN_HOST in line), None):
        remedy = "the host's name does not resolve on the host that runs h2load"
        return LoadError("unknown_host", f"h2load gave up: {line}"[:200], remedy)
    if returncode < 0:
        return LoadError("killed", f"h2load was ended by signal {-returncode}")
    begins = said[0][:120] if said else "nothing"
    return LoadError(
        "unparsable",
        f"h2load ended with status {returncode} and without a result; it printed: {begins}",
        "flaskops.uwsgi.h2load needs h2load 1.52 or newer",
    )
