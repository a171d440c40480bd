"""One application for each mode on one host, whose releases the tests deploy."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import testinfra

from tests.support.application import Application, Deploy, Release

HOST = "mol-http"
# What they test, such as the unit and the files of a generation or how a head is read, hardly depends on the mode.
SAME_IN_BOTH_MODES = (
    "test_answers",
    "test_cut",
    "test_proxies",
    "test_sandbox",
    "test_settings",
    "test_sizes",
    "test_table",
)
# Of all releases, so that all have the same wheels.
REQUIREMENTS = ("a2wsgi==1.10.10", "django", "flask", "flask-sock", "flask-socketio")
PORTS = {"gevent": 8100, "threads": 8101}
TESTS = Path(__file__).resolve().parent


@pytest.fixture(scope="session", params=["gevent", "threads"])
def mode(request: pytest.FixtureRequest) -> str:
    """Each mode in turn; pytest runs all tests of one mode before those of the other."""
    return str(request.param)


@pytest.fixture(scope="session")
def address() -> str:
    """The address of the host."""
    hosts = json.loads(
        subprocess.run(
            ["ansible-inventory", "--inventory", os.environ["SANDBOX_INVENTORY"], "--host", HOST],
            capture_output=True,
            check=True,
        ).stdout
    )
    return str(hosts["ansible_host"])


@pytest.fixture(scope="session")
def deployed(play: Callable[..., subprocess.CompletedProcess[str]], address: str) -> Iterator[Deploy]:
    """Deploy a release of the mode's application, unless it is deployed: deployed(SOURCE, MODE, VARIABLE=VALUE).

    Each mode has one application, so that a deploy of another release or of other settings installs nothing anew. What
    was deployed before it is gone.
    """
    host = testinfra.get_host(f"ansible://{HOST}?ansible_inventory={os.environ['SANDBOX_INVENTORY']}", sudo=True)
    known: dict[str, tuple[str, Application]] = {}

    def deploy(source: Path, mode: str, **variables: Any) -> Application:
        key = json.dumps([str(source), variables], sort_keys=True)
        if mode not in known or known[mode][0] != key:
            name, port = f"http_{mode}", PORTS[mode]
            chosen = {
                "flask_uwsgi_app_name": name,
                "flask_uwsgi_port": port,
                "flask_uwsgi_source": str(source),
                **variables,
            }
            done = play("deploy", "-e", f"mode={mode}", "-e", json.dumps(chosen))
            assert done.returncode == 0, done.stdout[-8000:]
            known[mode] = key, Application(host, name, (address, port), mode, source, variables)
        return known[mode][1]

    yield deploy


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Return the folder of a release: release("app_echo.py", note="text of note")."""
    known: dict[str, Path] = {}

    def make(module: str, **files: str) -> Path:
        key = json.dumps([module, files], sort_keys=True)
        if key not in known:
            folder = tmp_path_factory.mktemp(module.removesuffix(".py"))
            (folder / "run.py").write_text((TESTS / module).read_text())
            (folder / "requirements.txt").write_text("".join(f"{line}\n" for line in REQUIREMENTS))
            for name, text in files.items():
                path = folder / name.replace("__", "/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            known[key] = folder
        return known[key]

    return make


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    """Give the first test that uses an application the time to deploy it, and mark what the second mode repeats."""
    for item in items:
        repeated = item.path.stem in SAME_IN_BOTH_MODES or "framework" in item.fixturenames
        if repeated and "mode" in item.fixturenames and item.callspec.params["mode"] == "threads":
            item.add_marker(pytest.mark.full)
        if not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(600))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show the journal of the application under test with every failed test."""
    report = yield
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, Application):
                journal = f"journalctl --no-pager --lines 400 --unit '{value.name}*'"
                shown = value.run(f"{journal} | grep -v '\" 200 ' | tail -n 60; true")
                report.sections.append((f"journal of {value.name}", shown))
    return report
