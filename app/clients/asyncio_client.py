"""asyncio and aiohttp: code that waits is marked with `await` and `async`, and so is everything that calls it."""

import asyncio
import sys

import aiohttp

from clients import common


async def send(load: common.Load) -> None:
    """Send all requests of the load."""
    slots = asyncio.Semaphore(load.concurrency)
    # The cap is 100 connections by default: the other requests would wait, and not be concurrent.
    connector = aiohttp.TCPConnector(limit=0)
    # Only the timeout of `ask` applies: aiohttp's own is five minutes.
    no_timeout = aiohttp.ClientTimeout(total=None)
    # A proxy named in the environment would be measured instead of the host.
    async with aiohttp.ClientSession(connector=connector, timeout=no_timeout, trust_env=False) as session:
        await asyncio.gather(*(ask(session, slots, load) for _ in range(load.requests)))


async def ask(session: aiohttp.ClientSession, slots: asyncio.Semaphore, load: common.Load) -> None:
    """Send one request."""
    async with slots:
        with load.request() as answer:
            async with (
                asyncio.timeout(load.timeout_s),
                session.post(load.url, data=load.body, headers=load.headers, allow_redirects=False) as response,
            ):
                await response.read()
                answer.status = response.status


if __name__ == "__main__":
    sys.exit(common.main("asyncio", __file__, ["aiohttp"], lambda load: asyncio.run(send(load))))
