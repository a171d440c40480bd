"""A WSGI application without a framework and without a health page."""

from collections.abc import Callable, Iterable
from typing import Any

from reply import reply


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer with the path alone."""
    status = "404 Not Found" if environ["PATH_INFO"] == "/healthz" else "200 OK"
    start_response(status, [("Content-Type", "text/plain")])
    return [reply(environ["PATH_INFO"])]
