"""Ansible can read the example inventories, and preflight accepts their applications."""

import json
import subprocess
from typing import Any

import pytest
import yaml
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.settings.preflight import value_problems
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.settings.specs import OPTIONS

from tests.support import ROOT

DEFAULTS: dict[str, Any] = yaml.safe_load((ROOT / "roles/flask_uwsgi/defaults/main.yml").read_text())


def inventory(example: str) -> dict[str, Any]:
    done = subprocess.run(
        ["ansible-inventory", "--inventory", f"inventory/{example}", "--list"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "WARNING" not in done.stderr, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def hosts(example: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = inventory(example)["_meta"]["hostvars"]
    return found


@pytest.mark.parametrize("example", ["production.example", "several.example"])
def test_an_example_describes_applications_that_are_accepted(example: str) -> None:
    for name, variables in hosts(example).items():
        own = {"user": "shop", "group": "shop", "health_path": "/healthz", "secrets": {}}
        given = {setting: variables.get(f"flask_uwsgi_{setting}") for setting in OPTIONS}
        settings = {
            setting: own.get(setting, DEFAULTS.get(f"flask_uwsgi_{setting}")) if value is None else value
            for setting, value in given.items()
        }
        settings["secrets"] = dict.fromkeys(settings["secrets"], "a secret")
        assert list(value_problems(settings)) == [], name


def test_the_applications_of_the_several_example_have_chosen_hosts_and_different_ports() -> None:
    assert set(inventory("several.example")["flask"]["children"]) == {"shop", "httpbin"}
    found = hosts("several.example")
    assert set(found) == {"shop@web1.example.org", "shop@web2.example.org", "httpbin@web2.example.org"}
    for name, variables in found.items():
        app, _, server = name.partition("@")
        assert (variables["flask_uwsgi_app_name"], variables["ansible_host"]) == (app, server)
    assert len({(v["ansible_host"], v["flask_uwsgi_port"]) for v in found.values()}) == len(found)
