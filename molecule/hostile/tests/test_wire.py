"""A client on the network sends what no browser sends, in both modes.

An application that answers with the request shows what reaches it and what does not.
"""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT
from tests.support.service import APP, Service
from tests.support.wire import Address, Answer, Crowd, ask, drip, request, take_slowly

pytestmark = pytest.mark.timeout(400)

PORT = 8040
# The client timeout in seconds, and the number of bytes that extends it by one.
TIMEOUT, RATE = 5, 1000
# What only a visitor may know.
SECRET = "s3cr3t-of-a-visitor"


@dataclass
class Wire:
    """The application under attack."""

    host: Any
    address: Address
    mode: str

    def ask(self, data: bytes) -> Answer:
        """Send bytes, and return the answer."""
        return ask(self.address, data)

    def get(self, path: str) -> Answer:
        """Ask for a path as it is."""
        return self.ask(request(line=f"GET {path} HTTP/1.1"))

    def journal(self, since: float) -> str:
        """Return the service's log since a time of this machine's clock."""
        return str(self.host.check_output(f"journalctl --no-pager --unit '{APP}@*' --since @{int(since)}"))


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release with a static folder, beside files that must not be served."""
    folder = tmp_path_factory.mktemp("wire")
    shutil.copy(Path(__file__).with_name("app_wire.py"), folder / "run.py")
    # Its wheels are already built.
    shutil.copy(ROOT / "app/requirements.txt", folder)
    (folder / "static.env").write_text(f"KEY={SECRET}\n")
    for name in ("static", "static_private"):
        (folder / name).mkdir()
        (folder / name / "note.txt").write_text(f"{name}\n")
    (folder / "static" / ".env").write_text("hidden\n")
    return folder


@pytest.fixture(scope="module", params=["gevent", pytest.param("threads", marks=pytest.mark.full)])
def wire(host: Any, play: Callable[..., Any], release: Path, request: pytest.FixtureRequest) -> Iterator[Wire]:
    """The application, deployed in each mode, with short timeouts."""
    done = play(
        *("deploy", "-e", f"mode={request.param}", "-e", f"flask_uwsgi_source={release}"),
        *("-e", '{"flask_uwsgi_static": {"/static": "static"}}', "-e", "flask_uwsgi_socket_timeout=60"),
        *("-e", f"flask_uwsgi_request_timeout={TIMEOUT}", "-e", f"flask_uwsgi_request_min_rate={RATE}"),
    )
    assert done.returncode == 0, done.stdout
    # The packaging of a folder leaves links out; a package or a git repository may contain some.
    host.check_output(
        f"folder=$(sed -n 's,^static-map = /static=,,p' /opt/{APP}/current/uwsgi.ini) && cd \"${{folder:?}}\""
        " && ln -sfn note.txt in.txt && ln -sfn ../static.env out.txt && ln -sfn ../static_private private"
    )
    yield Wire(host, (host.ansible.get_variables()["ansible_host"], PORT), request.param)


@pytest.fixture(scope="module", autouse=True)
def sample_application_afterwards(play: Callable[..., Any]) -> Iterator[None]:
    """Restore the host's application."""
    yield
    assert play("deploy").returncode == 0


@pytest.mark.parametrize(
    "path",
    [
        "/static/../static.env",
        "/static/%2e%2e/static.env",
        "/static/..%2fstatic.env",
        "/static/%2E%2e%2Fstatic.env",
        "/static/.%2e/static.env",
        "/static/%252e%252e/static.env",
        "/static/./%2e%2e/static.env",
        "/static//../static.env",
        "/static/../static_private/note.txt",
        "/static_private/note.txt",
        "/static.env",
        "/static/../../../../../../../../etc/passwd",
        "/static//etc/passwd",
        "/static/out.txt",
        "/static/private/note.txt",
        "/static/note.txt%00.html",
        "/static/note.txt%00/../../static.env",
        "/static/",
        "/static",
        "/static/private",
    ],
)
def test_only_files_below_the_static_folder_are_served(wire: Wire, path: str) -> None:
    answer = wire.get(path)
    assert answer.status == (400 if "%00" in path else 404), answer.raw
    assert SECRET.encode() not in answer.raw


@pytest.mark.parametrize("path", ["/static/note.txt", "/static/in.txt", "/static//note.txt", "/static/%6eote.txt"])
def test_files_of_the_static_folder_and_links_that_stay_in_it_are_served(wire: Wire, path: str) -> None:
    answer = wire.get(path)
    assert (answer.status, answer.body) == (200, b"static\n")


@pytest.mark.parametrize(
    "header",
    [
        "X_Forwarded_User: root",
        "X_Forwarded-User: root",
        "X-Forwarded(User: root",
        "X-Forwarded-Us\xe9r: root",
        ": root",
    ],
)
def test_a_header_whose_name_is_ambiguous_is_dropped(wire: Wire, header: str) -> None:
    answer = wire.ask(request("X-Before: 1", header, "X-After: \t2 \t"))
    assert answer.status == 200, answer.raw
    heads = answer.document["heads"]
    assert {"HTTP_X_BEFORE": "1", "HTTP_X_AFTER": "2"}.items() <= heads.items()
    assert "root" not in heads.values()


def test_a_header_with_a_dash_arrives_and_its_underscore_twin_is_dropped(wire: Wire) -> None:
    answer = wire.ask(request("X-Forwarded-User: jane", "X_Forwarded_User: root", "X_FORWARDED_USER: root"))
    assert answer.document["heads"]["HTTP_X_FORWARDED_USER"] == "jane"


@pytest.mark.parametrize("header", ["Content_Length: 3", "CONTENT_LENGTH: 3", "Transfer_Encoding: chunked"])
def test_framing_headers_with_an_underscore_are_ignored(wire: Wire, header: str) -> None:
    answer = wire.ask(request("Content-Length: 2", header, line="POST /echo HTTP/1.1", body=b"ab"))
    assert answer.status == 200, answer.raw
    assert answer.document["received"] == 2


@pytest.mark.parametrize("value", ["2", "\t2", " 2 \t", "02"])
def test_the_length_of_a_body_is_parsed_with_white_space(wire: Wire, value: str) -> None:
    answer = wire.ask(request(f"Content-Length:{value}", line="POST /echo HTTP/1.1", body=b"ab"))
    assert (answer.status, answer.document["received"]) == (200, 2)


@pytest.mark.parametrize(
    "headers",
    [
        ["Content-Length: 2x"],
        ["Content-Length: +2"],
        ["Content-Length: -2"],
        ["Content-Length: 0x2"],
        ["Content-Length: 2, 2"],
        ["Content-Length: 2 2"],
        ["Content-Length:"],
        ["Content-Length: 99999999999999999999999999"],
        ["Content-Length: 2", "Content-Length: 2"],
        ["Content-Length: 2", "content-length: 3"],
        ["Content-Length : 2"],
        ["Content-Length: 2", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Content-Length: 2"],
        ["Transfer-Encoding: xchunked"],
        ["Transfer-Encoding: chunked, identity"],
        ["Transfer-Encoding: \x0bchunked"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"],
        ["Transfer-Encoding : chunked"],
        ["Host: other.example"],
        ["X-Folded: a\r\n b"],
        [" X-Folded: first"],
        ["X-Nothing"],
        ["X-Zero: a\0b"],
        ["X-Return: a\rb"],
        ["X-Feed: a\nX-Smuggled: b"],
    ],
    ids=repr,
)
def test_an_ambiguous_request_is_refused(wire: Wire, headers: list[str]) -> None:
    answer = wire.ask(request(*headers, line="POST /echo HTTP/1.1", body=b"ab"))
    assert answer.status == 400, answer.raw
    assert b"Connection: close" in answer.raw


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n\r\n",
        b"\r\n\r\n",
        b"GET /echo\r\n\r\n",
        b"GET  /echo HTTP/1.1\r\n\r\n",
        b"GET /echo HTTP/2.0\r\n\r\n",
        b"GET /echo HTTP/1.1 x\r\n\r\n",
        b"GET /ec\tho HTTP/1.1\r\n\r\n",
        b"GET /echo\nX: HTTP/1.1\r\n\r\n",
        b"G(T /echo HTTP/1.1\r\n\r\n",
        b"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_an_invalid_request_never_reaches_the_application(wire: Wire, data: bytes) -> None:
    assert wire.ask(data).status == 400


def test_ordinary_requests_are_served(wire: Wire) -> None:
    assert wire.ask(b"GET /echo HTTP/1.0\r\n\r\n").status == 200
    assert wire.get("/echo?a=%20b&c=/?d").status == 200
    assert wire.get("/\xff").status == 404
    assert wire.ask(request("Empty:", "Colons: a:b", "Bytes: \xe9")).document["heads"]["HTTP_COLONS"] == "a:b"


SLOW = {
    "head": request()[:-4] + b"\r\nX-Slow: ",
    "one byte of a head": b"G",
    "small body": request("Content-Length: 2000", line="POST /echo HTTP/1.1"),
    "large body": request("Content-Length: 100000", line="POST /echo HTTP/1.1"),
}


def test_a_client_that_sends_too_slowly_is_disconnected(wire: Wire) -> None:
    since = time.time()
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda head: drip(wire.address, head, every=0.3, most=6 * TIMEOUT), SLOW.values()))
    for kind, answer in zip(SLOW, answers, strict=True):
        assert answer.status == 408, (kind, answer)
        assert TIMEOUT - 1 <= answer.seconds <= 3 * TIMEOUT, (kind, answer)
    assert wire.journal(since).count("408 Request Timeout") == len(SLOW)


@pytest.mark.full
def test_a_client_that_is_slow_but_fast_enough_is_served(wire: Wire) -> None:
    body, seconds = 4 * RATE * TIMEOUT, 2 * TIMEOUT
    upload = request(f"Content-Length: {body}", line="POST /echo HTTP/1.1")
    pieces = seconds / 0.5
    answer = drip(wire.address, upload, piece=b"x" * int(body / pieces), every=0.5, most=8 * TIMEOUT)
    assert (answer.status, answer.document["received"]) == (200, body)
    assert answer.seconds > TIMEOUT


def test_a_stream_that_the_application_sends_slowly_is_not_cut(wire: Wire) -> None:
    answer = wire.get("/stream")
    assert answer.body == b"0\n1\n2\n3\n4\n5\n"
    assert answer.seconds > TIMEOUT


@pytest.mark.full
def test_a_client_that_reads_its_answer_too_slowly_is_disconnected(wire: Wire) -> None:
    size = 8_000_000
    with ThreadPoolExecutor() as pool:
        ask_for = request(line=f"GET /long?size={size} HTTP/1.1")
        slow = pool.submit(take_slowly, wire.address, ask_for, size=50, every=0.5, most=4 * TIMEOUT)
        fair = pool.submit(take_slowly, wire.address, ask_for, size=60_000, every=0.05, most=90)
        assert len(fair.result().body) == size
        slow.result()
    # The kernel's buffer still arrives; the application's request has ended.
    assert sum(core["in_request"] for worker in Service(wire.host).stats["workers"] for core in worker["cores"]) == 0


@pytest.mark.full
@pytest.mark.parametrize("kind", ["head", "large body", "nothing"])
def test_many_slow_senders_cause_no_outage(wire: Wire, kind: str) -> None:
    """More of them than the scenario has threads (4 × 224); they reconnect whenever they are disconnected."""
    crowd = Crowd(wire.address, SLOW.get(kind, b""), slow=950).run(20)
    print(f"{len(crowd.seconds)} good requests, {crowd.came_back} times a slow one came back")
    assert crowd.failures == []
    # Without them there would be 20 / 0.2 s × 18 s = 1,800 requests.
    assert len(crowd.seconds) > 90
    assert statistics.median(crowd.seconds) < 2
    assert max(crowd.seconds) < 12


@pytest.mark.full
def test_no_secret_of_a_visitor_is_logged(wire: Wire, play: Callable[..., Any]) -> None:
    since = time.time()
    for line in (
        f"GET /echo?token={SECRET} HTTP/1.1",
        f"GET /long?size=9&token={SECRET} HTTP/1.1",
        "GET /echo HTTP/1.1",
    ):
        wire.ask(request(f"Authorization: Bearer {SECRET}", f"Cookie: session={SECRET}", line=line))
    # Headers that do not fit, in either order.
    for name in ("Authorization", "Cookie", "X-Api-Key", "Content-Type"):
        for size in (4000, 32_000, 33_000):
            wire.ask(request(f"{name}: {SECRET * (size // len(SECRET))}"))
            wire.ask(request(f"X-Long: {'a' * size}", f"{name}: {SECRET}" + "b" * (33_000 - size)))
    # Refused, timed out, and disconnected in the middle of the body and of the answer.
    wire.ask(request("Content-Length: 1", f"Content-Length: {SECRET}", f"Cookie: {SECRET}"))
    wire.ask(f"{SECRET}\r\nCookie: {SECRET} x\r\n\r\n".encode())
    wire.get(f"/static/%2e%2e/static.env?token={SECRET}")
    drip(
        wire.address,
        request(f"Cookie: {SECRET}", "Content-Length: 9999", line=f"POST /echo?t={SECRET} HTTP/1.1"),
        most=30,
    )
    drip(wire.address, request("Content-Length: 9999", line=f"POST /echo?t={SECRET} HTTP/1.1"), most=0.5)
    take_slowly(wire.address, request(line=f"GET /long?size=9000000&t={SECRET} HTTP/1.1"), size=99, every=0.1, most=1)
    time.sleep(1)
    journal = wire.journal(since)
    assert "431 Request Header Fields Too Large" in journal
    assert '"GET /echo HTTP/1.1" 200' in journal
    assert SECRET not in journal
    shown = play("logs", "-e", "flask_uwsgi_log_lines=2000", "-e", f"flask_uwsgi_log_since=@{int(since)}")
    assert shown.returncode == 0, shown.stdout
    assert SECRET not in shown.stdout
    assert SECRET not in play("status").stdout
