"""The operator of the scenario's hosts, and the record of the trials."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT
from tests.support.real.catalogue import APPLICATIONS, Application
from tests.support.real.operator import Operator


@pytest.fixture(scope="session")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Operator:
    """The operator."""
    return Operator(tmp_path_factory.mktemp("inventory"), Path(os.environ["SANDBOX_INVENTORY"]))


@pytest.fixture(scope="session")
def record(operator: Operator) -> Callable[..., None]:
    """Write the result of an application to where docs/real_apps.py looks for it."""
    version = operator.root(". /etc/os-release && echo $VERSION_ID")
    folder = ROOT / "reports" / "real"

    def write(app: Application, tried: list[dict[str, Any]], refusals: list[dict[str, str]]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        rows = [{"distribution": f"Debian {version}", **row} for row in tried]
        position = [each.name for each in APPLICATIONS].index(app.name)
        document = {
            "title": app.title,
            "position": position,
            "distribution": version,
            "tried": rows,
            "refusals": refusals,
        }
        (folder / f"{app.name}-debian-{version}.json").write_text(json.dumps(document, indent=2) + "\n")

    return write
