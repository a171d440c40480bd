"""What the tests of every scenario share. They trust nothing of the role: they ask systemd, uWSGI and the kernel."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

APP = "aiops_flask"
PORT = 8040


def inventory() -> list[str]:
    """Return the arguments that make ansible-playbook use the scenario's variables and its hosts."""
    variables = Path(os.environ["MOLECULE_INVENTORY_FILE"]).parent
    return ["--inventory", str(variables), "--inventory", os.environ["SANDBOX_INVENTORY"]]


@dataclass
class Service:
    """The deployed service as one sees it from its host and from outside."""

    host: Any

    @property
    def url(self) -> str:
        """Where the application answers."""
        variables = self.host.ansible.get_variables()
        return f"http://{variables['ansible_host']}:{PORT}"

    def run(self, command: str, *arguments: str) -> str:
        """Run a shell command on the host and return its output."""
        return str(self.host.check_output(command, *arguments))

    @property
    def generation(self) -> str:
        """The generation that `current` names."""
        return self.run(f"readlink /opt/{APP}/current").rpartition("/")[2]

    @property
    def unit(self) -> str:
        """The unit that serves."""
        return f"{APP}@{self.generation}.service"

    def show(self, unit: str, name: str) -> str:
        """Return a property of a unit as systemd tells it."""
        return self.run(f"systemctl show {unit} --property={name} --value")

    @property
    def stats(self) -> dict[str, Any]:
        """What uWSGI's stats server says."""
        reader = (
            "import socket,sys;s=socket.socket(socket.AF_UNIX);s.connect(sys.argv[1]);"
            "sys.stdout.buffer.write(b''.join(iter(lambda:s.recv(65536),b'')))"
        )
        path = f"/run/{APP}/{self.generation}.stats"
        document: dict[str, Any] = json.loads(self.run(f'python3 -c "{reader}" {path}'))
        return document


@pytest.fixture
def service(host: Any) -> Service:
    """The service on the host under test."""
    return Service(host)


@pytest.fixture(scope="session")
def mode() -> str:
    """The mode the scenario deploys: scenarios are named after it."""
    return os.environ["MOLECULE_SCENARIO_NAME"]
