from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.playbook import Playbook


class Run(Playbook):
    host = "app1"


def test_those_that_a_test_has_left_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MOLECULE_INVENTORY_FILE", "SANDBOX_INVENTORY"):
        monkeypatch.setenv(name, str(tmp_path / "hosts"))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    program = tmp_path / "ansible-playbook"
    program.write_text("#!/bin/sh\ncase $* in *ends*) exit 3; esac\nsleep 60\n")
    program.chmod(0o755)
    ended, left = Run("deploy", "ends").end(10), Run("deploy")
    assert left.process.poll() is None

    Playbook.end_all()

    assert (ended.process.returncode, left.process.poll()) == (3, -9)
