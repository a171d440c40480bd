"""A deployed application, as its clients and the administrator of its host see it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.support.service import Service, wait
from tests.support.wire import Address, Answer, ask, ask_slowly, request


class Application(Service):
    """An application that serves on the host.

    Args:
        host: testinfra's host.
        name: its name.
        address: the address on which it answers.
        mode: its mode.
        source: its source on the controller.
        variables: the role's other variables with which it was deployed.
    """

    def __init__(
        self, host: Any, name: str, address: Address, mode: str, source: Path, variables: Mapping[str, Any]
    ) -> None:
        super().__init__(host, name)
        self.address = address
        self.mode = mode
        self.source = source
        self.variables = variables

    @property
    def url(self) -> str:
        """The URL of the application."""
        return f"http://{self.address[0]}:{self.address[1]}"

    @property
    def extra_vars(self) -> list[str]:
        """Arguments of ansible-playbook for a run on this application."""
        chosen = {
            "mode": self.mode,
            "flask_uwsgi_app_name": self.name,
            "flask_uwsgi_port": self.address[1],
            "flask_uwsgi_source": str(self.source),
            **self.variables,
        }
        return ["-e", json.dumps(chosen)]

    def ask(self, data: bytes, *, timeout: float = 30) -> Answer:
        """Send bytes at once, and return the answer."""
        return ask(self.address, data, timeout=timeout)

    def ask_slowly(self, data: bytes, *, piece: int = 1) -> Answer:
        """Send bytes in pieces, and return the answer."""
        return ask_slowly(self.address, data, piece=piece)

    def get(self, path: str, *headers: str) -> Answer:
        """Request a path, unnormalized."""
        return self.ask(request(*headers, line=f"GET {path} HTTP/1.1"))

    def journal(self, since: float) -> str:
        """Return what the application's units logged since a time of this machine's clock."""
        return self.run(f"journalctl --no-pager --unit '{self.name}@*' --since @{since:.6f}")

    def busy(self) -> int:
        """Return the number of requests that the application is handling."""
        return sum(core["in_request"] for worker in self.stats["workers"] for core in worker["cores"])

    def wait_until(self, true: Callable[[], bool], what: str, within: float = 20) -> None:
        """Wait until a condition holds.

        Args:
            true: returns whether it holds.
            what: its name, for the error message.
            within: the timeout in seconds.
        """
        wait(true, what, within)


Deploy = Callable[..., Application]
Release = Callable[..., Path]
