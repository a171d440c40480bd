"""The balancers' runbook, step by step: each section's fault is caused, and the page's commands must repair it."""

from __future__ import annotations

import functools
import http.client
import os
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import ROOT, connections, remote, runbook
from tests.support.clone import clone, write
from tests.support.edge import PLAIN, SHOP, Site
from tests.support.service import wait

PAGE = runbook.parse((ROOT / runbook.BALANCER_PAGE).read_text())
INVENTORY = "inventory/production"
SETTINGS = f"{INVENTORY}/group_vars/all.yml"
# What the controller trusts, besides the certificates that a section installs.
TRUSTED = Path(os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"))
BOOTED = "systemctl show --property=UserspaceTimestampMonotonic"
VERSION = "dpkg-query --show --showformat '${Version}' haproxy"
MASTER = "systemctl show --property=MainPID --value haproxy"

pytestmark = [pytest.mark.timeout(600), pytest.mark.full]

FAULTS = runbook.Faults()
fault = FAULTS.of


def make_pair(path: Path, days: int) -> None:
    """Make a certificate for the shop, and its key: PATH.pem and PATH.key."""
    path.parent.mkdir(exist_ok=True)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-subj", f"/CN={path.name}", "-addext", f"subjectAltName=DNS:{SHOP}", "-days", str(days),
         "-keyout", f"{path}.key", "-out", f"{path}.pem"],
        check=True, capture_output=True,
    )  # fmt: skip


class Operator:
    """Their controller: a clone, whose inventory has the hosts and the settings of the scenario."""

    def __init__(self, folder: Path, site: Site) -> None:
        self.folder, self.site = folder, site
        self.clone = folder / "clone"
        self.done: list[runbook.Step] = []
        # Run after a section: what proves that it did its work, and, even if it failed, what it leaves to others.
        self.proofs: list[Callable[[], object]] = []
        self.undo: list[Callable[[], object]] = []
        groups = yaml.safe_load(Path(os.environ["SANDBOX_INVENTORY"]).read_text())["all"]["children"]
        self.groups = {group: members["hosts"] for group, members in groups.items()}
        self.variables = {host: found for hosts in self.groups.values() for host, found in hosts.items()}
        self.vip = ".".join([*site.address.split(".")[:3], "250"])
        # Where visitors may ask.
        self.addresses = [*(self.variables[name]["ansible_host"] for name in site.balancers), self.vip]
        self.host, self.balancer = next(iter(site.hosts)), next(iter(site.balancers))
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "MOLECULE_"))}
        self.trusted = folder / "trusted.pem"
        self.trusted.write_text(TRUSTED.read_text())
        self.environment = kept | {"ANSIBLE_NOCOLOR": "1", "SSL_CERT_FILE": str(self.trusted)}
        self._clone()

    def _clone(self) -> None:
        clone(self.clone)
        groups = {group: {"hosts": dict.fromkeys(hosts)} for group, hosts in self.groups.items()}
        self.write(f"{INVENTORY}/hosts.yml", yaml.safe_dump({"all": {"children": groups}}, sort_keys=False))
        for host, variables in self.variables.items():
            self.write(f"{INVENTORY}/host_vars/{host}.yml", yaml.safe_dump(variables))
        # Exactly the scenario's, which molecule has written there: other settings would be another generation.
        settings = Path(os.environ["MOLECULE_INVENTORY_FILE"]).parent / "group_vars/all"
        self.write(SETTINGS, settings.read_text())

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of all hosts."""
        found: dict[str, Any] = yaml.safe_load((self.clone / SETTINGS).read_text())
        return found

    def shell(self, command: str) -> tuple[int, str]:
        """Run a command on the controller, after the page's first lines."""
        first = [step.text for step in PAGE.steps if isinstance(step, runbook.Command)][:2]
        began = time.monotonic()
        done = subprocess.run(
            ["bash", "-c", "\n".join([*first, command])],
            cwd=self.clone, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", check=False,
        )  # fmt: skip
        print(f"{time.monotonic() - began:5.1f} s  {command}")
        return done.returncode, done.stdout

    def play(self, playbook: str, *arguments: str) -> str:
        """Run a playbook, which must succeed."""
        status, output = self.shell(" ".join(["ansible-playbook", playbook, *arguments]))
        assert status == 0, output
        return output

    def write(self, file: str, text: str) -> None:
        """Add a setting to a file of the inventory."""
        write(self.clone / file, text)

    def keep_settings(self, *playbook: str) -> None:
        """Restore the settings after the section, and apply them with a playbook."""
        file = self.clone / SETTINGS
        before = file.read_text()

        def restore() -> None:
            file.write_text(before)
            self.play(*playbook)

        self.undo.append(restore)

    def root(self, host: str, command: str) -> str:
        """Run a command on a host as root; it must succeed."""
        return remote.root(self.variables[host], command)

    def serve_own_certificate(self, days: int) -> dict[str, str]:
        """Serve the shop with a certificate from the controller; return another one, which the section must install."""
        self.keep_settings("playbooks/load_balancer.yml")
        make_pair(self.clone / "inventory/certificates" / SHOP, days)
        shop, *others = self.settings["load_balancer_sites"]
        path = f"{{{{ inventory_dir }}}}/../certificates/{SHOP}"
        own = {**shop, "tls": "files", "certificate": f"{path}.pem", "key": f"{path}.key"}
        self.write(SETTINGS, yaml.safe_dump({"load_balancer_sites": [own, *others]}))
        self.play("playbooks/load_balancer.yml")
        new = self.folder / f"new-{len(self.done)}"
        make_pair(new, 365)

        def served() -> None:
            for address in self.addresses:
                assert ssl.get_server_certificate((address, 443)).split() == Path(f"{new}.pem").read_text().split()

        self.proofs.append(served)
        return {"CERTIFICATE": f"{new}.pem", "KEY": f"{new}.key"}

    def rows(self, server: str) -> list[dict[str, str]]:
        """Return what HAProxy shows of a server, on each balancer."""
        found = []
        for host in self.site.balancers.values():
            self.site.balancer = host
            found.append(self.site.row(server))
        return found

    def up(self) -> bool:
        """Return whether all balancers send requests to all hosts, at the port of the settings."""
        rows = [row for server in self.site.hosts for row in self.rows(server)]
        return all(row["status"] == "UP" and row["addr"].endswith(":8040") for row in rows)

    def answered(self, address: str) -> bool:
        """Return whether visitors of both sites get an answer at an address."""
        self.site.address = address
        try:
            secure = self.site.request("GET", "/where", timeout=5)
            plain = self.site.request("GET", "/where", PLAIN, tls=False, timeout=5)
        except (OSError, http.client.HTTPException):
            return False
        return (secure.status, plain.status) == (200, 200)

    def generations(self) -> dict[str, str]:
        """Return the generation that serves on each application host."""
        return {name: host.check_output("readlink /opt/edge/current") for name, host in self.site.hosts.items()}


@fault("Before you start")
def _(operator: Operator) -> None:
    """Nothing: everything works."""


@fault("Certificate about to expire")
def _(operator: Operator) -> dict[str, str]:
    return operator.serve_own_certificate(days=5)


@fault("Certificate wrong")
def _(operator: Operator) -> dict[str, str]:
    values = operator.serve_own_certificate(days=365)
    # Browsers know who vouches for the new one alone.
    operator.trusted.write_text(TRUSTED.read_text() + Path(values["CERTIFICATE"]).read_text())
    return values


@fault("Balancer down")
def _(operator: Operator) -> None:
    operator.root(operator.balancer, "systemctl stop haproxy")
    assert not operator.answered(operator.variables[operator.balancer]["ansible_host"])
    wait(lambda: operator.answered(operator.vip), "an answer of the other balancer")


@fault("One host bad")
def _(operator: Operator) -> None:
    operator.root(operator.host, "systemctl stop 'edge*.socket' 'edge@*.service'")
    wait(lambda: {row["status"] for row in operator.rows(operator.host)} == {"DOWN"}, "the loss noticed")
    assert operator.answered(operator.vip)


@fault("Take a host out")
def _(operator: Operator) -> None:
    """Nothing: this is routine."""


@fault("Reboot all hosts")
def _(operator: Operator) -> None:
    hosts = {**operator.site.hosts, operator.balancer: operator.site.balancers[operator.balancer]}
    before = {name: host.check_output(BOOTED) for name, host in hosts.items()}
    operator.undo.append(connections.forget)

    def rebooted() -> None:
        connections.forget()
        assert not [name for name, host in hosts.items() if host.check_output(BOOTED) == before[name]]

    operator.proofs.append(rebooted)


@fault("Change a port")
def _(operator: Operator) -> None:
    before = operator.generations()
    operator.keep_settings("deploy.yml")

    def returned() -> None:
        assert operator.generations() == before

    operator.proofs.append(returned)


@fault("Maintenance window")
def _(operator: Operator) -> None:
    operator.undo.append(lambda: operator.play("playbooks/maintenance.yml", "-e", "state=off"))


@fault("Upgrade HAProxy")
def _(operator: Operator) -> None:
    balancers = operator.site.balancers.values()
    before = [(host.check_output(VERSION), host.check_output(MASTER)) for host in balancers]
    for host in balancers:
        # apt takes the package for an older one, and replaces it.
        host.check_output("sed -i '/^Package: haproxy$/,/^$/s/^Version: .*/&~/' /var/lib/dpkg/status")

    def upgraded() -> None:
        # By a reload: the master is the same process.
        assert [(host.check_output(VERSION), host.check_output(MASTER)) for host in balancers] == before

    operator.proofs.append(upgraded)


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory, site: Site) -> Operator:
    """The operator. Other tests may have left another generation, or another configuration."""
    found = Operator(tmp_path_factory.mktemp("operator"), site)
    found.play("deploy.yml")
    found.play("playbooks/load_balancer.yml")
    return found


@pytest.mark.parametrize("title", FAULTS)
def test_the_page_repairs_the_fault(title: str, operator: Operator) -> None:
    section = next(section for section in PAGE.sections if section.title == title)
    wait(operator.up, "all hosts up")
    mode = operator.settings["flask_uwsgi_mode"]
    values = {"HOST": operator.host, "BALANCER": operator.balancer, "SITE": SHOP, "ADDRESS": operator.vip,
              "PAGE": "where", "MODE": mode}  # fmt: skip
    shells: dict[str, runbook.Shell] = {
        runbook.CONTROLLER: operator.shell,
        runbook.HOST: lambda command: remote.as_root(operator.variables[operator.balancer], command),
    }
    try:
        values |= FAULTS[title](operator) or {}
        operator.done += runbook.run(section, values, shells, operator.write)
        for prove in operator.proofs:
            prove()
    finally:
        operator.proofs.clear()
        while operator.undo:
            operator.undo.pop()()
    for address in operator.addresses:
        wait(functools.partial(operator.answered, address), f"an answer at {address}")


def test_everything_is_as_before(operator: Operator) -> None:
    before = operator.generations()
    for command in (["deploy.yml"], ["playbooks/load_balancer.yml", "--check"]):
        output = operator.play(*command)
        (outcome,) = (line for line in output.splitlines() if line.startswith("finished in "))
        assert " changed" not in outcome, output
    assert operator.generations() == before
    wait(operator.up, "all hosts up")


def test_every_step_of_the_page_was_executed(operator: Operator) -> None:
    assert {section.title for section in PAGE.sections if section.steps} == set(FAULTS)
    assert sorted(operator.done, key=lambda step: step.line) == PAGE.steps
