"""Reads the output of wrk, and the script that makes it print the numbers.

wrk 4.1 passes its script a summary and the latencies, value by value: src/script.c and SCRIPTING of wg/wrk. For each
value it goes through all the microseconds from the fastest response to the slowest (src/stats.c: stats_value_at), which
takes minutes if responses take seconds. So the script reads the counters themselves, which LuaJIT can.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from . import result
from .engine import LoadError

_MARK = "FLASKOPS "
# What the script prints besides the latencies.
_COUNTS = ("duration_us", "requests", "bytes", "connect", "read", "write", "status", "timeout")
# Lua's %q prints a string that Lua reads back, as the body needs; the numbers are printed as JSON.
_SCRIPT = """\
wrk.method = {method}
wrk.body = {body}
wrk.headers["Content-Type"] = {content_type}
function done(summary, latency, requests)
  local e = summary.errors
  local counts = {{}}
  local ffi = require("ffi")
  ffi.cdef("typedef struct {{ uint64_t count, limit, min, max, data[]; }} stats;")
  local all = ffi.cast("stats **", latency)[0]
  if tonumber(all.min) == latency.min and tonumber(all.max) == latency.max then
    for value = latency.min, latency.max do
      if all.data[value] > 0 then
        counts[#counts + 1] = string.format('"%d":%d', value, tonumber(all.data[value]))
      end
    end
  else
    -- another version: slow, and right
    for i = 1, #latency do
      local value, count = latency(i)
      counts[#counts + 1] = string.format('"%d":%d', value, count)
    end
  end
  io.write("{mark}", string.format('{{"duration_us":%d,"requests":%d,"bytes":%d,', summary.duration, summary.requests,
    summary.bytes), string.format('"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d,', e.connect, e.read,
    e.write, e.status, e.timeout), '"latency_us":{{', table.concat(counts, ","), "}}}}\\n")
end
"""
# Part of a line that wrk prints → kind, remedy.
_ERRORS = (
    ("Connection refused", "refused", "nothing listens there: does the service run, and is the port correct?"),
    ("unable to resolve", "unknown_host", "the host's name does not resolve on the host that runs wrk"),
    ("No route to host", "unreachable", "no packet arrives: check routing and firewalls"),
    ("unable to connect", "unreachable", "no connection: is the service running?"),
    ("Too many open files", "open_files", "raise the limit of open files: ulimit -n, or LimitNOFILE="),
)


@dataclass(frozen=True)
class WrkResult(result.Measured):
    """The result of one run of wrk.

    Its failures have the kinds ``connect``, ``read``, ``write`` and ``timeout``; a status above 399 is not 2xx.
    """


def script(body: str | None, content_type: str) -> str:
    """Return the Lua script of a run.

    Args:
        body: the body to POST; None to GET.
        content_type: the body's type.
    """
    return _SCRIPT.format(
        method=_lua("GET" if body is None else "POST"),
        body="nil" if body is None else _lua(body),
        content_type=_lua(content_type),
        mark=_MARK,
    )


def _lua(text: str) -> str:
    """Quote a string for Lua: with every byte that is not plain as its number."""
    plain = {*range(32, 127)} - {ord('"'), ord("\\")}
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03d}" for byte in text.encode()) + '"'


def parse(stdout: str, stderr: str, returncode: int | None) -> WrkResult | LoadError:
    """Read what one run of wrk printed.

    Args:
        stdout: its standard output, with the line of :func:`script`.
        stderr: its standard error.
        returncode: its exit status; negative for a signal, None if it was ended because it took too long.

    Returns:
        the numbers, or why there are none.
    """
    line = next((line for line in stdout.splitlines() if line.startswith(_MARK)), None)
    numbers = _numbers(line.removeprefix(_MARK)) if line is not None else None
    if returncode != 0 or numbers is None:
        return _error(stdout, stderr, returncode)
    counts, latency_us = numbers
    histogram: dict[float, int] = {}
    for us, count in latency_us.items():
        # To a tenth of a millisecond: a histogram of microseconds would have a line for every request.
        ms = round(us / 1000, 1)
        histogram[ms] = histogram.get(ms, 0) + count
    failures = {name: counts[name] for name in ("connect", "read", "write", "timeout")}
    seconds = counts["duration_us"] / 1e6
    return WrkResult(
        complete=counts["requests"],
        failed=sum(failures.values()),
        failures=failures,
        non_2xx=counts["status"],
        duration_s=round(seconds, 3),
        requests_per_second=round(counts["requests"] / seconds, 2),
        transferred_bytes=counts["bytes"],
        histogram_ms=histogram,
    )


def _numbers(text: str) -> tuple[dict[str, int], dict[int, int]] | None:
    """Return the counts by name and the requests by microseconds; None if the script did not write this."""
    try:
        document = json.loads(text)
        counts = {name: _count(document[name]) for name in _COUNTS}
        latency_us = {_count(int(us)): _count(requests) for us, requests in document["latency_us"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return (counts, latency_us) if counts["duration_us"] else None


def _count(value: Any) -> int:
    # A larger number does not fit into wrk's counters.
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"{value!r} is not a count")
    return value


def _error(stdout: str, stderr: str, returncode: int | None) -> LoadError:
    said = [line.strip() for line in [*stderr.splitlines(), *stdout.splitlines()] if line.strip()]
    for part, kind, remedy in _ERRORS:
        line = next((line for line in said if part in line), None)
        if line:
            return LoadError(kind, f"wrk gave up: {line}", remedy)
    if returncode is None:
        remedy = "the sending host is overloaded: lower the concurrency, or add load hosts (group loadgen)"
        return LoadError("killed", "wrk continued long after its duration, and was ended", remedy)
    if returncode < 0:
        return LoadError("killed", f"wrk was ended by signal {-returncode}")
    begins = said[0][:120] if said else "nothing"
    return LoadError(
        "unparsable",
        f"wrk ended with status {returncode} and without a result; it printed: {begins}",
        "flaskops.uwsgi.wrk needs wrk 4.1 or newer",
    )
