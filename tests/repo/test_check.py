from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.service import wait
from tools import check


def running(pid: str) -> bool:
    """Return whether a process runs; one that waits for its parent has ended."""
    shown = subprocess.run(["ps", "-o", "stat=", "-p", pid.strip()], capture_output=True, text=True, check=False).stdout
    return bool(shown) and not shown.startswith("Z")


@pytest.mark.parametrize(("command", "passed"), [("true", True), ("false", False)])
def test_the_result_is_that_of_the_command(tmp_path: Path, command: str, passed: bool) -> None:
    with (tmp_path / "log").open("w") as log:
        assert check.execute(command, log) is passed


def test_a_stage_that_waits_for_ever_fails_and_ends_with_its_children(tmp_path: Path) -> None:
    pid, path = tmp_path / "pid", tmp_path / "log"
    with path.open("w") as log:
        assert not check.execute(f"sh -c 'echo waits; sleep 60 & echo $! > {pid}; wait'", log, limit=1)
    assert path.read_text().splitlines()[0] == "waits"
    assert path.read_text().splitlines()[-1].endswith("was ended after 1 s.")
    # The signal may still be on its way.
    wait(lambda: not running(pid.read_text()), "the child has ended", 10)
