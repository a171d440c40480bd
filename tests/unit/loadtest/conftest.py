"""What the tests of the load test share: a server, modules run as programs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.loadtest.server import Server

ROOT = Path(__file__).parents[3]


@pytest.fixture
def server() -> Iterator[Server]:
    """Serve on a free port of the loopback address."""
    with Server() as running:
        yield running


@pytest.fixture
def run_module(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Run a module of the collection as Ansible does, in a process of its own."""

    def run(name: str, check: bool = False, limit: str = "", before: str = "", **arguments: Any) -> dict[str, Any]:
        file = tmp_path / "arguments.json"
        file.write_text(
            json.dumps({"ANSIBLE_MODULE_ARGS": {**arguments, "_ansible_check_mode": check}}), encoding="utf-8"
        )
        module = f"ansible_collections.flaskops.uwsgi.plugins.modules.{name}"
        code = f"{before}\nimport runpy\nrunpy.run_module('{module}', run_name='__main__')"
        done = subprocess.run(
            ["/bin/sh", "-c", f'{limit}exec "$0" -c "$1" {file}', sys.executable, code],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "PYTHONPATH": str(ROOT / ".collections")},
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    return run
