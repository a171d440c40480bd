"""The console of a sandbox host: root without SSH, also when SSH is what a test takes away."""

from __future__ import annotations

import subprocess
import sys

from tests.support import ROOT

SANDBOX = [sys.executable, "-m", "sandbox"]
# With its sessions: a connection that is there survives its listener. The service goes on.
STOP_SSH = "systemctl stop ssh; pkill -KILL ^sshd; true"
START_SSH = "systemctl start ssh"


def words(host: str, command: str) -> list[str]:
    """Return the words that run a shell command on a host as root, from the repository."""
    return [*SANDBOX, "exec", host, "--", "sh", "-c", command]


def run(host: str, command: str) -> str:
    """Run a shell command on a host as root, which has to succeed, and return its output."""
    done = subprocess.run(words(host, command), cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout
