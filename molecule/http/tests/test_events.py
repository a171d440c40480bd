"""Streams of events and open WebSockets: how long they may last, and what ends them."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from tests.support.application import Application, Deploy, Release
from tests.support.websocket import TEXT, Client
from tests.support.wire import request

# flask_uwsgi_hang_timeout, after which a worker without progress is replaced.
HANG_S = 5


@pytest.fixture(scope="module")
def site(deployed: Deploy, release: Release, mode: str) -> Application:
    """An application with one worker, so that a stream can be all that it serves."""
    variables = {"flask_uwsgi_hang_timeout": HANG_S, "flask_uwsgi_processes": 1, "flask_uwsgi_request_timeout": 3}
    return deployed(release("app_events.py"), mode, **variables)


def events(site: Application, path: str) -> Iterator[tuple[str, float]]:
    """Yield the data of each event of a stream, and the seconds since the request."""
    began = time.monotonic()
    with socket.create_connection(site.address, timeout=60) as connection, connection.makefile("rb") as lines:
        connection.sendall(request(line=f"GET {path} HTTP/1.1"))
        for line in lines:
            if line.startswith(b"data: "):
                yield line.decode().removeprefix("data: ").strip(), time.monotonic() - began


def workers(site: Application) -> list[int]:
    """Return the process ids of the workers."""
    return [worker["pid"] for worker in site.stats["workers"]]


def test_each_event_arrives_when_it_is_sent(site: Application) -> None:
    came = list(events(site, "/events/5/0.5"))
    assert [word for word, _ in came] == ["0", "1", "2", "3", "4", "all"]
    for number, (_, seconds) in enumerate(came):
        assert number * 0.5 <= seconds < number * 0.5 + 0.45


def test_a_client_that_disconnects_ends_its_stream(site: Application) -> None:
    began = time.time()
    stream = events(site, "/events/4321/0.2")
    assert next(stream)[0] == "0"
    stream.close()
    site.wait_until(lambda: "the stream of 4321 events has ended" in site.journal(began), "the generator ends", 10)
    site.wait_until(lambda: site.busy() == 0, "the core is free", 10)


@pytest.mark.parametrize("path", ["/events/12/1.0", f"/events/1/{HANG_S + 4}.0"], ids=["events", "silence"])
def test_a_stream_outlasts_the_hang_timeout(site: Application, path: str) -> None:
    before = workers(site)
    *_, (last, seconds) = events(site, path)
    assert last == "all" and seconds > HANG_S + 3
    assert workers(site) == before


def test_an_idle_websocket_outlasts_the_hang_timeout(site: Application) -> None:
    before = workers(site)
    with Client(site.address, "/socket") as client:
        client.send(TEXT, b"one")
        assert client.message().payload == b"one"
        time.sleep(HANG_S + 4)
        client.send(TEXT, b"two")
        assert client.message().payload == b"two"
    assert workers(site) == before


@pytest.mark.full
def test_a_stream_does_not_hide_a_request_that_hangs(site: Application) -> None:
    began, found = time.time(), "(flask_uwsgi_hang_timeout)"
    with socket.create_connection(site.address, timeout=60) as waits:
        waits.sendall(request(line="GET /never HTTP/1.1"))
        # The worker's end is that of its stream.
        for _ in events(site, "/events/60/0.5"):
            if found in site.journal(began):
                break
        site.wait_until(lambda: found in site.journal(began), "the worker is replaced", HANG_S)
    assert site.get("/healthz").status == 200


@pytest.mark.full
def test_a_websocket_that_blocks_its_worker_is_detected(site: Application, mode: str) -> None:
    if mode == "threads":
        pytest.skip("other threads have their turn meanwhile")
    began = time.time()
    with Client(site.address, "/socket") as client:
        client.send(TEXT, b"hold up")
        found = "(flask_uwsgi_hang_timeout)"
        site.wait_until(lambda: found in site.journal(began), "the worker is replaced", HANG_S * 4)
    assert site.get("/healthz").status == 200
