"""Counts the round trips of a run of Ansible to its hosts: each one is a command over ssh."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class RoundTrips:
    """An ssh that records its calls.

    Args:
        folder: an empty folder for its own use while it counts.
    """

    def __init__(self, folder: Path) -> None:
        """Write the executable."""
        self._calls = folder / "calls"
        self._ssh = folder / "ssh"
        # One write per line, since hosts are called at the same time.
        self._ssh.write_text(
            f'#!/bin/sh\nprintf "%s\\n" "$(printf %s "$*" | tr "\\n" " ")" >>{self._calls}\nexec ssh "$@"\n'
        )
        self._ssh.chmod(0o755)

    @property
    def arguments(self) -> tuple[str, str]:
        """The arguments that make ``ansible-playbook`` use it."""
        return "-e", f"ansible_ssh_executable={self._ssh}"

    def count(self) -> int:
        """Return the number of commands so far, without sessions that only open a connection."""
        return sum("/bin/sh -c" in line for line in self._calls.read_text().splitlines())


@contextmanager
def counted() -> Iterator[RoundTrips]:
    """Count in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        yield RoundTrips(Path(folder))
