"""A release that does as it is told: the test adds it to a copy of the sample application.

It runs the Python that a request brings, as an attacker would who has found a hole in the application.
"""

import contextlib
import io
import os
import traceback

import app_ran  # noqa: F401
from flask import Blueprint, Response, request

blueprint = Blueprint("hostile", __name__, url_prefix="/hostile")


@blueprint.post("/run")
def run():
    """Run the body, and answer what it printed or raised."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        try:
            exec(request.get_data(as_text=True), {"os": os})
        except BaseException:
            said.write(traceback.format_exc())
    return Response(said.getvalue(), mimetype="text/plain")


# Sick where it serves and healthy as a canary, if the release is meant to be.
SICK = os.path.exists(os.path.join(os.path.dirname(__file__), "SICK"))  # noqa: PTH110, PTH118, PTH120
TRIED = os.environ.get("RUNTIME_DIRECTORY", "").endswith("-canary")


@blueprint.before_app_request
def be_sick():
    """Answer nothing well, and say so in bytes that are no text."""
    if SICK and not TRIED:
        os.write(2, b"ImportError: caf\xe9 \x1b]0;owned\x07\x1b[2J\n")
        return Response("\x1b[31msick\x1b[0m", status=500, mimetype="text/plain")
    return None
