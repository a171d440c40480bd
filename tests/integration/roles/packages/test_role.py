"""The role packages with each package manager: its programs and Ansible's module are stand-ins, the tasks are real.

The scenarios install with the real apt. dnf has no host there.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.modules import apt, dnf

from tests.support import modified

pytestmark = [pytest.mark.playbook, pytest.mark.timeout(120)]

MODULE = """#!/usr/bin/python
import json, os
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule(json.loads(__NAMES__), supports_check_mode=True)
given = {name: value for name, value in module.params.items() if value is not None}
with open(__LOG__, "a") as log:
    print("check" if module.check_mode else "module", json.dumps(given, sort_keys=True), file=log)
module.exit_json(changed=True)
"""
# Each notes how it was called; a file with the name of its verb says what it does.
PROGRAM = """#!/bin/sh
printf '%s\\n' "${{0##*/}} $* LC_ALL=$LC_ALL NEEDRESTART_SUSPEND=$NEEDRESTART_SUSPEND" >>{log}
for word; do if [ -f {home}/$word ]; then . {home}/$word; fi; done
"""
ENVIRONMENT = "LC_ALL=C.UTF-8 NEEDRESTART_SUSPEND=1"
LISTS = {
    "apt": f"apt-get update -o APT::Update::Error-Mode=any {ENVIRONMENT}",
    "dnf": f"dnf --assumeyes makecache {ENVIRONMENT}",
}
DOWNLOAD = {
    "apt": "apt-get --yes --download-only -o DPkg::Lock::Timeout=300",
    "dnf": "dnf --assumeyes --downloadonly --setopt=install_weak_deps=False",
}
both = pytest.mark.parametrize("manager", ["apt", "dnf"])


@dataclass
class Ran:
    """A run of a role."""

    status: int
    output: str
    calls: list[str]

    def module(self) -> dict[str, Any]:
        """Return what Ansible's module got, which was called last."""
        kind, _, given = self.calls[-1].partition(" ")
        assert kind == "module"
        found: dict[str, Any] = json.loads(given)
        return found


Role = Callable[..., Ran]


@pytest.fixture
def role(tmp_path: Path) -> Role:
    """Run the role on this machine, as if it had one package manager and a package gcc."""
    collection = modified.collection(tmp_path)
    log, programs = tmp_path / "log", tmp_path / "bin"
    options = {
        "apt": ("name", "state", "install_recommends", "policy_rc_d", "lock_timeout", "upgrade"),
        "dnf": ("name", "state", "install_weak_deps", "lock_timeout", "use_backend"),
    }
    for manager, names in options.items():
        text = MODULE.replace("__LOG__", repr(str(log)))
        text = text.replace("__NAMES__", repr(json.dumps({name: {"type": "raw"} for name in names})))
        (collection / f"plugins/modules/fake_{manager}.py").write_text(text)
        for file in collection.glob(f"roles/packages/tasks/*_{manager}.yml"):
            tasks = file.read_text()
            file.write_text(tasks.replace(f"ansible.builtin.{manager}:", f"flaskops.uwsgi.fake_{manager}:"))

    def run(manager: str, *options: str, entry: str = "main", does: dict[str, str] | None = None, **given: Any) -> Ran:
        programs.mkdir()
        for name in ("sleep", "timeout"):
            (programs / name).symlink_to(str(shutil.which(name)))
        for name in {"apt": ["apt-get"], "dnf": ["dnf", "rpm"], "": []}[manager]:
            program = programs / name
            program.write_text(PROGRAM.format(log=log, home=tmp_path))
            program.chmod(0o755)
        for verb, text in {"--query": "echo gcc", **(does or {})}.items():
            (tmp_path / verb).write_text(text)
        use = {"name": "flaskops.uwsgi.packages", "tasks_from": entry}
        play = {
            "hosts": "localhost",
            "gather_facts": False,
            "environment": {"PATH": str(programs)},
            "tasks": [{"ansible.builtin.import_role": use}],
        }
        (tmp_path / "site.yml").write_text(yaml.safe_dump([play]))
        variables = {"ansible_become": False, "ansible_python_interpreter": sys.executable, **given}
        words = ["-i", "localhost,", "-c", "local", "site.yml", "-e", json.dumps(variables), *options]
        done = modified.playbook(tmp_path, *words, ANSIBLE_CALLBACK_RESULT_FORMAT="yaml")
        calls = log.read_text().splitlines() if log.is_file() else []
        return Ran(done.returncode, done.stdout + done.stderr, [call for call in calls if not call.startswith("rpm ")])

    return run


@both
def test_what_is_missing_is_downloaded_within_a_limit_and_then_installed(role: Role, manager: str) -> None:
    done = role(manager, packages_names=["sl", "cowsay"])
    assert done.status == 0, done.output
    # dpkg's list is this machine's.
    options = " --no-install-recommends" if manager == "apt" else ""
    assert done.calls[:-1] == [LISTS[manager], f"{DOWNLOAD[manager]} install{options} sl cowsay {ENVIRONMENT}"]
    weak = {"apt": "install_recommends", "dnf": "install_weak_deps"}[manager]
    backend = {"use_backend": "dnf4"} if manager == "dnf" else {}
    expected = {"name": ["sl", "cowsay"], "state": "present", weak: False, "lock_timeout": 300}
    assert done.module() == {**expected, **backend}


def test_what_is_installed_is_left_alone(role: Role) -> None:
    done = role("dnf", packages_names=["gcc"])
    assert (done.status, done.calls) == (0, []), done.output
    assert "changed=0" in done.output


def test_the_newest_version_is_installed_if_that_is_wanted(role: Role) -> None:
    done = role("dnf", packages_names=["gcc"], packages_state="latest")
    assert done.status == 0, done.output
    assert done.module()["state"] == "latest"


@both
def test_a_mirror_that_hangs_is_given_up(role: Role, manager: str) -> None:
    done = role(manager, does={"install": "exec sleep 60"}, packages_names=["sl"], packages_download_seconds=1)
    assert done.status != 0
    program = done.calls[0].split()[0]
    assert (
        f"sl cannot be installed: {program} was ended after packages_download_seconds=1, because the package mirror "
        "had not sent everything by then. Check that its package manager works there." in done.output
    )
    assert not any(call.startswith("module") for call in done.calls)


@pytest.mark.parametrize(
    ("manager", "said"),
    [("apt", "E: Unable to locate package nosuch"), ("dnf", "Error: Unable to find a match: nosuch")],
)
def test_a_failure_has_the_words_of_the_package_manager(role: Role, manager: str, said: str) -> None:
    does = {"install": f"echo noise >&2; echo '{said}' >&2; exit 1"}
    done = role(manager, does=does, packages_names=["nosuch"], packages_subject="v=nosuch", packages_remedy="Mend it.")
    assert done.status != 0
    assert f"v=nosuch cannot be installed: {said}. Mend it." in done.output
    assert "noise. " not in done.output


@both
def test_nothing_is_downloaded_or_installed_in_check_mode(role: Role, manager: str) -> None:
    done = role(manager, "--check", packages_names=["sl"])
    assert done.status == 0, done.output
    assert [call.split()[0] for call in done.calls] == ["check"]


@both
def test_all_packages_are_upgraded(role: Role, manager: str) -> None:
    done = role(manager, entry="upgrade")
    assert done.status == 0, done.output
    verb = {"apt": "dist-upgrade", "dnf": "upgrade"}[manager]
    assert done.calls[:-1] == [LISTS[manager], f"{DOWNLOAD[manager]} {verb} {ENVIRONMENT}"]
    expected = {
        "apt": {"upgrade": "dist"},
        "dnf": {"name": "*", "state": "latest", "install_weak_deps": False, "use_backend": "dnf4"},
    }[manager]
    assert done.module() == {**expected, "lock_timeout": 300}


@pytest.mark.parametrize("entry", ["main", "upgrade"])
def test_a_host_without_a_package_manager_is_refused(role: Role, entry: str) -> None:
    done = role("", entry=entry, packages_names=["sl"])
    assert done.status != 0
    assert "The host has neither apt-get nor dnf, so nothing can be installed there" in done.output
    assert ("there: install sl in another way, or use another host." in done.output) == (entry == "main")
    assert done.calls == []


def test_the_modules_know_the_options() -> None:
    documented = {module: yaml.safe_load(module.DOCUMENTATION)["options"] for module in (apt, dnf)}
    assert {"name", "state", "install_recommends", "policy_rc_d", "lock_timeout", "upgrade"} <= documented[apt].keys()
    assert {"name", "state", "install_weak_deps", "lock_timeout", "use_backend"} <= documented[dnf].keys()
