"""The guard that runs beside the workers of an instance, loaded as uWSGI's master runs it: from its file."""

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FILE = Path(__file__).resolve().parents[3] / "roles/flask_uwsgi/files/guard.py"


@pytest.fixture
def guard() -> ModuleType:
    spec = importlib.util.spec_from_file_location("guard", FILE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def worker(pid: int = 7, requests: int = 0, busy: int = 1) -> dict[str, Any]:
    return {"pid": pid, "requests": requests, "cores": [{"in_request": 0}, {"in_request": busy}]}


def test_a_worker_whose_requests_do_not_end_hangs(guard: ModuleType) -> None:
    hang = guard.Hang(10)
    assert hang.found([worker()], 100) == []
    assert hang.found([worker()], 109.9) == []
    assert hang.found([worker()], 110) == [7]


def test_a_request_that_ends_puts_it_off(guard: ModuleType) -> None:
    hang = guard.Hang(10)
    hang.found([worker(requests=1)], 100)
    assert hang.found([worker(requests=2)], 111) == []
    assert hang.found([worker(requests=2)], 121) == [7]


def test_an_idle_worker_does_not_hang(guard: ModuleType) -> None:
    hang = guard.Hang(10)
    hang.found([worker()], 100)
    hang.found([worker(busy=0)], 105)
    assert hang.found([worker()], 111) == []


def test_a_worker_that_replaced_another_begins_anew(guard: ModuleType) -> None:
    hang = guard.Hang(10)
    hang.found([worker(pid=7)], 100)
    assert hang.found([worker(pid=8)], 111) == []


def test_one_worker_of_several_is_named(guard: ModuleType) -> None:
    hang = guard.Hang(10)
    hang.found([worker(7), worker(8, requests=1)], 100)
    assert hang.found([worker(7), worker(8, requests=2), worker(0)], 111) == [7]


def test_without_a_limit_nothing_hangs(guard: ModuleType) -> None:
    hang = guard.Hang(0)
    hang.found([worker()], 100)
    assert hang.found([worker()], 10**9) == []


def test_an_instance_that_does_not_answer_has_no_workers(guard: ModuleType, tmp_path: Path) -> None:
    assert guard.stats(str(tmp_path / "nobody")) == []


def test_a_worker_with_too_much_memory_is_killed_and_the_log_says_why(
    guard: ModuleType, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as victim:
        monkeypatch.setattr(guard, "stats", lambda path: [worker(victim.pid), worker(0)])

        def until_killed(seconds: float) -> None:
            # It needs a moment to have any memory to speak of.
            if victim.poll() is not None:
                raise InterruptedError

        monkeypatch.setattr(guard.time, "sleep", until_killed)
        with pytest.raises(InterruptedError):
            guard.watch("", guard.Hang(0), 1)
        assert victim.returncode == -signal.SIGKILL
    assert f"worker with pid {victim.pid} is killed and replaced: it holds " in capfd.readouterr().out


def test_the_memory_of_a_process_is_what_it_uses(guard: ModuleType) -> None:
    assert 1 < guard.resident_mb(os.getpid()) < 10_000
    assert guard.resident_mb(2**30) == 0
