"""What an application receives of a request, and what the client gets, case by case.

docs/HTTP.md describes the same table in words.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support import ROOT
from tests.support.application import Application, Deploy, Release
from tests.support.wire import Answer, request

pytestmark = pytest.mark.timeout(400)


@dataclass(frozen=True)
class Case:
    """A request and its expected result."""

    name: str
    sent: bytes
    status: int
    # What the application finds in its environ; None says that the variable is missing.
    arrives: dict[str, str | None] = field(default_factory=dict)
    # The length of the body that the application reads.
    received: int | None = None
    # A pattern that the answer has to match.
    answer: str = ""


def line(text: str, *headers: str, body: bytes = b"") -> bytes:
    """Return a request with a Host header."""
    return request(*headers, line=text, body=body)


def path(target: str) -> bytes:
    """Return a request for a target."""
    return line(f"GET {target} HTTP/1.1")


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n", headers: tuple[str, ...] = ()) -> bytes:
    """Return a POST whose body is in chunks."""
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return line("POST /echo HTTP/1.1", "Transfer-Encoding: chunked", *headers, body=body + end)


TABLE = [
    # The request line.
    Case("HTTP/1.1", path("/a"), 200, {"PATH_INFO": "/a", "SERVER_PROTOCOL": "HTTP/1.1", "QUERY_STRING": ""}),
    Case("HTTP/1.0", b"GET /a HTTP/1.0\r\n\r\n", 200, {"PATH_INFO": "/a", "SERVER_PROTOCOL": "HTTP/1.0"}),
    Case("HTTP/1.9", line("GET /a HTTP/1.9"), 200, {"SERVER_PROTOCOL": "HTTP/1.1"}),
    Case("HTTP/0.9", b"GET /a\r\n", 400),
    Case("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    Case("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    Case("one word", b"hello\r\n\r\n", 400),
    Case("one word without carriage returns", b"hello\n\n", 400),
    Case("blank lines", b"\r\n\r\n", 400),
    Case("a space within the target", path("/a b"), 400),
    Case("lines without carriage returns", b"GET / HTTP/1.1\nHost: a\n\n", 400),
    Case("HTTP/1.1 without Host", b"GET / HTTP/1.1\r\n\r\n", 400),
    Case("an empty Host", b"GET / HTTP/1.1\r\nHost:\r\n\r\n", 200, {"HTTP_HOST": ""}),
    Case("a Host that is none", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    Case("an own method", line("PURGE /a HTTP/1.1"), 200, {"REQUEST_METHOD": "PURGE"}),
    Case("a method in lower case", line("get /a HTTP/1.1"), 200, {"REQUEST_METHOD": "get"}),
    Case("a second blank between the parts", line("GET  /a HTTP/1.1"), 400),
    # The target.
    Case("percent-encoded slash", path("/a%2Fb"), 200, {"PATH_INFO": "/a/b", "REQUEST_URI": "/a%2Fb"}),
    Case("percent-encoded UTF-8", path("/%C3%A9"), 200, {"PATH_INFO": "/\xc3\xa9", "REQUEST_URI": "/%C3%A9"}),
    Case("bytes beyond ASCII", b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", 200, {"PATH_INFO": "/\xc3\xa9"}),
    Case("UTF-8 that is none", path("/%C0%AF"), 200, {"PATH_INFO": "/\xc0\xaf"}),
    Case("two slashes", path("//a//b"), 200, {"PATH_INFO": "//a//b", "HTTP_HOST": "wire.example"}),
    Case("a path with dots", path("/a/../b/./c"), 200, {"PATH_INFO": "/b/c", "REQUEST_URI": "/a/../b/./c"}),
    Case("a path with percent-encoded dots", path("/a/%2e%2e/b"), 200, {"PATH_INFO": "/a/../b"}),
    Case("percent-encoded percent", path("/%2525"), 200, {"PATH_INFO": "/%25"}),
    Case("percent-encoded question mark", path("/a%3Fb?c"), 200, {"PATH_INFO": "/a?b", "QUERY_STRING": "c"}),
    Case("no hexadecimal digits", path("/a%zz"), 400),
    Case("two percents", path("/a%%41"), 400),
    Case("a percent at the end", path("/a%"), 400),
    Case("one hexadecimal digit", path("/a%2"), 400),
    Case("one hexadecimal digit before the query", path("/a%2?b"), 400),
    Case("a zero byte", path("/a%00b"), 400),
    Case("a percent in the query", path("/?a=100%&b=%zz"), 200, {"QUERY_STRING": "a=100%&b=%zz"}),
    Case("an empty query", path("/a?"), 200, {"PATH_INFO": "/a", "QUERY_STRING": ""}),
    Case("two question marks", path("/a?b?c"), 200, {"PATH_INFO": "/a", "QUERY_STRING": "b?c"}),
    Case("a fragment", path("/a#b"), 400),
    Case("no slash", path("a"), 400),
    Case("a whole URL", path("http://other.example:81/a%2Fb?c"), 200,
         {"PATH_INFO": "/a/b", "QUERY_STRING": "c", "REQUEST_URI": "/a%2Fb?c", "HTTP_HOST": "other.example:81"}),
    Case("a whole URL without a path", path("http://other.example"), 200,
         {"PATH_INFO": "/", "REQUEST_URI": "/", "HTTP_HOST": "other.example"}),
    Case("a whole URL with only a query", path("HTTP://o?c=d"), 200,
         {"PATH_INFO": "/", "QUERY_STRING": "c=d", "REQUEST_URI": "/?c=d", "HTTP_HOST": "o"}),
    Case("a whole URL of https", path("https://other.example/a"), 200, {"PATH_INFO": "/a"}),
    Case("a whole URL with an IPv6 address", path("http://[::1]:80/a"), 200,
         {"PATH_INFO": "/a", "HTTP_HOST": "[::1]:80"}),
    Case("a whole URL in HTTP/1.0", b"GET http://other.example/a HTTP/1.0\r\n\r\n", 200,
         {"PATH_INFO": "/a", "HTTP_HOST": "other.example"}),
    Case("a URL without a host", path("http:///a"), 400),
    Case("a URL with a user", path("http://user@other.example/a"), 400),
    Case("a URL of another kind", path("ftp://other.example/a"), 400),
    Case("OPTIONS *", line("OPTIONS * HTTP/1.1"), 200, {"PATH_INFO": "*", "REQUEST_URI": "*"}),
    Case("a host and a port", path("other.example:80"), 400),
    Case("GET *", line("GET * HTTP/1.1"), 400),
    Case("CONNECT", line("CONNECT other.example:443 HTTP/1.1"), 405, answer="Allow: GET"),
    # Headers.
    Case("two Cookie headers", line("GET / HTTP/1.1", "Cookie: a=1", "Cookie: b=2"), 200, {"HTTP_COOKIE": "a=1; b=2"}),
    Case("two other headers", line("GET / HTTP/1.1", "Accept: a", "Accept: b"), 200, {"HTTP_ACCEPT": "a, b"}),
    Case("an empty header", line("GET / HTTP/1.1", "X-Empty:"), 200, {"HTTP_X_EMPTY": ""}),
    Case("an underscore in a name", line("GET / HTTP/1.1", "X_User: root"), 200, {"HTTP_X_USER": None}),
    Case("bytes beyond ASCII in a value", b"GET / HTTP/1.1\r\nHost: a\r\nX-A: \xc3\xa9\r\n\r\n", 200,
         {"HTTP_X_A": "\xc3\xa9"}),
    Case("a tab in a value", line("GET / HTTP/1.1", "X-A: a\tb"), 200, {"HTTP_X_A": "a\tb"}),
    Case("a control character in a value", line("GET / HTTP/1.1", "X-A: a\x01b"), 400),
    Case("a header folded over lines", line("GET / HTTP/1.1", "X-A: a", " b"), 400),
    Case("a header without a colon", line("GET / HTTP/1.1", "X-A"), 400),
    Case("a header with a blank before its colon", line("GET / HTTP/1.1", "X-A : a"), 400),
    Case("a header without a name", line("GET / HTTP/1.1", ": a"), 200),
    Case("two Host headers", line("GET / HTTP/1.1", "Host: wire.example"), 400),
    # The body.
    Case("Content-Length", line("POST / HTTP/1.1", "Content-Length: 3", body=b"abc"), 200,
         {"CONTENT_LENGTH": "3"}, received=3),
    Case("Content-Length 0", line("POST / HTTP/1.1", "Content-Length: 0"), 200, received=0),
    Case("Content-Length with leading zeros", line("POST / HTTP/1.1", "Content-Length: 003", body=b"abc"), 200,
         received=3),
    Case("Content-Length that is no number", line("POST / HTTP/1.1", "Content-Length: +3", body=b"abc"), 400),
    Case("Content-Length of 2**64", line("POST / HTTP/1.1", "Content-Length: 18446744073709551616"), 400),
    Case("two Content-Length headers",
         line("POST / HTTP/1.1", "Content-Length: 3", "Content-Length: 3", body=b"abc"), 400),
    Case("a body of GET", line("GET / HTTP/1.1", "Content-Length: 3", body=b"abc"), 200, received=3),
    Case("a body without a length", line("POST / HTTP/1.1", body=b"abc"), 200, received=0),
    Case("a body beyond the limit", line("POST / HTTP/1.1", "Content-Length: 99000000"), 413),
    Case("chunked", chunked(b"abc", b"d" * 200), 200,
         {"CONTENT_LENGTH": "203", "HTTP_TRANSFER_ENCODING": None}, received=203),
    Case("chunked, empty", chunked(), 200, {"CONTENT_LENGTH": "0"}, received=0),
    Case("chunked, larger than the memory for it", chunked(b"x" * 8192, b"y", b"z" * 70_000), 200, received=78_193),
    Case("chunked, with an extension", line("POST / HTTP/1.1", "Transfer-Encoding: chunked",
         body=b'3;a="b"\r\nabc\r\n0\r\n\r\n'), 200, received=3),
    Case("chunked, with trailers", chunked(b"abc", end=b"0\r\nX-Sum: 1\r\nX_Two: 2\r\n\r\n"), 200,
         {"HTTP_X_SUM": None}, received=3),
    Case("chunked, with leading zeros", line("POST / HTTP/1.1", "Transfer-Encoding: chunked",
         body=b"0003\r\nabc\r\n00\r\n\r\n"), 200, received=3),
    Case("chunked, with a size in capitals", line("POST / HTTP/1.1", "Transfer-Encoding: Chunked",
         body=b"A\r\n0123456789\r\n0\r\n\r\n"), 200, received=10),
    Case("chunked, in a GET", line("GET / HTTP/1.1", "Transfer-Encoding: chunked", body=b"3\r\nabc\r\n0\r\n\r\n"), 200,
         received=3),
    Case("a chunk size of 0x3", chunked(end=b"0x3\r\nabc\r\n0\r\n\r\n"), 400),
    Case("a control character in a chunk extension", chunked(end=b"3;\0\r\nabc\r\n0\r\n\r\n"), 400),
    Case("a control character in a trailer", chunked(b"abc", end=b"0\r\nX-Sum: \0\r\n\r\n"), 400),
    Case("a chunk size that is no number", chunked(end=b"g\r\n\r\n"), 400),
    Case("an empty chunk size", chunked(end=b"\r\nabc\r\n0\r\n\r\n"), 400),
    Case("a negative chunk size", chunked(end=b"-1\r\n\r\n"), 400),
    Case("a chunk size of 2**64", chunked(end=b"10000000000000000\r\n\r\n"), 400),
    Case("a chunk beyond the limit", chunked(end=b"7fffffffffffff\r\n"), 413),
    Case("chunks beyond the limit", chunked(*[b"x" * 300_000] * 29), 413),
    Case("a chunk longer than its size", chunked(end=b"2\r\nabc\r\n0\r\n\r\n"), 400),
    Case("chunks without carriage returns", chunked(end=b"3\nabc\n0\n\n"), 400),
    Case("Transfer-Encoding other than chunked", line("POST / HTTP/1.1", "Transfer-Encoding: gzip, chunked"), 400),
    Case("Transfer-Encoding: identity", line("POST / HTTP/1.1", "Transfer-Encoding: identity"), 400),
    Case("two Transfer-Encoding headers", chunked(b"abc", headers=("Transfer-Encoding: chunked",)), 400),
    Case("Transfer-Encoding in HTTP/1.0", b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    Case("Transfer-Encoding and Content-Length", chunked(b"abc", headers=("Content-Length: 3",)), 400),
    Case("100-continue", line("POST / HTTP/1.1", "Expect: 100-continue", "Content-Length: 0"), 200),
    Case("100-continue in HTTP/1.0", b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc", 200,
         received=3),
    Case("100-continue and a body beyond the limit",
         line("POST / HTTP/1.1", "Expect: 100-continue", "Content-Length: 99000000"), 413),
    Case("an unknown expectation", line("GET / HTTP/1.1", "Expect: a-miracle"), 417),
    Case("an unknown expectation beside 100-continue",
         line("POST / HTTP/1.1", "Expect: a-miracle", "Expect: 100-continue", "Content-Length: 0"), 417),
    Case("an empty expectation", line("GET / HTTP/1.1", "Expect:"), 200),
    # Connections.
    Case("a second request behind the first", path("/first") + path("/second"), 200, {"PATH_INFO": "/first"},
         received=0, answer="Connection: close"),
    Case("a second request behind a body",
         line("POST /first HTTP/1.1", "Content-Length: 3", body=b"abc") + path("/second"), 200,
         {"PATH_INFO": "/first"}, received=3),
    Case("a second request behind chunks", chunked(b"abc") + path("/second"), 200, {"PATH_INFO": "/echo"}, received=3),
    Case("keep-alive", line("GET / HTTP/1.1", "Connection: keep-alive"), 200, answer="Connection: close"),
    Case("keep-alive in HTTP/1.0", b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200,
         answer="Connection: close"),
    Case("an offer of HTTP/2", line("GET / HTTP/1.1", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"), 200),
]  # fmt: skip


@pytest.fixture(scope="module")
def raw(deployed: Deploy, release: Release, mode: str) -> Application:
    """A WSGI application without a framework, with a limit that tests can reach."""
    return deployed(release("app_raw.py", static__data=DATA), mode, **VARIABLES)


DATA = "".join(chr(32 + number % 90) for number in range(10_000))
VARIABLES: dict[str, Any] = {
    "flask_uwsgi_body_mb": 8,
    "flask_uwsgi_processes": 1,
    "flask_uwsgi_static": {"/static": "static"},
    "flask_uwsgi_request_timeout": 5,
    "flask_uwsgi_request_min_rate": 1000,
}


def hold(case: Case, answer: Answer) -> None:
    """Assert that an answer is as the table says."""
    assert answer.status == case.status, answer.raw
    assert re.search(case.answer, answer.raw.decode("latin-1")), answer.raw
    assert len(re.findall(rb"HTTP/1\.\d \d{3} ", answer.raw)) == 1, answer.raw
    if case.status != 200:
        assert b"Connection: close" in answer.raw
        return
    document = answer.document
    for name, value in case.arrives.items():
        assert document["environ"].get(name) == value, name
    if case.received is not None:
        assert document["received"] == case.received


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.name)
def test_the_table(raw: Application, case: Case) -> None:
    hold(case, raw.ask(case.sent))


def test_a_refused_request_never_reaches_the_application(raw: Application) -> None:
    before = len(json.loads(raw.get("/seen").body)["asked"])
    for case in TABLE:
        if case.status != 200:
            raw.ask(case.sent)
    assert len(json.loads(raw.get("/seen").body)["asked"]) == before + 1


def test_each_byte_of_a_request_may_come_alone(raw: Application) -> None:
    case = next(case for case in TABLE if case.name == "chunked, with trailers")
    hold(case, raw.ask_slowly(case.sent))


def test_the_table_is_documented() -> None:
    page = (ROOT / "docs" / "HTTP.md").read_text()
    rows = re.findall(r"^\| (.+?) \| (\d{3})\b", page.partition("\n## Requests\n")[2].partition("\n## ")[0], re.M)
    assert [(name, int(status)) for name, status in rows] == [(case.name, case.status) for case in TABLE]


FRAMEWORKS = ("flask", "django")
# All frameworks receive the same of it; HEAD, OPTIONS and the like they answer by themselves.
MAIN = [
    case
    for case in TABLE
    if case.status == 200
    and case.sent.startswith((b"GET /", b"POST /"))
    and case.name not in ("an empty Host", "percent-encoded percent", "UTF-8 that is none")
]


@pytest.fixture(scope="module", params=FRAMEWORKS)
def framework(deployed: Deploy, release: Release, mode: str, request: pytest.FixtureRequest) -> Application:
    """An application of a framework that gives the same answers."""
    return deployed(release(f"app_{request.param}.py"), mode, flask_uwsgi_body_mb=8, flask_uwsgi_processes=1)


@pytest.mark.parametrize("case", MAIN, ids=lambda case: case.name)
def test_frameworks_receive_the_same(framework: Application, case: Case) -> None:
    hold(case, framework.ask(case.sent))


def test_frameworks_read_forms_in_chunks(framework: Application) -> None:
    form = b"name=value&" + b"x=" + b"y" * 20_000
    sent = request("Transfer-Encoding: chunked", "Content-Type: application/x-www-form-urlencoded",
                   line="POST /form HTTP/1.1", body=b"%x\r\n%s\r\n0\r\n\r\n" % (len(form), form))  # fmt: skip
    answer = framework.ask(sent)
    assert answer.status == 200, answer.raw
    assert answer.document == {"name": "value", "x": 20_000}
