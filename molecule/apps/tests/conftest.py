"""A controller with its own inventory, which deploys third-party applications to one host."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.support import remote
from tests.support.clone import clone, write

APPS = Path(__file__).resolve().parents[1] / "apps"
PRELUDE = "source .venv/bin/activate\nexport ANSIBLE_INVENTORY=inventory/mine"


class Site:
    """The controller, and the host as visitors and its administrator see it."""

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        self.folder = folder
        self.clone = folder / "clone"
        self.variables = variables
        self.address = variables["ansible_host"]
        clone(self.clone)
        for app in APPS.iterdir():
            shutil.copytree(app, folder / app.name, ignore=shutil.ignore_patterns("__pycache__"))
        # The page leaves out how to log in, which readers have in their SSH configuration, and timeouts suit a person.
        given = {name: value for name, value in variables.items() if name.startswith("ansible_ssh")}
        given["flask_uwsgi_canary_seconds"] = "0.5"
        self.write("inventory/mine/group_vars/all/given.yml", yaml.safe_dump(given))
        (folder / "vault").write_text("of the vault")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "MOLECULE_"))}
        self.environment = kept | {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_VAULT_PASSWORD_FILE": str(folder / "vault")}

    def write(self, file: str, text: str) -> None:
        """Write settings, given as YAML, into a file of the clone."""
        write(self.clone / file, text)

    def shell(self, command: str) -> tuple[int, str]:
        """Run a command on the controller."""
        started = time.monotonic()
        done = subprocess.run(
            ["bash", "-c", f"{PRELUDE}\n{command}"],
            cwd=self.clone, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", check=False,
        )  # fmt: skip
        print(f"{time.monotonic() - started:5.1f} s  {command}")
        return done.returncode, done.stdout

    def deploy(self, app: str, **variables: Any) -> tuple[int, str]:
        """Deploy one application; return the exit status and the output as one line."""
        status, output = self.shell(
            f"ansible-playbook deploy.yml --limit {app} -e {shlex.quote(json.dumps(variables))}"
        )
        return status, " ".join(output.split())

    def deployed(self, app: str, **variables: Any) -> str:
        """Deploy one application, which must succeed."""
        status, output = self.deploy(app, **variables)
        assert status == 0, output[-4000:]
        return output

    def root(self, command: str) -> str:
        """Run a command on the host as root; it must succeed."""
        return remote.root(self.variables, command)

    def get(self, port: int, path: str, **options: Any) -> requests.Response:
        """Request a page of the host, as a visitor does."""
        return requests.get(f"http://{self.address}:{port}{path}", timeout=10, **options)

    def generation(self, app: str) -> str:
        """Return the generation of an application that serves."""
        return self.root(f"readlink /opt/{app}/current").rpartition("/")[2]

    def processes(self, app: str) -> list[str]:
        """Return the processes of an application, each with its start time."""
        unit = f"{app}@{self.generation(app)}.service"
        main = self.root(f"systemctl show {unit} --property=MainPID --value")
        return self.root(f"ps -o pid=,lstart= --pid {main} --ppid {main}").splitlines()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The controller."""
    groups = yaml.safe_load(Path(os.environ["SANDBOX_INVENTORY"]).read_text())["all"]["children"]
    (variables,) = groups["flask"]["hosts"].values()
    yield Site(tmp_path_factory.mktemp("site"), variables)
