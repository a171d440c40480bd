"""Does on request what applications and their libraries do to the host, and reports the outcome."""

import ctypes
import logging
import os
import platform
import socket
import sqlite3
import sys
import tempfile
from pathlib import Path

from flask import Flask, jsonify

app = Flask(__name__)
HERE = Path(__file__).parent
libc = ctypes.CDLL(None, use_errno=True)


def change_group():
    with tempfile.NamedTemporaryFile() as file:
        os.chown(file.name, -1, os.getgid())


def log():
    handler = logging.FileHandler(Path(os.environ["LOGS_DIRECTORY"], "sandbox.log"))
    handler.emit(logging.makeLogRecord({"msg": "hello"}))
    handler.close()


def instance():
    Path(app.instance_path).mkdir(exist_ok=True)
    with sqlite3.connect(f"{app.instance_path}/notes.sqlite") as base:
        base.execute("create table if not exists visits (at)")
        base.execute("insert into visits values (1)")
        return base.execute("select count(*) from visits").fetchone()[0]


def upload():
    (HERE / "data/uploads/file").write_text("uploaded")


def installed():
    Path(sys.prefix, "var/sandbox-instance/file").write_text("x")


def cache():
    for folder in (Path.home() / ".cache/x", Path(os.environ["XDG_CACHE_HOME"], "x"), Path.home() / ".config/x"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "file").write_text("x")


def number(call, *arguments):
    """Return the error of a system call that the filter forbids."""
    assert libc.syscall(call, *arguments) == -1
    return ctypes.get_errno()


# perf_event_open(2) and ptrace(2) in the kernel's tables; io_uring_setup(2) is the same everywhere.
PERF, PTRACE = (241, 117) if platform.machine() == "aarch64" else (298, 101)
DOES = {
    "nice": lambda: os.nice(1),
    "affinity": lambda: os.sched_setaffinity(0, os.sched_getaffinity(0)),
    "group": change_group,
    "interfaces": lambda: [name for _, name in socket.if_nameindex()],
    "memory": lambda: os.close(os.memfd_create("x")),
    "numbers": lambda: [number(425, 1, 0), number(PERF, 0, 0, 0, 0, 0), number(PTRACE, 16, 1, 0, 0)],
    "proc": lambda: Path("/proc/stat").read_text(),
    "log": log,
    "instance": instance,
    "upload": upload,
    "installed": installed,
    "cache": cache,
    "code": lambda: (HERE / "new.py").write_text(""),
    "beside": lambda: (HERE / "data/new").write_text(""),
    "environment": lambda: {name: value for name, value in os.environ.items() if name.isupper()},
}


@app.get("/<what>")
def do(what):
    try:
        return jsonify(pid=os.getpid(), said=DOES[what](), error="")
    except OSError as error:
        return jsonify(pid=os.getpid(), said=None, error=repr(error))


@app.get("/healthz")
def health():
    return "ok"
