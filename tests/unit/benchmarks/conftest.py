"""Shared by the tests of the benchmarks: example results."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import results

CASES = [
    {"name": "compute", "path": "/healthz", "concurrency": 100, "threads": [32, 224]},
    {"name": "wait", "path": "/", "concurrency": 1000, "threads": [224, 500], "wait_s": 0.2},
    {"name": "crowd", "path": "/", "concurrency": 4000, "threads": [224, 500], "wait_s": 0.2},
]


def run(name: str, number: int, rate: float, **changed: Any) -> dict[str, Any]:
    """Return a run as benchmarks/servers.yml records it."""
    before = {"cpu_s": 10.0, "memory_mb": 90.0, "processes": 5, "threads": 5, "busy_ticks": 0, "all_ticks": 0}
    after = {**before, "cpu_s": 18.0, "memory_mb": 95.0, "most_mb": 100.0, "busy_ticks": 950, "all_ticks": 1000}
    threads = changed.get("threads", 0)
    return {
        "variant": f"{name}-{threads}" if threads else name, "server": name, "threads": threads, "round": number,
        "case": "wait", "requests": 20000, "concurrency": 1000, "outcome": "measured", "reason": "",
        "complete": 20000, "answered": 20000, "requests_per_second": rate, "p50_ms": 200, "p99_ms": 400,
        "idle": {**before, "memory_mb": 80.0}, "before": before, "after": after,
        "command": "" if name.startswith("uwsgi") else f"/opt/venv/bin/{name} --workers 4 --threads {threads} run:app",
    } | changed  # fmt: skip


def crowd(name: str, number: int, rate: float, cpu_s: float = 18.0, **changed: Any) -> dict[str, Any]:
    """Return a run with many requests in flight."""
    one = run(name, number, rate, **{"case": "crowd", "concurrency": 4000, "p99_ms": 1000, **changed})
    return {**one, "after": {**one["after"], "cpu_s": cpu_s}}


RUNS = [
    *(run("granian", 0, rate, threads=threads) for threads, rate in ((224, 1900.0), (500, 2100.0))),
    *(crowd("uwsgi-threads", 0, rate, threads=threads) for threads, rate in ((224, 3500.0), (500, 3100.0))),
    *(run("uwsgi-gevent", number, rate) for number, rate in enumerate((4000.0, 4100.0, 3900.0), 1)),
    *(run("uwsgi-gevent-log", number, 3800.0) for number in (1, 2, 3)),
    *(run("uwsgi-bare", number, 5000.0) for number in (1, 2, 3)),
    *(run("granian", number, 2000.0, answered=19990, threads=500) for number in (1, 2, 3)),
    *(
        run("gunicorn-gevent", number, 0, outcome="failed", reason="Connection refused", complete=0, answered=0)
        for number in (1, 2, 3)
    ),
    *(crowd("uwsgi-gevent", number, 6600.0) for number in (1, 2, 3)),
    *(crowd("uwsgi-threads", number, 3400.0, threads=224) for number in (1, 2, 3)),
    *(crowd("gunicorn-gevent", number, 3300.0, cpu_s=26.0) for number in (1, 2, 3)),
    *(crowd("granian", number, 1000.0, cpu_s=20.0, threads=224) for number in (1, 2, 3)),
]
MEASURED = {
    "date": "2026-11-24T19:00:00+00:00",
    "machine": {"cores": 2, "processor": "X", "memory_mb": 4, "distribution": "Debian 12", "kernel": "6.1"},
    "processes": 4,
    "cases": CASES,
    "runs": RUNS,
}
DEPLOYS = [
    {"hosts": hosts, "kind": kind, "seconds": seconds * (1 + 0.1 * (hosts - 1)), "round_trips": trips * hosts}
    for hosts in (1, 2, 4, 8)
    for kind, seconds, trips in (
        ("first", 30.0, 40),
        ("new code", 16.0, 13),
        ("nothing to do", 4.0, 5),
        ("nothing to do", 4.2, 5),
    )
]


@pytest.fixture
def document() -> dict[str, Any]:
    """Return the results of a benchmark in which one server did not run."""
    return results.combined({}, {"servers": MEASURED, "deploys": {"date": "2026-11-25", "runs": DEPLOYS}})
