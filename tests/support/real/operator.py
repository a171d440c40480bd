"""An operator who deploys one application after the other to a host, as docs/OWN_APP.md describes."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support import ROOT, remote
from tests.support.playbook import PLAIN
from tests.support.real.catalogue import Application


@dataclass
class Operator:
    """An inventory of one host and one build host, and the operations on it.

    Attributes:
        folder: the folder of the inventory.
        sandbox: the inventory that the sandbox wrote.
    """

    folder: Path
    sandbox: Path

    def __post_init__(self) -> None:
        groups = yaml.safe_load(self.sandbox.read_text())["all"]["children"]
        ((self.host, self.variables),) = groups["flask"]["hosts"].items()
        self.build = groups["build"]["hosts"]
        self.folder.mkdir(exist_ok=True)
        (self.folder / "build.yml").write_text(yaml.safe_dump({"build": {"hosts": self.build}}))

    def url(self, app: Application) -> str:
        """Return the URL of an application."""
        return f"http://{self.variables['ansible_host']}:{app.port}"

    def write(self, app: Application, mode: str, leave_out: str = "", **more: Any) -> None:
        """Write the inventory: an application on the host, and its variables."""
        hosts = {"flask": {"children": {app.name: {"hosts": {f"{app.name}@{self.host}": self.variables}}}}}
        (self.folder / "hosts.yml").write_text(yaml.safe_dump(hosts))
        settings = app.settings(mode) | {"flask_uwsgi_app_name": app.name}
        settings |= {f"flask_uwsgi_{name}": value for name, value in more.items()}
        settings.pop(f"flask_uwsgi_{leave_out}", None)
        variables = self.folder / "group_vars" / f"{app.name}.yml"
        variables.parent.mkdir(exist_ok=True)
        variables.write_text(yaml.safe_dump(settings))

    def play(self, playbook: str, *arguments: str) -> tuple[int, str]:
        """Run a playbook, and return its exit status and output."""
        started = time.monotonic()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "MOLECULE_"))}
        done = subprocess.run(
            ["ansible-playbook", "--inventory", str(self.folder), f"playbooks/{playbook}.yml", *arguments],
            cwd=ROOT, env=kept | PLAIN, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", check=False,
        )  # fmt: skip
        print(f"{time.monotonic() - started:5.1f} s  {playbook}")
        return done.returncode, done.stdout

    def deploy(self, app: Application, mode: str, leave_out: str = "", **more: Any) -> tuple[int, str]:
        """Deploy an application.

        Args:
            app: the application.
            mode: ``gevent`` or ``threads``.
            leave_out: a variable of the application that is not set.
            more: further variables, without their prefix.

        Returns:
            the exit status and the output.
        """
        self.write(app, mode, leave_out, **more)
        return self.play("deploy")

    def removed(self, app: Application) -> None:
        """Remove an application with its data and its account."""
        status, said = self.play("remove", "-e", "flask_uwsgi_remove_data=true")
        assert status == 0, said[-4000:]
        assert self.root(f"ls -d /opt/{app.name} /var/lib/{app.name}* 2>/dev/null || true") == ""

    def root(self, command: str) -> str:
        """Run a command on the host as root; it must succeed."""
        return remote.root(self.variables, command)
