"""A copy of the collection, of which a test replaces parts, and Ansible with nothing but that copy."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.support import ROOT


def collection(folder: Path) -> Path:
    """Copy the collection below a folder, and return the copy's own."""
    copy = folder / "ansible_collections/flaskops/uwsgi"
    for name in ("meta", "playbooks", "plugins", "roles"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "galaxy.yml", copy)
    return copy


def playbook(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``ansible-playbook`` with the copy below a folder, without the project's configuration.

    Args:
        folder: where the copy is, and where Ansible runs.
        words: the command line after ``ansible-playbook``.
        environment: further variables.
    """
    kept = {name: value for name, value in os.environ.items() if name != "ANSIBLE_CONFIG"}
    own = {"ANSIBLE_COLLECTIONS_PATH": str(folder), "ANSIBLE_NOCOLOR": "1"}
    return subprocess.run(
        ["ansible-playbook", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**kept, **own, **environment},
    )
