"""Counts what a run of Ansible asks of its hosts: each round trip is a command that ssh carries."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class RoundTrips:
    """An ssh that notes how it is called.

    Args:
        folder: an empty folder of its own, for as long as it counts.
    """

    def __init__(self, folder: Path) -> None:
        """Write the executable."""
        self._calls = folder / "calls"
        self._ssh = folder / "ssh"
        # One write a line: hosts are asked at the same time.
        self._ssh.write_text(
            f'#!/bin/sh\nprintf "%s\\n" "$(printf %s "$*" | tr "\\n" " ")" >>{self._calls}\nexec ssh "$@"\n'
        )
        self._ssh.chmod(0o755)

    @property
    def arguments(self) -> tuple[str, str]:
        """What makes ``ansible-playbook`` use it."""
        return "-e", f"ansible_ssh_executable={self._ssh}"

    def count(self) -> int:
        """Return the commands so far; a session that runs nothing, as the one that opens a connection, is none."""
        return sum("/bin/sh -c" in line for line in self._calls.read_text().splitlines())


@contextmanager
def counted() -> Iterator[RoundTrips]:
    """Count in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        yield RoundTrips(Path(folder))
