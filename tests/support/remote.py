"""Commands on a sandbox host, over the SSH that its inventory describes."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping

from tests.support.connections import SHARED


def as_root(host: Mapping[str, str], command: str, data: bytes = b"") -> tuple[int, str]:
    """Run a bash command on a host, as root.

    Args:
        host: the connection variables of the host, as the sandbox writes them into its inventory.
        command: the command.
        data: its standard input.

    Returns:
        the exit status, and the output of both streams.
    """
    done = subprocess.run(
        ["ssh", *SHARED, *shlex.split(host["ansible_ssh_common_args"]), "-i", host["ansible_ssh_private_key_file"],
         f"{host['ansible_user']}@{host['ansible_host']}", f"sudo bash -c {shlex.quote(command)}"],
        input=data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout.decode(errors="replace")


def root(host: Mapping[str, str], command: str, data: bytes = b"") -> str:
    """Run a command like ``as_root`` and return its output; it must succeed."""
    status, output = as_root(host, command, data)
    assert status == 0, f"{host['ansible_host']}: {command}\n{output}"
    return output.strip()
