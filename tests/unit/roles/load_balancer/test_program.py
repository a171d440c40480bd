"""The program that HAProxy's unit runs has all the modules that it imports."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support import ROOT

ROLE = ROOT / "roles" / "load_balancer"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Install it as the role does."""
    for name in yaml.safe_load((ROLE / "vars" / "main.yml").read_text())["__load_balancer_modules"]:
        target = tmp_path / "utils" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "plugins" / "module_utils" / name, target)
    shutil.copy(ROLE / "files" / "program.py", tmp_path / "__main__.py")
    return tmp_path


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("keep", "HAProxy does not answer at /nosuch: No such file or directory. Start it with"),
        ("dance", "dance is no command"),
    ],
)
def test_a_command_that_fails_says_why(program: Path, command: str, message: str) -> None:
    done = subprocess.run(
        [sys.executable, "-I", program, command, "/nosuch", "/nosuch", program], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith(message), done.stderr
