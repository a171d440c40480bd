"""Shared by the tests of bad input: a way to deploy it, and the state that must not change."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support import service
from tests.support.service import APP

# And who has the application reserved.
TRACES = f"{service.TRACES}; cat /run/{APP}.deploy"


@pytest.fixture
def run(play: Callable[..., Any]) -> Callable[[dict[str, Any]], tuple[int, str]]:
    """Deploy with extra variables; return the exit status and the output as one line with single spaces."""

    def deploy(variables: dict[str, Any]) -> tuple[int, str]:
        done = play("deploy", "-e", json.dumps(variables))
        return done.returncode, " ".join((done.stdout + done.stderr).split())

    return deploy


@pytest.fixture
def serving(host: Any) -> Iterator[str]:
    """Assert that the same generation serves afterwards, was not restarted, and that nothing incomplete is left."""
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
        copy = service.sample_application(tmp_path)
        change(copy)
        return str(copy)

    return changed
