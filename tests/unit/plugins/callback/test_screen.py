"""The output of a run: one line for each phase or play, its messages, and every failure."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import ROOT

pytestmark = pytest.mark.playbook
Run = Callable[..., str]
SECONDS = re.compile(r" +\d+\.\d s")
CLEAR = "\r\x1b[K"


# The plays of a test that stand for phases of a deploy: where each enters the role, and the file there.
ENTRIES = {
    "Plan": ("ready", "plan"),
    "Reserve": ("ready", "reserve"),
    "Prepare": ("ready", "prepare"),
    "Prove": ("ready", "prove"),
    "Activate": ("activate", "activate"),
    "Report": ("report", "report"),
}


def entered(plays: list[dict[str, Any]], folder: Path) -> Iterator[dict[str, Any]]:
    """Yield plays; those that stand for a phase enter the role for their tasks."""
    folder.mkdir(parents=True, exist_ok=True)
    ready: list[dict[str, Any]] = []
    for play in plays:
        if not (place := ENTRIES.get(play["name"])):
            yield play
            continue
        entry, file = place
        if entry != file:
            (folder / f"{file}.yml").write_text(yaml.safe_dump(play["tasks"]))
        # As playbooks/deploy.yml does.
        way = "import_role" if entry == "ready" else "include_role"
        role = {"name": play["name"], f"ansible.builtin.{way}": {"name": "flask_uwsgi", "tasks_from": entry}}
        tasks = [{"ansible.builtin.import_tasks": f"{file}.yml"}] if entry != file else play["tasks"]
        ready += tasks if entry == "ready" else []
        (folder / f"{entry}.yml").write_text(yaml.safe_dump(ready if entry == "ready" else tasks))
        if tasks is play["tasks"] or len(ready) == 1:
            yield {**play, "tasks": [role]}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run plays on this machine under several names, and return the output on a pipe or a terminal."""

    def run(
        plays: list[dict[str, Any]],
        *options: str,
        hosts: str = "one,two,",
        file: str = "play.yml",
        settings: dict[str, str] | None = None,
        terminal: bool = False,
    ) -> str:
        path = tmp_path / file
        path.parent.mkdir(exist_ok=True)
        common = {"hosts": "all", "gather_facts": False, "connection": "local"}
        if file == "playbooks/deploy.yml":
            plays = list(entered(plays, tmp_path / "roles" / "flask_uwsgi" / "tasks"))
        path.write_text(yaml.safe_dump([common | play for play in plays]))
        command = (
            *("ansible-playbook", "--forks=1", "-i", hosts),
            *("-e", f"ansible_python_interpreter={sys.executable}", *options, str(path)),
        )
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "NO_COLOR"))},
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_ROLES_PATH": str(tmp_path / "roles"),
            "ANSIBLE_STDOUT_CALLBACK": "flaskops.uwsgi.screen",
            "TERM": "xterm",
            **(settings or {}),
        }
        shown = on_terminal(command, environment) if terminal else on_pipe(command, environment)
        assert "Traceback" not in shown and "Callback dispatch" not in shown, shown
        return shown

    return run


def on_pipe(command: tuple[str, ...], environment: dict[str, str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, env=environment)
    return done.stdout + done.stderr


def on_terminal(command: tuple[str, ...], environment: dict[str, str]) -> str:
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment):
        os.close(theirs)
        shown = b"".join(pieces(ours))
    os.close(ours)
    return shown.decode().replace("\r\n", "\n")


def pieces(terminal: int) -> Iterator[bytes]:
    # Linux reports an error once the other end is closed.
    try:
        while piece := os.read(terminal, 4096):
            yield piece
    except OSError:
        return


def lines(shown: str) -> list[str]:
    """Return the lines of the output, without their times."""
    return [re.sub(r"\b\d+:\d\d\b", "M:SS", SECONDS.sub("", line)) for line in shown.splitlines()]


def say(message: Any, name: str = "Say", **more: Any) -> dict[str, Any]:
    return {"name": name, "ansible.builtin.debug": {"msg": message}, **more}


def fail(message: str, **more: Any) -> dict[str, Any]:
    return {"name": "Fail", "ansible.builtin.fail": {"msg": message}, **more}


def do(command: str, **more: Any) -> dict[str, Any]:
    return {"name": f"Do {command}", "ansible.builtin.command": command, **more}


DEPLOY = [
    {"name": "Plan", "tasks": [do("true"), say("old -> new\nartifact: to ship"), say("skipped", when=False)]},
    {"name": "Reserve", "tasks": [do("true")]},
    {"name": "Prepare", "tasks": [do("true"), say("26 wheels", run_once=True)]},
    {"name": "Prove", "tasks": [do("true", when=False)]},
    {
        "name": "Activate",
        "serial": [1, "50%"],
        "tasks": [do("true"), say("migrated", when="inventory_hostname == 'two'")],
    },
    {"name": "Report", "tasks": [say("one: new\ntwo: new", run_once=True)]},
]


def test_a_deploy_shows_one_line_per_phase_and_its_messages(run: Run) -> None:
    shown = run(DEPLOY, file="playbooks/deploy.yml")
    assert len(SECONDS.findall(shown)) == 6
    assert "\x1b" not in shown and "\r" not in shown
    assert lines(shown) == [
        "plan   2 hosts",
        "  old -> new",
        "  artifact: to ship",
        "reserve   2 hosts",
        "prepare   2 hosts",
        "  26 wheels",
        "activate   1 of 2 hosts",
        "activate   2 of 2 hosts",
        "  migrated",
        "report   2 hosts",
        "  one: new",
        "  two: new",
        "finished in M:SS: 2 hosts ok, 2 changed",
    ]


def test_one_host_is_not_counted(run: Run) -> None:
    assert lines(run(DEPLOY[1:2], hosts="one,", file="playbooks/deploy.yml")) == [
        "reserve", "finished in M:SS: 1 host ok, 1 changed",
    ]  # fmt: skip


@pytest.fixture
def role(tmp_path: Path) -> None:
    """Create a role with the files of the real one, and one file that two phases include."""
    tasks = tmp_path / "roles" / "flask_uwsgi" / "tasks"
    tasks.mkdir(parents=True)
    files = {
        "main": [
            {"ansible.builtin.import_tasks": "ready.yml"},
            {"ansible.builtin.import_tasks": "report.yml"},
        ],
        "ready": [
            {"ansible.builtin.import_tasks": "plan.yml"},
            {"block": [{"ansible.builtin.import_tasks": "prepare.yml"}, {"ansible.builtin.import_tasks": "prove.yml"}]},
        ],
        "plan": [say("the plan")],
        "prepare": [{"ansible.builtin.include_tasks": "shared.yml"}],
        "prove": [{"ansible.builtin.include_tasks": "shared.yml"}],
        "shared": [say("shared")],
        "report": [say("the end")],
        "stop": [{"ansible.builtin.import_tasks": "plan.yml"}],
    }
    for name, content in files.items():
        (tasks / f"{name}.yml").write_text(yaml.safe_dump(content))


PHASES = ["plan", "  the plan", "prepare", "  shared", "prove", "  shared", "report", "  the end"]


@pytest.mark.usefixtures("role")
@pytest.mark.parametrize(
    "play",
    [
        {"roles": ["flask_uwsgi"]},
        {"tasks": [{"ansible.builtin.include_role": {"name": "flask_uwsgi"}}]},
        {"tasks": [{"ansible.builtin.import_role": {"name": "flask_uwsgi"}}]},
    ],
)
def test_a_play_with_the_role_has_its_phases(run: Run, play: dict[str, Any]) -> None:
    shown = lines(run([play], hosts="one,"))
    assert shown[-9:-1] == PHASES


@pytest.mark.usefixtures("role")
def test_tasks_around_the_role_belong_to_the_play(run: Run) -> None:
    play = {"name": "Web", "pre_tasks": [say("before")], "roles": ["flask_uwsgi"], "post_tasks": [say("after")]}
    assert lines(run([play], hosts="one,"))[:-1] == ["Web", "before", *PHASES, "Web", "after"]


@pytest.mark.usefixtures("role")
def test_hosts_out_of_step_do_not_repeat_phases(run: Run) -> None:
    slow = {"ansible.builtin.include_role": {"name": "flask_uwsgi"}}
    shown = lines(run([{"strategy": "free", "tasks": [slow]}], "--forks=2"))
    titles = [line for line in shown if line.split("   ")[0] in {"plan", "prepare", "prove", "report"}]
    assert titles == [f"{phase}   2 hosts" for phase in ("plan", "prepare", "prove", "report")]


@pytest.mark.usefixtures("role")
def test_another_entry_point_of_the_role_has_no_phases(run: Run) -> None:
    task = {"ansible.builtin.import_role": {"name": "flask_uwsgi", "tasks_from": "stop"}}
    assert lines(run([{"name": "Plan", "tasks": [task]}], hosts="one,"))[:-1] == ["Plan", "the plan"]


def test_another_playbook_shows_its_messages_unchanged(run: Run) -> None:
    tasks = [
        do("true"),
        say('{"a":\n  [1]}', run_once=True),
        say("{{ inventory_hostname }} is well"),
        say("{{ item }}", loop=["x", "y"]),
        {"name": "Show", "ansible.builtin.debug": {"var": "answer"}, "vars": {"answer": {"is": 42}}},
        say("no\x1b[31m colour"),
        say("z" * 9000),
    ]
    assert lines(run([{"name": "Status", "tasks": tasks}]))[:-1] == [
        "Status   2 hosts",
        '{"a":',
        "  [1]}",
        "one:",
        "  one is well",
        "two:",
        "  two is well",
        "x",
        "y",
        "    answer:",
        "        is: 42",
        r"no\x1b[31m colour",
        "z" * 9000,
    ]


def test_a_play_in_batches_shows_its_progress(run: Run) -> None:
    shown = lines(run([{"name": "Restart", "serial": [1, 2], "tasks": [do("true")]}], hosts="a,b,c,d,"))
    assert shown == [
        "Restart   1 of 4 hosts",
        "Restart   3 of 4 hosts",
        "Restart   4 of 4 hosts",
        "finished in M:SS: 4 hosts ok, 4 changed",
    ]


def test_a_play_without_tasks_is_not_shown(run: Run) -> None:
    plays = [{"name": "None", "tasks": [{"ansible.builtin.meta": "end_play"}]}, {"name": "Some", "tasks": [say("x")]}]
    assert lines(run(plays, hosts="one,"))[:2] == ["Some", "x"]


def test_a_failure_is_shown_once_and_in_full_in_its_phase(run: Run) -> None:
    message = "uwsgi_port=80 cannot be bound: it needs a capability.\nSet it to 1024 or more. Nothing was changed."
    block = {"block": [say("begun"), fail(message)], "rescue": [fail(message)]}
    shown = lines(run([{"name": "Prepare", "tasks": [block]}], file="playbooks/deploy.yml"))
    assert shown == [
        "prepare",
        "  begun",
        "prepare: Fail",
        "fatal: [one]: FAILED!",
        *(f"    {line}" for line in message.splitlines()),
        "fatal: [two]: FAILED! As on one.",
        "prepare: Fail",
        "fatal: [one]: FAILED! As above.",
        "fatal: [two]: FAILED! As on one.",
        "prepare   2 hosts   failed",
        "failed after M:SS: failed: one, two, 0 hosts ok",
    ]


def test_items_and_delegates_are_named(run: Run) -> None:
    task = do("{{ item }}", name="List", loop=["true", "ls /nowhere"], delegate_to="build1", ignore_errors=True)
    shown = lines(run([{"name": "Work", "tasks": [task]}], hosts="one,"))
    assert shown[:3] == ["Work", "Work: List", "failed: [one -> build1] (item=ls /nowhere)"]
    assert "...ignoring" in shown and shown[-1] == "finished in M:SS: 1 host ok, 1 changed"


def test_an_unreachable_host_is_named(run: Run) -> None:
    lost = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    task = {"name": "Reach", "ansible.builtin.ping": None, "vars": lost}
    shown = lines(run([{"name": "Plan", "tasks": [task]}], hosts="one,", file="playbooks/deploy.yml"))
    assert shown[:2] == ["plan: Reach", "fatal: [one]: UNREACHABLE!"] and "Connection refused" in shown[2]
    assert shown[-2:] == ["plan   failed", "failed after M:SS: unreachable: one, 0 hosts ok"]


def test_an_ignored_failure_fails_no_phase(run: Run) -> None:
    tasks = [fail("no", ignore_errors=True)]
    shown = lines(run([{"name": "Prove", "tasks": tasks}], hosts="one,", file="playbooks/deploy.yml"))
    assert shown == [
        "prove: Fail", "fatal: [one]: FAILED!", "    no", "...ignoring", "prove", "finished in M:SS: 1 host ok",
    ]  # fmt: skip


def test_retries_are_shown_once(run: Run) -> None:
    shown = lines(run([{"name": "Wait", "tasks": [do("false", retries=3, delay=0, until=False)]}], hosts="one,"))
    assert shown[:3] == ["Wait", "Do false: [one] tries again, up to 3 times", "Wait: Do false"]
    assert any("attempts: 3" in line for line in shown) and sum("again" in line for line in shown) == 1


@pytest.mark.parametrize("options", [(), ("--check", "--diff"), ("-v",), ("-vvv",)])
def test_a_secret_is_not_shown(run: Run, options: tuple[str, ...]) -> None:
    secret = "s3cr3t-v4lue"
    one = {"no_log": True, "ignore_errors": True}
    tasks = [
        say("{{ word }}", **one), say("{{ item }}", loop=[secret], **one),
        fail("{{ word }}", **one), fail("{{ item }}", loop=[secret], **one), do("echo {{ word }}", name="Do", **one),
    ]  # fmt: skip
    shown = run([{"name": "Prepare", "vars": {"word": secret}, "tasks": tasks}], *options, file="playbooks/deploy.yml")
    assert secret not in shown
    assert "the output has been hidden" in shown


def test_a_secret_message_is_not_announced(run: Run) -> None:
    shown = lines(run([{"name": "Plan", "tasks": [say("x", no_log=True)]}], hosts="one,"))
    assert shown == ["Plan", "finished in M:SS: 1 host ok"]


def test_a_play_that_has_only_set_a_fact_is_not_announced(run: Run) -> None:
    fact = {"name": "Set", "ansible.builtin.set_fact": {"mode": "gevent"}}
    assert lines(run([{"name": "First", "tasks": [fact]}], hosts="one,")) == ["finished in M:SS: 1 host ok"]
    shown = lines(run([{"name": "First", "tasks": [fact, do("true")]}], hosts="one,"))
    assert shown == ["First", "finished in M:SS: 1 host ok, 1 changed"]


def test_check_mode_shows_what_would_change_as_before(run: Run, tmp_path: Path) -> None:
    new = {"dest": str(tmp_path / "x"), "content": "new\n", "mode": "0644"}
    tasks = [
        {"name": "Write", "ansible.builtin.copy": new},
        {
            "name": "Make",
            "ansible.builtin.file": {"path": str(tmp_path / "{{ item }}"), "state": "touch"},
            "loop": ["y"],
        },
        {"name": "Same", "ansible.builtin.file": {"path": str(tmp_path), "state": "directory"}},
    ]
    plays = [{"name": "Prepare", "tasks": tasks}]
    shown = run(plays, "--check", "--diff", hosts="one,", file="playbooks/deploy.yml")
    before = run(plays, "--check", "--diff", hosts="one,", settings={"ANSIBLE_STDOUT_CALLBACK": "flaskops.uwsgi.plain"})
    wanted = [line for line in before.splitlines() if line and not re.match(r"PLAY|TASK|ok:|one +:", line)]
    assert "+new" in wanted and "changed: [one] => (item=y)" in wanted
    assert set(wanted) <= set(shown.splitlines())
    assert "prepare: Write" in shown and "Same" not in shown
    assert "(check mode)" in shown.splitlines()[-1]


def test_warnings_are_shown(run: Run, tmp_path: Path) -> None:
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "warn.py").write_text(
        "#!/usr/bin/python\nfrom ansible.module_utils.basic import AnsibleModule\n"
        "module = AnsibleModule(argument_spec={})\nmodule.warn('be careful')\n"
        "module.deprecate('old', version='9.0', collection_name='flaskops.uwsgi')\nmodule.exit_json()\n"
    )
    shown = run([{"name": "Warn", "tasks": [{"warn": {}}]}], settings={"ANSIBLE_LIBRARY": str(tmp_path / "library")})
    assert shown.count("[WARNING]: be careful") == 1 and "[DEPRECATION WARNING]: old." in shown


@pytest.mark.parametrize("option", ["-v", "-vv"])
def test_with_v_the_output_is_ansibles_own(run: Run, option: str) -> None:
    plays = [{"name": "Plan", "tasks": [do("echo x"), say("x"), fail("no", ignore_errors=True)]}]

    def untimed(callback: str) -> str:
        shown = run(plays, option, file="playbooks/deploy.yml", settings={"ANSIBLE_STDOUT_CALLBACK": callback})
        return re.sub(r"(delta|end|start): .*|Skipping callback .*\n", "", shown)

    assert untimed("flaskops.uwsgi.screen") == untimed("ansible.builtin.default")


LONG = [{"name": "Prepare", "tasks": [do("true"), do("sleep 2.5", name="Build the wheels")]}]


def test_a_long_step_is_shown_while_it_runs_on_a_terminal(run: Run) -> None:
    shown = run(LONG, hosts="one,", file="playbooks/deploy.yml", terminal=True)
    assert f"{CLEAR}prepare  Build the wheels  0:01" in shown and f"{CLEAR}prepare  Build the wheels  0:02" in shown
    # The line is removed, and nothing is written after it.
    seen = [line.rpartition(CLEAR)[2] for line in shown.split("\n")]
    assert not any("wheels" in line for line in seen)
    assert re.fullmatch(r"\x1b\[0;32mprepare +\d\.\d s\x1b\[0m", seen[0])


def test_a_long_step_has_no_line_on_a_pipe(run: Run) -> None:
    shown = run(LONG, hosts="one,", file="playbooks/deploy.yml")
    assert lines(shown) == ["prepare", "finished in M:SS: 1 host ok, 1 changed"]
    assert "\x1b" not in shown and "\r" not in shown


def test_other_output_does_not_mix_with_the_line(run: Run, tmp_path: Path) -> None:
    # The worker sends it through Ansible's own queue, in the middle of the step.
    (tmp_path / "action").mkdir()
    (tmp_path / "action" / "speak.py").write_text(
        "import time\nfrom ansible.plugins.action import ActionBase\nfrom ansible.utils.display import Display\n"
        "class ActionModule(ActionBase):\n    def run(self, tmp=None, task_vars=None):\n"
        "        time.sleep(2.2)\n        Display().display('by the way')\n        time.sleep(1.2)\n        return {}\n"
    )
    plays = [{"name": "Prepare", "tasks": [do("true"), {"name": "Build", "speak": {}}]}]
    library = {"ANSIBLE_ACTION_PLUGINS": str(tmp_path / "action"), "ANSIBLE_LIBRARY": str(tmp_path / "action")}
    shown = run(plays, hosts="one,", file="playbooks/deploy.yml", terminal=True, settings=library)
    assert re.search(r"Build  0:0\d\r\x1b\[Kby the way\n", shown)
    assert re.search(r"Build  0:0\d", shown.partition("by the way")[2])


def test_a_host_that_was_not_contacted_yet_has_no_line(run: Run) -> None:
    shown = run([{"name": "Plan", "tasks": [do("sleep 2.2")]}], hosts="one,", terminal=True)
    assert CLEAR not in shown


@pytest.mark.parametrize("settings", [{"NO_COLOR": "1"}, {"ANSIBLE_NOCOLOR": "1"}, {"TERM": "dumb"}])
def test_colours_and_the_line_are_not_forced(run: Run, settings: dict[str, str]) -> None:
    shown = run(LONG, hosts="one,", file="playbooks/deploy.yml", terminal=True, settings=settings)
    assert "\x1b[0;" not in shown
    assert (CLEAR in shown) == ("TERM" not in settings)


def test_a_failure_is_in_colour_on_a_terminal(run: Run) -> None:
    shown = run(
        [{"name": "Prepare", "tasks": [fail("broken")]}], hosts="one,", file="playbooks/deploy.yml", terminal=True
    )
    assert "\x1b[0;31mfatal: [one]: FAILED!\x1b[0m\n\x1b[0;31m    broken\x1b[0m\n" in shown
    assert re.search(r"\x1b\[0;31mprepare .*failed\x1b\[0m\n\x1b\[0;31mfailed after", shown)
