"""One SSH connection for all commands of the tests to a host: opening one takes ten times as long as a command."""

from __future__ import annotations

import atexit
import configparser
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from testinfra.utils import ansible_runner

_FOLDER = Path(tempfile.mkdtemp(prefix="flaskops-ssh-"))
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)

# Arguments of ssh.
SHARED = ("-o", "ControlMaster=auto", "-o", "ControlPersist=60s", "-o", f"ControlPath={_FOLDER}/%C")


def share() -> None:
    """Let testinfra share them. The product's Ansible has its own."""
    read: Callable[[], configparser.ConfigParser] = ansible_runner.get_ansible_config

    def config() -> configparser.ConfigParser:
        found = read()
        if not found.has_section("ssh_connection"):
            found.add_section("ssh_connection")
        known = found.get("ssh_connection", "ssh_args", fallback="")
        # ConfigParser would take the % for a reference.
        found.set("ssh_connection", "ssh_args", " ".join([known, *SHARED]).replace("%", "%%"))
        return found

    ansible_runner.get_ansible_config = config


def forget() -> None:
    """Open new connections from now on: a host has lost its power, and the old ones would wait for it."""
    for socket in _FOLDER.iterdir():
        socket.unlink(missing_ok=True)
