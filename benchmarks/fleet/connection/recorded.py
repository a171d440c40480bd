"""A connection to a host that exists only as a recording."""

from __future__ import annotations

DOCUMENTATION = r"""
name: recorded
short_description: Answer modules from a recording
description:
  - Answers each module with what a real host answered. Nothing is sent and nothing is run.
author: The flaskops maintainers (!UNKNOWN)
options:
  host:
    description: The host's name in the inventory.
    vars:
      - name: inventory_hostname
  address:
    description: The host's address.
    vars:
      - name: inventory_hostname
      - name: ansible_host
  answers:
    description: The file with the answers, as C(python -m benchmarks.fleet.record) writes it.
    type: path
    required: true
    vars:
      - name: recorded_answers
  values:
    description: Values of placeholders that are the same on every host.
    type: dict
    default: {}
    vars:
      - name: recorded_values
  calls:
    description: A file to which the name of each module that was answered is appended.
    type: path
    required: true
    vars:
      - name: recorded_calls
  pipelining:
    description: A module must arrive on standard input, since there is no place for its file.
    type: bool
    default: true
"""

import hashlib
import json
from pathlib import Path
from typing import Any, NoReturn

from ansible.errors import AnsibleError
from ansible.plugins.connection import ConnectionBase

from benchmarks.fleet import recording


class Connection(ConnectionBase):  # type: ignore[misc]
    """Answers in place of a host."""

    transport = "recorded"
    has_pipelining = True

    def _connect(self) -> Connection:
        self._connected = True
        return self

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        """Return the recorded answer of the module that a command runs.

        Raises:
            AnsibleError: there is no answer.
        """
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        host = self.get_option("host")
        own = {
            "host": host,
            "address": self.get_option("address"),
            "machine": hashlib.md5(host.encode(), usedforsecurity=False).hexdigest(),
        }
        try:
            name = recording.module(in_data or cmd.encode())
            answers = json.loads(Path(self.get_option("answers")).read_text())
            text = recording.answer(answers, name, {**self.get_option("values"), **own})
        except recording.RecordingError as error:
            raise AnsibleError(str(error)) from error
        # One short write, because other hosts are answered at the same time.
        with Path(self.get_option("calls")).open("a") as calls:
            calls.write(f"{name}\n")
        return 0, text.encode(), b""

    def put_file(self, in_path: Any, out_path: Any) -> NoReturn:
        """Refuse to copy a file to the host."""
        raise AnsibleError(f"a recording takes no file: {in_path} was to become {out_path}")

    def fetch_file(self, in_path: Any, out_path: Any) -> NoReturn:
        """Refuse to copy a file from the host."""
        raise AnsibleError(f"a recording has no file: {in_path} was to become {out_path}")

    def close(self) -> None:
        """End the connection."""
        self._connected = False
