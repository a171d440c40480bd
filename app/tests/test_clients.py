"""Both clients, and their comparison, as processes against a server that can fail in every way."""

import itertools
import json
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from clients import common

APP = Path(__file__).parents[1]
CLIENTS = ("gevent", "asyncio")
LIBRARIES = {"gevent": ["gevent", "requests"], "asyncio": ["aiohttp"]}
# The same format for both clients, whatever happens.
FIELDS = [
    *("client", "libraries", "python", "lines", "started_at", "url", "requests", "concurrency", "ok", "failed"),
    *("failures", "examples", "duration_s", "requests_per_second", "p50_ms", "p99_ms", "max_ms", "cpu_s"),
    "peak_memory_mb",
]
UPSETS = ("none", "error", "redirect", "drop", "reset", "cut", "hang", "drip", "garbage")
# More than either library has connections by default.
CROWD = 120


class Server(ThreadingHTTPServer):
    """Behaves by the path: `/upsets` answers each request differently, `/together` answers all at the same time."""

    request_queue_size = 512

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.upsets = itertools.cycle(UPSETS)
        self.together = threading.Barrier(CROWD)
        self.released = threading.Event()
        self.lock = threading.Lock()
        self.seen: list[tuple[str, dict[str, str], bytes]] = []
        self.inside = self.most_inside = self.connections = 0

    def get_request(self) -> tuple[socket.socket, Any]:
        self.connections += 1
        return super().get_request()

    def handle_error(self, request: object, client_address: object) -> None:
        pass


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        server = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with server.lock:
            server.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            server.inside += 1
            server.most_inside = max(server.most_inside, server.inside)
            upset = next(server.upsets) if self.path == "/upsets" else "none"
        if self.path.startswith("/together"):
            server.together.wait(30)
        # Before the answer, after which the client may send the next request immediately.
        with server.lock:
            server.inside -= 1
        getattr(self, f"do_{upset}")()

    def do_GET(self) -> None:
        # A client that follows a redirect sends a GET.
        self.answer(200)

    def do_none(self) -> None:
        self.answer(200)

    def do_error(self) -> None:
        self.answer(500)

    def do_redirect(self) -> None:
        self.answer(302)

    def do_drop(self) -> None:
        self.close_connection = True

    def do_reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())
        self.close_connection = True

    def do_cut(self) -> None:
        self.answer(200, length=10)
        self.close_connection = True

    def do_garbage(self) -> None:
        self.wfile.write(b"garbage\r\n\r\n")
        self.close_connection = True

    def do_hang(self) -> None:
        self.server.released.wait(30)
        self.close_connection = True

    def do_drip(self) -> None:
        self.answer(200, length=10_000)
        # Until the client disconnects, which breaks the pipe.
        while not self.server.released.wait(0.05):
            self.wfile.write(b" ")

    def answer(self, status: int, length: int = 2) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(length))
        self.send_header("Location", "/user_manage/user/login")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server
        server.released.set()
        server.shutdown()


@pytest.fixture
def refusing() -> Iterator[str]:
    # Bound, so that no other program takes the port, and not listening.
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@dataclass
class Ended:
    status: int
    output: str
    said: str

    @property
    def result(self) -> dict[str, Any]:
        result: dict[str, Any] = json.loads(self.output)
        return result


def run(module: str, *arguments: str, **environment: str) -> Ended:
    command = ["-m", f"clients.{module}"] if module != "-c" else ["-c"]
    done = subprocess.run(
        [sys.executable, *command, *arguments],
        cwd=APP,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Ended(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("client", CLIENTS)
def test_every_request_is_the_articles_and_is_measured(client: str, server: Server) -> None:
    # A proxy in the environment, which would refuse, is not used.
    proxies = dict.fromkeys(("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"), "http://127.0.0.1:9")
    # The address alone means the article's endpoint; missing arguments are as in the article.
    ended = run(f"{client}_client", server.url, no_proxy="", NO_PROXY="", **proxies)

    assert ended.status == 0, ended.said
    assert len(server.seen) == 300
    for path, headers, body in server.seen:
        assert path == "/user_manage/user/login"
        assert headers["content-type"] == "application/json"
        assert headers["token"] == "made-up-token"
        assert json.loads(body) == {"user_id": "user-1", "password": "made-up-password", "expires_time": 3600}
    result = ended.result
    assert list(result) == FIELDS
    assert result["client"] == client
    assert result["libraries"] == {library: version(library) for library in LIBRARIES[client]}
    assert result["lines"] == common.lines_of(APP / "clients" / f"{client}_client.py")
    assert (result["requests"], result["concurrency"], result["ok"], result["failed"]) == (300, 300, 300, 0)
    assert result["failures"] == dict.fromkeys(common.KINDS, 0)
    assert 0 < result["p50_ms"] <= result["p99_ms"] <= result["max_ms"] <= result["duration_s"] * 1000
    assert result["requests_per_second"] == pytest.approx(300 / result["duration_s"], rel=0.01)
    assert 0 < result["cpu_s"] < 30
    assert ended.said.startswith(f"{client}: 300 of 300 requests answered with 200 in ")
    assert len(ended.said.splitlines()) == 1
    # They must not appear in a report.
    assert "made-up" not in ended.output + ended.said


@pytest.mark.parametrize("client", CLIENTS)
def test_no_library_caps_the_connections(client: str, server: Server) -> None:
    # No request is answered before all have arrived. Then all connections are idle together, ready for reuse.
    ended = run(f"{client}_client", f"{server.url}/together", f"--requests={2 * CROWD}", f"--concurrency={CROWD}")

    assert ended.status == 0, ended.said
    assert ended.result["ok"] == 2 * CROWD
    assert server.most_inside == server.connections == CROWD


@pytest.mark.parametrize("client", CLIENTS)
def test_the_request_can_be_configured(client: str, server: Server) -> None:
    said = ("--token=Bearer a", "--user-id=-7", '--password=é"', "--expires-time=60")
    # No request is answered before as many as permitted have arrived, so a busy machine changes nothing.
    server.together = threading.Barrier(12)
    ended = run(f"{client}_client", f"{server.url}/together?a=1", "--requests=36", "--concurrency=12", *said)

    assert ended.status == 0, ended.said
    assert len(server.seen) == 36
    path, headers, body = server.seen[0]
    assert (path, headers["token"]) == ("/together?a=1", "Bearer a")
    assert json.loads(body) == {"user_id": "-7", "password": 'é"', "expires_time": 60}
    assert ended.result["concurrency"] == server.most_inside == 12


@pytest.mark.parametrize("client", CLIENTS)
def test_each_failure_is_counted_by_its_kind(client: str, server: Server) -> None:
    ended = run(f"{client}_client", f"{server.url}/upsets", "--requests", str(len(UPSETS)), "--timeout", "1")

    assert ended.status == 1
    result = ended.result
    # A redirect is not followed, and an answer that arrives byte by byte exceeds its time like one that hangs.
    assert result["failures"] == {"refused": 0, "reset": 3, "timeout": 2, "status": 2, "other": 1}, result["examples"]
    assert (result["ok"], result["failed"]) == (1, 8)
    assert 0 < result["p50_ms"] == result["max_ms"] < 1000
    assert result["examples"]["timeout"] == "no complete response within 1 s"
    assert result["examples"]["status"] in ("status 500", "status 302")
    assert 1 <= result["duration_s"] < 10
    assert "8 failed: reset 3 (" in ended.said


@pytest.mark.parametrize("client", CLIENTS)
def test_without_an_answer_there_are_no_numbers(client: str, refusing: str) -> None:
    ended = run(f"{client}_client", refusing, "--requests", "3")

    assert ended.status == 1
    result = ended.result
    assert list(result) == FIELDS
    assert (result["ok"], result["failed"], result["failures"]["refused"]) == (0, 3, 3)
    assert [result[name] for name in ("p50_ms", "p99_ms", "max_ms")] == [None] * 3
    assert result["requests_per_second"] == 0
    assert "3 failed: refused 3 (" in ended.said and "p50" not in ended.said


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the parent's memory is not counted")
def test_the_memory_is_the_clients_own_without_the_parents(server: Server) -> None:
    ballast = b"x" * 200_000_000
    ended = run("asyncio_client", server.url, "--requests", "1")

    assert len(ballast) / 1e6 > 1.5 * ended.result["peak_memory_mb"] > 0


@pytest.mark.parametrize("module", ["gevent_client", "asyncio_client"])
def test_a_wrong_command_line_exits_with_2(module: str) -> None:
    ended = run(module, "ftp://host")

    assert (ended.status, ended.output) == (2, "")
    assert "'ftp://host' is not http://HOST:PORT" in ended.said


def test_the_asyncio_client_never_imports_gevent_or_requests() -> None:
    script = """
import sys, clients.asyncio_client
assert "aiohttp" in sys.modules
print(sorted({name.split(".")[0] for name in sys.modules} & {"gevent", "greenlet", "requests", "urllib3"}))
"""
    assert run("-c", script).output.strip() == "[]"


def test_the_gevent_client_patches_before_it_imports_anything_else() -> None:
    script = """
import sys

class Spy:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("requests", "urllib3") or name == "clients.common":
            monkey = sys.modules["gevent.monkey"]
            patched.append(all(monkey.is_module_patched(module) for module in ("socket", "ssl", "threading", "time")))

patched = []
sys.meta_path.insert(0, Spy())
import clients.gevent_client
print(len(patched) > 2, all(patched), "aiohttp" in sys.modules)
"""
    assert run("-c", script).output.strip() == "True True False"


def test_the_clients_are_compared_in_turns(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    ended = run("compare", server.url, "--requests", "6", "--concurrency", "3", "--rounds", "1", f"--output={folder}")

    assert ended.status == 0, ended.said
    # The warm-up and one round of each.
    assert len(server.seen) == 2 * 2 * 6
    document = json.loads((folder / "clients.json").read_text())
    assert (document["format"], document["error"]) == (1, None)
    assert document["url"] == f"{server.url}/user_manage/user/login"
    assert set(document["machine"]) == {"cores", "kernel", "python"}
    assert [(result["round"], result["client"]) for result in document["rounds"]] == [
        (1, "gevent"),
        (1, "asyncio"),
    ]
    assert all((result["requests"], result["concurrency"]) == (6, 3) for result in document["rounds"])
    for client in CLIENTS:
        assert document["summary"][client]["duration_s"]["median"] > 0
        assert document["summary"][client]["lines"] > 0
    assert document["verdict"].startswith("No verdict: at least 3 rounds are needed")
    assert document["verdict"] in ended.output
    assert "peak memory (MB)" in ended.output
    assert "warm-up: asyncio ... " in ended.said


def test_a_comparison_without_a_server_ends_and_says_so(refusing: str, tmp_path: Path) -> None:
    ended = run("compare", refusing, "--requests", "2", f"--output={tmp_path}")

    assert ended.status == 1
    assert ended.output == ""
    document = json.loads((tmp_path / "clients.json").read_text())
    assert (document["rounds"], document["summary"]) == ([], {})
    assert document["error"].startswith("asyncio (warm-up) had no answer: 2 failed: refused 2 (")
    assert document["verdict"] == f"No verdict: {document['error']}."
    assert document["verdict"] in ended.said
