"""The output of a playbook that fails: the text of each message, once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import ROOT

MESSAGE = "generation 3f2a90c1d5e7 (gevent) does not serve: it was not ready.\nIts last log lines:\n    waiting"
SHOWN = "\n".join(f"    {line}" for line in MESSAGE.splitlines())
MODULE = """\
#!/usr/bin/python
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule(argument_spec={"msg": {"type": "str"}})
module.warn("be careful")
module.deprecate("old", version="9.0", collection_name="flaskops.uwsgi")
module.fail_json(msg=module.params["msg"])
"""

pytestmark = pytest.mark.playbook
Play = Callable[..., str]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Run tasks on two hosts that are this machine, and return the output."""
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "refuse.py").write_text(MODULE)

    def run(tasks: list[dict[str, Any]], *options: str, settings: dict[str, str] | None = None) -> str:
        play = {"hosts": "one,two", "gather_facts": False, "connection": "local", "tasks": tasks}
        (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        done = subprocess.run(
            [
                *("ansible-playbook", "--forks=1", "-i", "one,two,"),
                *("-e", f"ansible_python_interpreter={sys.executable}", *options, "play.yml"),
            ],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
            cwd=tmp_path,
            env={
                **kept,
                "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
                "ANSIBLE_STDOUT_CALLBACK": "flaskops.uwsgi.plain",
                "ANSIBLE_LIBRARY": str(tmp_path / "library"),
                "ANSIBLE_NOCOLOR": "1",
                **(settings or {}),
            },
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout + done.stderr

    return run


def fail(message: Any, **more: Any) -> dict[str, Any]:
    return {"name": "Fail", "ansible.builtin.fail": {"msg": message}, **more}


def test_the_message_of_several_hosts_is_shown_once_as_text(play: Play) -> None:
    shown = play([fail(MESSAGE)])
    assert f"fatal: [one]: FAILED!\n{SHOWN}\nfatal: [two]: FAILED! As on one.\n" in shown
    assert "[ERROR]" not in shown and "Origin" not in shown and "=>" not in shown and "\\n" not in shown
    assert shown.count("PLAY RECAP") == 1 and "failed=1" in shown


def test_different_messages_are_shown_for_each_host(play: Play) -> None:
    shown = play([fail("{{ inventory_hostname }} is full")])
    assert "fatal: [one]: FAILED!\n    one is full\nfatal: [two]: FAILED!\n    two is full\n" in shown


def test_a_repeated_message_is_not_shown_again(play: Play) -> None:
    again = fail("{{ ansible_failed_result.msg }}\nNothing was changed.")
    shown = play([{"block": [fail(MESSAGE)], "rescue": [fail(MESSAGE, ignore_errors=True), again]}])
    assert shown.count("does not serve") == 1
    assert "fatal: [one]: FAILED! As above.\n...ignoring\n" in shown
    assert "fatal: [one]: FAILED! As above.\n    Nothing was changed.\nfatal: [two]" in shown


def test_short_messages_are_repeated_because_they_may_differ_in_cause(play: Play) -> None:
    shown = play([fail("no", ignore_errors=True), fail("no")])
    assert shown.count("fatal: [one]: FAILED!\n    no\n") == 2


def test_with_v_everything_is_shown(play: Play) -> None:
    shown = play([fail(MESSAGE)], "-v")
    assert "[ERROR]: Task failed: Action failed: generation" in shown and "changed: false" in shown
    assert shown.count("fatal: [two]: FAILED! =>") == 1


@pytest.mark.parametrize("options", [(), ("-v",), ("-vvv",)])
def test_a_secret_is_not_shown(play: Play, options: tuple[str, ...]) -> None:
    secret = "s3cr3t-v4lue"
    loop = fail("{{ item }}", loop=[secret], no_log=True, ignore_errors=True)
    shown = play([fail(f"{{{{ '{secret}' }}}}", no_log=True, ignore_errors=True), loop], *options)
    # Ansible itself quotes the line of the playbook that failed.
    shown = "\n".join(line for line in shown.splitlines() if "{{" not in line)
    assert secret not in shown
    assert "the output has been hidden" in shown


def test_warnings_are_shown_as_by_default(play: Play) -> None:
    shown = play([{"name": "Refuse", "refuse": {"msg": MESSAGE}}])
    assert shown.count("[WARNING]: be careful") == 1
    assert "[DEPRECATION WARNING]: old." in shown
    assert f"fatal: [one]: FAILED!\n{SHOWN}\n" in shown


def test_an_error_of_ansible_itself_names_its_place(play: Play) -> None:
    shown = play(
        [{"name": "Show", "ansible.builtin.debug": {"msg": "{{ inner }}"}, "vars": {"inner": "{{ nothing }}"}}]
    )
    assert re.search(r"\nfatal: \[one\]: FAILED!\n    'nothing' is undefined\n    Origin: \S+play\.yml:\d+", shown)
    assert "fatal: [two]: FAILED! As on one.\n" in shown
    assert shown.count("is undefined") == 1 and "caused by" not in shown


def test_items_of_a_loop_are_shown_one_by_one(play: Play) -> None:
    words = {"name": "Run", "ansible.builtin.command": "{{ item }}", "loop": ["true", "ls /nowhere"]}
    shown = play([words])
    assert "changed: [one] => (item=true)" in shown
    assert "failed: [one] (item=ls /nowhere)\n    non-zero return code\n" in shown
    assert "/nowhere'': No such file or directory" in shown and "rc: 2" in shown
    assert "failed: [two] (item=ls /nowhere) As on one.\n" in shown
    assert "stderr_lines" not in shown and "[ERROR]" not in shown


def test_the_delegate_of_a_task_is_named(play: Play) -> None:
    shown = play([fail("no space", delegate_to="build1")])
    assert "fatal: [one -> build1]: FAILED!\n    no space\n" in shown


def test_an_unreachable_host_is_reported_in_one_line(play: Play) -> None:
    reach = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    shown = play([{"name": "Reach", "ansible.builtin.ping": None, "vars": reach, "ignore_unreachable": True}])
    assert "fatal: [one]: UNREACHABLE!\n    " in shown and "Connection refused\n...ignoring\n" in shown
    assert "[ERROR]" not in shown and "Task failed" not in shown


def test_escape_sequences_in_a_message_do_not_reach_the_terminal(play: Play) -> None:
    assert "    \\x1b[31mred\\x07\n" in play([fail("\x1b[31mred\x07")])


def test_a_message_that_is_not_text_is_left_to_the_default(play: Play) -> None:
    assert "a: 1" in play([fail({"a": 1})])


def test_check_mode_and_success_look_as_by_default(play: Play, tmp_path: Path) -> None:
    tasks = [
        {"name": "Write", "ansible.builtin.copy": {"dest": str(tmp_path / "x"), "content": "new\n", "mode": "0644"}},
        {"name": "Skip", "ansible.builtin.debug": {"msg": "never"}, "when": False},
        {"name": "Show", "ansible.builtin.debug": {"msg": "fine"}},
    ]
    own = play(tasks, "--check", "--diff")
    default = play(tasks, "--check", "--diff", settings={"ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default"})
    assert own == default
    assert "+new" in own and "changed: [one]" in own
