"""The phases of a deploy when a host is lost, without real hosts: modules and plans are stand-ins, the order is real.

The scenario faults tests the same with real hosts; here there are more of them, with an application each.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import ROOT, modified

pytestmark = [pytest.mark.playbook, pytest.mark.timeout(120)]
full = pytest.mark.full

HOSTS = ("a", "b", "c", "d")
BUILDER = "builder"
BUILD = "Build what is missing of the artifact (compiling uWSGI takes about half a minute)"
# What a deploy does on a host, and what it returns. Each writes down what it was asked for.
MODULES: dict[str, dict[str, Any]] = {
    "claim": {},
    "commands": {"printed": []},
    "release": {},
    "host_state": {"host": {"platform": "debian-12-x"}},
    "reservation": {},
    "swap": {"steps": {"start": 1.0}},
}
MODULE = """#!/usr/bin/python
import json
from ansible.module_utils.basic import AnsibleModule
names = ("app_name", "base_dir", "generation", "give_back", "group", "lease", "port", "python", "replace", "reserved",
         "restart", "run", "state", "timeout", "user", "when")
module = AnsibleModule({name: {"type": "raw"} for name in names})
with open(__LOG__, "a") as log:
    print(__NAME__, module.params["app_name"], module.params["state"] or "", file=log)
given_back = {"given_back": module.boolean(module.params["give_back"])} if __NAME__ == "swap" else {}
module.exit_json(changed=True, **__RESULT__, **given_back)
"""
# Everything that a plan needs is here, so that only the connection is used.
PLAN = """
from dataclasses import asdict
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan.plan import Plan
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.run.asking import AskingAction
class ActionModule(AskingAction):
    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        name, answer = task_vars["inventory_hostname"], self.ask("ansible.builtin.ping", {}, task_vars)
        if answer.get("failed"):
            return asdict(Plan(name, [answer["msg"]]))
        return asdict(Plan(name, work=task_vars["work"], text=["plan"], app_name=f"app-{name}", root=f"/opt/app-{name}",
                           machine=name, wants=["0.0.0.0", "80", name], run={"pid": 1}, platform="debian-12-x",
                           commands=bool(task_vars["flask_uwsgi_pre_activate"]), keeper=name,
                           code=True, builds=task_vars.get("builds", "")))
"""
# The commands have not run yet.
RECORD = """
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.run.asking import AskingAction
class ActionModule(AskingAction):
    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        answer = self.ask("ansible.builtin.ping", {}, task_vars)
        # As the real one: the deploy has failed before, and its message counts.
        failed = answer.get("failed", False) and self._task.args.get("state") != "absent"
        return {**answer, "failed": failed, "claimed": True, "text": "runs once"}
"""
WRITE = """
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.run.asking import AskingAction
class ActionModule(AskingAction):
    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        return {**self.ask("ansible.builtin.ping", {}, task_vars), "mended": []}
"""
# Ships, or builds.
SHIP = """
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.run.asking import AskingAction
class ActionModule(AskingAction):
    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        return {**self.ask("ansible.builtin.ping", {}, task_vars), "text": []}
"""


class Deploy:
    """A deploy that has ended."""

    def __init__(self, done: subprocess.CompletedProcess[str], log: Path) -> None:
        self.code = done.returncode
        self.output = done.stdout + done.stderr
        self.said = " ".join(done.stdout.split())
        self._did = [line.split() for line in log.read_text().splitlines()] if log.exists() else []

    def hosts(self, module: str, state: str = "") -> list[str]:
        """Return the hosts on which a module ran, once for each run, including delegated ones."""
        wanted = [module, state] if state else [module]
        return sorted(app.removeprefix("app-") for name, app, *rest in self._did if [name, *rest] == wanted)


@pytest.fixture
def deploy(tmp_path: Path) -> Callable[..., Deploy]:
    """Deploy to four hosts, the first of which is its own batch, and lose some before a task."""
    collection = modified.collection(tmp_path)
    log = tmp_path / "log"
    for name, result in MODULES.items():
        text = MODULE.replace("__LOG__", repr(str(log))).replace("__NAME__", repr(name))
        (collection / f"plugins/modules/{name}.py").write_text(text.replace("__RESULT__", repr(result)))
    (collection / "plugins/action/plan.py").write_text(PLAN)
    (collection / "plugins/action/write_generation.py").write_text(WRITE)
    (collection / "plugins/action/command_record.py").write_text(RECORD)
    for name in ("ship", "build"):
        (collection / f"plugins/action/{name}.py").write_text(SHIP)
    # This machine is every host.
    (collection / "roles/artifact/tasks/build_packages.yml").write_text("[]")

    def run(task: str, lost: Iterable[str], time: int = 1, serial: str = "", **variables: Any) -> Deploy:
        gone = tmp_path / "gone"
        hosts = {
            name: {
                "ansible_connection": f"{{{{ 'ssh' if '{gone}-{name}' is file else 'local' }}}}",
                "ansible_host": "127.0.0.1",
                "ansible_port": 1,
                "ansible_python_interpreter": sys.executable,
                "flask_uwsgi_app_name": f"app-{name}",
            }
            for name in [*HOSTS, BUILDER]
        }
        inventory, play = tmp_path / "hosts.json", collection / "playbooks/deploy.yml"
        groups = {"build": {"hosts": {BUILDER: hosts.pop(BUILDER)}}, "flask": {"hosts": hosts}}
        inventory.write_text(json.dumps(groups))
        if serial:
            play = tmp_path / "site.yml"
            role = {"hosts": "flask", "gather_facts": False, "serial": serial, "roles": ["flaskops.uwsgi.flask_uwsgi"]}
            play.write_text(yaml.safe_dump([role]))
        given = {
            "ansible_become": False,
            "work": "deploy",
            "batches": [1, 2],
            "flask_uwsgi_source": "/src",
            **variables,
        }
        done = modified.playbook(
            tmp_path,
            *("--inventory", str(inventory), str(play), "-e", json.dumps(given)),
            ANSIBLE_CALLBACKS_ENABLED="interruption",
            ANSIBLE_CALLBACK_PLUGINS=str(ROOT / "tests/support/callback"),
            ANSIBLE_FORKS="4",
            ANSIBLE_STDOUT_CALLBACK="flaskops.uwsgi.plain",
            INTERRUPTION_COMMAND="touch " + " ".join(f"{gone}-{name}" for name in lost),
            INTERRUPTION_TASK=task,
            INTERRUPTION_TIME=str(time),
        )
        assert "INTERRUPTED" in done.stdout, done.stdout + done.stderr
        return Deploy(done, log)

    return run


RESERVE, SWAP, GIVE_BACK = "Reserve the application", "Swap traffic to the generation", "Give back the reservation"
END = "The deploy ends with the failure above, of "


def still(names: str) -> str:
    return (
        f"Reserved until the lease ends (flask_uwsgi_lease), because the reservation could not be given back: {names}."
    )


def test_a_host_lost_before_the_plan_refuses_the_deploy(deploy: Callable[..., Deploy]) -> None:
    done = deploy("Plan", "bd")
    assert (
        "b, d: ansible_host=127.0.0.1 cannot be reached over SSH" in done.said and "Nothing was changed." in done.said
    )
    assert done.code == 2 and done.hosts("reservation") == []


def test_an_ended_runs_reservation_on_a_lost_host_ends_the_deploy(deploy: Callable[..., Deploy]) -> None:
    done = deploy(
        "Give back the reservation of a run that has ended",
        "b",
        work="{{ 'release' if inventory_hostname == 'b' else 'deploy' }}",
    )
    assert done.code == 2 and f"{END}b. What serves was not changed, on any host." in done.said, done.output
    assert done.hosts("reservation") == []


@pytest.mark.parametrize(
    ("task", "lost", "serial"),
    [
        (RESERVE, "b", ""),
        pytest.param("Install what the host lacks", "a", "", marks=full),
        ("Ship and unpack the release", "d", "100%"),
        pytest.param("Write the generation", "bc", "", marks=full),
        pytest.param("Run the commands of the deploy: pre", "a", "100%", marks=full),
    ],
)
def test_a_host_lost_before_the_first_swap_removes_the_release_from_all(
    deploy: Callable[..., Deploy], task: str, lost: str, serial: str
) -> None:
    done = deploy(task, lost, serial=serial, flask_uwsgi_pre_activate=["true"])
    names, others = ", ".join(lost), sorted(set(HOSTS) - set(lost))
    end = "Nothing was changed." if task == RESERVE else f"{END}{names}. What serves was not changed, on any host."
    assert done.code == 2 and f"{end} {still(names)}" in done.said, done.output
    assert done.hosts("swap") == []
    assert done.hosts("reservation", "absent") == others
    assert done.hosts("release", "absent") == ([] if task == RESERVE else others)


@pytest.mark.parametrize("task", ["Read the platforms of the build hosts", BUILD])
def test_a_build_host_that_is_lost_takes_the_release_from_all(deploy: Callable[..., Deploy], task: str) -> None:
    # Of the hosts that need the same wheels, the first one has them built.
    builds = "{{ '' if inventory_hostname == 'a' else 'wheels' }}"
    done = deploy(task, [BUILDER], builds=builds)
    assert done.code == 2 and f"{END}b. What serves was not changed, on any host." in done.said, done.output
    assert "[b -> builder(127.0.0.1)]" in done.said and "cannot be reached over SSH as " in done.said, done.output
    assert done.hosts("swap") == []
    assert "Ship and unpack the release" not in done.said
    assert done.hosts("reservation", "absent") == sorted(HOSTS)


@pytest.mark.parametrize(
    ("task", "time", "lost", "serial", "serve", "unchanged", "held"),
    [
        pytest.param(SWAP, 1, "ad", "", "", "bcd", "ad", marks=full),
        (SWAP, 2, "b", "", "ac", "d", "b"),
        (GIVE_BACK, 1, "a", "", "a", "bcd", "a"),
        # In a play of another project, hosts of later batches have no plan and no release.
        pytest.param(SWAP, 1, "a", "1", "", "bcd", "a", marks=full),
        (SWAP, 1, "b", "50%", "a", "cd", "b"),
        pytest.param(SWAP, 1, "c", "100%", "abd", "", "c", marks=full),
    ],
)
def test_a_host_that_is_lost_later_ends_the_deploy_there(
    deploy: Callable[..., Deploy], task: str, time: int, lost: str, serial: str, serve: str, unchanged: str, held: str
) -> None:
    # Commands that follow the swap keep the reservation until they have run.
    done = deploy(task, lost, time, serial, flask_uwsgi_post_activate=["true"] if task == GIVE_BACK else [])
    failed = lost[0]
    end = [
        f"{END}{failed}.",
        f"Serve the new generation: {', '.join(serve) or 'none'}.",
        f"Not changed: {', '.join(unchanged) or 'none, this was the last batch'}.",
        *([f"the next deploy settles it: {failed}."] if task == SWAP else []),
        still(", ".join(held)),
    ]
    assert done.code == 2 and all(part in done.said for part in end), done.output
    assert done.hosts("swap") == list(serve)
    # Every reservation that can be reached is released, by the swap if the host serves.
    by_swap = serve if task == SWAP else ""
    released = [name for name in done.hosts("reservation") if name not in held + by_swap]
    assert done.hosts("reservation", "absent") == released
    later = [] if serial else [name for name in unchanged if name not in lost]
    assert done.hosts("release", "absent") == later
