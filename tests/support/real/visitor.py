"""A visitor of an application: keeps cookies and connections, and speaks Socket.IO on request."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import requests

from tests.support import websocket


@dataclass
class Visitor:
    """A browser without a window.

    Attributes:
        url: the application's URL, ``http://HOST:PORT``.
        new: whether the application has received no request yet.
    """

    url: str
    new: bool = True
    session: requests.Session = field(default_factory=requests.Session)

    def ask(self, method: str, path: str, expected: int = 200, **options: object) -> requests.Response:
        """Send a request, and assert the status of its answer, without following redirects."""
        options = {"timeout": 30, "allow_redirects": False, **options}
        answer = self.session.request(method, self.url + path, **options)  # type: ignore[arg-type]
        assert answer.status_code == expected, f"{method} {path}: {answer.status_code} {answer.text[:2000]}"
        return answer

    def get(self, path: str, expected: int = 200, **options: object) -> requests.Response:
        """Get a page."""
        return self.ask("GET", path, expected, **options)

    def post(self, path: str, expected: int = 200, **options: object) -> requests.Response:
        """Send a form, JSON or a file."""
        return self.ask("POST", path, expected, **options)

    def form(self, path: str, fields: dict[str, str], expected: int = 302, **options: object) -> requests.Response:
        """Load a page with a form, and send it with its hidden fields and further ones."""
        page = self.get(path).text
        hidden = {}
        for tag in re.findall(r"<input[^>]*type=\"hidden\"[^>]*>", page):
            if name := re.search(r"name=\"([^\"]*)\"", tag):
                value = re.search(r"value=\"([^\"]*)\"", tag)
                hidden[name[1]] = value[1] if value else ""
        return self.post(path, expected, data=hidden | fields, headers={"Referer": self.url + path}, **options)


class SocketIO:
    """A client of Socket.IO over long polling, with which every client begins."""

    def __init__(self, visitor: Visitor) -> None:
        self.visitor = visitor
        self.path = "/socket.io/?EIO=4&transport=polling"
        opened = json.loads(visitor.get(self.path).text[1:])
        self.packets: list[str] = []
        self.path += f"&sid={opened['sid']}"
        self.send("40")
        assert self.receive().startswith("40")

    def send(self, packet: str) -> None:
        """Send a packet."""
        assert self.visitor.post(self.path, data=packet, headers={"Content-Type": "text/plain"}).text.lower() == "ok"

    def receive(self) -> str:
        """Return the next packet; answer pings until it arrives."""
        while True:
            if not self.packets:
                self.packets += self.visitor.get(self.path).text.split("\x1e")
            if (packet := self.packets.pop(0)) != "2":
                return packet
            self.send("3")

    def emit(self, event: str, value: object) -> None:
        """Send an event."""
        self.send("42" + json.dumps([event, value]))

    def event(self) -> list[object]:
        """Return the next event."""
        packet = self.receive()
        assert packet.startswith("42"), packet
        found: list[object] = json.loads(packet[2:])
        return found


class SocketIOWebSocket:
    """A client of Socket.IO over a WebSocket from the first packet."""

    def __init__(self, visitor: Visitor) -> None:
        address = urlsplit(visitor.url)
        assert address.hostname and address.port
        path = "/socket.io/?EIO=4&transport=websocket"
        self.client = websocket.Client((address.hostname, address.port), path)
        assert self.client.answer.status == 101, self.client.answer
        assert self.receive().startswith("0")
        self.client.send(websocket.TEXT, b"40")
        assert self.receive().startswith("40")

    def receive(self) -> str:
        """Return the next packet; answer pings until it arrives."""
        while (packet := self.client.message().payload.decode()) == "2":
            self.client.send(websocket.TEXT, b"3")
        return packet

    def emit(self, event: str, value: object) -> None:
        """Send an event."""
        self.client.send(websocket.TEXT, ("42" + json.dumps([event, value])).encode())

    def event(self) -> list[object]:
        """Return the next event."""
        packet = self.receive()
        assert packet.startswith("42"), packet
        found: list[object] = json.loads(packet[2:])
        return found
