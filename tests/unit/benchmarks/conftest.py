"""Shared by the tests of the benchmarks: example results."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import results


def run(name: str, number: int, rate: float, **changed: Any) -> dict[str, Any]:
    """Return a run as benchmarks/servers.yml records it."""
    before = {"cpu_s": 10.0, "memory_mb": 90.0, "processes": 5, "threads": 5, "busy_ticks": 0, "all_ticks": 0}
    after = {**before, "cpu_s": 18.0, "memory_mb": 100.0, "busy_ticks": 950, "all_ticks": 1000}
    return {
        "variant": name, "round": number, "requests": 20000, "concurrency": 1000, "outcome": "measured", "reason": "",
        "complete": 20000, "answered": 20000, "requests_per_second": rate, "p50_ms": 200, "p99_ms": 400,
        "before": before, "after": after, "settings": {"command": f"{name} --workers 4"},
    } | changed  # fmt: skip


RUNS = [
    *(run("uwsgi-gevent", number, rate) for number, rate in enumerate((4000.0, 4100.0, 3900.0), 1)),
    *(run("uwsgi-bare", number, 5000.0) for number in (1, 2, 3)),
    *(run("granian", number, 2000.0, answered=19990) for number in (1, 2, 3)),
    *(
        run("gunicorn-gevent", number, 0, outcome="failed", reason="Connection refused", complete=0, answered=0)
        for number in (1, 2, 3)
    ),
]
DEPLOYS = [
    {"hosts": hosts, "kind": kind, "seconds": seconds * (1 + 0.1 * (hosts - 1)), "round_trips": trips * hosts}
    for hosts in (1, 2, 4, 8)
    for kind, seconds, trips in (("first", 30.0, 40), ("nothing to do", 4.0, 5), ("nothing to do", 4.2, 5))
]


@pytest.fixture
def document() -> dict[str, Any]:
    """Return the document of a benchmark in which one server did not run."""
    servers = results.servers(RUNS)
    return {
        "format": 1, "date": "2026-11-24T19:00:00+00:00", "requests": 20000, "concurrency": 1000, "rounds": 3,
        "ideal": 5000,
        "machine": {"cores": 2, "processor": "X", "memory_mb": 4, "distribution": "Debian 12", "kernel": "6.1"},
        "servers": servers, "deploys": results.deploys(DEPLOYS), "verdict": results.verdict(servers, 5000),
    }  # fmt: skip
