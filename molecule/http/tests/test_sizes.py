"""A request line and headers of any length arrive completely or are refused, never in part."""

from __future__ import annotations

import os
import re
import time

import pytest

from tests.support.application import Application, Deploy, Release
from tests.support.wire import Answer, request

pytestmark = pytest.mark.timeout(600)

LIMIT = 32768
# Where the server's buffers grow, and their initial size.
EDGES = [1000, 1024, 2048, 4096, 8192, 16384, LIMIT]
FULL = bool(os.environ.get("FLASKOPS_FULL"))


def lengths(step: int) -> list[int]:
    """Return lengths from 1 to 1 kB above the limit, in steps, and several around each edge."""
    near = {edge + by for edge in EDGES for by in range(-8, 9)}
    return sorted(near | set(range(1, LIMIT + 1024, step)))


@pytest.fixture(scope="module")
def raw(deployed: Deploy, release: Release, mode: str) -> Application:
    """A WSGI application that answers with the request as it arrived."""
    return deployed(release("app_raw.py"), mode, flask_uwsgi_processes=1)


def head_length(data: bytes) -> int:
    """Return the number of bytes of the request line and the headers."""
    return len(data.partition(b"\r\n\r\n")[0]) + 2


def text(length: int) -> str:
    """Return so many characters, without a repeated sequence."""
    return "".join(f"{number:x}." for number in range(length // 2 + 1))[:length]


def hold(answer: Answer, data: bytes, name: str, value: str, status: int) -> None:
    """Assert that a value arrived completely if the head was within the limit, and was refused otherwise."""
    length = head_length(data)
    assert answer.status == (200 if length <= LIMIT else status), (length, answer.raw[:200])
    if answer.status == 200:
        assert answer.document["environ"][name] == value, length


def test_a_query_arrives_complete(raw: Application) -> None:
    for length in lengths(7 if FULL else 97):
        value = text(length)
        data = request(line=f"GET /a?{value} HTTP/1.1")
        # The line alone is too long only if it fills the whole buffer.
        answer = raw.ask(data)
        status = 414 if len(f"GET /a?{value} HTTP/1.1\r\n") > LIMIT + 2 else 431
        hold(answer, data, "QUERY_STRING", value, status)


def test_a_path_arrives_complete(raw: Application) -> None:
    for length in lengths(13 if FULL else 197):
        value = "/" + text(length)
        data = request(line=f"GET {value} HTTP/1.1")
        status = 414 if len(f"GET {value} HTTP/1.1\r\n") > LIMIT + 2 else 431
        hold(raw.ask(data), data, "PATH_INFO", value, status)


@pytest.mark.parametrize("name", ["Cookie", "Authorization"])
def test_a_header_arrives_complete(raw: Application, name: str) -> None:
    for length in lengths(7 if FULL else 97):
        value = text(length)
        data = request(f"{name}: {value}")
        hold(raw.ask(data), data, f"HTTP_{name.upper()}", value, 431)


def test_many_small_headers_arrive_complete(raw: Application) -> None:
    for count in [*range(1, 130), *range(130, 1020, 13 if FULL else 127), 998, 999, 1000, 1001, 2000]:
        headers = {f"X-{number:x}": f"{number}" for number in range(count)}
        data = request(*(f"{name}:{value}" for name, value in headers.items()))
        answer = raw.ask(data)
        # Host is one of them.
        assert answer.status == (200 if count + 1 <= 1000 and head_length(data) <= LIMIT else 431), count
        if answer.status == 200:
            found = answer.document["environ"]
            assert {
                f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()
            }.items() <= found.items()


def test_headers_that_grow_most_arrive_complete(raw: Application) -> None:
    names = [f"{first}{second}" for first in "abcdefghijklmnopqrstuvwxyz" for second in "abcdefghijklmnopqrstuvwxyz"]
    data = request(*(f"{name}:" for name in names), line=f"GET /{'a' * 20_000}?{'b' * 4000} HTTP/1.1")
    found = raw.ask(data).document["environ"]
    assert {f"HTTP_{name.upper()}" for name in names} <= found.keys()
    assert (len(found["PATH_INFO"]), len(found["QUERY_STRING"])) == (20_001, 4000)


def test_a_body_arrives_behind_a_head_of_any_length(raw: Application) -> None:
    for edge in EDGES:
        for by in range(-3, 4):
            frame = request("X: ", "Content-Length: 5", line="POST /echo HTTP/1.1")
            filler = edge + by - head_length(frame)
            data = request(f"X: {'x' * filler}", "Content-Length: 5", line="POST /echo HTTP/1.1", body=b"hello")
            answer = raw.ask(data)
            if edge + by <= LIMIT:
                assert (answer.status, answer.document["received"], answer.document["begins"]) == (200, 5, "hello")
            else:
                assert answer.status == 431


def test_a_long_head_may_arrive_in_pieces(raw: Application) -> None:
    value = text(30_000)
    answer = raw.ask_slowly(request(f"Cookie: {value}"), piece=997)
    assert answer.document["environ"]["HTTP_COOKIE"] == value


def test_a_head_that_is_too_long_is_counted_and_logged_without_its_content(raw: Application) -> None:
    # The log has at most ten such lines a second.
    time.sleep(1.5)
    since = time.time()
    raw.get("/?" + "secret" * 8000)
    raw.get("/", "Cookie: " + "secret" * 8000)
    raw.get("/", *(f"X-Secret-{number}: a" for number in range(1500)))
    said = re.findall(r"\[uwsgi-http\] (4.*)", raw.journal(since))
    assert [line[:3] for line in said][-3:] == ["414", "431", "431"]
    assert all("(flask_uwsgi_header_size)" in line for line in said[-3:-1])
    assert "1000 headers" in said[-1]
    assert "ecret" not in raw.journal(since)


def test_a_client_that_continues_to_send_gets_its_answer(raw: Application) -> None:
    answer = raw.ask(request(f"Cookie: {'a' * 2_000_000}"))
    assert answer.status == 431
