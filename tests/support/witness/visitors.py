"""Visitors of a site behind a load balancer: they keep their connections, as browsers do, and place orders.

libcurl sends the requests of one half over HTTP/1.1, with a connection each, and those of the other over HTTP/2, ten
to a connection. Its visitors never repeat an order of which the server may have seen something: if one is executed
twice, the site is at fault.
"""

from __future__ import annotations

import asyncio
import math
import random
import secrets
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from io import BytesIO
from itertools import count

import pycurl

from tests.support.witness.clients import REST_S, STAGGER_S
from tests.support.witness.samples import Sample

BODY = b"one of each"
# A visitor looks at a page for up to so long before the next request.
PAUSE_S = 1.0
# Seconds without a request after which a visitor opens a new connection, fewer than any balancer here keeps an idle one
# (load_balancer_client_timeout): a request that crosses its closing would be lost, whatever happens to the site.
IDLE_S = 30
# So many share a connection with HTTP/2, as the requests of one page do.
SHARED_BY = 10
SPOKEN = {pycurl.CURL_HTTP_VERSION_1_1: "HTTP/1.1", pycurl.CURL_HTTP_VERSION_2_0: "HTTP/2"}
KINDS = {
    pycurl.E_COULDNT_CONNECT: "refused",
    pycurl.E_GOT_NOTHING: "empty",
    pycurl.E_RECV_ERROR: "reset",
    pycurl.E_SEND_ERROR: "reset",
    # What it would have repeated.
    pycurl.E_SEND_FAIL_REWIND: "reset",
    pycurl.E_OPERATION_TIMEDOUT: "timeout",
    pycurl.E_SSL_CONNECT_ERROR: "handshake",
}


@dataclass(frozen=True)
class Shop:
    """What visitors know of a site.

    Attributes:
        name: its name.
        address: the address of the balancer.
        port: the port at which the balancer speaks TLS.
        path: the path of the page that they look at.
        timeout_s: the seconds that a request may take as a whole.
    """

    name: str
    address: str
    port: int
    path: str
    timeout_s: float

    def request(self, order: str, *, http2: bool) -> pycurl.Curl:
        """Return a request: of the page, or to place an order."""
        curl = pycurl.Curl()
        curl.setopt(pycurl.URL, f"https://{self.name}:{self.port}{f'/orders/{order}' if order else self.path}")
        curl.setopt(pycurl.RESOLVE, [f"{self.name}:{self.port}:{self.address}"])
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS if http2 else pycurl.CURL_HTTP_VERSION_1_1)
        # Otherwise visitors who begin together would open a connection each.
        curl.setopt(pycurl.PIPEWAIT, int(http2))
        # The certificate may be the balancer's own.
        curl.setopt(pycurl.SSL_VERIFYPEER, 0)
        curl.setopt(pycurl.SSL_VERIFYHOST, 0)
        curl.setopt(pycurl.MAXAGE_CONN, IDLE_S)
        curl.setopt(pycurl.TIMEOUT_MS, int(self.timeout_s * 1000))
        curl.setopt(pycurl.WRITEFUNCTION, len)
        if order:
            # libcurl repeats a request by itself if the connection was kept from an earlier one and ends before a
            # response, but not one whose body it cannot read again.
            curl.setopt(pycurl.POST, 1)
            curl.setopt(pycurl.READFUNCTION, BytesIO(BODY).read)
            curl.setopt(pycurl.POSTFIELDSIZE, len(BODY))
        return curl


class Visits:
    """Visitors who look at a page, then place an order, and so on, until they are stopped.

    Args:
        shop: the site.
        clients: the number of visitors.
        record: called with the result of each request. It was served by the version of HTTP that was spoken.
    """

    def __init__(self, shop: Shop, clients: int, record: Callable[[Sample], None]) -> None:
        self._shop = shop
        self._record = record
        self._begun = [math.inf] * clients
        self._stopped = False
        # No two runs place the same order.
        self._orders = (f"{secrets.token_hex(4)}-{number}" for number in count())

    def complete_before(self) -> float:
        """Return the time before which every request that began has been recorded."""
        return min(time.monotonic(), *self._begun)

    def stop(self) -> None:
        """Let the requests in flight end, and send no more."""
        self._stopped = True

    async def run(self) -> None:
        """Send requests until the visitors are stopped and the last request has ended."""
        clients = len(self._begun)
        async with AsyncExitStack() as stack:

            async def opened() -> pycurl.AsyncCurlMulti:
                multi = await stack.enter_async_context(pycurl.AsyncCurlMulti())
                # Each keeps its connection.
                multi.setopt(pycurl.M_MAXCONNECTS, clients)
                return multi

            alone = await opened()
            shared = [await opened() for _ in range(math.ceil(clients / 2 / SHARED_BY))]
            half = math.ceil(clients / 2)
            await asyncio.gather(
                *(self._visitor(number, alone, http2=False) for number in range(half)),
                *(self._visitor(number, shared[number % len(shared)], http2=True) for number in range(half, clients)),
            )

    async def _visitor(self, number: int, connections: pycurl.AsyncCurlMulti, *, http2: bool) -> None:
        await asyncio.sleep(STAGGER_S * number / len(self._begun))
        for turn in count():
            if self._stopped:
                return
            order = next(self._orders) if turn % 2 else ""
            self._begun[number] = begun = time.monotonic()
            sample = await self._ask(connections, self._shop.request(order, http2=http2), order, begun)
            self._record(sample)
            self._begun[number] = math.inf
            await asyncio.sleep(random.random() * (PAUSE_S if sample.failure is None else REST_S))

    async def _ask(self, connections: pycurl.AsyncCurlMulti, curl: pycurl.Curl, order: str, begun: float) -> Sample:
        what = f"POST of {order}" if order else "GET"
        try:
            await connections.perform(curl)
        except pycurl.error as error:
            code, text = error.args
            return Sample(begun, time.monotonic(), None, KINDS.get(code, "other"), f"{what}: {text}")
        ended = time.monotonic()
        status = curl.getinfo(pycurl.RESPONSE_CODE)
        if not 200 <= status < 300:
            return Sample(begun, ended, None, "status", f"{what}: {status}")
        return Sample(begun, ended, SPOKEN[curl.getinfo(pycurl.INFO_HTTP_VERSION)], text=order)
