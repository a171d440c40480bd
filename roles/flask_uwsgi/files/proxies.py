"""Gives an application what a trusted proxy states: the client's address, the scheme, the host and the prefix.

A generation's ``entry.py`` wraps the application in it if ``flask_uwsgi_trusted_proxies`` is set. Of any other peer the
same headers are removed, so that what an application finds in them is true.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

# There is no other spelling: uWSGI drops a header whose name has an underscore.
_STATED = ("HTTP_FORWARDED", "HTTP_X_FORWARDED_", "HTTP_X_REAL_IP")
_HOST = re.compile(r"([A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?")
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+")
# What stands for those who connect to a UNIX socket, and the address that uWSGI gives them, which nobody else can have.
_UNIX, _LOCAL = "unix:", "0.0.0.0"
_PORTS = {"http": "80", "https": "443"}

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Proxies:
    """A WSGI application behind proxies.

    Args:
        application: the application itself.
        trusted: the addresses and networks of the proxies; ``unix:`` for all who may connect to a UNIX socket.
    """

    def __init__(self, application: Application, trusted: Sequence[str]) -> None:
        self._application = application
        self._networks = [ipaddress.ip_network(one) for one in trusted if one != _UNIX]
        self._peers = {_LOCAL} if _UNIX in trusted else set()
        # A proxy has few addresses, and anybody else's costs one look.
        self._trusts = lru_cache(1024)(self._is_trusted)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request."""
        peer = environ.get("REMOTE_ADDR", "")
        if peer in self._peers or self._trusts(peer):
            self._believe(environ)
        else:
            for name in [name for name in environ if name.startswith(_STATED)]:
                del environ[name]
            # uWSGI itself believes X-Forwarded-Proto and X-Forwarded-SSL. Its sockets speak plain HTTP.
            environ["wsgi.url_scheme"] = "http"
            environ.pop("HTTPS", None)
        return self._application(environ, start_response)

    def _is_trusted(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self._networks)

    def _believe(self, environ: dict[str, Any]) -> None:
        if client := self._client(environ.get("HTTP_X_FORWARDED_FOR", "")):
            environ["REMOTE_ADDR"] = client
            # That of the connection from the proxy.
            environ.pop("REMOTE_PORT", None)
        if host := _last(environ, "HOST", _HOST):
            environ["HTTP_HOST"] = host
        if (scheme := _last(environ, "PROTO").lower()) in _PORTS:
            environ["wsgi.url_scheme"] = scheme
            environ["SERVER_PORT"] = _PORTS[scheme]
            if scheme == "https":
                environ["HTTPS"] = "on"
        if (port := _last(environ, "PORT")).isascii() and port.isdecimal():
            environ["SERVER_PORT"] = port
        if prefix := _last(environ, "PREFIX", _PREFIX):
            environ["SCRIPT_NAME"] = prefix + environ.get("SCRIPT_NAME", "")

    def _client(self, stated: str) -> str:
        """Return the nearest address that is not a trusted proxy's; of proxies alone, the first one's."""
        client = ""
        # Each proxy appends the address that it was asked from, so what a client has made up comes first.
        for address in reversed([part.strip() for part in stated.split(",")]):
            try:
                found = ipaddress.ip_address(address)
                client = str(getattr(found, "ipv4_mapped", None) or found)
            except ValueError:
                break
            if not self._trusts(client):
                break
        return client


def _last(environ: dict[str, Any], name: str, form: re.Pattern[str] | None = None) -> str:
    """Return what the nearest proxy has stated, or an empty text if that does not have the form."""
    value = str(environ.get(f"HTTP_X_FORWARDED_{name}", "")).rpartition(",")[2].strip()
    return value if not form or form.fullmatch(value) else ""
