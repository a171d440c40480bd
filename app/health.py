"""What this process really runs: GET /healthz for load balancers and the deployment, two headers in every answer."""

import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from platform import python_version
from typing import Any

from flask import Blueprint, Response, current_app

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> dict[str, Any]:
    """Answer that the process serves, and as what."""
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
    """Say in every answer, errors too, which generation gave it and in which mode: a load test sees who served."""
    generation = current_app.config["GENERATION"]
    if generation is not None:
        response.headers.add("X-Generation", generation)
    # Observed anew each time: that is a microsecond, and it is never out of date.
    response.headers.add("X-Mode", mode())
    return response


def mode() -> str:
    """Return what serves, as observed and not as configured: "gevent", "threads" or "development".

    A gevent loop over unpatched code, or threads over patched code, is neither, and is named as such.
    """
    # Looked up, never imported: uWSGI alone makes its module, and gevent must stay out of threads mode.
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
    """Return the versions at work; None for what is not installed or, for uWSGI, not serving."""
    uwsgi = sys.modules.get("uwsgi")
    return {
        "python": python_version(),
        "uwsgi": uwsgi.version.decode() if uwsgi else None,
        "gevent": _installed("gevent"),
        "flask": _installed("flask"),
    }


def _installed(distribution: str) -> str | None:
    # From the metadata, for the same reason: asking for a version must not import gevent.
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
