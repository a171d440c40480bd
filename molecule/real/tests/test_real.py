"""Each application deploys at the first attempt in both modes, answers real requests, and loses none."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.real.catalogue import APPLICATIONS, APPS, Application, Missing
from tests.support.real.operator import Operator
from tests.support.real.visitor import Visitor
from tests.support.witness import Witness

# One application takes up to five deploys, and mlflow has 600 MB.
pytestmark = pytest.mark.timeout(1800)

CLIENTS = 10
FULL = bool(os.environ.get("FLASKOPS_FULL"))


@dataclass
class Trial:
    """An application on the host, and its results so far."""

    app: Application
    operator: Operator

    def __post_init__(self) -> None:
        self.tried: list[dict[str, Any]] = []
        self.new = True

    def refused(self, missing: Missing) -> dict[str, str]:
        """Assert that a deploy names what is missing, and return its message."""
        status, said = self.operator.deploy(self.app, "gevent", leave_out=missing.variable)
        assert status != 0, said[-4000:]
        message = re.search(r"^fatal: .*FAILED!\n +(.+)", said, flags=re.MULTILINE)
        assert message and re.search(missing.says, message[1]), said[-8000:]
        return {"variable": f"flask_uwsgi_{missing.variable}", "says": message[1]}

    def first(self, mode: str) -> None:
        """Deploy the application, which must succeed at the first attempt, and send it requests."""
        started = time.monotonic()
        status, said = self.operator.deploy(self.app, mode)
        assert status == 0, said[-8000:]
        seconds = time.monotonic() - started
        self.ask()
        self.tried.append({"mode": mode, "attempts": 1, "seconds": round(seconds), "requests": 0, "failed": 0})

    def under_load(self, mode: str, **more: Any) -> None:
        """Deploy it again under load, assert that each request was answered, and send it requests."""
        url = self.operator.url(self.app)
        started = time.monotonic()
        with Witness(url, clients=CLIENTS, timeout_s=60, path=self.app.load, method="GET") as witness:
            with witness.window(f"{self.app.name} in {mode} mode", steady=0.5) as window:
                status, said = self.operator.deploy(self.app, mode, **more)
            report = window.report()
        print(report.describe())
        assert status == 0, said[-8000:]
        assert report.failures == {}, report.examples
        assert report.requests > 10
        seconds = time.monotonic() - started
        self.ask()
        if self.tried[-1]["mode"] != mode:
            self.tried.append({"mode": mode, "attempts": 1, "seconds": round(seconds)})
        self.tried[-1] |= {"requests": report.requests, "failed": sum(report.failures.values())}

    def ask(self) -> None:
        """Send it the requests of its visitors."""
        self.app.ask(Visitor(self.operator.url(self.app), self.new))
        self.new = False


@pytest.fixture
def trial(request: pytest.FixtureRequest, operator: Operator, tmp_path: Path) -> Iterator[Trial]:
    """One of the applications, which is removed from the host after its test."""
    app: Application = request.param
    if app.source == "uv":
        # A lock of uv records the URL of each file, which must not be part of this repository.
        source = shutil.copytree(APPS / app.source, tmp_path / "harbour")
        subprocess.run(["uv", "lock", "--quiet"], cwd=source, check=True)
        app = replace(app, source=str(source))
    if app.prepare:
        operator.root(app.prepare)
    yield Trial(app, operator)
    operator.removed(app)


@pytest.mark.parametrize(
    "trial",
    [pytest.param(app, id=app.name, marks=() if app.everyday else pytest.mark.full) for app in APPLICATIONS],
    indirect=True,
)
def test_a_real_application(trial: Trial, record: Callable[..., None]) -> None:
    refusals = [trial.refused(missing) for missing in trial.app.missing] if FULL else []
    trial.first("gevent")
    if FULL:
        # Any change will do.
        trial.under_load("gevent", stop_timeout=59)
    trial.under_load("threads")
    record(trial.app, trial.tried, refusals)
