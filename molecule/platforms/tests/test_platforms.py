"""What differs between the distributions, and that nobody notices an operation on any of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.playbook import variables
from tests.support.service import APP, OTHER, sample_application
from tests.support.witness import Witness

pytestmark = pytest.mark.timeout(400)

# The systemd and the Python of each host, as Debian 11 has them, and at least what testing has.
EXPECTED = {"mol-platforms-old": (247, (3, 9)), "mol-platforms-new": (258, (3, 14))}


@pytest.fixture
def name(host: Any) -> str:
    return str(host.ansible.get_variables()["inventory_hostname"])


def test_the_hosts_are_the_oldest_and_the_newest(service: Any, name: str) -> None:
    systemd, python = EXPECTED[name]
    found = int(service.run("systemctl --version").split()[1])
    running = tuple(
        map(int, requests.get(f"{service.url}/healthz", timeout=10).json()["versions"]["python"].split("."))
    )
    if name == "mol-platforms-old":
        assert (found, running[:2]) == (systemd, python)
    else:
        assert found >= systemd and running[:2] >= python


def test_systemd_knows_every_directive(service: Any) -> None:
    # "Unknown lvalue" until 246, "Unknown key name" until 255, "Unknown key" since.
    said = service.run("journalctl --no-pager --output cat _PID=1")
    assert not re.findall(rf".*{APP}.*Unknown (?:lvalue|key).*", said)


def test_new_code_and_the_other_mode_are_not_noticed(
    service: Any, name: str, mode: str, play: Any, tmp_path: Path
) -> None:
    before = service.generation
    chosen = variables(flask_uwsgi_source=str(sample_application(tmp_path, "\n# new code\n")))
    with Witness(service.url, clients=30) as witness:
        for what, to, arguments in (("new code", mode, chosen), ("other mode", OTHER[mode], ()), ("back", mode, ())):
            with witness.window(what) as window:
                done = play("deploy", "--limit", f"{name},build", "-e", f"mode={to}", *arguments)
            assert done.returncode == 0, done.stdout
            report = window.report()
            print(report.describe())
            assert report.failures == {}, report.examples
            assert report.requests > 0
    assert service.generation == before, "the same configuration is the same generation"


def test_the_strict_are_asked_only_about_what_was_not_tested(name: str, play: Any) -> None:
    done = play("deploy", "--limit", f"{name},build", *variables(flask_uwsgi_untested="refuse"))
    assert done.returncode == 0 and "nothing to do" in done.stdout, done.stdout
