"""The console of a sandbox host: root access without SSH, for tests in which SSH fails."""

from __future__ import annotations

import subprocess
import sys

from tests.support import ROOT, connections

SANDBOX = [sys.executable, "-m", "sandbox"]
# With its sessions, because established connections survive the listener. The service is not affected.
STOP_SSH = "systemctl stop ssh; pkill -KILL ^sshd; true"
START_SSH = "systemctl start ssh"


def words(host: str, command: str) -> list[str]:
    """Return the arguments that run a shell command on a host as root, from the repository."""
    return [*SANDBOX, "exec", host, "--", "sh", "-c", command]


def run(host: str, command: str) -> str:
    """Run a shell command on a host as root and return its output; it must succeed."""
    done = subprocess.run(words(host, command), cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def power(word: str, host: str) -> None:
    """Switch a host ``off`` or ``on``, cut its power for a moment (``reset``), or ``reboot`` it."""
    subprocess.run([*SANDBOX, word, host], cwd=ROOT, check=True, capture_output=True)
    connections.forget()
