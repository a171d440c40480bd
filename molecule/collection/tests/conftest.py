"""Shared by the tests: an empty project into which the collection is installed."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import yaml

from tests.repo.conftest import ansible, artefact, elsewhere, installed
from tests.support import ROOT
from tests.support.stranger import APP, Project

__all__ = ["ansible", "artefact", "elsewhere", "installed"]


@pytest.fixture(scope="session")
def project(elsewhere: Path, installed: Path) -> Project:
    """Write the README's play and an inventory into an empty project with the collection."""
    found = re.search(r"```yaml\n(# ansible-galaxy collection install .*?)```", (ROOT / "README.md").read_text(), re.S)
    assert found, "the README shows no play"
    (elsewhere / "site.yml").write_text(found[1])
    (play,) = yaml.safe_load(found[1])
    assert play["serial"] == 1 and play["roles"][0]["vars"]["flask_uwsgi_app_name"] == APP
    groups = yaml.safe_load(Path(os.environ["SANDBOX_INVENTORY"]).read_text())["all"]["children"]
    hosts = groups["flask"]["hosts"]
    (elsewhere / "hosts.yml").write_text(yaml.safe_dump({play["hosts"]: {"hosts": hosts}, "build": groups["build"]}))
    return Project(elsewhere, hosts)
