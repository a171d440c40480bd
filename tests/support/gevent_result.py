"""Results of the gevent check."""

from __future__ import annotations

from typing import Any


def said(verdict: str, level: str = "blocks", **more: Any) -> dict[str, Any]:
    """Return a result whose cooperation has a verdict, with a finding of a level unless it is ``ok``."""
    finding = {
        "level": level,
        "what": "it sleeps in C",
        "evidence": ["run.py:3", "in slow"],
        "remedy": "call gevent.sleep",
    }
    note = {"level": "note", "what": "not to be shown", "evidence": [], "remedy": ""}
    parts = {"cooperation": {"verdict": verdict, "findings": [note, *([finding] if verdict != "ok" else [])]}}
    measured = {"requests": 5, "single_ms": 101.4, "burst_ms": 507.7, "overlap": 0.0, "cpu_share": 0.01}
    return {"verdict": verdict, "checks": parts, **measured, **more}
