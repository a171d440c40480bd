"""Shared by the tests of the whole repository: its files, and a copy of them as an installed collection."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.clone import copy

Ansible = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an empty folder outside the repository, like another project."""
    folder = tmp_path_factory.mktemp("elsewhere")
    # Empty, so that no configuration in a parent or home directory counts.
    (folder / "ansible.cfg").touch()
    return folder


@pytest.fixture(scope="session")
def ansible(elsewhere: Path) -> Ansible:
    """Run a program of Ansible in the other project."""

    def run(*command: str | Path, status: int = 0) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        done = subprocess.run(
            [str(word) for word in command],
            cwd=elsewhere,
            capture_output=True,
            text=True,
            timeout=100,
            env={
                **kept,
                "ANSIBLE_CONFIG": str(elsewhere / "ansible.cfg"),
                "ANSIBLE_HOME": str(elsewhere / ".ansible"),
                "ANSIBLE_COLLECTIONS_PATH": str(elsewhere / "collections"),
                "ANSIBLE_NOCOLOR": "1",
            },
            check=False,
        )
        assert done.returncode == status, f"{command}\n{done.stdout}\n{done.stderr}"
        return done

    return run


@pytest.fixture(scope="session")
def artefact(elsewhere: Path, ansible: Ansible) -> Path:
    """Build the collection from what git would commit, without other files."""
    repository = elsewhere / "repository"
    copy(repository)
    ansible("ansible-galaxy", "collection", "build", repository, "--output-path", elsewhere)
    (built,) = elsewhere.glob("flaskops-uwsgi-*.tar.gz")
    return built


@pytest.fixture(scope="session")
def installed(elsewhere: Path, ansible: Ansible, artefact: Path) -> Path:
    """Install the collection into the other project, without a network."""
    target = elsewhere / "collections"
    ansible("ansible-galaxy", "collection", "install", artefact, "-p", target, "--offline")
    return target / "ansible_collections" / "flaskops" / "uwsgi"
