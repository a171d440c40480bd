"""Answers arrive as the application gave them; where they cannot, the client can detect it."""

from __future__ import annotations

import email.utils
import json
import socket
import time

import pytest

from tests.support.application import Application, Deploy, Release
from tests.support.wire import Answer, request

pytestmark = pytest.mark.timeout(400)

DATA = "".join(chr(32 + number % 90) for number in range(10_000))


@pytest.fixture(scope="module")
def raw(deployed: Deploy, release: Release, mode: str) -> Application:
    """A WSGI application with correct and faulty answers of every kind."""
    return deployed(
        release("app_raw.py", static__data=DATA, static__empty=""),
        mode,
        flask_uwsgi_body_mb=8,
        flask_uwsgi_processes=1,
        flask_uwsgi_static={"/static": "static"},
        flask_uwsgi_request_timeout=5,
        flask_uwsgi_request_min_rate=1000,
    )


def head(app: Application, path: str, *headers: str) -> Answer:
    """Send a HEAD request."""
    return app.ask(request(*headers, line=f"HEAD {path} HTTP/1.1"))


def closed(app: Application) -> list[str]:
    """Return the paths whose generator was closed."""
    paths: list[str] = json.loads(app.get("/seen").body)["closed"]
    return paths


# Answers without a body.


@pytest.mark.parametrize("path", ["/body", "/body/endless", "/length?5,5", "/file", "/file?memory"])
def test_head_gets_the_headers_and_no_body(raw: Application, path: str) -> None:
    answer = head(raw, path)
    assert (answer.status, answer.body) == (200, b"")
    assert b"Content-Length: " in answer.raw


def test_head_of_an_endless_stream_ends_and_closes_it(raw: Application) -> None:
    answer = head(raw, "/stream/head")
    assert (answer.status, answer.body) == (200, b"")
    assert "/stream/head" in closed(raw)


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_a_status_without_a_body_has_none(raw: Application, status: str) -> None:
    path = f"/body/{status[:3]}"
    answer = raw.get(f"{path}?{status.replace(' ', '+')}")
    assert (answer.status, answer.body) == (int(status[:3]), b"")
    assert (b"Content-Length" in answer.raw) == (status[:3] == "304")
    assert path in closed(raw)


# Lengths.


def test_an_answer_longer_than_its_content_length_is_cut_there(raw: Application) -> None:
    since = time.time()
    assert raw.get("/length?3,9").body == b"xxx"
    assert raw.get("/length?0,9").body == b""
    assert raw.get("/file?short").body == (bytes(range(256)) * 4)[:1000]
    assert "/length: the application's answer is longer than its Content-Length" in raw.journal(since)


def test_an_answer_shorter_than_its_content_length_ends_early(raw: Application) -> None:
    since = time.time()
    assert raw.get("/length?9,3").body == b"xxx"
    assert raw.get("/length?9,0").body == b""
    assert "/length: the application's answer is shorter than its Content-Length" in raw.journal(since)


# Answers without a length.


@pytest.mark.parametrize(
    ("path", "chunks"),
    [
        ("/parts?iter:one,two", [b"one", b"two", b""]),
        ("/parts?iter:,one,,two,", [b"one", b"two", b""]),
        ("/parts?iter:", [b""]),
        ("/parts?list:one,two", [b"one", b"two", b""]),
        ("/parts?list:", [b""]),
        ("/written", [b"one", b"two", b"three", b""]),
    ],
)
def test_an_answer_without_a_length_is_chunked(raw: Application, path: str, chunks: list[bytes]) -> None:
    answer = raw.get(path)
    assert answer.is_chunked
    assert answer.chunks == chunks
    older = raw.ask(request(line=f"GET {path} HTTP/1.0"))
    assert not older.is_chunked
    assert older.body == b"".join(chunks)


def test_a_single_part_answer_gets_its_length(raw: Application) -> None:
    for path, length in (("/parts?list:one", 3), ("/parts?tuple:one", 3), ("/parts?list:,", None)):
        answer = raw.get(path)
        assert answer.is_chunked == (length is None)
        assert length is None or b"Content-Length: %d\r\n" % length in answer.raw


@pytest.mark.parametrize(
    "path", ["/parts?iter:one", "/parts?list:one", "/body?204+No+Content", "/body?304+Not+Modified"]
)
def test_an_answer_without_a_body_has_no_chunks(raw: Application, path: str) -> None:
    answer = head(raw, path)
    assert not answer.is_chunked
    assert answer.body == b""


# Failures.


@pytest.mark.parametrize(
    "point",
    [
        *("call", "exit", "first", "none", "text", "forgets", "forgets-empty", "header", "large-header"),
        *("continue", "word", "break", "digits", "length", "negative", "no-length", "lengths"),
    ],
)
def test_a_failure_before_the_head_is_answered_with_500(raw: Application, point: str) -> None:
    answer = raw.get(f"/fail?{point}")
    assert (answer.status, answer.body) == (500, b"Internal Server Error\n"), answer.raw
    assert b"Set-Cookie" not in answer.raw


def test_a_failure_after_the_head_is_detectable(raw: Application) -> None:
    for point in ("later", "again"):
        assert raw.get(f"/fail?{point}").chunks == [b"first"]
        # HTTP/1.0 has no chunks.
        with socket.create_connection(raw.address, timeout=10) as connection:
            connection.sendall(request(line=f"GET /fail?{point} HTTP/1.0"))
            received = b""
            with pytest.raises(ConnectionResetError):
                while chunk := connection.recv(65536):
                    received += chunk
        assert received.endswith(b"\r\n\r\nfirst")


def test_a_client_detects_that_a_worker_was_killed(raw: Application) -> None:
    assert raw.get("/killed").chunks == [b"before"]
    raw.wait_until(lambda: raw.get("/healthz").status == 200, "another worker serves")


def test_an_error_may_replace_an_answer_that_was_not_sent(raw: Application) -> None:
    answer = raw.get("/fail?replaced")
    assert (answer.status, answer.body) == (503, b"replaced")


def test_the_server_controls_hop_by_hop_headers(raw: Application) -> None:
    answer = raw.get("/hop")
    assert answer.body == b"hop"
    assert b"keep-alive" not in answer.raw.lower()
    assert b"chunked" not in answer.raw
    assert answer.raw.count(b"Connection: ") == 1


# Streams.


def test_events_arrive_one_by_one(raw: Application) -> None:
    arrived = []
    with socket.create_connection(raw.address, timeout=10) as connection:
        connection.sendall(request(line="GET /events HTTP/1.1"))
        while chunk := connection.recv(65536):
            arrived.append((time.monotonic(), chunk.count(b"data: ")))
    assert sum(events for _, events in arrived) == 5
    # None waits for the next one, which comes 0.3 s later.
    assert max(events for _, events in arrived) == 1
    assert arrived[-1][0] - arrived[0][0] > 0.8


def test_a_client_that_disconnects_ends_its_generator(raw: Application) -> None:
    path = f"/stream/{time.time()}"
    with socket.create_connection(raw.address, timeout=10) as connection:
        connection.sendall(request(line=f"GET {path} HTTP/1.1"))
        assert connection.recv(100)
        assert path not in closed(raw)
    raw.wait_until(lambda: path in closed(raw), "the generator was closed", within=5)


def test_a_large_answer_arrives_complete(raw: Application) -> None:
    assert len(raw.get("/large?20000000").body) == 20_000_000


# Files.


def test_files_that_the_application_sends_arrive_complete(raw: Application) -> None:
    data = bytes(range(256)) * 40
    assert raw.get("/file").body == data
    assert raw.get("/file?memory").body == data
    assert raw.get("/file?seek").body == data[100:]
    assert raw.get("/pipe").body == b"through a pipe\n"


@pytest.mark.parametrize(
    ("asked", "status", "sent"),
    [
        ("bytes=0-0", 206, slice(0, 1)),
        ("bytes=100-199", 206, slice(100, 200)),
        ("bytes=9990-", 206, slice(9990, 10_000)),
        ("bytes=-10", 206, slice(9990, 10_000)),
        ("bytes=9990-99999", 206, slice(9990, 10_000)),
        ("Bytes=5-6", 206, slice(5, 7)),
        ("bytes=-99999", 200, slice(None)),
        ("bytes=0-", 200, slice(None)),
        ("bytes=10000-", 416, None),
        ("bytes=-0", 416, None),
        ("bytes=5-4", 200, slice(None)),
        ("bytes=a-b", 200, slice(None)),
        ("bytes=1-2,4-5", 200, slice(None)),
        ("lines=1-2", 200, slice(None)),
        ("bytes=1-99999999999999999999999", 200, slice(None)),
    ],
)
def test_ranges_of_static_files(raw: Application, asked: str, status: int, sent: slice | None) -> None:
    answer = raw.get("/static/data", f"Range: {asked}")
    whole = DATA.encode()
    assert answer.status == status
    assert answer.body == (b"" if sent is None else whole[sent])
    if status == 206 and sent is not None:
        assert b"Content-Range: bytes %d-%d/10000\r\n" % (sent.start, sent.stop - 1) in answer.raw
        assert b"Content-Length: %d\r\n" % (sent.stop - sent.start) in answer.raw
    if status == 416:
        assert b"Content-Range: bytes */10000\r\n" in answer.raw


def test_a_range_is_sent_only_for_the_version_that_the_client_has(raw: Application) -> None:
    modified = next(
        line[15:].decode() for line in raw.get("/static/data").raw.split(b"\r\n") if line.startswith(b"Last-Modified")
    )
    older = email.utils.formatdate(email.utils.parsedate_to_datetime(modified).timestamp() - 9, usegmt=True)
    for version, status in ((modified, 206), (older, 200), ('"tag"', 200)):
        answer = raw.get("/static/data", "Range: bytes=5-9", f"If-Range: {version}")
        assert answer.status == status, version
        assert answer.body == (DATA[5:10] if status == 206 else DATA).encode()


def test_only_the_same_version_of_a_file_is_not_modified(raw: Application) -> None:
    modified = next(
        line[15:].decode() for line in raw.get("/static/data").raw.split(b"\r\n") if line.startswith(b"Last-Modified")
    )
    at = email.utils.parsedate_to_datetime(modified).timestamp()
    # A client may have a later one, from a release that was rolled back.
    for version, status in ((at, 304), (at + 9, 200), (at - 9, 200)):
        answer = raw.get("/static/data", f"If-Modified-Since: {email.utils.formatdate(version, usegmt=True)}")
        assert (answer.status, answer.body) == (status, b"" if status == 304 else DATA.encode())
    assert raw.get("/static/data", "If-Modified-Since: yesterday").status == 200


@pytest.mark.parametrize("method", ["POST", "DELETE", "OPTIONS", "get"])
def test_other_methods_on_a_static_file_go_to_the_application(raw: Application, method: str) -> None:
    answer = raw.ask(request(line=f"{method} /static/data HTTP/1.1"))
    assert answer.document["environ"]["PATH_INFO"] == "/static/data"


def test_head_of_a_static_file(raw: Application) -> None:
    answer = head(raw, "/static/data", "Range: bytes=1-2")
    assert (answer.status, answer.body) == (200, b"")
    assert b"Content-Length: 10000\r\n" in answer.raw
    assert (raw.get("/static/empty").status, raw.get("/static/empty").body) == (200, b"")
