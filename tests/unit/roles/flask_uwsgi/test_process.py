"""The end of a worker, and what an application must not have before a fork, shown by separate programs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.failure import stacks
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.journal import Said

from tests.support import ROOT

PROCESS = ROOT / "roles/flask_uwsgi/files/process.py"
# What entry.py does with it, and uWSGI afterwards.
BEGIN = """
import sys
from types import ModuleType
GEVENT = sys.argv[1] == "gevent"
if GEVENT:
    from gevent import monkey
    monkey.patch_all()
uwsgi = sys.modules["uwsgi"] = ModuleType("uwsgi")
uwsgi.worker_id = lambda: 3
uwsgi.opt = {}
from importlib import util
spec = util.spec_from_file_location("flask_uwsgi_process", sys.argv[2])
process = util.module_from_spec(spec)
spec.loader.exec_module(process)
import atexit, os, threading, time
from concurrent.futures import ThreadPoolExecutor
"""
MODES = pytest.mark.parametrize("mode", ["gevent", "threads"])


def run(folder: Path, mode: str, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program that has the process's module, as ``app.py``."""
    (folder / "app.py").write_text(BEGIN + code)
    return subprocess.run(
        [sys.executable, "app.py", mode, str(PROCESS)],
        cwd=folder,
        env={**os.environ, "FLASK_UWSGI_ROLE": "canary", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def line(code: str, text: str) -> int:
    """Return the line of the program that contains a text."""
    return next(number for number, found in enumerate((BEGIN + code).splitlines(), 1) if text in found)


@MODES
def test_a_worker_ends_like_a_python_program(tmp_path: Path, mode: str) -> None:
    code = """
with process.loading(start_timeout=60, stop_timeout=20, preload=False):
    def work():
        time.sleep(0.2)
        print("thread", flush=True)
    threading.Thread(target=work).start()
    pool = ThreadPoolExecutor(1)
    pool.submit(lambda: None)
    kept = open("kept", "w")
    kept.write("kept")
    atexit.register(print, "first", flush=True)
    atexit.register(print, "last", flush=True)
    uwsgi.atexit = lambda: print("theirs", flush=True)
uwsgi.atexit()
uwsgi.atexit()
os._exit(7)
"""
    done = run(tmp_path, mode, code)
    assert (done.returncode, done.stderr) == (7, "")
    assert done.stdout.split() == ["theirs", "thread", "last", "first"]
    assert (tmp_path / "kept").read_text() == "kept"


@pytest.mark.slow
@MODES
def test_threads_and_exit_functions_that_do_not_end_are_named_and_abandoned(tmp_path: Path, mode: str) -> None:
    code = """
def forever():
    while True:
        time.sleep(1)
def stuck():
    time.sleep(30)
with process.loading(start_timeout=60, stop_timeout=3, preload=False):
    threading.Thread(target=forever, name="refresher").start()
    threading.Thread(target=forever, name="daemon", daemon=True).start()
    pool = ThreadPoolExecutor(1)
    pool.submit(forever)
    atexit.register(print, "bye", flush=True)
    atexit.register(stuck)
uwsgi.stop_began = int(time.time())
uwsgi.atexit()
os._exit(0)
"""
    began = time.monotonic()
    done = run(tmp_path, mode, code)
    assert time.monotonic() - began < 15
    assert (done.returncode, done.stdout) == (0, "bye\n")
    lines = done.stderr.splitlines()
    assert len(lines) == 2, done.stderr
    assert lines[0].startswith("[uwsgi-stop] worker 3 (pid: ")
    assert f"refresher (app.py:{line(code, 'def forever')})" in lines[0]
    assert "ThreadPoolExecutor-0_0" in lines[0]
    assert "daemon (" not in lines[0]
    assert f"an exit function: it is at app.py:{line(code, 'time.sleep(30)')}" in lines[1]


@MODES
@pytest.mark.parametrize("preload", [False, True])
def test_a_worker_that_loads_runs_the_after_fork_callbacks_of_a_child(tmp_path: Path, mode: str, preload: bool) -> None:
    code = f"""
import random
with process.loading(start_timeout=60, stop_timeout=3, preload={preload}):
    os.register_at_fork(before=lambda: print("before", flush=True), after_in_child=lambda: print("one", flush=True))
    os.register_at_fork(after_in_child=lambda: 1 / 0)
    os.register_at_fork(after_in_child=lambda: print("two", flush=True))
print("loaded", flush=True)
os._exit(0)
"""
    done = run(tmp_path, mode, code)
    assert done.stdout.split() == (["loaded"] if preload else ["one", "two", "loaded"])
    assert ("ZeroDivisionError" in done.stderr) is not preload


SHARED = """
import socket, sqlite3, subprocess, logging
other = socket.create_server(("127.0.0.1", 0))
def load():
    global link, own, data, pool, log
    link = socket.create_connection(other.getsockname())
    own = open(__file__)
    data = sqlite3.connect("data.sqlite")
    data.execute("create table a(b)")
    pool = ThreadPoolExecutor(1)
    pool.submit(threading.Event().wait)
    subprocess.Popen(["sleep", "20"])
    logging.basicConfig(filename="log")
    logging.warning("kept open, and harmless")
try:
    with process.loading(start_timeout=60, stop_timeout=3, preload=PRELOAD):
        load()
    print("loaded", flush=True)
except process.EntryError as error:
    print(error, flush=True)
subprocess.run(["pkill", "-P", str(os.getpid()), "sleep"])
os._exit(0)
"""


@MODES
def test_objects_that_forked_workers_cannot_share_are_named_with_their_line(tmp_path: Path, mode: str) -> None:
    code = SHARED.replace("PRELOAD", "True")
    said = run(tmp_path, mode, code).stdout
    assert said.startswith("flask_uwsgi_preload=true: ")
    assert said.rstrip().endswith("set flask_uwsgi_preload=false, with which each worker loads the application")
    found = said.partition("after loading: ")[2].partition(". Open")[0].split("; ")
    wanted = {
        "the thread ThreadPoolExecutor-0_0": "pool.submit",
        "the child process": "subprocess.Popen",
        "a connection to 127.0.0.1": "link = ",
        f"the open file {tmp_path}/app.py": "own = ",
        f"the open file {tmp_path}/data.sqlite": "data = ",
    }
    assert len(found) == len(wanted), said
    for what, text in wanted.items():
        assert any(one.startswith(what) and one.endswith(f"(app.py:{line(code, text)})") for one in found), (what, said)


@MODES
def test_an_application_loaded_in_each_worker_may_have_them(tmp_path: Path, mode: str) -> None:
    assert run(tmp_path, mode, SHARED.replace("PRELOAD", "False")).stdout == "loaded\n"


@MODES
def test_objects_closed_before_the_fork_are_not_reported(tmp_path: Path, mode: str) -> None:
    code = """
import socket
other = socket.create_server(("127.0.0.1", 0))
with process.loading(start_timeout=60, stop_timeout=3, preload=True):
    socket.create_connection(other.getsockname()).close()
    open(__file__).close()
    done = threading.Thread(target=int)
    done.start()
    done.join()
    null = open(os.devnull)
print("loaded", flush=True)
os._exit(0)
"""
    assert run(tmp_path, mode, code).stdout == "loaded\n"


def test_a_connection_of_a_compiled_library_is_found_by_its_owner(tmp_path: Path) -> None:
    (tmp_path / "base.py").write_text(
        "import ctypes\n\nclass Raw:\n    number = ctypes.CDLL(None).socket(2, 1, 0)\n    def fileno(self):\n"
        "        return self.number\n\nraw = Raw()\n"
    )
    code = """
try:
    with process.loading(start_timeout=60, stop_timeout=3, preload=True):
        import base
except process.EntryError as error:
    print(error, flush=True)
os._exit(0)
"""
    assert "a socket (raw in base.py:8)" in run(tmp_path, "threads", code).stdout


@pytest.mark.slow
@MODES
@pytest.mark.parametrize(
    "wait", ["time.sleep(1.2)", "while time.monotonic() < until: pass", "threading.Event().wait(1.2)"]
)
def test_the_place_of_a_long_load_is_logged(tmp_path: Path, mode: str, wait: str) -> None:
    code = f"""
def waits():
    until = time.monotonic() + 1.2
    {wait}
with process.loading(start_timeout=1, stop_timeout=3, preload=False):
    waits()
time.sleep(1)
os._exit(0)
"""
    done = run(tmp_path, mode, code)
    found = stacks.split([Said("7", text) for text in done.stderr.splitlines()])
    assert (done.returncode, found.rest) == (0, [])
    own = [place for place in found.hanging if place.where.startswith(str(tmp_path))]
    assert [place.phrase for place in own] == [
        f"{tmp_path}/app.py:{line(code, wait)} (waits)",
        f"{tmp_path}/app.py:{line(code, '    waits()')}",
    ]
    # Once: by the hub if a greenlet waits, otherwise by faulthandler.
    assert done.stderr.count("Timeout") == 1


@MODES
def test_a_load_that_ends_in_time_logs_nothing_and_hides_no_greenlet_that_waits_forever(
    tmp_path: Path, mode: str
) -> None:
    code = """
with process.loading(start_timeout=2, stop_timeout=3, preload=False):
    if GEVENT:
        from gevent.event import AsyncResult
        from gevent.exceptions import LoopExit
        try:
            AsyncResult().get()
        except LoopExit:
            print("nobody answers", flush=True)
time.sleep(1.2)
os._exit(0)
"""
    done = run(tmp_path, mode, code)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == ("nobody answers\n" if mode == "gevent" else "")


@MODES
def test_a_crash_logs_its_place(tmp_path: Path, mode: str) -> None:
    code = """
import ctypes
def crash():
    ctypes.string_at(0)
with process.loading(start_timeout=60, stop_timeout=3, preload=False):
    crash()
"""
    done = run(tmp_path, mode, code)
    found = stacks.split([Said("7", text) for text in done.stderr.splitlines()])
    assert (done.returncode, [one for one in found.rest if one.text]) == (-signal.SIGSEGV, [])
    assert f"{tmp_path}/app.py:{line(code, '    ctypes.string_at(0)')} (crash)" in [
        place.phrase for place in found.crashed
    ]
