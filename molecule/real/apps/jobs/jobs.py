"""Jobs with Flask-APScheduler: one each second, whose runs are recorded in a file."""

from __future__ import annotations

import fcntl
import os
import pathlib
import threading
import time

from flask import Flask, Response, jsonify
from flask_apscheduler import APScheduler

STATE = pathlib.Path(os.environ.get("STATE_DIRECTORY", "."))
RUNS = STATE / "runs"

app = Flask(__name__)
app.config["SCHEDULER_TIMEZONE"] = "UTC"
scheduler = APScheduler()
scheduler.init_app(app)


@scheduler.task("interval", id="tick", seconds=1)
def tick() -> None:
    """Record when and where the job ran."""
    with RUNS.open("a") as runs:
        runs.write(f"{time.time():.3f} {os.getpid()}\n")


def start() -> None:
    """Start the scheduler if no other process has it.

    Every worker of every generation loads this module, and two generations run at the same time during a swap. The
    kernel releases the lock when its holder ends.
    """
    with (STATE / "scheduler.lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                # Waiting for the lock itself would block every request of a gevent worker.
                time.sleep(0.5)
        scheduler.start()
        threading.Event().wait()


if os.environ.get("FLASK_UWSGI_ROLE", "service") == "service":
    threading.Thread(target=start, name="scheduler", daemon=True).start()


@app.get("/")
def index() -> Response:
    """Show the runs so far."""
    lines = RUNS.read_text().splitlines() if RUNS.exists() else []
    return jsonify(count=len(lines), last=[line.split() for line in lines[-20:]])


@app.get("/healthz")
def health() -> str:
    """Answer once the application is loaded."""
    return "ok"
