"""What the role compare asks before it measures, and what it waits for."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT

pytestmark = pytest.mark.playbook
PLAY = """\
- hosts: localhost
  gather_facts: false
  tasks:
    - name: Run a part of the role
      ansible.builtin.include_role:
        name: flaskops.uwsgi.compare
        tasks_from: {part}
"""


def play(folder: Path, part: str, values: Mapping[str, Any]) -> subprocess.CompletedProcess[str]:
    """Run a task file of the role on this machine."""
    (folder / "play.yml").write_text(PLAY.format(part=part))
    return subprocess.run(
        ["ansible-playbook", "--inventory", "localhost,", "--connection", "local", folder / "play.yml",
         "--extra-vars", json.dumps(values)],
        cwd=ROOT, env={**os.environ, "ANSIBLE_NOCOLOR": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_server_that_accepts_and_never_answers_is_waited_for_no_longer_than_one_that_refuses(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        values = {
            "compare_health_timeout_s": 3,
            "__compare_turn": {"variant": "stock"},
            "__compare_variants": {"stock": {"url": f"http://127.0.0.1:{silent.getsockname()[1]}"}},
        }
        started = time.monotonic()
        done = play(tmp_path, "stock_answer", values)
        took = time.monotonic() - started
    assert done.returncode == 0, done.stdout
    # The first request takes ten seconds, and then the time is over. Three with a default timeout take ninety.
    assert took < 45
