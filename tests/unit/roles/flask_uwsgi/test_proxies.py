"""What an application finds in a request that came through a proxy, or claims so."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from tests.support import ROOT

FILE = ROOT / "roles/flask_uwsgi/files/proxies.py"
TRUSTED = ("10.0.0.5", "10.0.1.0/28", "fd00::/8")


def found(trusted: tuple[str, ...] = TRUSTED, **given: str) -> dict[str, Any]:
    """Return the request as the application gets it: found(HTTP_X_FORWARDED_PROTO="https")."""
    spec = importlib.util.spec_from_file_location("proxies", FILE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    seen: dict[str, Any] = {}

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.update(environ)
        return [b"answer"]

    request = {
        "REMOTE_ADDR": "10.0.0.5",
        "REMOTE_PORT": "40000",
        "HTTP_HOST": "app1:8040",
        "SERVER_PORT": "8040",
        "SCRIPT_NAME": "",
        "wsgi.url_scheme": "http",
        **given,
    }
    assert module.Proxies(application, trusted)(request, lambda *_: None) == [b"answer"]
    return seen


def test_a_request_of_a_proxy_has_the_client_the_scheme_and_the_host_that_it_states() -> None:
    seen = found(
        HTTP_X_FORWARDED_FOR="192.0.2.7",
        HTTP_X_FORWARDED_PROTO="https",
        HTTP_X_FORWARDED_HOST="shop.example.org",
        HTTP_X_FORWARDED_PREFIX="/shop",
    )
    assert (seen["REMOTE_ADDR"], seen["wsgi.url_scheme"], seen["HTTPS"]) == ("192.0.2.7", "https", "on")
    assert (seen["HTTP_HOST"], seen["SERVER_PORT"], seen["SCRIPT_NAME"]) == ("shop.example.org", "443", "/shop")
    # The port was that of the connection from the proxy.
    assert "REMOTE_PORT" not in seen


def test_a_request_of_a_proxy_that_states_nothing_is_as_it_arrived() -> None:
    seen = found()
    assert (seen["REMOTE_ADDR"], seen["REMOTE_PORT"], seen["wsgi.url_scheme"]) == ("10.0.0.5", "40000", "http")
    assert (seen["HTTP_HOST"], seen["SERVER_PORT"], seen["SCRIPT_NAME"]) == ("app1:8040", "8040", "")


@pytest.mark.parametrize("peer", ["192.0.2.7", "10.0.0.6", "10.0.1.16", "2001:db8::1", "", "no address"])
def test_nobody_else_can_state_anything(peer: str) -> None:
    forged = {
        "HTTP_FORWARDED": "for=127.0.0.1",
        "HTTP_X_FORWARDED_FOR": "127.0.0.1",
        "HTTP_X_FORWARDED_PROTO": "https",
        "HTTP_X_FORWARDED_HOST": "evil.example.org",
        "HTTP_X_FORWARDED_PORT": "1",
        "HTTP_X_FORWARDED_PREFIX": "/evil",
        "HTTP_X_FORWARDED_SERVER": "evil",
        "HTTP_X_REAL_IP": "127.0.0.1",
    }
    # What uWSGI itself makes of them.
    believed = {"wsgi.url_scheme": "https", "HTTPS": "on"}
    seen = found(REMOTE_ADDR=peer, HTTP_ACCEPT="*/*", **{**forged, **believed})
    assert seen == {
        "REMOTE_ADDR": peer,
        "REMOTE_PORT": "40000",
        "HTTP_ACCEPT": "*/*",
        "HTTP_HOST": "app1:8040",
        "SERVER_PORT": "8040",
        "SCRIPT_NAME": "",
        "wsgi.url_scheme": "http",
    }


@pytest.mark.parametrize(
    ("stated", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        # What the client has made up comes before the address that the proxy saw.
        ("127.0.0.1, 192.0.2.7", "192.0.2.7"),
        ("192.0.2.7,10.0.1.3", "192.0.2.7"),
        ("127.0.0.1, 192.0.2.7, 10.0.1.3 , fd00::1", "192.0.2.7"),
        ("2001:DB8::7, 10.0.1.3", "2001:db8::7"),
        # Only proxies: the first of them asked.
        ("10.0.1.2, 10.0.1.3", "10.0.1.2"),
        # What is no address ends what can be believed.
        ("192.0.2.7, unknown, 10.0.1.3", "10.0.1.3"),
        ("unknown", "10.0.0.5"),
        ("192.0.2.7:1234", "10.0.0.5"),
        ("", "10.0.0.5"),
    ],
)
def test_the_client_is_the_nearest_address_that_is_not_a_proxys(stated: str, client: str) -> None:
    assert found(HTTP_X_FORWARDED_FOR=stated)["REMOTE_ADDR"] == client


@pytest.mark.parametrize(
    ("stated", "environ"),
    [
        ({"PROTO": "http, https"}, {"wsgi.url_scheme": "https", "SERVER_PORT": "443"}),
        ({"PROTO": "HTTPS"}, {"wsgi.url_scheme": "https"}),
        ({"PROTO": "gopher"}, {"wsgi.url_scheme": "http", "SERVER_PORT": "8040"}),
        ({"PROTO": "https", "PORT": "8443"}, {"wsgi.url_scheme": "https", "SERVER_PORT": "8443"}),
        ({"PORT": "²"}, {"SERVER_PORT": "8040"}),
        ({"HOST": "[2001:db8::1]:8443"}, {"HTTP_HOST": "[2001:db8::1]:8443"}),
        ({"HOST": "evil.example.org, shop.example.org"}, {"HTTP_HOST": "shop.example.org"}),
        ({"HOST": "shop.example.org/path"}, {"HTTP_HOST": "app1:8040"}),
        ({"PREFIX": "/a/b"}, {"SCRIPT_NAME": "/a/b"}),
        ({"PREFIX": "/"}, {"SCRIPT_NAME": ""}),
        ({"PREFIX": "//evil.example.org"}, {"SCRIPT_NAME": ""}),
    ],
)
def test_only_what_has_its_form_is_taken(stated: dict[str, str], environ: dict[str, str]) -> None:
    seen = found(**{f"HTTP_X_FORWARDED_{name}": value for name, value in stated.items()})
    assert {name: seen[name] for name in environ} == environ


def test_a_prefix_precedes_the_mount_point() -> None:
    assert found(SCRIPT_NAME="/mount", HTTP_X_FORWARDED_PREFIX="/shop")["SCRIPT_NAME"] == "/shop/mount"


@pytest.mark.parametrize(
    ("trusted", "peer", "client"),
    [
        (("unix:",), "0.0.0.0", "192.0.2.7"),
        (("unix:", "10.0.0.5"), "10.0.0.5", "192.0.2.7"),
        (("unix:",), "10.0.0.5", "10.0.0.5"),
        (("10.0.0.0/8",), "0.0.0.0", "0.0.0.0"),
    ],
)
def test_who_may_connect_to_a_unix_socket_is_trusted_if_that_is_said(
    trusted: tuple[str, ...], peer: str, client: str
) -> None:
    assert found(trusted, REMOTE_ADDR=peer, HTTP_X_FORWARDED_FOR="192.0.2.7")["REMOTE_ADDR"] == client


@pytest.mark.parametrize(
    ("stated", "client"),
    [
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("192.0.2.7, ::ffff:10.0.0.5", "192.0.2.7"),
        ("2001:DB8::0:7", "2001:db8::7"),
        # A client can state what it likes, but not in the last place.
        ("192.0.2.7, 0.0.0.0", "0.0.0.0"),
    ],
)
def test_the_client_of_a_socket_of_both_families_is_what_it_is_elsewhere(stated: str, client: str) -> None:
    assert found(("unix:", *TRUSTED), HTTP_X_FORWARDED_FOR=stated)["REMOTE_ADDR"] == client
