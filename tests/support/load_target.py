"""A small HTTP server for the load tests: it answers correctly, or fails in one chosen way.

Started by hand, it serves until it is interrupted: ``python tests/support/load_target.py 8049``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from types import TracebackType

import pytest

LOGIN = "/user_manage/user/login"


class Server:
    """An HTTP server on the loopback address, in its own thread.

    Paths: the login path and ``/healthz`` answer as the sample app does; ``/500`` an error; ``/growing`` a
    body that is longer each time; ``/slower`` 20 ms later each time; ``/hang`` nothing; ``/reset`` the first
    ``reset_after`` requests, then a reset; ``/half-keepalive`` speaks HTTP/1.1 for one request and then closes
    without an answer.

    Args:
        port: the TCP port, 0 for a free one.
        wait_s: seconds that the login path waits before it answers.
        reset_after: requests after which ``/reset`` resets the connection.
        health: what ``/healthz`` answers.
    """

    def __init__(
        self,
        port: int = 0,
        wait_s: float = 0.0,
        reset_after: int = 20,
        health: dict[str, object] | None = None,
    ) -> None:
        self.wait_s = wait_s
        self.reset_after = reset_after
        self.health = health or {"status": "ok", "mode": "gevent", "generation": "0123456789ab"}
        self.seen = 0
        # Bound here and not in the thread: the port is known, and an error is raised, before any client connects.
        self.socket = socket.create_server(("127.0.0.1", port), backlog=4096)
        self.port: int = self.socket.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._serving = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._serving.wait()

    @property
    def url(self) -> str:
        """The URL without a path."""
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        """Stop answering, and close open connections."""
        if not self._thread.is_alive():
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)

    def __enter__(self) -> Server:
        """Return the running server."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the server."""
        self.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._connection, sock=self.socket, backlog=4096))
        self._loop.call_soon(self._serving.set)
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._request(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            with contextlib.suppress(OSError, RuntimeError):
                writer.close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        path, version = head.split(" ", 2)[1], head.split("\r\n", 1)[0].rsplit(" ", 1)[1]
        length = 0
        for line in head.lower().split("\r\n"):
            if line.startswith("content-length:"):
                length = int(line.split(":")[1])
        await reader.readexactly(length)
        self.seen += 1
        keep = version == "HTTP/1.1" and "connection: close" not in head.lower()
        status, body, announce = 200, b"{}\n", True
        if path == LOGIN:
            await asyncio.sleep(self.wait_s)
        elif path == "/slower":
            await asyncio.sleep(self.seen * 0.02)
        elif path == "/healthz":
            body = json.dumps(self.health).encode() + b"\n"
        elif path == "/500":
            status, body = 500, b'{"message": "Internal Server Error"}\n'
        elif path == "/growing":
            body = b"x" * self.seen
        elif path == "/hang":
            await asyncio.sleep(3600)
        elif path == "/reset":
            if self.seen > self.reset_after:
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return False
        elif path == "/half-keepalive":
            keep, announce = False, False
        else:
            status, body = 404, b'{"message": "Not Found"}\n'
        connection = f"Connection: {'keep-alive' if keep else 'close'}\r\n" if announce else ""
        writer.write(
            f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n{connection}\r\n".encode()
            + body
        )
        await writer.drain()
        return keep


@pytest.fixture
def server() -> Iterator[Server]:
    """Serve on a free port of the loopback address."""
    with Server() as running:
        yield running


def main() -> None:
    """Serve on the port that is the first argument, until interrupted."""
    with Server(port=int(sys.argv[1]), wait_s=0.2) as server:
        print(server.url, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
