"""Shared by the tests of every scenario. They do not trust the role: they ask systemd, uWSGI and the kernel."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support import ROOT, connections
from tests.support.playbook import PLAIN, Playbook, inventories
from tests.support.service import APP, Service


class Deployed(Service):
    """The sample application, and what the product reports about it."""

    @property
    def status(self) -> dict[str, Any]:
        """Return what only the product knows, such as the order of the generations."""
        result = self.host.ansible("flaskops.uwsgi.status", f"app_name={APP}", check=False, become=True)
        document: dict[str, Any] = result["status"]
        return document


connections.share()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests that only `make test-full` runs."""
    if os.environ.get("FLASKOPS_FULL"):
        return
    left_out = {"full", "once"} if os.environ.get("MOLECULE_SCENARIO_NAME") == "threads" else {"full"}
    for item in items:
        if any(item.get_closest_marker(name) for name in left_out):
            item.add_marker(pytest.mark.skip(reason="run by `make test-full`"))


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    """No playbook outlives its test."""
    yield
    Playbook.end_all()


@pytest.fixture
def service(host: Any) -> Deployed:
    """The service on the host under test."""
    return Deployed(host)


@pytest.fixture(scope="session")
def mode() -> str:
    """The mode that the scenario deploys: two scenarios are named after it."""
    name = os.environ["MOLECULE_SCENARIO_NAME"]
    return name if name in ("gevent", "threads") else os.environ.get("FLASKOPS_MODE", "gevent")


@pytest.fixture(scope="session")
def play() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a playbook of the product against the scenario's hosts, as an operator does."""

    def run(playbook: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        path = playbook if playbook.endswith(".yml") else f"playbooks/{playbook}.yml"
        return subprocess.run(
            ["ansible-playbook", *inventories(), path, *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **PLAIN},
        )

    return run


@pytest.fixture(scope="module")
def publish(host: Any) -> Callable[..., None]:
    """Write the host's measurements to where docs/operations.py looks for them."""
    version = host.check_output(". /etc/os-release && echo $VERSION_ID")

    def write(name: str, **measured: Any) -> None:
        folder = ROOT / "reports" / "operations"
        folder.mkdir(parents=True, exist_ok=True)
        document = {"distribution": f"Debian {version}", **measured}
        (folder / f"{name}-debian-{version}.json").write_text(json.dumps(document, indent=2) + "\n")

    return write


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show the service's journal with every failed test."""
    report = yield
    host = getattr(item, "funcargs", {}).get("host")
    if report.failed and host is not None:
        journal = host.run(f"journalctl --no-pager --lines 2000 --unit '{APP}*' | grep -v '\" 200 ' | tail -n 60")
        report.sections.append((f"journal of {APP}", journal.stdout + journal.stderr))
    return report
