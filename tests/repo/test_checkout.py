"""A world-writable checkout, as on many CI runners, deploys by the documented steps.

Ansible ignores the ansible.cfg of such a folder unless it is named, and then finds neither the roles nor the callback.
"""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.clone import copy


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runner") / "checkout"
    copy(folder)
    folder.chmod(0o777)
    return folder


def output(checkout: Path, command: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "MAKE"))}
    done = subprocess.run(
        ["bash", "-c", command], cwd=checkout, env=kept, capture_output=True, text=True, timeout=100, check=False
    )
    return done.stdout + done.stderr


@pytest.mark.playbook
def test_the_documented_line_finds_the_role(checkout: Path) -> None:
    # A setting that the controller refuses, so that no host is contacted.
    (checkout / "hosts.yml").write_text("flask: {hosts: {shop: }}\n")
    deploy = "ansible-playbook -i hosts.yml deploy.yml -e mode=gevent -e flask_uwsgi_processes=many"
    (documented,) = re.findall(r"^\$ (export ANSIBLE_CONFIG=.*)$", (ROOT / "docs/OWN_APP.md").read_text(), re.M)
    assert "'flaskops.uwsgi.flask_uwsgi' was not found" in output(checkout, deploy)
    assert "flask_uwsgi_processes" in output(checkout, f"{documented}; {deploy}")


def test_make_names_the_configuration(checkout: Path) -> None:
    shown = output(checkout, "make --silent --eval 'shown: ; @echo $$ANSIBLE_CONFIG' shown")
    assert shown.strip() == f"{checkout}/ansible.cfg"
