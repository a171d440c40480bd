"""Misbehaves on request. The test adds it to a copy of the sample application."""

import os
import threading
import time
from pathlib import Path

from flask import Blueprint, request

# Without this file the application does not start.
Path(os.environ["FAULT_NEEDS"]).read_text()

blueprint = Blueprint("app_faults", __name__, url_prefix="/fault")
hoard = []


@blueprint.get("/cpu")
def cpu():
    """Compute forever."""
    while True:
        pass


@blueprint.get("/block")
def block():
    """Block forever if this is the chosen worker, after a note of its process id."""
    own = str(os.getpid())
    if request.args.get("pid", own) == own:
        Path(os.environ["STATE_DIRECTORY"], "blocked").write_text(own)
        threading.Event().wait()
    return {}


@blueprint.get("/keep")
def keep():
    """Leak some memory."""
    hoard.append(b"x" * (int(request.args["mb"]) << 20))
    return {"pid": os.getpid()}


@blueprint.get("/grow")
def grow():
    """Allocate memory up to a limit that spares the machine."""
    taken = []
    while len(taken) < 60:
        taken.append(b"x" * (50 << 20))
        time.sleep(0.1)
    return {"mb": 50 * len(taken)}


@blueprint.get("/clock")
def clock():
    """Answer with the time."""
    return {"time": time.time()}
