"""The guard that runs beside the workers of an instance, loaded from its file like uWSGI's master does."""

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support import ROOT

FILE = ROOT / "roles/flask_uwsgi/files/guard.py"


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


def test_a_request_that_ends_resets_the_timer(guard: ModuleType) -> None:
    hang = guard.Hang(10)
    hang.found([worker(requests=1)], 100)
    assert hang.found([worker(requests=2)], 111) == []
    assert hang.found([worker(requests=2)], 121) == [7]


def test_an_idle_worker_does_not_hang(guard: ModuleType) -> None:
    hang = guard.Hang(10)
    hang.found([worker()], 100)
    hang.found([worker(busy=0)], 105)
    assert hang.found([worker()], 111) == []


def test_a_worker_that_replaced_another_starts_again(guard: ModuleType) -> None:
    hang = guard.Hang(10)
    hang.found([worker(pid=7)], 100)
    assert hang.found([worker(pid=8)], 111) == []


def serving_worker(*cores: tuple[int, int, int], turns: int = 0, requests: int = 0) -> dict[str, Any]:
    """Return a worker whose cores are (in request, sent, websocket)."""
    named = [dict(zip(("in_request", "sent", "websocket"), core, strict=True)) for core in cores]
    return {"pid": 7, "requests": requests, "turns": turns, "cores": named}


IDLE, WAITS, STREAMS, SOCKET = (0, 0, 0), (1, 0, 0), (1, 500, 0), (1, 129, 1)


@pytest.mark.parametrize(
    ("before", "after", "hangs"),
    [
        # A stream that continues, in either mode, even if it takes the last core.
        (serving_worker((1, 500, 0)), serving_worker((1, 600, 0)), False),
        (serving_worker((1, 500, 0), turns=5), serving_worker((1, 600, 0), turns=15), False),
        # A silent one: its worker continues, or has room for others.
        (serving_worker(STREAMS, turns=5), serving_worker(STREAMS, turns=15), False),
        (serving_worker(STREAMS, IDLE), serving_worker(STREAMS, IDLE), False),
        # … or not.
        (serving_worker(STREAMS, turns=5), serving_worker(STREAMS, turns=5), True),
        (serving_worker(STREAMS, STREAMS), serving_worker(STREAMS, STREAMS), True),
        # Idle WebSockets, as many as there are cores.
        (serving_worker(SOCKET, SOCKET, turns=5), serving_worker(SOCKET, SOCKET, turns=15), False),
        (serving_worker(SOCKET, SOCKET), serving_worker(SOCKET, SOCKET), False),
        # One that blocks the event loop.
        (serving_worker(SOCKET, IDLE, turns=5), serving_worker(SOCKET, IDLE, turns=5), True),
        # Requests without an answer beside healthy streams and WebSockets.
        (serving_worker((1, 500, 0), WAITS, turns=5), serving_worker((1, 600, 0), WAITS, turns=15), True),
        (serving_worker(SOCKET, WAITS, IDLE), serving_worker(SOCKET, WAITS, IDLE), True),
        (serving_worker(SOCKET, WAITS, IDLE), serving_worker(SOCKET, WAITS, IDLE, requests=1), False),
        # An idle worker whose event loop is blocked delays no request.
        (serving_worker(IDLE, turns=5), serving_worker(IDLE, turns=5), False),
    ],
)
def test_what_may_last(guard: ModuleType, before: dict[str, Any], after: dict[str, Any], hangs: bool) -> None:
    hang = guard.Hang(10)
    assert hang.found([before], 100) == []
    assert hang.found([after], 110) == [7] * hangs


def test_a_stream_that_falls_silent_gets_the_full_timeout(guard: ModuleType) -> None:
    hang = guard.Hang(10)
    hang.found([serving_worker((1, 500, 0))], 100)
    hang.found([serving_worker((1, 600, 0))], 109)
    assert hang.found([serving_worker((1, 600, 0))], 118) == []
    assert hang.found([serving_worker((1, 600, 0))], 119) == [7]


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


@contextmanager
def serving(path: Path, *parts: bytes, pause: float = 0) -> Iterator[None]:
    """Send some bytes to every client, with pauses between them."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def serve() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                for part in parts:
                    connection.sendall(part)
                    time.sleep(pause)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield
        thread.join(30)


def test_the_workers_are_those_of_the_stats(guard: ModuleType, short_path: Path) -> None:
    with serving(short_path / "a", json.dumps({"workers": [worker(7), worker(0)]}).encode()):
        assert guard.stats(str(short_path / "a")) == [worker(7), worker(0)]


@pytest.mark.parametrize(
    "document",
    [
        b"{}", b"[]", b"3", b"null", b'{"workers": 1}', b'{"workers": [1, [], {}, null]}', b"[" * 100_000, b"\xff", b"",
        json.dumps({"workers": [{**worker(), "pid": "../x"}, {**worker(), "pid": -1}]}).encode(),
        json.dumps({"workers": [{**worker(), "pid": True}, {**worker(), "pid": 1 << 30}]}).encode(),
        json.dumps({"workers": [{**worker(), "cores": 1}, {**worker(), "turns": "1"}]}).encode(),
        json.dumps({"workers": [{**worker(), "cores": [{}]}, {**worker(), "requests": None}]}).encode(),
    ],
)  # fmt: skip
def test_stats_that_uwsgi_would_not_write_name_no_worker(guard: ModuleType, short_path: Path, document: bytes) -> None:
    with serving(short_path / "a", document):
        assert guard.Hang(1).found(guard.stats(str(short_path / "a")), 1) == []


def test_stats_that_arrive_byte_by_byte_are_abandoned(
    guard: ModuleType, short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "_PATIENCE", 0.3)
    started = time.monotonic()
    with serving(short_path / "a", *[b"x"] * 800, pause=0.05):
        assert guard.stats(str(short_path / "a")) == []
        assert time.monotonic() - started < 20


def test_a_worker_with_too_much_memory_is_killed_and_the_log_says_why(
    guard: ModuleType, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as victim:
        monkeypatch.setattr(guard, "stats", lambda path: [worker(victim.pid), worker(0)])

        def until_killed(seconds: float) -> None:
            # It takes a moment to use a noticeable amount of memory.
            if victim.poll() is not None:
                raise InterruptedError

        monkeypatch.setattr(guard.time, "sleep", until_killed)
        with pytest.raises(InterruptedError):
            guard.watch("", guard.Hang(0), 1)
        assert victim.returncode == -signal.SIGKILL
    assert f"worker with pid {victim.pid} is killed and replaced: it uses " in capfd.readouterr().out


def test_the_memory_of_a_process_is_what_it_uses(guard: ModuleType) -> None:
    assert 1 < guard.resident_mb(os.getpid()) < 10_000
    assert guard.resident_mb(2**30) == 0
