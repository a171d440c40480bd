"""Two hosts of a scenario with the sample application, examined without the product."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import requests
import yaml

from tests.support import service
from tests.support.service import APP

INVENTORY = os.environ["SANDBOX_INVENTORY"]
FIRST, SECOND = yaml.safe_load(Path(INVENTORY).read_text())["all"]["children"]["flask"]["hosts"]
RESERVATION = f"/run/{APP}.deploy"
# And the serving process.
TRACES = f"{service.TRACES}; cat /run/{APP}/{APP}.pid; readlink /opt/{APP}/current"
NOBODY = {FIRST: "", SECOND: ""}


class Fleet:
    """The two hosts.

    Args:
        host: any host of the scenario.
    """

    def __init__(self, host: Any) -> None:
        self.hosts = {
            name: host.get_host(f"ansible://{name}", ansible_inventory=INVENTORY, sudo=True) for name in (FIRST, SECOND)
        }

    def ask(self, command: str) -> dict[str, str]:
        """Run a command on both."""
        return {name: str(host.check_output(command)) for name, host in self.hosts.items()}

    @property
    def traces(self) -> set[str]:
        """Return what is on each host."""
        return {f"{name}: {line}" for name, found in self.ask(TRACES).items() for line in found.splitlines()}

    @property
    def serving(self) -> dict[str, str]:
        """Return the generations that answer, as visitors see them."""
        return {
            name: str(requests.get(f"{url}/healthz", timeout=10).json()["generation"])
            for name, url in self.urls.items()
        }

    @property
    def urls(self) -> dict[str, str]:
        """Return the URL of each."""
        return {
            name: f"http://{host.ansible.get_variables()['ansible_host']}:8040" for name, host in self.hosts.items()
        }

    def reserve(self, name: str, owner: dict[str, Any]) -> None:
        """Leave a reservation on one host."""
        self.hosts[name].check_output(f"echo %s > {RESERVATION}", json.dumps(owner))

    @property
    def reservations(self) -> dict[str, str]:
        """Return who has the application reserved; empty if it is not reserved."""
        return self.ask(f"test ! -e {RESERVATION} || cat {RESERVATION}")


def variables_of(arguments: list[str]) -> dict[str, Any]:
    """Return the variables that arguments of a command line set."""
    return dict(word.split("=", 1) for word in arguments if word != "-e")
