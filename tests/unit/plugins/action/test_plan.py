"""The action plugin ``plan`` as Ansible runs it, as far as no host is asked."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import ROOT

pytestmark = pytest.mark.playbook


def refusal(folder: Path, variables: dict[str, Any], hosts: str = "web1,", **play: Any) -> tuple[str, str]:
    """Return why a plan is refused, on one line, and everything that Ansible printed."""
    role = {"ansible.builtin.import_role": {"name": "flaskops.uwsgi.flask_uwsgi", "tasks_from": "plan"}}
    playbook = folder / "plan.yml"
    playbook.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": [role], **play}]))
    asked = {"flask_uwsgi_source": str(ROOT / "app"), **variables}
    done = subprocess.run(
        ["ansible-playbook", "-vvv", "--inventory", hosts, "-e", json.dumps(asked), str(playbook)],
        capture_output=True,
        text=True,
        timeout=120,
        # Without the project's configuration, whose callback shows results in its own way.
        env={name: value for name, value in os.environ.items() if name != "ANSIBLE_CONFIG"}
        | {"ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"), "ANSIBLE_NOCOLOR": "1"},
        cwd=folder,
        check=False,
    )
    whole = done.stdout + done.stderr
    assert done.returncode == 2 and "Traceback" not in whole, whole
    # Without a problem, the host would be asked.
    assert "EXEC" not in whole, whole
    found = [line for line in done.stdout.splitlines() if '"msg": ' in line and "Nothing was changed." in line]
    assert found, whole
    said: str = json.loads("{" + found[0].strip().rstrip(",") + "}")["msg"]
    return said, whole


@pytest.mark.parametrize(
    ("variables", "problems"),
    [
        ({"flask_uwsgi_secrets": {"A": "hidden-1", "B": "{{ other }}", "C": 1}, "other": "hidden-2"}, []),
        ({"flask_uwsgi_secrets": "{{ {'A': 'hidden-1'} | combine(other) }}", "other": {"B": "hidden-2"}}, []),
        (
            {"flask_uwsgi_secrets": {"A": "hidden-1", "B": "{{ vault_b }}", "C": "{{ 'hidden-2' ~ vault_c.d }}"}},
            ["has 'B', which cannot be evaluated: vault_b is", "has 'C', which cannot be evaluated: vault_c is"],
        ),
        ({"flask_uwsgi_secrets": "{{ nothing }}"}, ["cannot be evaluated: nothing is"]),
        ({"flask_uwsgi_secrets": "{{ {'A': 'hidden-1', 'B': vault_b} }}"}, ["cannot be evaluated: vault_b is"]),
        ({"flask_uwsgi_secrets": {"B": "{{ lookup('ansible.builtin.file', 'hidden-1') }}"}}, ["its lookup or its"]),
        (
            {"flask_uwsgi_environment": {"A": "{{ 'hidden-1' ~ nothing }}"}, "flask_uwsgi_port": "{{ number }}"},
            [
                "flask_uwsgi_environment cannot be evaluated: nothing is",
                "flask_uwsgi_port cannot be evaluated: number is",
            ],
        ),
        (
            {"flask_uwsgi_files": {"a": "{{ lookup('ansible.builtin.file', 'hidden-1') }}"}},
            ["flask_uwsgi_files cannot be evaluated. Correct its lookup or its expression"],
        ),
    ],
)
def test_settings_that_cannot_be_known_are_named_and_no_value_is(
    tmp_path: Path, variables: dict[str, Any], problems: list[str]
) -> None:
    given = variables if problems else {**variables, "flask_uwsgi_port": 0}
    said, whole = refusal(tmp_path, given)
    lines = said.splitlines()
    expected = problems or ["flask_uwsgi_port=0 is not valid"]
    assert len(lines) == len(expected) + 1, said
    assert all(word in line for word, line in zip(sorted(expected), sorted(lines[:-1]), strict=True)), said
    assert "hidden" not in whole.replace(json.dumps(variables), "")


def test_the_problems_of_all_hosts_are_reported_together(tmp_path: Path) -> None:
    variables = {"flask_uwsgi_port": "{{ 0 if inventory_hostname == 'web1' else 'x' }}", "flask_uwsgi_mode": "fast"}
    said, _ = refusal(tmp_path, variables, "web1,web2,web3")
    assert said.splitlines() == [
        "web1: flask_uwsgi_mode=fast is no mode: set it to gevent or threads or auto",
        "  flask_uwsgi_port=0 is not valid: set it to a whole number from 1 to 65535",
        "web2, web3: flask_uwsgi_mode=fast is no mode: set it to gevent or threads or auto",
        "  flask_uwsgi_port=x is not valid: set it to a whole number from 1 to 65535",
        "Nothing was changed.",
    ]


def test_a_keeper_must_be_in_the_inventory(tmp_path: Path) -> None:
    said, _ = refusal(tmp_path, {"flask_uwsgi_keeper": "web9", "flask_uwsgi_port": 0}, "web1,")
    assert said.splitlines()[1] == "flask_uwsgi_keeper=web9 is no host of the inventory: name one, or empty it"


def test_hosts_that_would_overtake_each_other_are_refused_and_the_playbook_is_named(tmp_path: Path) -> None:
    said, whole = refusal(tmp_path, {}, "web1,web2", strategy="free")
    # There, one host would not wait for the plan of the other.
    assert "Compare the plans" not in whole
    assert "strategy=free lets hosts overtake each other, and 2 hosts are deployed together" in said
    assert "playbooks/deploy.yml" in said
