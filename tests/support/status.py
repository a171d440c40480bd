"""A status, as the module ``status`` returns it from a real host."""

from __future__ import annotations

from typing import Any

SERVING: dict[str, Any] = {
    "generation": "031ea839e33a",
    "release": "5c1d3a90b2ef",
    "platform": "debian-12-x86_64-py3.11",
    "state": "active",
    "since": "Tue 2026-11-24 09:23:52 UTC",
    "restarts": 1,
    "main_pid": 779,
    "pidfile": "/run/aiops_flask/aiops_flask.pid",
    "pidfile_pid": 779,
    "pidfile_true": True,
    "configured": {"mode": "gevent", "processes": 4, "cores": 3000},
    "kept": ["031ea839e33a", "dcf077cdf43b"],
    "addresses": {"031ea839e33a": "0.0.0.0:8040", "dcf077cdf43b": "0.0.0.0:8040"},
    "rollback": "dcf077cdf43b",
    "secrets": {"names": [], "encrypted": None},
    "lock": None,
    "mode": "gevent",
    "workers": 4,
    "workers_busy": 2,
    "busy": 300,
    "cores_per_worker": 3000,
    "threads_per_worker": 1,
    "requests": 1234567,
    "exceptions": 0,
    "listen_queue": 17,
    "backlog": 16384,
    "capacity": 28384,
    "rss_mb": 195.8,
    "sampled_at": "2026-11-24T09:29:51Z",
    "drift": [],
}
OBSERVED = (
    "workers", "workers_busy", "busy", "cores_per_worker", "threads_per_worker", "requests", "exceptions",
    "listen_queue", "backlog", "capacity", "rss_mb", "sampled_at",
)  # fmt: skip


def unobserved(**more: Any) -> dict[str, Any]:
    """Return the same of a host whose workers cannot be asked."""
    return {name: value for name, value in SERVING.items() if name not in OBSERVED} | {"mode": None, **more}
