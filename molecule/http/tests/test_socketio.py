"""Flask-SocketIO in both modes, by WebSocket and by polling."""

from __future__ import annotations

import json
import time

import pytest

from tests.support.application import Application, Deploy, Release
from tests.support.websocket import TEXT, Client
from tests.support.wire import request

pytestmark = pytest.mark.full

PATH = "/socket.io/?EIO=4&transport="


@pytest.fixture(scope="module")
def began() -> float:
    """When the application was deployed, by this machine's clock."""
    return time.time()


@pytest.fixture(scope="module")
def site(deployed: Deploy, release: Release, mode: str, began: float) -> Application:
    """An application whose polling clients all reach one process."""
    return deployed(release("app_socketio.py"), mode, flask_uwsgi_processes=1)


def test_it_chooses_the_async_mode_of_the_mode(site: Application, mode: str) -> None:
    assert site.get("/mode").body.decode() == {"gevent": "gevent_uwsgi", "threads": "threading"}[mode]


def test_messages_by_websocket(site: Application) -> None:
    with Client(site.address, PATH + "websocket") as client:
        assert json.loads(client.message().payload[1:])["sid"]
        client.send(TEXT, b"40")
        assert client.message().payload.startswith(b'40{"sid"')
        client.send(TEXT, b'42["ask","a"]')
        assert client.message().payload == b'42["answer","aa"]'


def test_messages_by_polling(site: Application, began: float) -> None:
    session = json.loads(site.get(PATH + "polling").body[1:])["sid"]
    path = f"{PATH}polling&sid={session}"

    def post(packet: bytes) -> bytes:
        head = request(f"Content-Length: {len(packet)}", "Content-Type: text/plain", line=f"POST {path} HTTP/1.1")
        return site.ask(head + packet).body

    assert post(b"40") == b"OK"
    assert site.get(path).body.startswith(b'40{"sid"')
    assert post(b'42["ask","a"]') == b"OK"
    assert site.get(path).body == b'42["answer","aa"]'
    assert "Traceback" not in site.journal(began)
