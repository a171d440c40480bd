"""Callback: run a command before a playbook begins a task. The playbook waits for the command."""

from __future__ import annotations

import os
import subprocess
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: interruption
type: aggregate
short_description: Run a command before a task
author: The flaskops maintainers (!UNKNOWN)
description:
  - Runs C($INTERRUPTION_COMMAND) when the task C($INTERRUPTION_TASK) begins for the C($INTERRUPTION_TIME)-th time.
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Named as Ansible requires."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "interruption"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._waits = int(os.environ["INTERRUPTION_TIME"])

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """Run the command if this is the chosen task."""
        if task.get_name().rpartition(" : ")[2] != os.environ["INTERRUPTION_TASK"]:
            return
        self._waits -= 1
        if self._waits == 0:
            command = os.environ["INTERRUPTION_COMMAND"]
            # Ansible has closed its standard input.
            done = subprocess.run(command, shell=True, stdin=subprocess.DEVNULL, capture_output=True, check=False)
            self._display.display("INTERRUPTED")
            if done.returncode:
                # Ansible would turn an exception into a warning.
                raise SystemExit(f"{command}: {done.stderr.decode()}")
