"""A small HTTP server for the tests of the witness: it answers correctly until a test makes it fail."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from collections import deque
from types import TracebackType


class Server:
    """An HTTP server on the loopback address, in its own thread.

    Attributes:
        upsets: the failures of the next requests, one each: ``empty`` (closed without an answer), ``reset``, ``hang``
            (no answer), ``cut`` (half an answer), or a status.
        generation: the generation that it reports; None for none.
        wait_s: seconds before an answer.
        seen: the number of requests received.
    """

    def __init__(self, wait_s: float = 0.02, generation: str | None = "g1") -> None:
        self.upsets: deque[str] = deque()
        self.wait_s = wait_s
        self.generation = generation
        self.seen = 0
        # Bound here and not in the thread: the port is known before any client connects.
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._loop = asyncio.new_event_loop()
        self._listener = self._loop.run_until_complete(
            self._loop.create_server(lambda: _Connection(self), sock=self._socket, backlog=1024)
        )
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def stall(self, seconds: float) -> None:
        """Do nothing for some seconds."""
        self._loop.call_soon_threadsafe(time.sleep, seconds)
        time.sleep(seconds)

    def refuse(self) -> None:
        """Accept no more connections; open ones are answered."""
        self._loop.call_soon_threadsafe(self._listener.close)

    def __enter__(self) -> Server:
        """Return the running server."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the server."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._listener.close()
        self._loop.close()


class _Connection(asyncio.Protocol):
    def __init__(self, server: Server) -> None:
        self._server = server
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, _, body = self._received.partition(b"\r\n\r\n")
        # The article's body, or that of a GET.
        if body.endswith(b"}") or (head.startswith(b"GET") and b"\r\n\r\n" in self._received):
            self._server.seen += 1
            upset = self._server.upsets.popleft() if self._server.upsets else "200"
            asyncio.get_running_loop().call_later(self._server.wait_s, self._answer, upset)

    def _answer(self, upset: str) -> None:
        if upset == "hang":
            return
        if upset == "reset":
            linger = struct.pack("ii", 1, 0)
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        elif upset != "empty":
            status, length = ("200", 30) if upset == "cut" else (upset, 3)
            generation = self._server.generation
            signed = f"X-Generation: {generation}\r\nX-Mode: gevent\r\n" if generation else ""
            self._transport.write(
                f"HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n"
                f"{signed}Connection: close\r\n\r\n{{}}\n".encode()
            )
        self._transport.close()
