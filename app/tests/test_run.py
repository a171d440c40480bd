import json
import os
import re
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

APP = Path(__file__).parents[1]


def python(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("APP_")}
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=APP,
        env=clean | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output_of(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    return out


def test_importing_loads_no_gevent_and_starts_no_threads() -> None:
    script = """
import sys, threading, run
assert callable(run.app)
assert not [name for name in sys.modules if name.split(".")[0] == "gevent"]
assert threading.active_count() == 1
run.app.test_client().get("/healthz")
assert not [name for name in sys.modules if name.split(".")[0] == "gevent"]
"""
    output_of(python("-c", script))


def test_a_bad_setting_stops_the_start_and_is_named() -> None:
    process = python("run.py", APP_WAIT_SECONDS="soon")
    _, err = process.communicate(timeout=30)

    assert process.returncode == 1
    assert "APP_WAIT_SECONDS='soon'" in err.splitlines()[-1]


def test_the_same_source_is_cooperative_when_patched() -> None:
    pytest.importorskip("gevent")
    script = """
from gevent import monkey
monkey.patch_all()
import json, time, gevent, run

def login():
    return run.app.test_client().post("/user_manage/user/login", json={}).status_code

start = time.monotonic()
jobs = [gevent.spawn(login) for _ in range(20)]
gevent.joinall(jobs, raise_error=True)
print(json.dumps({"statuses": [job.value for job in jobs], "seconds": time.monotonic() - start}))
"""
    result = json.loads(output_of(python("-c", script, APP_WAIT_SECONDS="0.2")))

    assert result["statuses"] == [200] * 20
    # One after the other they would take 4 seconds.
    assert result["seconds"] < 2


@pytest.fixture
def development_server() -> Iterator[str]:
    process = python("run.py", APP_PORT="0", APP_WAIT_SECONDS="0", PYTHONUNBUFFERED="1")
    # Reading a line has no timeout; a server that never says where it listens must not hang the tests.
    watchdog = threading.Timer(30, process.kill)
    watchdog.start()
    assert process.stdout
    try:
        for line in process.stdout:
            if address := re.search(r"http://127\.0\.0\.1:\d+", line):
                yield address.group()
                break
        else:
            pytest.fail(f"run.py did not start: {process.stderr and process.stderr.read()}")
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


def test_run_directly_it_serves(development_server: str) -> None:
    request = urllib.request.Request(
        development_server + "/user_manage/user/login",
        data=(APP / "data.txt").read_bytes(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert (answer.status, json.load(answer)) == (200, {})
