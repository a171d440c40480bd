"""The attackers, and the state of their host before and after."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support import ROOT, listing
from tests.support.site import APP, CANARY, SECRET, TOOLS, Site
from tests.support.witness import Witness

# Other runs use fewer, because other scenarios need the cores.
CLIENTS = 40 if os.environ.get("FLASKOPS_FULL") else 15


@pytest.fixture(scope="session")
def tools() -> dict[str, str]:
    """The attackers' tools by file name."""
    folder = ROOT / "tests" / "support"
    found = {name: (folder / name).read_text() for name in ("attacker.py", "exec_watch.py")}
    return found | {"scan.py": listing.SCAN}


@pytest.fixture(scope="module")
def site(
    host: Any, play: Callable[..., Any], tools: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """The host with a hostile release; its previous application is restored at the end."""
    site = Site(host, tmp_path_factory.mktemp("hostile"))
    site.run(f"rm -rf {TOOLS} && mkdir -p {TOOLS} && umask 077 && echo '{SECRET}' > {CANARY}")
    for name, text in tools.items():
        host.check_output(f"printf %%s %s > {TOOLS}/{name}", text)
    # Left by a run that was interrupted.
    site.run("systemctl stop exec-watch 'attack-*'; systemctl reset-failed")
    site.run(f"systemd-run --quiet --unit=exec-watch python3 {TOOLS}/exec_watch.py {TOOLS}/executed /opt/{APP}")
    site.deploy().succeeded()
    yield site
    done = play("deploy")
    site.run(f"systemctl stop exec-watch; rm -rf {TOOLS} {CANARY}")
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def witness(site: Site) -> Iterator[Witness]:
    """Well-behaved clients, with fewer than 400 connections a second."""
    with Witness(site.url, clients=CLIENTS, timeout_s=60) as witness:
        yield witness


@pytest.fixture
def good_clients(witness: Witness, request: pytest.FixtureRequest) -> Iterator[None]:
    """Assert that no request of a well-behaved client fails during the test."""
    with witness.window(request.node.name, steady=1.0) as window:
        yield
    report = window.report()
    print(report.describe())
    assert report.requests > 0
    assert report.failures == {}, report.examples


@pytest.fixture
def nothing_else(site: Site) -> Iterator[None]:
    """Assert that no file outside the application's own changes its type, owner, mode or, below /etc, content."""
    before = site.listing()
    yield
    assert listing.changes(before, site.listing(), listing.own(APP, [f"{TOOLS}.*"])) == []
