"""What a server uses, as benchmarks/usage.py reads it on the host."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import usage


def test_a_process_that_has_ended_has_no_memory() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    own = usage.memory_mb([str(os.getpid())])
    assert 5 < own < 5000
    assert usage.memory_mb([str(os.getpid()), str(ended.pid)]) == pytest.approx(own, rel=0.2)
    assert usage.memory_mb([]) == 0


def test_the_most_memory_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([90.0, 120.5, 100.0])
    monkeypatch.setattr(usage, "MOST", tmp_path / "most")
    monkeypatch.setattr(usage, "INTERVAL_S", 0)
    monkeypatch.setattr(usage, "shown", lambda unit: {"ControlGroup": f"/{unit}"})
    monkeypatch.setattr(usage, "memory_mb", lambda pids: next(readings))
    with pytest.raises(StopIteration):
        usage.watch("shop.service")
    assert (tmp_path / "most").read_text() == "120.5"
