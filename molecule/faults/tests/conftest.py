"""Shared by the tests of this scenario that need both hosts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.service import sample_application
from tests.support.two_hosts import NOBODY, Fleet


@pytest.fixture(scope="module")
def fleet(host: Any) -> Fleet:
    return Fleet(host)


@pytest.fixture
def unchanged(fleet: Fleet) -> Iterator[None]:
    """Assert that nothing changes on either host."""
    before = fleet.traces
    yield
    assert fleet.traces ^ before == set()
    assert fleet.reservations == NOBODY


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], list[str]]:
    """Copy the sample application, add code to it, and return the arguments that deploy the copy."""

    def copy(name: str, code: str = "") -> list[str]:
        folder = tmp_path_factory.mktemp(name)
        folder = sample_application(folder, f"\n# {folder}\n{code}\n")
        return ["-e", f"flask_uwsgi_source={folder}"]

    return copy


@pytest.fixture
def run(play: Callable[..., Any]) -> Callable[..., str]:
    """Run a playbook and return its output as one line with single spaces."""

    def said(playbook: str, *arguments: str, code: int = 0) -> str:
        done = play(playbook, *arguments)
        assert done.returncode == code, done.stdout + done.stderr
        return " ".join(done.stdout.split())

    return said


@pytest.fixture
def own_play(tmp_path: Path, play: Callable[..., Any]) -> Callable[..., Any]:
    """Run the role in a play of its own."""

    def run(*roles: dict[str, Any], **keywords: Any) -> Any:
        path = tmp_path / "site.yml"
        listed = [{"role": "flaskops.uwsgi.flask_uwsgi", "vars": variables} for variables in roles]
        path.write_text(yaml.safe_dump([{"hosts": "flask", "gather_facts": False, "roles": listed, **keywords}]))
        return play(str(path))

    return run
