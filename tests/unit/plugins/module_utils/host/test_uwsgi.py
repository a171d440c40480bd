import json
import re
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import uwsgi
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.untrusted import UntrustedError
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.uwsgi import (
    Stats,
    Worker,
    await_health,
    health,
    read_stats,
    respawns,
)

HttpAnswer = uwsgi.Answer
# What one connection receives; the request, if any was sent, is passed in.
Answer = Callable[[socket.socket], None]
Serve = Callable[[Answer], Path]


@pytest.fixture
def serve(short_path: Path) -> Iterator[Serve]:
    """Serve on a UNIX socket, in threads, until the test ends."""
    with ExitStack() as stack:

        def start(answer: Answer, name: str = "a.sock") -> Path:
            class Handler(socketserver.BaseRequestHandler):
                def handle(self) -> None:
                    answer(self.request)

            class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
                daemon_threads = True

                def handle_error(self, request: Any, client_address: Any) -> None:
                    """Ignore a client that disconnected, as some tests require."""

            server = stack.enter_context(Server(str(short_path / name), Handler))
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            return short_path / name

        yield start


def says(*parts: bytes, pause: float = 0) -> Answer:
    """Send some bytes, with pauses between them, and close, as if no request was expected."""

    def answer(connection: socket.socket) -> None:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)

    return answer


def http(status: str, body: bytes = b"{}") -> Answer:
    """Read a request and answer it as uWSGI does."""

    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 %s\r\nContent-Type: x/y\r\nConnection: close\r\n\r\n%s" % (status.encode(), body))

    return answer


# Stats.


def stats(workers: int = 1, **more: Any) -> dict[str, Any]:
    """Return the stats of an instance, without unused fields."""
    worker = {"pid": 7, "requests": 1, "exceptions": 0, "respawn_count": 1, "cores": [{"in_request": 0}] * 2, **more}
    return {"listen_queue": 0, "sockets": [{"max_queue": 100}], "workers": [worker] * workers}


def test_the_stats_are_read_completely_in_however_many_pieces_they_arrive(serve: Serve) -> None:
    document = stats(300, padding="x" * 1000)
    data = json.dumps(document).encode()
    assert len(data) > 1 << 18
    found = read_stats(serve(says(data[:10], data[10:100_000], data[100_000:], pause=0.01)))
    assert found == Stats(0, 100, (Worker(7, 1, 0, 0, 2, 0),) * 300)


@pytest.mark.parametrize("answer", [b"", b"{", b"<html>", b"\xff\xfe", b"[" * 100_000, b"NaN", b"1" * 10_000])
def test_stats_that_are_not_json_are_reported(serve: Serve, answer: bytes) -> None:
    with pytest.raises(UntrustedError, match=r"^not JSON: "):
        read_stats(serve(says(answer)))


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "'sockets' is missing"),
        ([], "the document is of type list, not dict"),
        (None, "the document is of type NoneType, not dict"),
        ({**stats(), "workers": 1}, "workers is of type int, not list"),
        ({**stats(), "workers": [1]}, "a worker is of type int, not dict"),
        ({**stats(), "sockets": [[]]}, "a socket is of type list, not dict"),
        ({**stats(), "listen_queue": "3"}, "listen_queue is not a count"),
        ({**stats(), "listen_queue": 10**400}, "listen_queue is not a count"),
        (stats(pid="../x"), "pid is not a process id"),
        (stats(pid=True), "pid is not a process id"),
        (stats(pid=-1), "pid is not a process id"),
        (stats(pid=1 << 23), "pid is not a process id"),
        (stats(pid=7.0), "pid is not a process id"),
        (stats(cores=None), "cores is of type NoneType, not list"),
        (stats(cores=[{}]), "'in_request' is missing"),
        (stats(requests=1.5), "requests is not a count"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_stats_that_uwsgi_would_not_write_are_reported(serve: Serve, document: object, words: str) -> None:
    with pytest.raises(UntrustedError) as caught:
        read_stats(serve(says(json.dumps(document).encode())))
    assert caught.value.reason == f"its stats are not what uWSGI writes: {words}"


def test_a_worker_that_has_not_started_has_no_process_id(serve: Serve) -> None:
    assert read_stats(serve(says(json.dumps(stats(pid=0)).encode()))).workers[0].pid == 0


def test_stats_without_a_server_are_an_error(short_path: Path) -> None:
    with pytest.raises(UntrustedError, match="No such file"):
        read_stats(short_path / "none.stats")


def test_stats_that_do_not_arrive_in_time_are_an_error(serve: Serve) -> None:
    with pytest.raises(UntrustedError, match="timed out"):
        read_stats(serve(says(b"{", pause=1)), timeout=0.1)


# Health.


def test_health_is_requested_with_get_and_returns_status_and_body(serve: Serve) -> None:
    requests: list[bytes] = []

    def answer(connection: socket.socket) -> None:
        requests.append(connection.recv(65536))
        connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"status":"ok"}')

    assert health(serve(answer), "/healthz?full=1", 1, "shop.test:8443") == HttpAnswer(200, "", '{"status":"ok"}')
    assert requests[0].startswith(b"GET /healthz?full=1 HTTP/1.0\r\n")
    assert b"\r\nHost: shop.test:8443\r\n" in requests[0]


def test_only_the_beginning_of_a_body_is_read(serve: Serve) -> None:
    found = health(serve(http("503 Busy", b"\xff" + b"x" * 100_000)), "/", 1)
    assert (found.status, len(found.body), found.body[:2]) == (503, 2000, "�x")


def test_the_body_of_another_status_is_awaited(serve: Serve) -> None:
    def slowly(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 11\r\n\r\n\n")
        time.sleep(0.1)
        connection.sendall(b"no database")

    assert health(serve(slowly), "/", 5, wanted=200).body == "\nno databas"


@pytest.mark.parametrize(
    "answer",
    [says(b""), says(b"hello\r\n"), says(b"SSH-2.0-x\r\n\r\n"), says(b"HTTP/1.1 many\r\n\r\n")],
    ids=["closed", "garbage", "another protocol", "no status"],
)
def test_an_answer_that_is_not_http_is_an_error(serve: Serve, answer: Answer) -> None:
    def read_first(connection: socket.socket) -> None:
        connection.recv(65536)
        answer(connection)

    with pytest.raises(UntrustedError, match=r"no HTTP answer|the connection was closed"):
        health(serve(read_first), "/", 1)


def test_no_answer_within_the_timeout_is_an_error(serve: Serve) -> None:
    with pytest.raises(UntrustedError, match="timed out"):
        health(serve(lambda _: time.sleep(1)), "/", 0.05)


def test_a_slow_answer_does_not_exceed_the_timeout(serve: Serve) -> None:
    started = time.monotonic()

    def trickle(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(800):
            connection.sendall(b"x")
            time.sleep(0.05)

    found = health(serve(trickle), "/", 30)
    assert (found.status, found.body.strip("x")) == (200, "")
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nX: "], ids=["status", "headers"])
def test_headers_that_arrive_byte_by_byte_end_at_the_timeout(serve: Serve, head: bytes) -> None:
    def drip(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(head)
        for _ in range(800):
            connection.sendall(b"x")
            time.sleep(0.05)

    started = time.monotonic()
    with pytest.raises(UntrustedError, match=r"timed out after 0\.3 s"):
        health(serve(drip), "/", 0.3)
    assert time.monotonic() - started < 20


def test_endless_headers_are_an_error(serve: Serve) -> None:
    def flood(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        for _ in range(1000):
            connection.sendall(b"X: " + b"x" * 10_000)

    with pytest.raises(UntrustedError):
        health(serve(flood), "/", 30)


def test_a_missing_body_is_not_awaited(serve: Serve) -> None:
    def keep_open(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        time.sleep(15)

    started = time.monotonic()
    assert health(serve(keep_open), "/", 30) == HttpAnswer(200, "", "")
    assert time.monotonic() - started < 10


def test_a_chunked_answer_is_read(serve: Serve) -> None:
    answer = http("200 OK\r\nTransfer-Encoding: chunked", b"2\r\nok\r\n0\r\n\r\n")
    assert health(serve(answer), "/", 5) == HttpAnswer(200, "", "ok")


# Waiting for health.


def test_a_healthy_instance_causes_no_wait(serve: Serve) -> None:
    started = time.monotonic()
    assert await_health(serve(http("200 OK")), "/healthz", 200, 10) is None
    assert time.monotonic() - started < 5


def test_an_instance_is_polled_until_it_is_healthy(serve: Serve) -> None:
    answers = [http("503 Starting"), says(b""), http("404 Not Found"), http("200 OK")]
    left = iter(answers)
    assert await_health(serve(lambda connection: next(left)(connection)), "/healthz", 200, 10) is None
    assert list(left) == []


def test_an_instance_that_does_not_listen_yet_is_awaited(serve: Serve, short_path: Path) -> None:
    timer = threading.Timer(0.2, serve, [http("200 OK")])
    timer.start()
    try:
        assert await_health(short_path / "a.sock", "/healthz", 200, 10) is None
    finally:
        timer.join()


@pytest.mark.parametrize("status", ["500 Internal Server Error", "302 Found", "204 No Content", "404 Not Found"])
def test_any_other_status_is_a_problem_that_quotes_the_answer(serve: Serve, status: str) -> None:
    path = serve(http(status, b"" if status.startswith("204") else b" no database \n"))
    problem = await_health(path, "/healthz", 200, 0.2)
    said = "" if status.startswith("204") else ": no database"
    assert problem and f"{problem}. ".startswith(f"GET /healthz answered {status[:3]} instead of 200{said}. ")


def test_a_redirect_is_reported_with_its_target_and_the_variable_to_set(serve: Serve) -> None:
    path = serve(http("302 Found\r\nLocation: /login?next=/healthz"))
    problem = await_health(path, "/healthz", 200, 0.2) or ""
    assert "answered 302 instead of 200: a redirect to /login?next=/healthz." in problem
    assert "Set flask_uwsgi_health_path to a path that answers 200 without a login or a redirect" in problem


@pytest.mark.parametrize(("status", "remarked"), [("404 Not Found", False), ("302 Found", False), ("500 Error", True)])
def test_without_a_health_path_any_answer_is_accepted_and_an_error_is_noted(
    serve: Serve, status: str, remarked: bool
) -> None:
    remarks: list[str] = []
    path = serve(http(status, b"<title>Server Error</title>"))
    assert await_health(path, "/", 0, 5, remark=remarks.append) is None
    message = "GET / answered 500: Server Error. No flask_uwsgi_health_path is set"
    assert [remark.startswith(message) for remark in remarks] == [True] * remarked


def test_without_a_health_path_an_answer_is_still_required(serve: Serve) -> None:
    def close(connection: socket.socket) -> None:
        connection.recv(65536)

    problem = await_health(serve(close), "/", 0, 0.2)
    assert problem and problem.startswith("GET / got no answer: the connection was closed")
    assert problem.endswith(". Set flask_uwsgi_health_path to a path that answers")


def test_the_healthy_status_can_be_chosen(serve: Serve) -> None:
    assert await_health(serve(http("418 I'm a teapot")), "/", 418, 1) is None


def test_after_the_timeout_the_last_problem_is_reported(serve: Serve) -> None:
    count = iter(range(1000))
    problem = await_health(serve(lambda c: http("503 Busy", b"try %d" % next(count))(c)), "/healthz", 200, 1)
    match = re.fullmatch(r"GET /healthz answered 503 instead of 200: try (\d+)", problem or "")
    # The very last request may have been cut short.
    assert match and int(match[1]) >= next(count) - 2 >= 1, problem


@pytest.mark.parametrize(("meaningful_s", "message"), [(60, "answered 503"), (0.01, "got no answer")])
def test_a_missing_answer_is_reported_unless_the_deadline_cut_it_short(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, meaningful_s: float, message: str
) -> None:
    monkeypatch.setattr(uwsgi, "_MEANINGFUL_S", meaningful_s)
    answers = iter([http("503 Busy")])
    problem = await_health(serve(lambda c: next(answers, lambda _: time.sleep(3))(c)), "/healthz", 200, 1.5)
    assert problem and message in problem


def test_a_refused_connection_is_reported_after_the_timeout(short_path: Path) -> None:
    started = time.monotonic()
    problem = await_health(short_path / "none.sock", "/healthz", 200, 0.2)
    assert problem and problem.startswith("GET /healthz got no answer: ")
    assert 0.2 <= time.monotonic() - started < 5


def test_an_instance_that_hangs_is_given_up_after_the_timeout(serve: Serve) -> None:
    started = time.monotonic()
    problem = await_health(serve(lambda _: time.sleep(4)), "/healthz", 200, 0.3)
    assert problem and "timed out" in problem
    assert time.monotonic() - started < 3


def test_only_the_beginning_of_a_long_answer_is_reported(serve: Serve) -> None:
    problem = await_health(serve(http("500 Error", b"y" * 5000)), "/", 200, 0.05)
    assert problem and len(problem) < 400


@pytest.mark.parametrize(("starts", "died"), [([1, 1], 0), ([0, 1], 0), ([1, 2], 1), ([3, 2], 3)])
def test_a_worker_s_first_start_is_not_a_respawn(serve: Serve, starts: list[int], died: int) -> None:
    document = {**stats(), "workers": [stats(respawn_count=count)["workers"][0] for count in starts]}
    assert respawns(serve(says(json.dumps(document).encode()))) == died
