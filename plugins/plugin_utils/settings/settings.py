"""The settings of an application as types, for whatever comes after they were checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...module_utils.host import address
from ...module_utils.host.address import Address
from ...module_utils.host.layout import Layout
from ..run.truth import truth
from .specs import OPTIONS


@dataclass(frozen=True)
class Settings:
    """The role's variables without their prefix. Meaning and units are in ``meta/argument_specs.yml``."""

    app_name: str
    backlog: int
    base_dir: str
    bind: str
    body_mb: int
    break_lock: bool
    build_packages: list[str]
    callable: str
    canary_seconds: float
    command_timeout: int
    environment: dict[str, Any]
    extra_ini: dict[str, Any]
    files: dict[str, str]
    gevent: int
    gevent_check: str
    gevent_check_dir: str
    gevent_check_memory_mb: int
    gevent_check_path: str
    gevent_check_requests: int
    gevent_check_timeout: int
    group: str
    hang_timeout: int
    header_size: int
    health_host: str
    health_path: str
    health_status: int
    health_timeout: int
    install: bool
    keep_releases: int
    keeper: str
    lease: int
    log_format: str
    log_requests: bool
    log_x_forwarded_for: bool
    manage_sysctl: bool
    memory_mb: int
    min_free_mb: int
    mode: str
    module: str
    mount: str
    packages: list[str]
    persistent: list[str]
    port: int
    post_activate: list[str]
    pre_activate: list[str]
    preload: bool
    processes: int
    python: str
    python_path: list[str]
    request_min_rate: int
    request_timeout: int
    requirements: str
    secrets: dict[str, Any]
    secrets_in_environment: bool
    socket_group: str
    socket_timeout: int
    source: str
    start_timeout: int
    static: dict[str, str]
    stop_timeout: int
    switch_interval_ms: int
    threads: int
    trusted_proxies: list[str]
    unit_overrides: dict[str, Any]
    untested: str
    user: str
    worker_memory_mb: int
    wsgi_file: str

    @property
    def root(self) -> str:
        """The application's directory on a host."""
        return f"{self.base_dir}/{self.app_name}"

    @property
    def address(self) -> Address:
        """The address, or the UNIX socket, that the application listens on."""
        return address.of(self.bind, self.port)

    @property
    def listen(self) -> str:
        """That address, written out."""
        return self.address.text

    @property
    def listens(self) -> str:
        """The unit that listens there."""
        return Layout(self.app_name).socket(self.listen)

    @property
    def listen_stream(self) -> str:
        """The address as that unit has it, which may be the template of all addresses."""
        return "%i" if address.is_instance(self.listen) else self.listen

    @property
    def connects(self) -> str:
        """The group that may connect to a UNIX socket."""
        return self.socket_group or self.group

    @property
    def entry(self) -> str:
        """The WSGI application, as the generation's manifest and the gevent check name it."""
        return self.module or f"{self.wsgi_file}:{self.callable}"

    @property
    def health(self) -> str:
        """The path that is requested for the application's health: its first page if it has none for that."""
        return self.health_path or f"{self.mount}/"

    @property
    def accepted(self) -> int:
        """The status that means healthy; 0 for any."""
        return self.health_status if self.health_path else 0

    @property
    def probe(self) -> str:
        """The path that the gevent check requests."""
        return self.gevent_check_path or self.health

    @property
    def probe_accepted(self) -> int:
        """The status that the gevent check accepts; 0 for any."""
        return self.health_status if self.gevent_check_path else self.accepted


def typed(values: Mapping[str, Any]) -> Settings:
    """Return settings with their types.

    Args:
        values: the role's variables without their prefix, in which no problem was found. Numbers and booleans may be
            strings, as on a command line.
    """
    found = {name: _TYPES[option.type](values[name]) for name, option in OPTIONS.items()}
    return Settings(**{**found, "bind": address.canonical(found["bind"])})


def _text(value: Any) -> str:
    # YAML reads a bare off as false.
    return "off" if value is False else str(value)


_TYPES: dict[str, Callable[[Any], Any]] = {
    "str": _text,
    "path": _text,
    "int": lambda value: int(str(value)),
    "float": lambda value: float(str(value)),
    "bool": truth,
    "list": list,
    "dict": dict,
}
