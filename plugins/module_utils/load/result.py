"""Code that all load generators share: limits of the sending machine, a common start, and merged results.

A *result* is the dictionary that the modules ``ab``, ``wrk`` and ``h2load`` return: see their documentation. Its
``histogram_ms`` is the raw data: how many requests took how many milliseconds. Results are merged from it, since
percentiles cannot be averaged.
"""

from __future__ import annotations

import os
import resource
import shlex
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..host import files
from . import engine

# doc_fragments/load.py documents them.
ARGUMENTS: dict[str, Any] = {
    "url": {"type": "str", "required": True},
    "data_file": {"type": "path"},
    "body": {"type": "str"},
    "content_type": {"type": "str", "default": "application/json"},
    "capacity": {"type": "int", "default": 0},
    "start_at": {"type": "float", "default": 0},
    "histogram": {"type": "bool", "default": False},
    "raw_prefix": {"type": "path"},
}
# Besides its connections, a generator has its three standard files, the poll set, its data and result files open.
_FILES_BESIDE_CONNECTIONS = 16
_PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
# Seconds by which the starts of several machines may differ without a warning.
_TOGETHER_S = 0.5


@dataclass(frozen=True)
class Figures:
    """The latencies of a run; None without a request.

    Args:
        p50_ms: milliseconds within which half of the requests were served.
        p95_ms: likewise, for 95 %.
        p99_ms: likewise, for 99 %.
        max_ms: milliseconds of the longest request.
        curve_ms: milliseconds at each percent of the requests, from 0 to 100.
    """

    p50_ms: int | None = None
    p95_ms: int | None = None
    p99_ms: int | None = None
    max_ms: int | None = None
    curve_ms: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Measured:
    """What a run of a load generator measured, in the terms of ``ab``'s.

    Args:
        complete: requests that got a response.
        failed: requests that did not.
        failures: these by kind.
        non_2xx: responses with a bad status; which count as such depends on the generator.
        duration_s: seconds that the run took.
        requests_per_second: complete requests by seconds.
        transferred_bytes: bytes of the responses.
        histogram_ms: requests by milliseconds.
    """

    complete: int
    failed: int
    failures: dict[str, int]
    non_2xx: int
    duration_s: float
    requests_per_second: float
    transferred_bytes: int
    histogram_ms: dict[float, int]

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain data for JSON, with the figures of the histogram in its place."""
        data = asdict(self)
        return data | asdict(figures(data.pop("histogram_ms")))


@dataclass(frozen=True)
class Share:
    """What one of several load hosts sends of a run.

    Args:
        host: its name.
        requests: number of requests.
        concurrency: requests in flight.
        warmup: requests of the warm-up.
    """

    host: str
    requests: int
    concurrency: int
    warmup: int


def open_files_shortage(concurrency: int) -> str:
    """Raise this process's limit of open files as far as the run needs, or return why that is not possible.

    Args:
        concurrency: requests in flight.

    Returns:
        Empty if there are enough, else limit, need and remedy.
    """
    need = concurrency + _FILES_BESIDE_CONNECTIONS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= need:
        return ""
    if hard == resource.RLIM_INFINITY or hard >= need:
        resource.setrlimit(resource.RLIMIT_NOFILE, (need, hard))
        return ""
    return (
        f"{concurrency} concurrent requests need {need} open files, but the limit here is {hard}: raise it "
        f"in the shell that starts ansible-playbook with 'ulimit -n {need}' (as root, or in "
        "/etc/security/limits.conf)"
    )


def ports_shortage(concurrency: int) -> str:
    """Return why there are not enough local ports for so many connections to one address.

    Args:
        concurrency: requests in flight.

    Returns:
        Empty if there are enough or their number is unknown, else range, need and remedy.
    """
    try:
        low, high = (int(word) for word in _PORT_RANGE.read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return ""
    if high - low + 1 >= concurrency:
        return ""
    return (
        f"{concurrency} concurrent requests need as many local ports, but net.ipv4.ip_local_port_range is "
        f"{low} to {high}: widen it with 'sysctl -w net.ipv4.ip_local_port_range=\"15000 65000\"'"
    )


def capacity_shortage(concurrency: int, capacity: int) -> str:
    """Return what the target lacks to hold all requests at once; empty if it can, or if that is unknown.

    Connections beyond that find the listening socket's queue full: the kernel drops or resets them, which says
    something about the queue but nothing about the application.
    """
    if not capacity or capacity >= concurrency:
        return ""
    return (
        f"the target holds {capacity} requests at once (its cores and its backlog): to have {concurrency} in flight, "
        f"set flask_uwsgi_backlog to {concurrency} or more with flask_uwsgi_manage_sysctl=true, and deploy"
    )


def shortage(concurrency: int, capacity: int) -> str:
    """Return what this machine or the target lacks for so many requests in flight; empty if nothing.

    Args:
        concurrency: requests in flight.
        capacity: requests that the target holds at once; 0 if unknown.
    """
    return open_files_shortage(concurrency) or ports_shortage(concurrency) or capacity_shortage(concurrency, capacity)


def execute(command: Sequence[str], time_limit_s: int) -> tuple[str, str, int | None]:
    """Run a generator, in the C locale: the parsers expect its messages.

    Args:
        command: the command and its arguments.
        time_limit_s: seconds after which it is ended.

    Returns:
        standard output, standard error, and the exit status; None if it was ended at the limit.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={**os.environ, "LC_ALL": "C"},
    )
    try:
        stdout, stderr = process.communicate(timeout=time_limit_s)
    except subprocess.TimeoutExpired:
        process.kill()
        return (*process.communicate(), None)
    return stdout, stderr, process.returncode


def transcript(command: Sequence[str], stdout: str, stderr: str, returncode: int | None) -> str:
    """Return everything that a run printed, below its command."""
    status = "ended at the time limit" if returncode is None else f"exit status {returncode}"
    return f"$ {shlex.join(command)}\n{stdout}\n--- standard error\n{stderr}\n--- {status}\n"


def keep(prefix: str, texts: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """Write a run's raw output, and remove files of an earlier run that this one does not have.

    Args:
        prefix: path without extension.
        texts: extension and text by name; an empty text is not kept.

    Returns:
        the paths of the kept files, by name.
    """
    Path(prefix).parent.mkdir(parents=True, exist_ok=True)
    kept = {}
    for name, (extension, text) in texts.items():
        path = Path(f"{prefix}.{extension}")
        if text:
            files.write(path, text, None)
            kept[name] = str(path)
        else:
            path.unlink(missing_ok=True)
    return kept


def target_mistakes(url: str, data_file: str | None) -> str:
    """Return what is wrong with the target and the data of the requests; empty if nothing."""
    try:
        parts = urlsplit(url)
        whole = parts.scheme in ("http", "https") and parts.hostname and parts.path and parts.port != 0
    # An invalid address in brackets, or a port that is not a number.
    except ValueError:
        whole = False
    if not whole:
        return f"url is {url!r}: it must begin with http:// or https:// and have a path, even if only /"
    if data_file and not os.access(data_file, os.R_OK):
        return f"data_file {data_file} cannot be read on the host that sends the load"
    return ""


def wait_until(start_at: float, patience_s: float = 60) -> None:
    """Wait until a given time, so that several machines begin together.

    Args:
        start_at: seconds since the epoch; 0, or a time that has passed, for no wait.
        patience_s: the longest wait; a clock that is further off is ignored.
    """
    ahead = start_at - time.time()
    if 0 < ahead <= patience_s:
        time.sleep(ahead)


def percentile(histogram: Mapping[float, int], percent: float) -> float:
    """Return a percentile as ``ab`` prints it: of n sorted times, the one at index floor(n × percent / 100) from 0.

    This is the one definition for every percentile in a report. It is that of ``ab`` (2.3, ``output_results``) because
    what ``ab`` has printed cannot be computed again. The nearest rank would be one request earlier where n × percent is
    a multiple of 100.

    Args:
        histogram: requests by milliseconds.
        percent: 0 to 100; 100 is the longest request.

    Raises:
        ValueError: the histogram is empty.
    """
    total = sum(histogram.values())
    place = min(total - 1, int(total * percent / 100))
    passed = 0
    for ms, count in sorted(histogram.items()):
        passed += count
        if passed > place:
            return ms
    raise ValueError("the histogram is empty")


def figures(histogram: Mapping[float, int]) -> Figures:
    """Return the figures of a histogram.

    Args:
        histogram: requests by milliseconds.
    """
    if not histogram:
        return Figures()
    curve = [percentile(histogram, percent) for percent in range(101)]
    p50, p95, p99, longest = (round(curve[percent]) for percent in (50, 95, 99, 100))
    return Figures(p50, p95, p99, longest, curve)


def merge(senders: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Merge the results of several machines that sent together.

    Args:
        senders: the registered result of each machine by name, or why there is none.

    Returns:
        a result; measured only if every machine measured. The time is from the first start to the last end.
        ``senders`` has the result of each, ``warnings`` starts that were not simultaneous.
    """
    results = {name: _result(registered) for name, registered in senders.items()}
    measured = [one for one in results.values() if one["outcome"] == "measured"]
    reasons = [f"{name}: {one['reason']}" for name, one in results.items() if one["outcome"] != "measured"]
    histogram: Counter[float] = Counter()
    for one in measured:
        histogram.update({float(ms): count for ms, count in one["histogram_ms"].items()})
    begins = [one["began_s"] for one in measured]
    seconds = max((one["began_s"] + one["duration_s"] for one in measured), default=0) - min(begins, default=0)
    complete = _sum(measured, "complete")
    failures: Counter[str] = Counter()
    for one in measured:
        failures.update(one["failures"])
    lengths = {one["document_length_bytes"] for one in measured if "document_length_bytes" in one}
    apart = max(begins, default=0) - min(begins, default=0)
    outcomes = {one["outcome"] for one in results.values()}
    return {
        "outcome": "measured" if outcomes == {"measured"} else "skipped" if outcomes == {"skipped"} else "failed",
        "reason": "; ".join(reasons),
        "engine": ", ".join(sorted({str(one["engine"]) for one in measured})),
        "ab_version": next((one["ab_version"] for one in measured if one.get("ab_version")), None),
        "started_at": min((one["started_at"] for one in measured), default=None),
        "requests": _sum(results.values(), "requests"),
        "concurrency": _sum(results.values(), "concurrency"),
        "complete": complete,
        "failed": _sum(measured, "failed"),
        "failures": dict(failures),
        "non_2xx": _sum(measured, "non_2xx"),
        "duration_s": round(seconds, 3),
        "requests_per_second": round(complete / seconds, 2) if seconds else None,
        **asdict(figures(histogram)),
        "senders": {
            name: {key: one.get(key) for key in ("complete", "failed", "requests_per_second", "began_s", "command")}
            for name, one in results.items()
        },
        "warnings": [f"the load hosts began {apart:.1f} s apart: are their clocks correct?"]
        if apart > _TOGETHER_S
        else [],
        "files": {},
        **({"document_length_bytes": lengths.pop() if len(lengths) == 1 else None} if lengths else {}),
    }


def _result(registered: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the result of a registered task, or why it has none."""
    found = engine.returned(registered)
    if isinstance(found, Mapping):
        return found
    reason = " ".join(str(registered.get("msg") or "it gave no result").split())
    return {"outcome": "failed", "reason": reason, "requests": 0, "concurrency": 0}


def _sum(results: Iterable[Mapping[str, Any]], name: str) -> int:
    return sum(one.get(name) or 0 for one in results)


def shares(hosts: Sequence[str], requests: int, concurrency: int, warmup: int) -> list[Share]:
    """Divide a run among hosts, the first hosts getting one more if it does not divide evenly.

    Args:
        hosts: names; hosts that would have no request in flight are left out.
        requests: total number of requests.
        concurrency: requests in flight.
        warmup: requests of the warm-up.
    """

    def share(total: int, place: int) -> int:
        least, more = divmod(total, len(hosts))
        return least + (place < more)

    all_shares = [
        Share(host, share(requests, place), share(concurrency, place), share(warmup, place))
        for place, host in enumerate(hosts)
    ]
    return [one for one in all_shares if one.concurrency]


def sent(orders: Sequence[Mapping[str, Any]], ended: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return for each load host the result of its share, or why there is none.

    Args:
        orders: the registered results of the tasks that were started in the background, each with its
            share as the loop variable.
        ended: what was found at their end, in the same order; skipped if there was nothing to wait for.
    """
    return {
        order[order["ansible_loop_var"]]["host"]: _said(order if end.get("skipped") else end)
        for order, end in zip(orders, ended)
    }


def _said(registered: Mapping[str, Any]) -> dict[str, Any]:
    return {key: registered[key] for key in (*engine.NAMES, "msg", "unreachable") if key in registered}
