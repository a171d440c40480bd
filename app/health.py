"""Reports what this process runs: GET /healthz, for load balancers and deploys, and two headers in every response."""

from __future__ import annotations

import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import Any

from flask import Blueprint, Response, current_app

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> dict[str, Any]:
    """Report that the process serves, and in which mode."""
    return {
        "status": "ok",
        "mode": mode(),
        "generation": current_app.config["GENERATION"],
        # How long a thread may keep the interpreter that others wait for.
        "switch_interval_s": sys.getswitchinterval(),
        "versions": versions(),
    }


@blueprint.after_app_request
def sign(response: Response) -> Response:
    """Add the generation and the mode to every response, including errors, so that a load test sees what served."""
    generation = current_app.config["GENERATION"]
    if generation is not None:
        response.headers.add("X-Generation", generation)
    # Observed every time: it takes a microsecond, and is never out of date.
    response.headers.add("X-Mode", mode())
    return response


def mode() -> str:
    """Return the serving mode as observed, not as configured: "gevent", "threads" or "development".

    A gevent loop over unpatched code, or threads over patched code, is neither, and is named as such.
    """
    # Looked up, never imported: only uWSGI provides its module, and gevent must not be loaded in threads mode.
    uwsgi = sys.modules.get("uwsgi")
    monkey = sys.modules.get("gevent.monkey")
    if uwsgi is None:
        return "development"
    served_by = "gevent" if getattr(uwsgi, "loop", None) == b"gevent" else "threads"
    patched = monkey is not None and all(monkey.is_module_patched(name) for name in ("socket", "threading"))
    if patched == (served_by == "gevent"):
        return served_by
    return f"{served_by}, {'patched' if patched else 'unpatched'}"


@cache
def versions() -> dict[str, str | None]:
    """Return the versions in use; None for what is not installed or, for uWSGI, not serving."""
    uwsgi = sys.modules.get("uwsgi")
    return {
        "python": python_version(),
        "uwsgi": uwsgi.version.decode() if uwsgi else None,
        "gevent": _installed("gevent"),
        "flask": _installed("flask"),
    }


def _installed(distribution: str) -> str | None:
    # From the metadata, for the same reason: reading a version must not import gevent.
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
