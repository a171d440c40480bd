"""Clients that send arbitrary bytes, also slowly, as no library does."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
import time
from dataclasses import dataclass, field
from typing import Any

Address = tuple[str, int]


@dataclass(frozen=True)
class Answer:
    """Everything that arrived until the server closed the connection."""

    raw: bytes
    seconds: float

    @property
    def status(self) -> int:
        """The status, 0 if none arrived."""
        words = self.raw.split(b" ", 2)
        return int(words[1]) if len(words) > 1 and words[0].startswith(b"HTTP/") else 0

    @property
    def is_chunked(self) -> bool:
        """Whether chunks frame the body."""
        return b"\r\ntransfer-encoding: chunked\r\n" in self.raw.partition(b"\r\n\r\n")[0].lower() + b"\r\n"

    @property
    def chunks(self) -> list[bytes]:
        """The chunks that arrived completely; the last one is empty if the answer was not cut."""
        found, rest = [], self.raw.partition(b"\r\n\r\n")[2]
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            length = int(size, 16)
            if len(rest) < length + 2:
                break
            assert rest[length : length + 2] == b"\r\n", rest[:100]
            found.append(rest[:length])
            rest = rest[length + 2 :]
            if not length:
                assert not rest, rest[:100]
        return found

    @property
    def body(self) -> bytes:
        """What follows the head, without chunk framing."""
        return b"".join(self.chunks) if self.is_chunked else self.raw.partition(b"\r\n\r\n")[2]

    @property
    def document(self) -> dict[str, Any]:
        """The body as JSON."""
        found: dict[str, Any] = json.loads(self.body)
        return found


def request(*headers: str, line: str = "GET /echo HTTP/1.1", body: bytes = b"") -> bytes:
    """Return a request with its line, the headers in addition to Host, and its body."""
    head = "\r\n".join([line, "Host: wire.example", *headers]) + "\r\n\r\n"
    return head.encode("latin-1") + body


def own_address(peer: str) -> str:
    """Return this machine's address, as a peer sees it."""
    with socket.socket(socket.AF_INET6 if ":" in peer else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        # Sends nothing: it only chooses the route.
        probe.connect((peer, 9))
        return str(probe.getsockname()[0])


def ask(address: Address, data: bytes, *, timeout: float = 30) -> Answer:
    """Send bytes at once, and return the answer.

    Args:
        address: the server's address.
        data: the bytes to send.
        timeout: the timeout of each read in seconds.
    """
    began = time.monotonic()
    with socket.create_connection(address, timeout=timeout) as connection:
        connection.sendall(data)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    return Answer(received, time.monotonic() - began)


def ask_slowly(address: Address, data: bytes, *, piece: int = 1, timeout: float = 30) -> Answer:
    """Send bytes in pieces, each in a packet of its own, and return the answer.

    Args:
        address: the server's address.
        data: the bytes to send.
        piece: the size of a piece in bytes.
        timeout: the timeout of each read in seconds.
    """
    began = time.monotonic()
    with socket.create_connection(address, timeout=timeout) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for position in range(0, len(data), piece):
            connection.sendall(data[position : position + piece])
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    return Answer(received, time.monotonic() - began)


def drip(address: Address, head: bytes, *, piece: bytes = b"a", every: float = 0.2, most: float) -> Answer:
    """Send a piece every so many seconds, until the server closes the connection.

    Args:
        address: the server's address.
        head: the bytes to send first.
        piece: the bytes to send repeatedly.
        every: the pause in seconds.
        most: the timeout in seconds.
    """
    began = time.monotonic()
    received = b""
    with socket.create_connection(address, timeout=every) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(head)
        while time.monotonic() - began < most:
            try:
                chunk = connection.recv(65536)
            except TimeoutError:
                connection.sendall(piece)
                continue
            if not chunk:
                break
            received += chunk
    return Answer(received, time.monotonic() - began)


def take_slowly(address: Address, data: bytes, *, size: int, every: float, most: float) -> Answer:
    """Send a request, and read so many bytes of the answer every so many seconds.

    Args:
        address: the server's address.
        data: the request.
        size: bytes of each read.
        every: the pause in seconds.
        most: the timeout in seconds.
    """
    began = time.monotonic()
    received = b""
    with socket.socket() as connection, contextlib.suppress(ConnectionError):
        # A large buffer would receive the answer immediately in the client's place.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, max(4096, size))
        connection.settimeout(30)
        connection.connect(address)
        connection.sendall(data)
        while time.monotonic() - began < most and (chunk := connection.recv(size)):
            received += chunk
            time.sleep(every)
    return Answer(received, time.monotonic() - began)


@dataclass
class Crowd:
    """Slow senders that reconnect whenever they are disconnected, and a few well-behaved clients meanwhile."""

    address: Address
    head: bytes
    slow: int
    good: int = 20
    # The seconds of each good request, and the errors of others.
    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    came_back: int = 0

    def run(self, duration: float) -> Crowd:
        """Run the clients; the well-behaved ones start two seconds after the slow ones.

        Args:
            duration: seconds.
        """
        asyncio.run(self._run(time.monotonic() + duration))
        return self

    async def _run(self, end: float) -> None:
        slow = [asyncio.create_task(self._send_slowly(end)) for _ in range(self.slow)]
        await asyncio.sleep(2)
        await asyncio.gather(*(self._ask(end) for _ in range(self.good)))
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)

    async def _send_slowly(self, end: float) -> None:
        for times in itertools.count():
            if time.monotonic() > end:
                return
            self.came_back += bool(times)
            writer = None
            try:
                reader, writer = await asyncio.open_connection(*self.address)
                writer.write(self.head)
                while time.monotonic() < end:
                    try:
                        if not await asyncio.wait_for(reader.read(1000), 0.5):
                            break
                    except TimeoutError:
                        # Without a head it sends nothing at all.
                        writer.write(b"a" if self.head else b"")
            except OSError:
                await asyncio.sleep(0.1)
            finally:
                if writer:
                    writer.close()

    async def _ask(self, end: float) -> None:
        while time.monotonic() < end:
            began = time.monotonic()
            try:
                answer = await asyncio.wait_for(self._one(), 30)
            except (OSError, TimeoutError) as error:
                self.failures.append(f"{error!r} after {time.monotonic() - began:.1f} s")
                continue
            if answer.status == 200:
                self.seconds.append(time.monotonic() - began)
            else:
                self.failures.append(repr(answer.raw[:100]))

    async def _one(self) -> Answer:
        reader, writer = await asyncio.open_connection(*self.address)
        try:
            writer.write(request(line="GET /wait HTTP/1.1"))
            return Answer(await reader.read(), 0)
        finally:
            writer.close()
