"""An operator's controller for the tests of pages: a clone of this repository, and files of an inventory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.support import ROOT


def tracked_files() -> list[Path]:
    """Return the files of the repository, relative to its root, including uncommitted ones."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    ).stdout
    # git also lists files that were deleted without a commit.
    return sorted(Path(name) for name in listed.split("\0") if name and os.path.lexists(ROOT / name))


def copy(target: Path) -> None:
    """Copy the files of the repository as it would be committed now, and no others."""
    for file in tracked_files():
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / file, target / file, follow_symlinks=False)


def clone(target: Path) -> None:
    """Copy the repository, and link the tools of this one into it."""
    copy(target)
    (target / ".venv").symlink_to(sys.prefix)


def write(path: Path, text: str) -> None:
    """Add settings, given as YAML, to those in a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    there = yaml.safe_load(path.read_text()) if path.exists() else {}
    path.write_text(yaml.safe_dump(merged(there or {}, yaml.safe_load(text)), sort_keys=False))


def merged(there: dict[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings updated, recursively, with newer ones."""
    for key, value in new.items():
        there[key] = merged(there[key] or {}, value) if isinstance(there.get(key), dict) else value
    return there
