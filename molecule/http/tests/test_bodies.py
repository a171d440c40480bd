"""Bodies arrive completely and once, within the limits, whatever their framing."""

from __future__ import annotations

import io
import json
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

import pytest

from tests.support.application import Application, Deploy, Release
from tests.support.wire import Answer, drip, request

pytestmark = pytest.mark.timeout(600)

TIMEOUT, RATE, LIMIT_MB = 5, 1000, 8


@pytest.fixture(scope="module")
def raw(deployed: Deploy, release: Release, mode: str) -> Application:
    """A WSGI application with limits that tests can reach."""
    return deployed(
        release("app_raw.py"),
        mode,
        flask_uwsgi_body_mb=LIMIT_MB,
        flask_uwsgi_processes=1,
        flask_uwsgi_request_timeout=TIMEOUT,
        flask_uwsgi_request_min_rate=RATE,
    )


def chunks(*parts: bytes) -> bytes:
    """Return a body in chunks."""
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def post(*headers: str, body: bytes = b"", path: str = "/echo") -> bytes:
    """Return a POST."""
    return request(*headers, line=f"POST {path} HTTP/1.1", body=body)


def upload(
    app: Application,
    size: int,
    *,
    chunk: int = 0,
    path: str = "/count",
    timeout: float = 60,
    half_way: Callable[[], object] = lambda: None,
) -> Answer:
    """Send a body with a length, or in chunks, without keeping it in memory.

    Args:
        app: the application to send it to.
        size: the body's length in bytes.
        chunk: bytes of a chunk; 0 sends a length.
        path: the request's path.
        timeout: seconds that each step may take.
        half_way: called when half of the body has been sent, to look at the state meanwhile.
    """
    began = time.monotonic()
    framing = "Transfer-Encoding: chunked" if chunk else f"Content-Length: {size}"
    part = b"u" * (chunk or 65536)
    with socket.create_connection(app.address, timeout=timeout) as connection:
        connection.sendall(post(framing, path=path))
        for begin in range(0, size, len(part)):
            if begin == size // len(part) // 2 * len(part):
                half_way()
            piece = part[: size - begin]
            connection.sendall(chunks(piece)[:-5] if chunk else piece)
        if chunk:
            connection.sendall(b"0\r\n\r\n")
        received = b""
        while data := connection.recv(65536):
            received += data
    return Answer(received, time.monotonic() - began)


@pytest.mark.parametrize("size", [1, 8191, 8192, 8193, 16384, 100_000, 1_000_000])
@pytest.mark.parametrize("chunk", [0, 1000, 70_000])
def test_a_body_of_any_size_arrives_complete(raw: Application, size: int, chunk: int) -> None:
    answer = upload(raw, size, chunk=chunk)
    assert answer.status == 200, answer.raw
    assert (answer.document["length"], answer.document["said"]) == (size, str(size))


def test_chunks_of_one_byte(raw: Application) -> None:
    body = bytes(97 + number % 26 for number in range(3000))
    answer = raw.ask(post("Transfer-Encoding: chunked", body=chunks(*(body[at : at + 1] for at in range(len(body))))))
    assert answer.document["received"] == 3000
    assert answer.document["begins"].encode() == body[:100]


@pytest.mark.parametrize("framing", ["Content-Length: 17", "Transfer-Encoding: chunked"])
def test_the_input_supports_every_read_method(raw: Application, framing: str) -> None:
    body = b"ab" + b"line\n" + b"0123456789"
    sent = body if "17" in framing else chunks(body[:5], body[5:])
    found = json.loads(raw.ask(post(framing, body=sent, path="/reads")).body)
    assert found == ["", "ab", "line\n", "0", "123456789", ""]


@pytest.mark.parametrize("size", [1, 2000, 5000, 100_000], ids=["short", "memory", "more-than-a-page", "file"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_read_methods_may_be_mixed(raw: Application, chunked: bool, size: int) -> None:
    lines = [b"ab\n", b"cdefgh\n", b"x" * size + b"\n", b"\n", b"yz\n", b"end"]
    body = b"".join(lines)
    steps = "tell;readline;readline:2;read:1;readline:0;read:0;tell;readline:None;read:3;readline;readlines:2;iter;read"
    sent = chunks(body) if chunked else body
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    found = json.loads(raw.ask(post(framing, body=sent, path=f"/steps?{steps}")).body)
    rest = io.BytesIO(body)
    expected: list[object] = []
    for step in steps.split(";"):
        name, _, argument = step.partition(":")
        arguments = [None if argument == "None" else int(argument)] if argument else []
        value = list(rest) if name == "iter" else getattr(rest, name)(*arguments)
        expected.append([line.decode() for line in value] if isinstance(value, list) else value)
    assert found == json.loads(json.dumps(expected, default=bytes.decode))


def test_the_input_can_be_read_again(raw: Application) -> None:
    for size in (100, 100_000):
        steps = f"readline;seek:0;readline;tell;seek:{size};read;seek:1;read:2"
        found = json.loads(
            raw.ask(post(f"Content-Length: {size}", body=b"ab\n".ljust(size, b"c"), path=f"/steps?{steps}")).body
        )
        assert found == ["ab\n", None, "ab\n", 3, None, "", None, "b\n"]


def test_an_unread_body_is_not_parsed_as_a_request(raw: Application) -> None:
    hidden = request(line="GET /seen HTTP/1.1")
    for body, framing in ((hidden, f"Content-Length: {len(hidden)}"), (chunks(hidden), "Transfer-Encoding: chunked")):
        for path in ("/healthz", "/steps?read:3"):
            answer = raw.ask(post(framing, body=body, path=path) + hidden)
            assert (answer.status, answer.raw.count(b"HTTP/1.1 ")) == (200, 1)
            assert answer.body in (b"ok\n", b'["GET"]')


def test_a_body_longer_than_the_limit_is_refused(raw: Application) -> None:
    limit = LIMIT_MB * 1024 * 1024
    for chunk in (0, 65_536, 60_000):
        assert upload(raw, limit, chunk=chunk).status == 200
        answer = upload(raw, limit + 1, chunk=chunk)
        assert answer.status == 413, answer.raw
        assert b"flask_uwsgi_body_mb" in answer.body


def test_a_client_that_sends_far_too_much_gets_its_answer(raw: Application) -> None:
    assert upload(raw, 60_000_000).status == 413


def test_100_continue_is_sent_at_once(raw: Application) -> None:
    for framing, body in (("Content-Length: 5", b"hello"), ("Transfer-Encoding: chunked", chunks(b"hello"))):
        with socket.create_connection(raw.address, timeout=10) as connection:
            began = time.monotonic()
            connection.sendall(post("Expect: 100-continue", framing))
            assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
            # curl sends the body after a second, with or without an answer.
            assert time.monotonic() - began < 1
            connection.sendall(body)
            received = b""
            while data := connection.recv(65536):
                received += data
        answer = Answer(received, 0)
        assert (answer.status, answer.document["received"]) == (200, 5)


def test_100_continue_is_not_sent_after_a_refusal_or_the_body(raw: Application) -> None:
    for sent, status in (
        (post("Expect: 100-continue", "Content-Length: 99000000"), 413),
        (post("Expect: 100-continue", "Content-Length: 5", body=b"hello"), 200),
        (post("Expect: 100-continue"), 200),
    ):
        answer = raw.ask(sent)
        assert answer.status == status
        assert b"100 Continue" not in answer.raw


@pytest.mark.parametrize("framing", ["Content-Length: 5", "Content-Length: 99999", "Transfer-Encoding: chunked"])
def test_an_incomplete_body_never_reaches_the_application(raw: Application, framing: str) -> None:
    with socket.create_connection(raw.address, timeout=10) as connection:
        connection.sendall(post(framing, body=b"2\r\nx"))
        connection.shutdown(socket.SHUT_WR)
        received = connection.recv(65536)
    assert received.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("framing", ["Content-Length: 100000", "Transfer-Encoding: chunked"])
def test_a_body_that_arrives_too_slowly_is_refused(raw: Application, framing: str) -> None:
    answer = drip(raw.address, post(framing), piece=b"1\r\na\r\n", every=0.3, most=6 * TIMEOUT)
    assert answer.status == 408
    assert TIMEOUT - 1 <= answer.seconds <= 3 * TIMEOUT


@pytest.mark.full
def test_chunks_that_arrive_slowly_but_fast_enough_are_served(raw: Application) -> None:
    stop = threading.Event()
    with socket.create_connection(raw.address, timeout=30) as connection:
        connection.sendall(post("Transfer-Encoding: chunked"))
        began = time.monotonic()
        while not stop.wait(0.5) and time.monotonic() - began < 2 * TIMEOUT:
            connection.sendall(b"%x\r\n%s\r\n" % (RATE * 2, b"x" * RATE * 2))
        connection.sendall(b"0\r\n\r\n")
        answer = Answer(connection.recv(65536), time.monotonic() - began)
    assert (answer.status, answer.seconds > TIMEOUT) == (200, True)


@pytest.mark.full
@pytest.mark.parametrize("chunk", [0, 65_536])
def test_large_uploads_are_buffered_on_disk_and_memory_is_bounded(
    deployed: Deploy, release: Release, mode: str, chunk: int
) -> None:
    app = deployed(release("app_raw.py"), mode, flask_uwsgi_processes=1)
    before = json.loads(app.get("/seen").body)["peak_kb"]
    size, at_once, seen = 200_000_000, 2, threading.Event()
    with ThreadPoolExecutor() as pool:
        asked = pool.map(
            lambda _: upload(app, size, chunk=chunk, timeout=300, half_way=lambda: seen.wait(60)), repeat(None, at_once)
        )
        try:
            app.wait_until(lambda: temporary_files(app).count("/var/tmp/") == at_once, "the bodies in /var/tmp", 30)
        finally:
            seen.set()
        for answer in asked:
            assert (answer.status, answer.document["length"]) == (200, size)
    after = json.loads(app.get("/seen").body)["peak_kb"]
    assert after - before < 30_000
    assert temporary_files(app) == ""


def temporary_files(app: Application) -> str:
    """Return the folders of the worker's open files without a name."""
    main = app.run(f"systemctl show --property=MainPID --value {app.unit}").strip()
    return app.run(f"for pid in $(pgrep --parent {main}); do ls -l /proc/$pid/fd | grep -E '/(var/)?tmp/'; done; true")
