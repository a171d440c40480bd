"""The visitors of the witness: they keep their connections, and know which of their orders were confirmed."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from tests.support import ROOT
from tests.support.http2_target import NAME, Http2Server
from tests.support.witness import Witness, visitors
from tests.support.witness.samples import Sample
from tests.support.witness.visitors import Shop, Visits

pytestmark = pytest.mark.slow
CLIENTS = 20


class Server(ThreadingHTTPServer):
    """A shop that speaks HTTP/1.1 over TLS.

    Attributes:
        orders: those placed.
        connections: the number of connections.
        refused: the number of orders to refuse.
        cut: the number of orders to execute without a response.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self.orders: list[str] = []
        self.connections = self.refused = self.cut = 0
        super().__init__(("127.0.0.1", 0), Handler)
        self.socket = context.wrap_socket(self.socket, server_side=True)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of visitors who leave."""


class Handler(BaseHTTPRequestHandler):
    """A visitor's connection."""

    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        """Count the connection."""
        self.server.connections += 1
        super().setup()

    def do_GET(self) -> None:
        """Show a page."""
        self._answer(200)

    def do_POST(self) -> None:
        """Take an order."""
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.refused:
            self.server.refused -= 1
            return self._answer(503)
        self.server.orders.append(self.path.removeprefix("/orders/"))
        if self.server.cut:
            self.server.cut -= 1
            self.close_connection = True
            return None
        return self._answer(200)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def http2(tmp_path: Path) -> Iterator[Http2Server]:
    with Http2Server(tmp_path) as running:
        yield running


@pytest.fixture
def server(http2: Http2Server, tmp_path: Path) -> Iterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pair.pem")
    with Server(context) as running:
        threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True).start()
        yield running
        running.shutdown()


def visit(port: int, clients: int = CLIENTS, seconds: float = 2.0) -> list[Sample]:
    """Return what visitors see in some seconds."""
    samples: list[Sample] = []

    async def run() -> None:
        visits = Visits(Shop(NAME, "127.0.0.1", port, "/", 10.0), clients, samples.append)
        asyncio.get_running_loop().call_later(seconds, visits.stop)
        await visits.run()

    asyncio.run(run())
    return samples


def test_orders_are_placed_once_and_connections_kept(server: Server) -> None:
    server.refused = 3
    samples = visit(server.server_port)
    confirmed = [sample.text for sample in samples if sample.served_by and sample.text]
    assert Counter(server.orders) == Counter(confirmed) == dict.fromkeys(confirmed, 1)
    refused = [sample.text for sample in samples if sample.failure]
    assert len(refused) == 3 and all(text.startswith("POST of ") and text.endswith(": 503") for text in refused)
    # What was spoken, not what was wanted.
    assert {sample.served_by for sample in samples if sample.served_by} == {"HTTP/1.1"}
    assert len(samples) > 2 * CLIENTS >= 2 * server.connections


def test_an_order_is_not_repeated_when_a_kept_connection_ends(server: Server) -> None:
    server.cut = 3
    samples = visit(server.server_port)
    assert set(Counter(server.orders).values()) == {1}
    assert [sample.failure for sample in samples if sample.failure] == ["reset"] * 3


def test_a_connection_that_was_idle_for_long_is_not_used_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visitors, "IDLE_S", 1)
    monkeypatch.setattr(visitors.random, "random", lambda: 1.0)
    monkeypatch.setattr(visitors, "PAUSE_S", 3.0)
    samples = visit(server.server_port, clients=1, seconds=4.0)
    assert len(samples) == server.connections == 2
    assert not [sample for sample in samples if sample.failure]


def test_a_visitor_leaves_a_connection_long_before_the_balancer_closes_it() -> None:
    defaults = yaml.safe_load((ROOT / "roles/load_balancer/defaults/main.yml").read_text())
    assert defaults["load_balancer_client_timeout"] >= 2 * visitors.IDLE_S


def test_half_of_them_speak_http_2(http2: Http2Server) -> None:
    samples = visit(http2.port)
    answered = [sample for sample in samples if sample.served_by]
    assert {sample.served_by for sample in answered} == {"HTTP/2"} and len(answered) == http2.seen > CLIENTS
    assert http2.names == {NAME}
    # This server speaks nothing else.
    assert {sample.failure for sample in samples} - {None} <= {"empty", "reset", "other"}
    assert any(sample.failure for sample in samples)


def test_a_test_asks_for_visitors_by_the_name_of_the_site(server: Server) -> None:
    with (
        Witness(f"https://127.0.0.1:{server.server_port}", clients=CLIENTS, shop=NAME) as witness,
        witness.window("visits", steady=0.2, after=0.2) as window,
    ):
        threading.Event().wait(1)
    report = window.report()
    assert report.failures == {} and set(report.answered) == {"HTTP/1.1"}, report.examples
    assert server.orders
