import getpass
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.run import controller

from tests.support import ROOT

# Calls the lookup as Ansible loads it, from a child of this process, like one of Ansible's workers.
LOOK_UP = """
import json, sys
from ansible.plugins.loader import init_plugin_loader, lookup_loader
init_plugin_loader([sys.argv[1]])
print(json.dumps(lookup_loader.get("flaskops.uwsgi.run_identity").run(["deploy", "restart"])))
"""


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that this process is the run of Ansible whose worker asks."""
    monkeypatch.setattr(controller.os, "getppid", os.getpid)


@pytest.mark.usefixtures("worker")
def test_a_run_is_named_by_its_process_on_its_controller() -> None:
    run = controller.identity()
    assert (run["who"], run["pid"]) == (f"{getpass.getuser()}@{platform.node()}", os.getpid())
    assert run["start"].isdigit()
    assert run["home"].split()[0] == platform.node()
    assert controller.identity() == run


@pytest.mark.usefixtures("worker")
def test_an_existing_process_is_alive() -> None:
    assert controller.lives(controller.identity())


@pytest.mark.usefixtures("worker")
def test_an_ended_process_is_not_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        monkeypatch.setattr(controller.os, "getppid", lambda: process.pid)
        run = controller.identity()
        assert controller.lives(run)
        process.kill()
    assert not controller.lives(run)


def test_a_worker_that_outlives_its_run_does_not_mistake_another_process_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with subprocess.Popen(["true"]) as process:
        pass
    monkeypatch.setattr(controller.multiprocessing, "parent_process", lambda: process)
    run = controller.identity()
    assert run["pid"] == process.pid
    assert not controller.lives(run)


@pytest.mark.usefixtures("worker")
def test_a_process_that_reuses_an_id_is_not_the_same() -> None:
    run = controller.identity()
    assert not controller.lives(run | {"start": str(int(run["start"]) - 1)})
    assert not controller.lives(run | {"start": ""})


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize(("pid", "start"), [(0, "1"), (2**22 + 1, "1"), ("7000000", "1")])
def test_a_process_that_never_existed_is_not_alive(pid: int | str, start: str) -> None:
    assert not controller.lives(controller.identity() | {"pid": pid, "start": start})


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_run_on_another_controller_is_assumed_to_be_alive(index: int) -> None:
    run = controller.identity()
    home = run["home"].split()
    assert len(home) == 3
    # Another host, another boot of it, or another container on it.
    home[index] += "x"
    assert controller.lives(run | {"home": " ".join(home), "start": "gone"})


def test_a_name_with_blanks_and_parentheses_does_not_confuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "7").mkdir()
    rest = " ".join(str(number) for number in range(4, 53))
    (tmp_path / "7" / "stat").write_text(f"7 (a) S 1) (b) S {rest}\n")
    monkeypatch.setattr(controller, "_PROC", tmp_path)
    # Field 22 of proc_pid_stat(5).
    assert controller._start(7) == "22"
    assert controller._start(8) == ""


def test_a_run_is_assumed_to_be_alive_if_processes_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controller, "_PROC", Path("/nonexistent"))
    run = controller.identity()
    assert run["home"] == platform.node()
    assert controller.lives(run)


@pytest.mark.slow
def test_the_lookup_names_the_process_that_started_the_worker(tmp_path: Path) -> None:
    configuration = tmp_path / "ansible.cfg"
    configuration.touch()
    done = subprocess.run(
        [sys.executable, "-c", LOOK_UP, str(ROOT / ".collections")],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "ANSIBLE_CONFIG": str(configuration)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    deploy, restart = json.loads(done.stdout)
    assert (deploy["pid"], deploy["what"], restart["what"]) == (os.getpid(), "deploy", "restart")
    assert deploy.keys() == {"who", "home", "pid", "start", "since", "what"}
    assert controller.lives(deploy)
