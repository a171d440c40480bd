"""Behind a proxy, an application finds its client and the URL that the client used, without a change to its code."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

from tests.support.application import Application, Deploy, Release
from tests.support.wire import own_address

CLIENT = "192.0.2.7"
STATED = (
    f"X-Forwarded-For: 127.0.0.1, {CLIENT}",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: shop.example.org",
    "X-Forwarded-Prefix: /shop",
    "X-Real-IP: 127.0.0.1",
)


@pytest.fixture(scope="module")
def shop(deployed: Deploy, release: Release, mode: str, address: str) -> Application:
    """An application for which this machine is the proxy."""
    return deployed(release("app_flask.py"), mode, flask_uwsgi_trusted_proxies=[own_address(address)])


def test_what_a_trusted_proxy_states_is_the_request(shop: Application) -> None:
    seen = shop.get("/page", *STATED).document
    assert seen["url"] == "https://shop.example.org/shop/page"
    assert (seen["environ"]["REMOTE_ADDR"], seen["environ"]["SERVER_PORT"]) == (CLIENT, "443")


def test_of_any_other_client_it_never_arrives(shop: Application) -> None:
    headers = dict(header.split(": ", 1) for header in STATED)
    url = f"http://127.0.0.1:{shop.address[1]}/page"
    ask = f"from urllib.request import *; print(urlopen(Request({url!r}, headers={headers})).read().decode())"
    seen: dict[str, Any] = json.loads(shop.run(f"python3 -c {shlex.quote(ask)}"))
    assert seen["url"] == url
    assert seen["environ"]["REMOTE_ADDR"] == "127.0.0.1"
    assert not [name for name in seen["environ"] if name.startswith(("HTTP_X_FORWARDED_", "HTTP_X_REAL_IP"))]


def test_a_request_without_a_proxys_headers_is_as_it_arrived(shop: Application) -> None:
    seen = shop.get("/page").document
    assert seen["url"] == "http://wire.example/page"
