"""`ansible-test sanity`, as tools/sanity.py runs it on a copy of the repository."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.clone import copy

pytestmark = pytest.mark.slow
MODULE = "plugins/modules/claim.py"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    copy(tmp_path)
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    return tmp_path


def sanity(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.sanity", *arguments]
    return subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=100, check=False)


def test_a_wrongly_documented_option_fails(repository: Path) -> None:
    arguments = "--test", "validate-modules", MODULE
    whole = sanity(repository, *arguments)
    assert whole.returncode == 0, whole.stdout + whole.stderr
    text = (repository / MODULE).read_text()
    assert text.count("type: str\n    required: true\n  group:") == 1
    broken = text.replace("type: str\n    required: true\n  group:", "type: int\n    required: true\n  group:")
    (repository / MODULE).write_text(broken)
    failed = sanity(repository, *arguments)
    assert failed.returncode == 1
    assert f"ERROR: {MODULE}:0:0: doc-type-does-not-match-spec" in failed.stdout + failed.stderr


def test_a_module_that_imports_an_optional_package_fails(repository: Path) -> None:
    with (repository / MODULE).open("a") as module:
        module.write("import requests\n")
    failed = sanity(repository, "--test", "import", MODULE)
    assert failed.returncode == 1
    assert "No module named 'requests'" in failed.stdout + failed.stderr
