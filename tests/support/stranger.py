"""A separate project: the collection that is built from this repository, and the README's play."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

from tests.support import console
from tests.support.service import sample_application

# As in the README's play.
APP = "shop"


class Project:
    """The project, and its two hosts as visitors see them.

    Args:
        folder: the project's folder.
        hosts: variables of the hosts by name.
    """

    def __init__(self, folder: Path, hosts: dict[str, dict[str, Any]]) -> None:
        self.folder = folder
        self.first, self.second = hosts
        self.urls = {name: f"http://{variables['ansible_host']}:8040" for name, variables in hosts.items()}

    def release(self, code: str = "") -> None:
        """Write another release of the application."""
        shutil.rmtree(self.folder / "app", ignore_errors=True)
        shutil.rmtree(self.folder / "shop", ignore_errors=True)
        sample_application(self.folder, f"\n# {os.urandom(8).hex()}\n{code}\n").rename(self.folder / "shop")

    def deploy(self, *arguments: str, status: int = 0) -> str:
        """Run the play, and return Ansible's output as one line."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        done = subprocess.run(
            ["ansible-playbook", "--inventory", "hosts.yml", "site.yml", *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            env={
                **kept,
                "ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"),
                "ANSIBLE_COLLECTIONS_PATH": str(self.folder / "collections"),
                "ANSIBLE_NOCOLOR": "1",
            },
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == status and "Traceback" not in said, said
        return " ".join(said.split())

    @property
    def serving(self) -> dict[str, str]:
        """The generation that answers on each host."""
        return {
            name: str(requests.get(f"{url}/healthz", timeout=10).json()["generation"])
            for name, url in self.urls.items()
        }

    @contextlib.contextmanager
    def unreachable(self, name: str) -> Iterator[None]:
        """Prevent SSH logins on a host during the context; its service is not affected."""
        console.run(name, console.STOP_SSH)
        try:
            yield
        finally:
            console.run(name, console.START_SSH)
