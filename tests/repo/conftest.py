"""What the tests of the whole repository share: the files it consists of, and a copy of them as a collection."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def tracked_files() -> list[Path]:
    """Return the files of the repository, also those that are not committed yet, relative to its root."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    ).stdout
    # What was deleted and not committed yet is listed as well.
    return sorted(Path(name) for name in listed.split("\0") if name and os.path.lexists(ROOT / name))


Ansible = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that knows nothing of the repository: a stranger's project."""
    folder = tmp_path_factory.mktemp("elsewhere")
    # Empty, so that no configuration further up or in the home directory counts.
    (folder / "ansible.cfg").touch()
    return folder


@pytest.fixture(scope="session")
def ansible(elsewhere: Path) -> Ansible:
    """Run a program of Ansible in the stranger's project."""

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
    """Build the collection from what git would commit, and from nothing else that lies around."""
    copy = elsewhere / "repository"
    for file in tracked_files():
        target = copy / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / file, target, follow_symlinks=False)
    ansible("ansible-galaxy", "collection", "build", copy, "--output-path", elsewhere)
    (built,) = elsewhere.glob("flaskops-uwsgi-*.tar.gz")
    return built


@pytest.fixture(scope="session")
def installed(elsewhere: Path, ansible: Ansible, artefact: Path) -> Path:
    """Install the collection into the stranger's project, without a network."""
    target = elsewhere / "collections"
    ansible("ansible-galaxy", "collection", "install", artefact, "-p", target, "--offline")
    return target / "ansible_collections" / "flaskops" / "uwsgi"
