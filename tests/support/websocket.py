"""A WebSocket client that sends any frame, valid or not (RFC 6455)."""

from __future__ import annotations

import os
import socket
import struct
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.support.wire import Address, Answer

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
# From the RFC's example with this key, section 1.3.
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


@dataclass(frozen=True)
class Frame:
    """One frame from the server."""

    opcode: int
    payload: bytes
    final: bool = True

    @property
    def code(self) -> int:
        """The status code with which the server closes; 0 if there is none."""
        return int.from_bytes(self.payload[:2], "big") if self.opcode == CLOSE else 0


def handshake(path: str, *headers: str, key: str = KEY, version: str = "13") -> bytes:
    """Return a request for a WebSocket.

    Args:
        path: the request's path.
        headers: further headers.
        key: ``Sec-WebSocket-Key``; none if empty.
        version: ``Sec-WebSocket-Version``.
    """
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: websocket.example",
        "Connection: keep-alive, Upgrade",
        "Upgrade: websocket",
        *([f"Sec-WebSocket-Key: {key}"] if key else []),
        f"Sec-WebSocket-Version: {version}",
        *headers,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def frame(opcode: int, payload: bytes = b"", *, final: bool = True, masked: bool = True, reserved: int = 0) -> bytes:
    """Return a client's frame.

    Args:
        opcode: its kind.
        payload: its data.
        final: whether it is the last one of its message.
        masked: whether it is masked, as a client's frames must be.
        reserved: the bits for extensions.
    """
    size = len(payload)
    mask = os.urandom(4) if masked else b""
    length = (
        struct.pack("!B", size)
        if size < 126
        else struct.pack("!BH" if size < 65536 else "!BQ", 126 + (size > 65535), size)
    )
    first = final << 7 | reserved << 4 | opcode
    if masked:
        repeated = (mask * (size // 4 + 1))[:size]
        payload = (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")
    return bytes([first, length[0] | masked << 7]) + length[1:] + mask + payload


class Client:
    """A connection with a completed handshake.

    Args:
        address: the server's address.
        path: the request's path.
        headers: further headers of the request.
        timeout: the timeout of each read in seconds.
    """

    def __init__(self, address: Address, path: str, *headers: str, timeout: float = 20) -> None:
        self.connection = socket.create_connection(address, timeout=timeout)
        self.connection.sendall(handshake(path, *headers))
        self._input = self.connection.makefile("rb")
        head = b""
        while (line := self._input.readline()) not in (b"\r\n", b""):
            head += line
        self.answer = Answer(head, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._input.close()
        self.connection.close()

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the answer, with names in lower case."""
        pairs = (line.partition(":") for line in self.answer.raw.decode().splitlines()[1:])
        return {name.lower(): value.strip() for name, _, value in pairs}

    def send(self, opcode: int, payload: bytes = b"", **how: bool | int) -> None:
        """Send a frame; see ``frame``."""
        self.connection.sendall(frame(opcode, payload, **how))  # type: ignore[arg-type]

    def receive(self) -> Frame:
        """Return the next frame.

        Raises:
            EOFError: the connection has ended.
        """
        first, length = self._read(2)
        size = length & 0x7F
        if size > 125:
            size = int.from_bytes(self._read(2 if size == 126 else 8), "big")
        return Frame(first & 0xF, self._read(size), bool(first & 0x80))

    def message(self) -> Frame:
        """Return the next frame that is neither a ping nor a pong."""
        while (received := self.receive()).opcode in (PING, PONG):
            pass
        return received

    def _read(self, size: int) -> bytes:
        data = self._input.read(size)
        if len(data) < size:
            raise EOFError
        return data

    def ended(self) -> bool:
        """Wait for the end of the connection; return whether nothing came before it."""
        return self._input.read() == b""
