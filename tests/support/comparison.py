"""Comparisons for the tests of the comparison."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.report import compare

from .status import SERVING

VARIANTS = [
    {"name": "gevent", "mode": "gevent", "cores": 3000, "processes": 4, "generation": "a1"},
    {"name": "threads", "mode": "threads", "cores": 160, "processes": 4, "generation": "b2"},
]
FACTS = {
    "host": "app1",
    "url": "http://10.0.0.1:8040/user_manage/user/login",
    "started_at": "2026-11-24T14:00:00+00:00",
    "wait_s": 0.2,
    "rounds": 3,
    "incomplete": "",
    "machine": {"cores": 2, "boot": "a"},
    "controller": {"cores": 2, "boot": "a"},
    "versions": {"uwsgi": "2.0.31"},
}
THREADS = {"gevent": 2, "threads": 161}


def ab(rate: float, requests: int = 1000, **more: Any) -> dict[str, Any]:
    """Return the result of the module ab for a run."""
    return {
        "outcome": "measured", "reason": "", "complete": requests, "failed": 0, "failures": {}, "non_2xx": 0,
        "duration_s": requests / rate, "requests_per_second": rate, "p50_ms": 210, "p95_ms": 300, "p99_ms": 400,
        "max_ms": 500, "curve_ms": [200 + 2.0 * percent for percent in range(101)], "files": {"output": "/x/raw/a.txt"},
    } | more  # fmt: skip


@pytest.fixture
def made() -> Callable[..., dict[str, Any]]:
    """Create a comparison from rates by variant and concurrency; a string is the reason why nothing was measured."""

    def make(rates: dict[str, dict[int, list[float | str]]], **facts: Any) -> dict[str, Any]:
        runs = []
        for name, ladder in rates.items():
            for concurrency, values in ladder.items():
                for number, rate in enumerate(values, 1):
                    turn = {"variant": name, "round": number, "concurrency": concurrency, "requests": 1000}
                    said = ab(rate) if isinstance(rate, float) else {"outcome": "failed", "reason": rate}
                    status = {**SERVING, "threads_per_worker": THREADS[name], "workers": 4, "rss_mb": 210.0}
                    runs.append(compare.run(turn, {"ab": said}, status))
        return compare.document(FACTS | facts, [one for one in VARIANTS if one["name"] in rates], runs)

    return make


def _of_client(seconds: float, lines: int) -> dict[str, Any]:
    names = ("duration_s", "p50_ms", "p99_ms", "cpu_s", "peak_memory_mb")
    figures = {name: {"median": seconds, "min": seconds - 0.1, "max": seconds + 0.1} for name in names}
    return {"requests": 1500, "failed": 0, **figures, "lines": lines, "libraries": {}}


@pytest.fixture
def clients() -> dict[str, Any]:
    """Return the document that the sample application's package ``clients`` writes."""
    return {
        "format": 1,
        "started_at": "2026-11-24T14:00:00+00:00",
        "url": "http://10.0.0.1:8040/user_manage/user/login",
        "machine": {"cores": 2, "kernel": "Linux 6.1", "python": "3.11.2"},
        "settings": {"rounds": 5, "requests": 300, "concurrency": 300, "timeout_s": 60},
        "error": None,
        "rounds": [],
        "summary": {"gevent": _of_client(0.9, 24), "asyncio": _of_client(0.8, 21)},
        "verdict": "Indistinguishable in time.",
    }
