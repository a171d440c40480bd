import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sandbox.host import Record
from sandbox.inventory import HINT, as_script_output, as_yaml
from sandbox.paths import Layout

SCRIPT = Path(__file__).parents[2] / "inventory/sandbox/hosts.py"
HOSTS = [
    Record("app1", address="10.213.40.11"),
    Record("build1", group="build", address="10.213.40.12"),
    Record("app2", address="10.213.40.13"),
]


def test_the_static_inventory_has_the_hosts_in_their_groups(layout: Layout) -> None:
    children = yaml.safe_load(as_yaml(HOSTS, layout))["all"]["children"]
    assert {group: list(members["hosts"]) for group, members in children.items()} == {
        "flask": ["app1", "app2"],
        "build": ["build1"],
    }
    assert children["build"]["hosts"]["build1"]["ansible_host"] == "10.213.40.12"


def test_both_inventories_agree(layout: Layout) -> None:
    script = json.loads(as_script_output(HOSTS, layout))
    static = yaml.safe_load(as_yaml(HOSTS, layout))["all"]["children"]
    assert script["_meta"]["hostvars"] == {n: v for group in static.values() for n, v in group["hosts"].items()}
    assert script["flask"] == {"hosts": ["app1", "app2"]}


def test_host_keys_are_pinned(layout: Layout) -> None:
    options = json.loads(as_script_output(HOSTS, layout))["_meta"]["hostvars"]["app1"]["ansible_ssh_common_args"]
    assert f"UserKnownHostsFile={layout.known_hosts}" in options
    assert "StrictHostKeyChecking=yes" in options


@pytest.mark.parametrize("python", ["/usr/bin/python3", sys.executable])
def test_the_script_without_hosts_is_empty_and_gives_the_remedy(layout: Layout, python: str) -> None:
    done = subprocess.run([python, SCRIPT, "--list"], capture_output=True, text=True, check=True, cwd="/")
    assert json.loads(done.stdout) == {"_meta": {"hostvars": {}}}
    assert done.stderr.strip() == HINT
