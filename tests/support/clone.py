"""An operator's controller, as tests of pages need it: a clone of this repository, and files of an inventory."""

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
    """Return the files of the repository, also those that are not committed yet, relative to its root."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    ).stdout
    # What was deleted and not committed yet is listed as well.
    return sorted(Path(name) for name in listed.split("\0") if name and os.path.lexists(ROOT / name))


def copy(target: Path) -> None:
    """Copy the repository as it would be committed now, and nothing else that lies around."""
    for file in tracked_files():
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / file, target / file, follow_symlinks=False)


def clone(target: Path) -> None:
    """Copy the repository with the tools of this one."""
    copy(target)
    (target / ".venv").symlink_to(sys.prefix)


def write(path: Path, text: str) -> None:
    """Put settings, given as YAML, into a file beside what is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    there = yaml.safe_load(path.read_text()) if path.exists() else {}
    path.write_text(yaml.safe_dump(merged(there or {}, yaml.safe_load(text)), sort_keys=False))


def merged(there: dict[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with newer ones in their place or beside them."""
    for key, value in new.items():
        there[key] = merged(there[key] or {}, value) if isinstance(there.get(key), dict) else value
    return there
