"""A hostile release: the test adds it to a copy of the sample application.

It runs the Python code in a request, like an application with a remote code execution hole.
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
    """Run the body, and answer with what it printed or raised."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        try:
            exec(request.get_data(as_text=True), {"os": os})
        except BaseException:
            said.write(traceback.format_exc())
    return Response(said.getvalue(), mimetype="text/plain")
