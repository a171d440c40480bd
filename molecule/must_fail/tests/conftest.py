"""What the tests of bad input share: a way to deploy it, and a look at what must not change."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support import ROOT

APP = "aiops_flask"
# All that a deploy writes on a host, the units that are not just inactive, and who has the application reserved.
TRACES = (
    f"find /opt/{APP} -mindepth 1 -maxdepth 2; find /etc/systemd/system /run/{APP}* -path '*/{APP}*';"
    f" systemctl list-units --plain --no-legend '{APP}*' | awk '{{print $1, $3}}'; cat /run/{APP}.deploy"
)


@pytest.fixture
def run(play: Callable[..., Any]) -> Callable[[dict[str, Any]], tuple[int, str]]:
    """Deploy with extra variables; return the exit status and the output as one line of single spaces."""

    def deploy(variables: dict[str, Any]) -> tuple[int, str]:
        done = play("deploy", "-e", json.dumps(variables))
        return done.returncode, " ".join((done.stdout + done.stderr).split())

    return deploy


@pytest.fixture
def serving(host: Any) -> Iterator[str]:
    """Whatever a test does, the generation that served goes on, never restarted, and nothing is left half-made."""
    url = f"http://{host.ansible.get_variables()['ansible_host']}:8040/healthz"

    def seen() -> tuple[str, str, list[str]]:
        generation = requests.get(url, timeout=10).json()["generation"]
        pid = host.check_output(f"systemctl show {APP}@{generation}.service --property=MainPID --value")
        return generation, pid, sorted(host.check_output(TRACES).splitlines())

    before = seen()
    yield before[0]
    assert seen() == before


@pytest.fixture
def application(tmp_path: Path) -> Callable[[Callable[[Path], object]], str]:
    """Return a function that copies the sample application, changes something in the copy and returns its path."""

    def changed(change: Callable[[Path], object]) -> str:
        copy = tmp_path / "app"
        shutil.copytree(ROOT / "app", copy, ignore=shutil.ignore_patterns("tests", "__pycache__"))
        change(copy)
        return str(copy)

    return changed
