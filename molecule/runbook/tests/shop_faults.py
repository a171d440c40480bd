"""Faults of an application, on request. The test adds it to a copy of the sample application."""

import fcntl
import json
from pathlib import Path

from flask import Blueprint

blueprint = Blueprint("faults", __name__)
hoard = []


@blueprint.get("/orders")
def orders():
    """Answer with the file that the release contains."""
    return json.loads(Path(__file__).with_name("orders.json").read_text())


@blueprint.get("/leak")
def leak():
    """Keep 200 MB of this worker's memory forever."""
    hoard.append(b"x" * (200 << 20))
    return {}


@blueprint.get("/hang")
def hang():
    """Wait forever for a lock that this request itself holds, in a call that gevent does not replace."""
    with open("/tmp/lock", "w") as first, open("/tmp/lock", "w") as second:  # noqa: PTH123
        fcntl.flock(first, fcntl.LOCK_EX)
        fcntl.flock(second, fcntl.LOCK_EX)
    return {}
