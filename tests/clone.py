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

ROOT = Path(__file__).resolve().parent.parent


def clone(target: Path) -> None:
    """Copy the repository as it would be committed now, with the tools of this one."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    ).stdout
    for name in filter(None, listed.split("\0")):
        if os.path.lexists(ROOT / name):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name, follow_symlinks=False)
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
