"""Recorded hosts: what answers in their place, and what a run on them costs."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleError
from ansible.playbook.play_context import PlayContext
from ansible.plugins.loader import connection_loader

from benchmarks.fleet import recording, usage
from benchmarks.fleet.__main__ import HERE, KINDS, Fleet, environment, other, shown
from benchmarks.tables import fleet_rows
from benchmarks.targets import NOTHING, fleet
from tests.support import ROOT

VALUES = {
    "generation": "a" * 12, "digest": "a" * 64, "release": "b" * 12, "release_digest": "b" * 64, "venv": "c" * 12,
    "venv_digest": "c" * 64,
}  # fmt: skip
RUNS = [
    {"hosts": hosts, "seconds": seconds, "cpu_s": cpu, "main_mb": 60.0, "tree_mb": 1400.0}
    for hosts, seconds, cpu in ((10, 2.0, 3.0), (100, 10.0, 12.0), (1000, 130.0, 102.0))
]


def program(name: str) -> bytes:
    """Return the relevant part of the program that Ansible sends for a module."""
    return (
        f"def _ansiballz_main(\n    module_fqn: str,\n):\n    ...\n_ansiballz_main(\nmodule_fqn={name!r},\n)\n".encode()
    )


STATE = program("ansible_collections.flaskops.uwsgi.plugins.modules.host_state")


@pytest.fixture
def connect(tmp_path: Path) -> Any:
    """Return a function that connects to a recorded host."""
    connection_loader.add_directory(str(HERE / "connection"))

    def connect(host: str, **variables: Any) -> Any:
        connection = connection_loader.get("recorded", PlayContext())
        defaults = {"recorded_answers": str(recording.ANSWERS), "recorded_calls": str(tmp_path / "calls")}
        given = {"inventory_hostname": host, "recorded_values": VALUES, **defaults, **variables}
        connection.set_options(var_options=given)
        return connection

    return connect


@pytest.mark.parametrize(
    ("full", "name"),
    [
        ("ansible_collections.flaskops.uwsgi.plugins.modules.host_state", recording.STATE),
        ("ansible.modules.copy", "ansible.builtin.copy"),
        ("ansible.legacy.setup", "ansible.builtin.setup"),
    ],
)
def test_the_module_is_recognized_in_the_program(full: str, name: str) -> None:
    assert recording.module(program(full)) == name


def test_each_host_has_its_own_name_machine_and_address(connect: Any, tmp_path: Path) -> None:
    states = []
    for host, address in (("app1", "10.0.0.1"), ("app2", "10.0.0.2")):
        status, out, _ = connect(host, ansible_host=address).exec_command("/bin/sh", STATE)
        assert status == 0 and b"$" not in out
        states.append(json.loads(out))
        assert states[-1]["host"]["machine"].split()[1] == host
        assert address in states[-1]["host"]["addresses"]
        assert (states[-1]["app"]["current"], states[-1]["app"]["digest"]) == ("a" * 12, "a" * 64)
        assert states[-1]["app"]["releases"] == {"b" * 12: "b" * 64}
        assert states[-1]["app"]["venvs"] == {"c" * 12: "c" * 64}
    machines = [state["host"]["machine"].split()[0] for state in states]
    assert len(set(machines)) == 2 and {len(machine) for machine in machines} == {32}
    assert (tmp_path / "calls").read_text().split() == [recording.STATE] * 2


def test_a_module_that_was_not_recorded_is_named_with_the_remedy(connect: Any, tmp_path: Path) -> None:
    expected = r"ansible\.builtin\.copy was not recorded; .*flaskops\.uwsgi\.swap was\..*benchmarks\.fleet\.record"
    with pytest.raises(AnsibleError, match=expected):
        connect("app1").exec_command("/bin/sh", program("ansible.modules.copy"))
    assert not (tmp_path / "calls").exists()


def test_a_placeholder_without_a_value_is_named(connect: Any) -> None:
    with pytest.raises(
        AnsibleError, match=r"host_state was recorded with the placeholder '(generation|digest|release|venv)"
    ):
        connect("app1", recorded_values={}).exec_command("/bin/sh", STATE)


def test_a_program_that_is_not_a_module_is_refused(connect: Any) -> None:
    connection = connect("app1")
    with pytest.raises(AnsibleError, match="and not 'mkdir /tmp/x'"):
        connection.exec_command("mkdir /tmp/x")
    with pytest.raises(AnsibleError, match="takes no file"):
        connection.put_file("a", "b")
    with pytest.raises(AnsibleError, match="has no file"):
        connection.fetch_file("a", "b")


def test_a_recording_names_neither_the_host_nor_its_generation() -> None:
    digest = "a0ea573c0a9b" + "7" * 52
    state = {
        "host": {"machine": f"{'f' * 32} app-1", "addresses": ["10.2.3.4", "127.0.0.1"]},
        "app": {
            "digest": digest,
            "current": digest[:12],
            "kept": [digest[:12]],
            "cost": "5 $",
            "other": "10.2.3.41",
            "releases": {"b" * 12: "b" * 64},
            "venvs": {"c" * 12: "c" * 64},
            "checked": [{"artifact": "b" * 64}],
        },
    }
    run = {"who": "jane@laptop", "home": "laptop 1", "pid": 1}
    found = recording.scrubbed({recording.STATE: state, recording.SWAP: {"invocation": {"run": run}}})
    assert found[recording.SWAP] == {"invocation": {"run": {"who": "controller", "home": "controller", "pid": 1}}}
    assert found[recording.STATE] == {
        "host": {"machine": "$machine $host", "addresses": ["$address", "127.0.0.1"]},
        "app": {
            "digest": "$digest", "current": "$generation", "kept": ["$generation"], "cost": "5 $$",
            "other": "10.2.3.41", "releases": {"$release": "$release_digest"}, "venvs": {"$venv": "$venv_digest"},
            "checked": [{"artifact": "$release_digest"}],
        },
    }  # fmt: skip
    own = {"digest": digest, "generation": digest[:12], "machine": "f" * 32, "host": "app-1", "address": "10.2.3.4"}
    values = {**VALUES, **own}
    assert json.loads(recording.answer(found, recording.STATE, values)) == state


def test_the_resources_of_a_command_and_its_children_are_measured(tmp_path: Path) -> None:
    # The child holds 64 MB and computes for half a second; the command itself does neither.
    child = "import time; held = b'x' * 2**26\nwhile time.process_time() < 0.5: pass"
    start = f"subprocess.run([sys.executable, '-c', {child!r}])"
    code = f"import subprocess, sys; print('begun', flush=True); {start}; sys.exit(3)"
    status, used = usage.run([sys.executable, "-c", code], tmp_path, os.environ, tmp_path / "output")
    assert status == 3 and (tmp_path / "output").read_text() == "begun\n"
    assert used.cpu_s >= 0.5 and used.seconds >= 0.5
    assert 0 < used.main_mb < 64 < used.tree_mb


@pytest.mark.parametrize(
    ("changed", "answers"),
    [
        # 0.13 s for each of 1,000 hosts, and 0.1 s for each of 100.
        ({}, (True, True, True)),
        ({"seconds": 131.0}, (False, True, True)),
        ({"seconds": 181.0}, (False, False, True)),
        ({"cpu_s": 103.0}, (True, True, False)),
    ],
)
def test_each_target_is_judged_by_its_own_figure(changed: dict[str, float], answers: tuple[bool, ...]) -> None:
    runs = [*RUNS[:2], {**RUNS[2], **changed}]
    assert tuple(goal.met for goal in fleet(runs)) == answers


def test_a_target_is_judged_by_deploys_with_nothing_to_do_alone() -> None:
    slow = [{**run, "kind": "new code", "seconds": 9999.0, "cpu_s": 9999.0} for run in RUNS]
    assert [goal.met for goal in fleet([*slow, *({**run, "kind": NOTHING} for run in RUNS)])] == [True, True, True]
    assert [goal.met for goal in fleet(slow)] == [None, None, None]


def test_each_kind_lacks_something_else_on_the_hosts() -> None:
    lacking = {kind: other(lacks) for kind, (lacks, _) in KINDS.items()}
    assert lacking[NOTHING] == {}
    assert lacking["new configuration"] == {"generation": "0" * 12, "digest": "0" * 64}
    assert lacking["new code"].keys() - lacking["new configuration"].keys() == {"release", "release_digest"}


def test_a_target_without_its_figures_is_not_measured() -> None:
    assert [goal.met for goal in fleet(RUNS[:1])] == [None, None, None]
    assert [goal.met for goal in fleet([])] == [None, None, None]


def test_a_table_shows_every_run() -> None:
    assert shown(fleet_rows([RUNS[1], {**RUNS[2], "kind": "new code"}])).splitlines() == [
        "deploy         hosts  seconds  s/host  CPU s/host  main MB  all MB",
        "-------------  -----  -------  ------  ----------  -------  ------",
        "nothing to do    100     10.0   0.100       0.120       60   1,400",
        "new code       1,000    130.0   0.130       0.102       60   1,400",
    ]


def test_the_inventory_has_the_number_of_hosts_with_an_address_each(tmp_path: Path) -> None:
    hosts = Fleet(tmp_path).inventory(1000, VALUES)["flask"]["hosts"]
    assert len(hosts) == 1000 == len({host["ansible_host"] for host in hosts.values()})


@pytest.mark.playbook
def test_ansible_gets_the_recorded_answer(tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.json"
    inventory.write_text(json.dumps(Fleet(tmp_path).inventory(2, VALUES)))
    state = ("--module-name", recording.STATE, "--args", "app_name=shop port=1 user=shop group=shop", "--become")
    done = subprocess.run(
        ["ansible", "flask", "--inventory", str(inventory), "--one-line", *state],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(VALUES["digest"]) == 2
    assert (tmp_path / "calls").read_text().split() == [recording.STATE] * 2
