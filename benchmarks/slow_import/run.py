"""A WSGI function that takes IMPORT_S seconds of CPU to load, like an application with large libraries."""

import os
import time
from collections.abc import Callable

while time.process_time() < float(os.environ["IMPORT_S"]):
    pass


def app(environ: dict[str, object], start_response: Callable[[str, list[tuple[str, str]]], object]) -> list[bytes]:
    """Answer immediately."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]
