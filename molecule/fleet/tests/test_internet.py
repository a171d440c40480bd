"""docs/INTERNET.md, step by step: the application host gets a site of its own, with a certificate of the authority."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import ROOT, remote, runbook
from tests.support.acme import Balancers
from tests.support.clone import clone, write
from tests.support.wire import own_address

PAGE = runbook.parse((ROOT / "docs/INTERNET.md").read_text())
SECTIONS = [section for section in PAGE.sections if section.steps]
COMMANDS = [step.text for step in PAGE.steps if isinstance(step, runbook.Command)]
# The scenario's own application has the port that the page uses.
DOMAIN, PORT = "one.example.org", 8041
WHERE = """
from flask import request


@app.get("/where")
def where():
    return {"client": request.remote_addr, "url": request.url}
"""

pytestmark = pytest.mark.timeout(600)


class Reader:
    """Somebody who follows the page.

    Args:
        folder: where they keep their clone.
        server: the connection variables of their server.
        balancers: those of the scenario, whose authority takes the place of Let's Encrypt.
    """

    def __init__(self, folder: Path, server: Mapping[str, str], balancers: Balancers) -> None:
        self.clone, self.server = folder / "clone", server
        self.address, self.trusting = server["ansible_host"], balancers.trusting
        self.values = {"ADDRESS": self.address, "ACCOUNT": server["ansible_user"], "DOMAIN": DOMAIN}
        self.done: list[runbook.Step] = []
        clone(self.clone)
        with (self.clone / "app/run.py").open("a") as source:
            source.write(WHERE)
        given = {
            # What readers have in their SSH configuration.
            **{name: value for name, value in server.items() if name.startswith("ansible_ssh")},
            "flask_uwsgi_port": PORT,
            "load_balancer_acme_server": f"https://{balancers.authority.address}:14000/dir",
            "load_balancer_acme_ca": str(Path(os.environ["SANDBOX_INVENTORY"]).with_name("authority.pem")),
        }
        self.write(f"inventory/mine/host_vars/{self.address}.yml", yaml.safe_dump(given))
        # What curl would find in the DNS, and among the authorities that everybody trusts.
        (folder / "root.pem").write_text(balancers.authority.root)
        lines = [f'resolve = "{DOMAIN}:{port}:{self.address}"' for port in (80, 443)]
        (folder / ".curlrc").write_text("\n".join(['noproxy = "*"', f'cacert = "{folder}/root.pem"', *lines, ""]))
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "MOLECULE_"))}
        self.environment = kept | {"ANSIBLE_NOCOLOR": "1", "CURL_HOME": str(folder)}

    def write(self, file: str, text: str) -> None:
        """Write a file of the page."""
        write(self.clone / file, text)

    def shell(self, command: str) -> tuple[int, str]:
        """Run a command in the shell of the page's first lines."""
        done = subprocess.run(
            ["bash", "-c", "\n".join([*COMMANDS[:2], command])],
            cwd=self.clone, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", check=False,
        )  # fmt: skip
        return done.returncode, done.stdout


@pytest.fixture(scope="module")
def reader(host: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """The reader, whose site has a name in the DNS; afterwards the application is removed."""
    groups = yaml.safe_load(Path(os.environ["SANDBOX_INVENTORY"]).read_text())["all"]["children"]
    server, *_ = groups["flask"]["hosts"].values()
    balancers = Balancers(host)
    found = Reader(tmp_path_factory.mktemp("reader"), server, balancers)
    with balancers.authority.elsewhere(DOMAIN, at=found.address):
        yield found
    found.shell("ansible-playbook -i inventory/mine playbooks/remove.yml")


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.title)
def test_the_page_does_what_it_says(section: runbook.Section, reader: Reader) -> None:
    # The reader changes the application before each section.
    (reader.clone / "app/release.txt").write_text(section.title)
    # The page shows that plain HTTP is redirected.
    reader.done += runbook.run(section, reader.values, {runbook.CONTROLLER: reader.shell}, reader.write)


def test_every_file_and_every_command_of_the_page_was_used(reader: Reader) -> None:
    assert reader.done == PAGE.steps


def test_visitors_get_a_certificate_of_the_authority_for_the_name(reader: Reader) -> None:
    with (
        socket.create_connection((reader.address, 443), timeout=10) as plain,
        reader.trusting.wrap_socket(plain, server_hostname=DOMAIN) as connection,
    ):
        found = connection.getpeercert() or {}
    assert found["subjectAltName"] == (("DNS", DOMAIN),)
    assert found["issuer"] != found["subject"]


def test_the_application_learns_the_client_and_the_url(reader: Reader) -> None:
    status, said = reader.shell(f"curl --fail --silent --show-error https://{DOMAIN}/where")
    assert status == 0, said
    assert json.loads(said) == {"client": own_address(reader.address), "url": f"https://{DOMAIN}/where"}


def test_only_the_server_itself_reaches_the_port_of_the_application(reader: Reader) -> None:
    lines = remote.root(reader.server, f"ss --no-header --listening --tcp --numeric 'sport = :{PORT}'").splitlines()
    assert {line.split()[3] for line in lines} == {f"127.0.0.1:{PORT}"}


def test_a_second_run_changes_nothing(reader: Reader) -> None:
    for command in COMMANDS:
        status, said = reader.shell(runbook.put(command, reader.values))
        assert status == 0, said
        # With a change, the callback would add how many hosts it was.
        assert not command.startswith("ansible-playbook") or re.search(r"^finished in .*: 1 host ok$", said, re.M), said
