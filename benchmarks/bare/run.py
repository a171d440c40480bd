"""The ceiling: a WSGI function that waits like the application's endpoint, and does nothing else."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Any

WAIT_S = float(os.environ.get("APP_WAIT_SECONDS", "0.2"))


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer any request, a POST after the wait."""
    if environ["REQUEST_METHOD"] == "POST":
        time.sleep(WAIT_S)
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", "3")])
    return [b"{}\n"]
