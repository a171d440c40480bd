"""The load: clients that each send a request, wait for the answer, and send the next."""

from __future__ import annotations

import asyncio
import errno
import math
import random
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp
from aiohttp import AddrInfoType
from yarl import URL

from tests.support.witness.samples import Sample

# The clients' starts are spread over this time: started together they would be answered together, and the pauses
# would look like gaps.
STAGGER_S = 0.2
# Each pauses for a random time up to this one before its next request. Without it they synchronize by themselves:
# requests that end while others are served wait, and then begin together. With 200 clients of a server that takes
# 0.2 s, gaps are 200 ms after a few seconds, and less than 50 ms with the pause, at the same rate.
PAUSE_S = 0.1
# The same after a failure: 200 clients that are refused immediately would take the CPU from the very server that
# is about to recover.
REST_S = 0.5
# The socket is closed with a reset, which leaves no TIME_WAIT behind. Otherwise an address has no local ports left
# after 28,000 requests in a minute. The answer is complete at that point.
LINGER = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Request:
    """What each client sends repeatedly.

    Attributes:
        url: the URL.
        method: the HTTP method.
        body: the body, JSON; empty for none.
        timeout_s: the seconds that a request may take as a whole, from the connect to the last byte.
    """

    url: URL
    method: str
    body: bytes
    timeout_s: float


class Load:
    """Clients in a closed loop, until they are stopped.

    Args:
        request: what they send.
        clients: their number.
        record: called with the result of each request.
    """

    def __init__(self, request: Request, clients: int, record: Callable[[Sample], None]) -> None:
        self._request = request
        self._record = record
        # When each client's request in flight began.
        self._begun = [math.inf] * clients
        self._stopped = False

    def complete_before(self) -> float:
        """Return the time before which every request that began has been recorded."""
        return min(time.monotonic(), *self._begun)

    def stop(self) -> None:
        """Let the requests in flight end, and send no more."""
        self._stopped = True

    async def run(self) -> None:
        """Send requests until the load is stopped and the last one has ended."""
        # Lean: no name resolution, no cookies, no unused headers, one connection per request like ab.
        connector = aiohttp.TCPConnector(
            limit=0, force_close=True, ttl_dns_cache=None, happy_eyeballs_delay=None, socket_factory=_socket
        )
        async with aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=self._request.timeout_s, ceil_threshold=math.inf),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"Content-Type": "application/json"} if self._request.body else None,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        ) as session:
            # aiohttp would silently repeat a GET whose connection was dropped: the very failure to be counted. There
            # is no public switch; aiohttp's own test client turns it off in this way.
            session._retry_connection = False
            await asyncio.gather(*(self._client(session, number) for number in range(len(self._begun))))

    async def _client(self, session: aiohttp.ClientSession, number: int) -> None:
        await asyncio.sleep(STAGGER_S * number / len(self._begun))
        while not self._stopped:
            self._begun[number] = begun = time.monotonic()
            sample = await self._ask(session, begun)
            self._record(sample)
            self._begun[number] = math.inf
            await asyncio.sleep(random.random() * (PAUSE_S if sample.failure is None else REST_S))

    async def _ask(self, session: aiohttp.ClientSession, begun: float) -> Sample:
        request = self._request
        try:
            async with session.request(
                request.method, request.url, data=request.body or None, allow_redirects=False
            ) as response:
                await response.read()
        # Whatever the error is, a visitor would have got no answer.
        except Exception as error:
            return Sample(begun, time.monotonic(), None, kind(error), str(error) or type(error).__name__)
        ended = time.monotonic()
        if not 200 <= response.status < 300:
            return Sample(begun, ended, None, "status", f"{response.status} {response.reason}")
        headers = response.headers
        return Sample(begun, ended, f"{headers.get('X-Generation', 'none')} ({headers.get('X-Mode', 'unknown')})")


def kind(error: BaseException | None) -> str:
    """Return the kind of failure that an error of a request is.

    aiohttp wraps the system's error, and its wrapper has no number of its own if a body could not be written: the
    first known error in the chain determines the kind.
    """
    while error is not None:
        if isinstance(error, TimeoutError):
            return "timeout"
        if isinstance(error, aiohttp.ServerDisconnectedError):
            return "empty"
        number = error.errno if isinstance(error, OSError) else None
        if number == errno.ECONNREFUSED:
            return "refused"
        if number in (errno.ECONNRESET, errno.EPIPE) or isinstance(error, ConnectionResetError):
            return "reset"
        error = error.__cause__
    return "other"


def _socket(address: AddrInfoType) -> socket.socket:
    family, kind_, protocol, _name, _address = address
    opened = socket.socket(family, kind_, protocol)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
    return opened
