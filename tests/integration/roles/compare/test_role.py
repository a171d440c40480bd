"""What the role compare waits for."""

import json
import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.support import ROOT

pytestmark = pytest.mark.playbook
PLAY = """\
- hosts: localhost
  gather_facts: false
  tasks:
    - name: Wait
      ansible.builtin.include_role:
        name: flaskops.uwsgi.compare
        tasks_from: stock_answer
"""


def test_a_server_that_accepts_and_never_answers_is_waited_for_no_longer_than_one_that_refuses(tmp_path: Path) -> None:
    (tmp_path / "play.yml").write_text(PLAY)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        values = {
            "compare_health_timeout_s": 3,
            "__compare_turn": {"variant": "stock"},
            "__compare_variants": {"stock": {"url": f"http://127.0.0.1:{silent.getsockname()[1]}"}},
        }
        started = time.monotonic()
        done = subprocess.run(
            ["ansible-playbook", "--inventory", "localhost,", "--connection", "local", tmp_path / "play.yml",
             "--extra-vars", json.dumps(values)],
            cwd=ROOT, env={**os.environ, "ANSIBLE_NOCOLOR": "1"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        took = time.monotonic() - started
    assert done.returncode == 0, done.stdout
    # The first request takes ten seconds, and then the time is over. Three with a default timeout take ninety.
    assert took < 45
