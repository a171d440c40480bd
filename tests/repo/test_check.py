from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_the_stages_that_run_and_starts_no_other(tmp_path: Path, number: int) -> None:
    program = (
        "import pathlib, subprocess, sys, time\nfrom tools import check\n"
        # A start that takes its time, as on a busy machine.
        "class Slow(subprocess.Popen):\n def __init__(self, *a, **k): super().__init__(*a, **k); time.sleep(1)\n"
        "check.subprocess.Popen = Slow\n"
        f"check.ROOT = pathlib.Path({str(tmp_path)!r}); check.LOGS = check.ROOT / 'logs'\n"
        "def stage(n): return check.Stage(str(n), f\"sh -c 'echo $$ > {check.ROOT}/{n}; sleep 60'\")\n"
        "check.STAGES = {'all': (tuple(map(stage, range(5))),)}\n"
        "sys.argv = ['check', 'all']\nsys.exit(check.main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        wait(lambda: len(list(tmp_path.glob("[0-9]"))) == check.AT_A_TIME, "the first stages run", 30)
        process.send_signal(number)
        assert process.wait(10) == 128 + number
    pids = [path.read_text() for path in tmp_path.glob("[0-9]")]
    # One that was ended at its start may not have written its own.
    wait(lambda: not any(running(pid) for pid in pids if pid), "they have ended", 10)
    assert len(pids) == check.AT_A_TIME


def test_an_unknown_group_is_refused_before_anything_runs() -> None:
    command = [sys.executable, "-m", "tools.check", "quick", "host"]
    refused = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.endswith("error: there is no group 'host'; choose from quick, hosts, matrix\n")


def test_stages_of_one_scenario_run_one_after_another_and_the_others_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "ROOT", tmp_path)
    monkeypatch.setattr(check, "LOGS", tmp_path / "logs")

    def stage(number: int, script: str, scenario: str) -> check.Stage:
        return check.Stage(f"stage {number}", f"timeout 20 sh -c '{script}' sh --scenario-name {scenario}")

    wait_for = "touch {}; until test -e {}; do sleep 0.05; done"
    others = (stage(1, wait_for.format("one", "two"), "one"), stage(2, wait_for.format("two", "one"), "two"))
    assert check.together(others) == [True, True]
    alone = "mkdir alone && sleep 0.3 && rmdir alone"
    assert check.together(tuple(stage(number, alone, "three") for number in range(3))) == [True] * 3
