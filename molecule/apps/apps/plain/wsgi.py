"""A WSGI application without a framework, and without a page for its health."""

from collections.abc import Callable, Iterable
from typing import Any

from told import told


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Tell the path, and nothing else."""
    status = "404 Not Found" if environ["PATH_INFO"] == "/healthz" else "200 OK"
    start_response(status, [("Content-Type", "text/plain")])
    return [told(environ["PATH_INFO"])]
