"""The manifest of a generation, which describes the generation and is checked when it is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..host import address
from ..host.files import DamagedError, read_object

FILE = "manifest.json"
# A release, a virtual environment, a generation: part of a path.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
# Far above any time or number that an operator sets; a larger one would overflow somewhere.
_MOST = 1e9


@dataclass(frozen=True)
class Health:
    """How to ask a generation whether it can serve.

    Args:
        path: the path to GET.
        status: the HTTP status that means healthy; 0 for any.
        timeout: seconds after which it is considered unhealthy.
        host: the Host header of the request.
    """

    path: str
    status: int
    timeout: float
    host: str = "localhost"


@dataclass(frozen=True)
class Secrets:
    """The secrets of a generation.

    Args:
        names: their names, sorted.
        fingerprint: one hash of all their values.
    """

    names: tuple[str, ...] = ()
    fingerprint: str = ""


@dataclass(frozen=True)
class Manifest:
    """The description of a generation.

    Args:
        release: the id of its release.
        venv: the id of its virtual environment.
        mode: ``gevent`` or ``threads``.
        processes: how many workers it has.
        cores: how many requests each of them serves at a time.
        listen: the address that it is served on, such as ``0.0.0.0:8040`` (see ``host.address``).
        wsgi_file: the file that contains the application.
        callable: its name in that file.
        module: the application's module, if it is not a file, such as ``shop:create_app()``.
        health: how it is asked for its health.
        start_timeout: seconds that its start may take.
        stop_timeout: seconds that its requests have to finish.
        settle: seconds that its canary is observed.
        keep: how many generations to keep.
        secrets: which secrets it has.
        checksums: the SHA-256 of each of its files, by relative name.
        artifact: the SHA-256 of its artifact; empty if unknown.
        platform: distribution, architecture and Python that it was built for; empty if unknown.
        digest: the SHA-256 that the generation is named after; empty if unknown.
        decision: the mode chosen for ``flask_uwsgi_mode: auto``; empty if the mode was given.
    """

    release: str
    venv: str
    mode: str
    processes: int
    cores: int
    listen: str
    wsgi_file: str
    callable: str
    health: Health
    start_timeout: float
    stop_timeout: float
    keep: int
    checksums: Mapping[str, str]
    artifact: str = ""
    platform: str = ""
    digest: str = ""
    module: str = ""
    settle: float = 0.0
    secrets: Secrets = Secrets()
    decision: Mapping[str, Any] = field(default_factory=dict)


def read(path: Path) -> Manifest:
    """Read a manifest.

    Args:
        path: the file.

    Raises:
        DamagedError: it is missing, or damaged; the message says how.
    """
    return parse(read_object(path))


def parse(document: Mapping[str, Any]) -> Manifest:
    """Check a manifest that was read; unknown fields are ignored.

    Args:
        document: the JSON object.

    Raises:
        DamagedError: a field is missing, or has the wrong type.
    """
    of = _Fields(document)
    return Manifest(
        release=of.text("release", _NAME),
        venv=of.text("venv", _NAME),
        mode=of.text("mode", re.compile("gevent|threads")),
        processes=of.whole("processes"),
        cores=of.whole("cores"),
        listen=of.text("listen", address.FORM),
        wsgi_file=of.text("wsgi_file"),
        callable=of.text("callable"),
        health=_health(_Fields(of.mapping("health"), "health.")),
        start_timeout=of.number("start_timeout"),
        stop_timeout=of.number("stop_timeout"),
        keep=of.whole("keep"),
        checksums=of.texts("checksums"),
        artifact=of.text("artifact", default=""),
        platform=of.text("platform", default=""),
        digest=of.text("digest", default=""),
        module=of.text("module", default=""),
        settle=of.number("settle", default=0.0),
        secrets=secrets(document),
        decision=of.mapping("decision", default={}),
    )


def _health(of: _Fields) -> Health:
    path = of.text("path")
    # The manifest of an older deploy may have none.
    status = of.whole("status") if path else 0
    return Health(path or "/", status, of.number("timeout"), of.text("host", default="localhost"))


def secrets(document: Mapping[str, Any]) -> Secrets:
    """Return which secrets a manifest names.

    Raises:
        DamagedError: they are missing or not valid.
    """
    found = _Fields(document).mapping("secrets", default={})
    if not found:
        return Secrets()
    names = found.get("names")
    if not isinstance(names, list) or not all(isinstance(name, str) and _NAME.fullmatch(name) for name in names):
        raise DamagedError(f"{FILE} is damaged: secrets.names is not a list of names")
    return Secrets(tuple(names), _Fields(found, "secrets.").text("fingerprint"))


class _Fields:
    """The fields of an object, each checked for the requested type."""

    def __init__(self, document: Mapping[str, Any], above: str = "") -> None:
        self._document = document
        self._above = above

    def text(self, name: str, form: re.Pattern[str] | None = None, default: str | None = None) -> str:
        value = self._get(name, default)
        if not isinstance(value, str) or (form and not form.fullmatch(value)):
            raise self._wrong(name)
        return value

    def number(self, name: str, default: float | None = None) -> float:
        value = self._get(name, default)
        # Also false for NaN, which JSON's parser accepts.
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _MOST:
            raise self._wrong(name)
        return float(value)

    def whole(self, name: str) -> int:
        value = self.number(name)
        if value != int(value):
            raise self._wrong(name)
        return int(value)

    def mapping(self, name: str, default: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        value = self._get(name, default)
        if not isinstance(value, Mapping):
            raise self._wrong(name)
        return value

    def texts(self, name: str) -> Mapping[str, str]:
        value = self.mapping(name)
        if not all(isinstance(text, str) for text in value.values()):
            raise self._wrong(name)
        return value

    def _get(self, name: str, default: object) -> object:
        value = self._document.get(name, default)
        # JSON's null counts as missing.
        return default if value is None else value

    def _wrong(self, name: str) -> DamagedError:
        state = "missing" if self._document.get(name) is None else "not what it should be"
        return DamagedError(f"{FILE} is damaged: {self._above}{name} is {state}")
