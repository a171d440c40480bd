"""The probe, against servers that answer like good and bad applications."""

import contextlib
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.gevent import probe as gevent_probe
from ansible_collections.flaskops.uwsgi.plugins.module_utils.gevent.probe import Measured, ask, cpu, measure

Reply = Callable[[], tuple[int, str]]
Serve = Callable[[Reply], Path]


@pytest.fixture
def serve(short_path: Path) -> Iterator[Serve]:
    """Serve over a UNIX socket, each request in its own thread."""
    with contextlib.ExitStack() as stack:

        def start(reply: Reply) -> Path:
            class Handler(BaseHTTPRequestHandler):
                def do_GET(self) -> None:
                    status, body = reply()
                    self.send_response(status)
                    if status == 302:
                        self.send_header("Location", body)
                    self.end_headers()
                    with contextlib.suppress(OSError):
                        self.wfile.write(body.encode())

                def log_message(self, *_: Any) -> None:
                    """Log nothing."""

            class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
                daemon_threads = True
                request_queue_size = 128

                def get_request(self) -> Any:
                    return super().get_request()[0], ("local", 0)

                def handle_error(self, request: Any, client_address: Any) -> None:
                    """Ignore a client that disconnected, as some tests require."""

            server = stack.enter_context(Server(str(short_path / "a.sock"), Handler))
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            return short_path / "a.sock"

        yield start


def probe(path: Path, requests: int = 5, patience: float = 5, **options: Any) -> Measured:
    deadline = time.monotonic() + 60
    return measure(path, "/", 0, requests=requests, wanted=200, deadline=deadline, patience=patience, **options)


def waits(seconds: float) -> Reply:
    def reply() -> tuple[int, str]:
        time.sleep(seconds)
        return 200, "good"

    return reply


def test_concurrent_requests_overlap(serve: Serve) -> None:
    found = probe(serve(waits(0.2)))
    assert found.single_ms and found.single_ms >= 200
    assert found.overlap and found.overlap > 0.5
    assert (found.statuses, found.unfinished) == ({"200": 5}, 0)
    assert "good" not in str(found), "what a good answer says is not kept"


def test_a_short_request_is_repeated_until_one_was_undisturbed(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    # What is short here must also be short on a busy machine.
    monkeypatch.setattr(gevent_probe, "_SHORT_S", 2.0)
    asked: list[bool] = []

    def reply() -> tuple[int, str]:
        asked.append(True)
        # As on a host that is busy with other work.
        time.sleep(0.0 if len(asked) == 9 else 0.1)
        return 200, "good"

    found = probe(serve(reply))
    assert found.single_ms and found.single_ms > 100 > found.least_ms


def test_bursts_that_other_load_disturbed_are_repeated(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    # The worker waits for a core all the time.
    clock = iter(range(10_000))
    monkeypatch.setattr(gevent_probe, "cpu", lambda _: (0.0, float(next(clock))))
    monkeypatch.setattr(gevent_probe, "_PAUSE_S", 0.0)
    lock, asked = threading.Lock(), []

    def reply() -> tuple[int, str]:
        asked.append(True)
        # Until the other load ends, the requests run one after the other.
        with lock if len(asked) < 50 else contextlib.nullcontext():
            time.sleep(0.1)
        return 200, "good"

    found = probe(serve(reply))
    assert len(asked) >= 50 and found.overlap and found.overlap >= 0.5 and not found.starved


def test_sequential_requests_do_not_overlap(serve: Serve) -> None:
    lock = threading.Lock()

    def reply() -> tuple[int, str]:
        with lock:
            time.sleep(0.1)
        return 200, "good"

    found = probe(serve(reply))
    assert found.burst_ms and found.burst_ms >= 500
    assert found.overlap is not None and found.overlap < 0.3


def test_concurrent_requests_that_never_end_are_abandoned_after_a_look_at_them(serve: Serve) -> None:
    release, inside = threading.Event(), threading.Semaphore(1)

    def reply() -> tuple[int, str]:
        if inside.acquire(blocking=False):
            time.sleep(0.05)
            inside.release()
        else:
            release.wait()
        return 200, "good"

    looked: list[bool] = []
    found = probe(serve(reply), patience=0.5, when_late=lambda: looked.append(True))
    release.set()
    assert found.unfinished > 0 and looked == [True]


def test_the_figures_are_those_of_the_failed_burst(serve: Serve) -> None:
    asked: list[bool] = []

    def reply() -> tuple[int, str]:
        asked.append(True)
        # One at a time, then five that take as long as one after the other, then errors that take longer.
        time.sleep(0.01 if len(asked) <= 12 else 0.1 if len(asked) <= 17 else 0.3)
        return (200 if len(asked) <= 17 else 500), "said"

    found = probe(serve(reply))
    assert found.statuses == {"500": 5} and found.said == "said"
    assert found.burst_ms and found.burst_ms >= 300


def test_a_path_that_fails_without_concurrency_is_not_requested_many_times(serve: Serve) -> None:
    asked: list[bool] = []

    def reply() -> tuple[int, str]:
        asked.append(True)
        return 302, "/login"

    found = probe(serve(reply))
    assert (found.single_ms, found.alone[0].location, len(asked)) == (None, "/login", 1)


def test_errors_under_concurrency_only_are_kept(serve: Serve) -> None:
    inside = threading.Semaphore(1)

    def reply() -> tuple[int, str]:
        if not inside.acquire(blocking=False):
            return 500, "one loop a thread"
        time.sleep(0.2)
        inside.release()
        return 200, "good"

    found = probe(serve(reply))
    assert found.statuses["500"] >= 1 and found.said == "one loop a thread"


def test_a_refused_connection_is_a_result_too(short_path: Path) -> None:
    answer = ask(short_path / "nobody.sock", "/", 1)
    assert answer.status == 0 and answer.said.startswith("no answer: ")


def test_any_answer_below_500_is_good_if_no_status_is_required() -> None:
    found = Measured("/", 5, 0)
    assert found.good(404) and not found.good(503) and not found.good(0)


def test_the_cpu_time_of_a_process_is_read_and_that_of_a_missing_one_is_zero() -> None:
    import os

    assert cpu(os.getpid())[0] > 0
    assert cpu(0) == (0.0, 0.0)
