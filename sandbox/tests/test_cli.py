import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sandbox import checks, cli, process
from sandbox.errors import SandboxError


def run_cli(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["sandbox", *words])
    return cli.main()


def test_without_root_and_sudo_it_gives_the_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("PATH", "/nowhere")
    assert run_cli(monkeypatch, "up", "app1") == 1
    assert "run this as root" in capsys.readouterr().err


def test_without_root_it_starts_again_under_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(os, "execv", lambda path, command: started.append(command))
    monkeypatch.setattr(sys, "argv", ["sandbox", "up", "app1"])
    cli.become_root()
    assert started[0][0] == "sudo"
    assert "XDG_STATE_HOME" in started[0][1]
    assert started[0][2:] == [sys.executable, "-m", "sandbox", "up", "app1"]


def test_missing_packages_are_named_in_one_apt_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checks, "missing_packages", lambda: ["crun", "podman"])
    assert run_cli(monkeypatch, "packages", "--missing") == 0
    assert capsys.readouterr().out == "crun podman\n"
    assert run_cli(monkeypatch, "packages") == 0
    assert "podman missing\n" in capsys.readouterr().out


def test_a_failing_program_is_reported_with_its_last_lines_only() -> None:
    script = "for i in $(seq 30); do echo line $i; done; exit 3"
    with pytest.raises(SandboxError, match=r"counting failed \(exit status 3\)") as caught:
        process.run(["sh", "-c", script], "counting")
    assert "line 30" in str(caught.value)
    assert "line 18\n" not in str(caught.value)


def test_a_program_that_waits_for_ever_is_ended_with_its_children(tmp_path: Path) -> None:
    script = f"(sleep 60; touch {tmp_path}/late) & echo $! > {tmp_path}/pid; wait"
    with pytest.raises(SandboxError, match=r"waiting was ended after 1 s\n  -> check that apt reaches"):
        process.run(["sh", "-c", script], "waiting", limit=1)
    # Ended, or only waiting for its parent; the signal may still be on its way.
    look = ["ps", "-o", "stat=", "-p", (tmp_path / "pid").read_text().strip()]
    deadline = time.monotonic() + 10
    while subprocess.run(look, capture_output=True).stdout.strip() not in (b"", b"Z"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_step_is_one_line_with_its_duration(capsys: pytest.CaptureFixture[str]) -> None:
    with process.step("building"):
        pass
    with pytest.raises(KeyError), process.step("breaking"):
        raise KeyError
    assert capsys.readouterr().err == "sandbox: building ... 0.0 s\nsandbox: breaking ... failed\n"


def test_a_missing_host_is_reported_with_the_command_to_create_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], layout: object
) -> None:
    assert run_cli(monkeypatch, "ssh", "nobody") == 1
    assert "there is no host nobody\n  -> `python3 -m sandbox up nobody:bookworm:flask`" in capsys.readouterr().err
