"""WebSockets: the handshake, valid and invalid frames of every kind, and what a restart does to open ones."""

from __future__ import annotations

import time
from collections.abc import Callable
from subprocess import CompletedProcess

import pytest

from tests.support import websocket
from tests.support.application import Application, Deploy, Release
from tests.support.websocket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Client, Frame, frame

WAYS = ["/library", "/own", "/polled"]
# flask_uwsgi_request_timeout, which does not apply to an open websocket.
REQUEST_S = 3
STOP_S = 12
INVALID = {
    "without mask": frame(TEXT, b"a", masked=False),
    "of an extension": frame(TEXT, b"a", reserved=4),
    "of an unknown kind": frame(0x3, b"a"),
    "continuation of nothing": frame(CONTINUATION, b"a"),
    "control frame in fragments": frame(PING, b"a", final=False),
    "long control frame": frame(PING, b"a" * 126),
    "message within another": frame(TEXT, b"a", final=False) + frame(TEXT, b"a"),
}


@pytest.fixture(scope="module")
def began() -> float:
    """When the application was deployed, by this machine's clock."""
    return time.time()


@pytest.fixture(scope="module")
def site(deployed: Deploy, release: Release, mode: str, began: float) -> Application:
    """An application with websockets."""
    variables = {"flask_uwsgi_request_timeout": REQUEST_S, "flask_uwsgi_stop_timeout": STOP_S}
    return deployed(release("app_websocket.py"), mode, **variables)


@pytest.mark.parametrize("path", WAYS)
def test_handshake(site: Application, path: str) -> None:
    with Client(site.address, path, "Sec-WebSocket-Extensions: none-that-exists") as client:
        assert client.answer.status == 101
        assert client.headers["sec-websocket-accept"] == websocket.ACCEPT
        assert client.headers["connection"].lower() == "upgrade"
        assert client.headers["upgrade"].lower() == "websocket"
        assert not [name for name in client.headers if name.startswith("content-")]


@pytest.mark.parametrize(
    ("wrong", "status"), [({"version": "8"}, 426), ({"key": ""}, 400), ({"key": "short"}, 400)], ids=str
)
@pytest.mark.parametrize("path", WAYS)
def test_an_invalid_handshake_is_refused(site: Application, path: str, wrong: dict[str, str], status: int) -> None:
    answer = site.ask(websocket.handshake(path, **wrong))
    assert answer.status == status
    assert b"Sec-WebSocket-Version: 13" in answer.raw


def test_a_page_without_a_websocket_answers_as_usual(site: Application) -> None:
    assert site.ask(websocket.handshake("/nothing")).status == 404


@pytest.mark.parametrize("path", WAYS)
def test_messages(site: Application, path: str) -> None:
    with Client(site.address, path) as client:
        for size in (1, 125, 126, 65_535, 65_536, 1_000_000):
            client.send(TEXT, b"a" * size)
            assert client.message() == Frame(TEXT, b"a" * size)
        client.send(BINARY, bytes(range(256)) * 300)
        assert client.message() == Frame(BINARY, bytes(range(256)) * 300)
        client.send(PING, b"at rest")
        for word, final in ((b"one, ", False), (b"two, ", False), (b"three", True)):
            client.send(TEXT if word == b"one, " else CONTINUATION, word, final=final)
        received = list(iter(client.receive, Frame(TEXT, b"one, two, three")))
        assert Frame(PONG, b"at rest") in received
        client.send(CLOSE, (1000).to_bytes(2, "big") + b"enough")
        assert client.message().code == 1000
        assert client.ended()


@pytest.mark.parametrize("path", ["/own", "/polled"])
def test_fragments_of_two_clients_are_not_mixed(site: Application, path: str) -> None:
    # So many that at least two of them share a worker.
    clients = [Client(site.address, path) for _ in range(6)]
    for number, client in enumerate(clients):
        client.send(TEXT, str(number).encode(), final=False)
    for number, client in enumerate(clients):
        client.send(CONTINUATION, str(number).encode())
    for number, client in enumerate(clients):
        with client:
            assert client.message().payload == str(number).encode() * 2


@pytest.mark.parametrize("invalid", INVALID)
@pytest.mark.parametrize("path", WAYS)
def test_an_invalid_frame_closes_the_connection_with_its_code(site: Application, path: str, invalid: str) -> None:
    with Client(site.address, path) as client:
        client.connection.sendall(INVALID[invalid])
        assert client.message().code == 1002
        assert client.ended()


@pytest.mark.parametrize("path", ["/own", "/polled"])
def test_a_message_that_is_too_long_is_refused(site: Application, path: str) -> None:
    with Client(site.address, path) as client:
        client.send(TEXT, b"a" * 600_000, final=False)
        client.send(CONTINUATION, b"a" * 600_000)
        assert client.message().code == 1009


def test_a_message_longer_than_a_socket_buffer_arrives_complete(site: Application) -> None:
    with Client(site.address, "/push") as client:
        # Until the server waits for its client.
        time.sleep(1)
        assert len(client.message().payload) == 3_000_000
        assert client.message().code == 1000


def test_an_idle_websocket_is_not_cut(site: Application) -> None:
    clients = [Client(site.address, path) for path in WAYS]
    time.sleep(REQUEST_S + 2)
    for client in clients:
        with client:
            client.send(TEXT, b"still there")
            assert client.message().payload == b"still there"


def test_a_restart_sends_going_away_at_once(site: Application, play: Callable[..., CompletedProcess[str]]) -> None:
    clients = [Client(site.address, path) for path in WAYS]
    for client in clients:
        client.send(TEXT, b"here")
        assert client.message().payload == b"here"
    only_send = [Client(site.address, path) for path in ("/library-ticks", "/own-ticks")]
    began = time.time()
    done = play("restart", *site.extra_vars)
    assert done.returncode == 0, done.stdout[-4000:]
    for client in clients:
        with client:
            assert client.message().code == 1001
            assert client.ended()
    for client in only_send:
        with client:
            assert next(received for received in iter(client.message, None) if received.opcode == CLOSE).code == 1001
    # The open ones did not delay the stop, and none was cut.
    assert "requests were cut" not in done.stdout
    assert "[uwsgi-stop]" not in site.journal(began)
    with Client(site.address, "/library") as client:
        client.send(TEXT, b"again")
        assert client.message().payload == b"again"


def test_websockets_log_no_errors(site: Application, began: float) -> None:
    journal = site.journal(began)
    assert "Traceback" not in journal
    assert "start_response" not in journal
