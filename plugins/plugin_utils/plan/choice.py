"""Which mode a generation serves in, and how ``flask_uwsgi_mode=auto`` is decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..settings import preflight
from ..settings.settings import Settings

# Milliseconds of computing for each request from which on it is the processor that they wait for, and the threads that
# then do.
_COMPUTES_MS = 100
_COMPUTING_THREADS = 8
GEVENT = {"mode": "gevent", "because": "auto is gevent: the gevent check found nothing against it"}


@dataclass(frozen=True)
class Choice:
    """How a generation serves.

    Args:
        mode: ``gevent`` or ``threads``.
        cores: requests in flight in each worker.
        decision: what auto became: ``mode``, ``because``, and ``threads`` where it is threads. Empty without auto.
        undecided: whether the gevent check has still to decide what auto becomes; until then it is gevent.
    """

    mode: str
    cores: int
    decision: dict[str, Any] = field(default_factory=dict)
    undecided: bool = False


def choose(settings: Settings, decision: Mapping[str, Any]) -> Choice:
    """Return how a generation serves.

    Args:
        settings: the application's.
        decision: what auto was decided to be for this artifact; empty where it was not.
    """
    if settings.mode != "auto":
        return Choice(settings.mode, settings.gevent if settings.mode == "gevent" else settings.threads)
    made = dict(decision) or GEVENT
    threads = int(made.get("threads", settings.threads))
    return Choice(made["mode"], settings.gevent if made["mode"] == "gevent" else threads, made, not decision)


def threads_instead(check: Mapping[str, Any], settings: Settings, host: Mapping[str, int]) -> dict[str, Any]:
    """Return what auto becomes if the gevent check does not report ok.

    Args:
        check: its result.
        settings: the application's.
        host: the limits ``tasks``, ``nofile`` and ``file_max`` of the module ``host_state``.

    Returns:
        ``mode``, the number of ``threads``, and ``because`` (a sentence).
    """
    reasons = [
        finding["what"]
        for name, part in check["checks"].items()
        for finding in part["findings"]
        # Of what was not loaded, nothing was measured.
        if finding["level"] in ("warning", "blocks") and not (check.get("failure") and name == "cooperation")
    ]
    fits = preflight.most_threads(settings.processes, host)
    computes = (check["cpu_share"] or 0) * (check["burst_ms"] or 0) / check["requests"] >= _COMPUTES_MS
    wanted = settings.threads
    size = min(wanted, fits, _COMPUTING_THREADS if computes else wanted)
    why = (
        "its requests compute, and more would only wait for the interpreter"
        if size < min(wanted, fits)
        else "what this host allows"
        if size < wanted
        else "flask_uwsgi_threads"
    )
    return {
        "mode": "threads",
        "threads": size,
        "because": f"auto is threads, {size} a worker ({why}): {'; '.join(reasons)}",
    }
