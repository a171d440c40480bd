"""A playbook that runs in the background of a test and can be killed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any, ClassVar, Self

from tests.support import ROOT

# Readable output, whatever the terminal: every task with its result.
PLAIN = {"ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1", "ANSIBLE_STDOUT_CALLBACK": "flaskops.uwsgi.plain"}


def inventories() -> list[str]:
    """Return the arguments that name the scenario's variables and hosts."""
    folder = Path(os.environ["MOLECULE_INVENTORY_FILE"]).parent
    return ["--inventory", str(folder), "--inventory", os.environ["SANDBOX_INVENTORY"]]


def variables(**values: Any) -> list[str]:
    """Return the arguments that set variables."""
    return ["--extra-vars", json.dumps(values)]


class Playbook:
    """A playbook that runs in the background against a host of the scenario.

    Args:
        playbook: its name.
        arguments: further arguments of the command line.
    """

    host: ClassVar[str]
    _begun: ClassVar[list[Playbook]] = []

    def __init__(self, playbook: str, *arguments: str) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [
                *("ansible-playbook", f"playbooks/{playbook}.yml", f"--limit={self.host}"),
                *inventories(),
                *arguments,
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={
                **os.environ,
                **PLAIN,
                # Otherwise a task is printed when it has ended.
                "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "1",
            },
            # A process group of its own, which can be killed as a whole.
            start_new_session=True,
        )
        self._begun.append(self)
        self._workers: list[int] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        self.lines.extend(iter(self.process.stdout.readline, ""))

    @property
    def output(self) -> str:
        """The output so far."""
        return "".join(self.lines)

    @property
    def said(self) -> str:
        """The output as one line."""
        return " ".join(self.output.split())

    @property
    def task(self) -> str:
        """The name of the task that began last."""
        return next(iter(re.findall(r"^TASK \[(?:.* : )?(.*)\]", self.output, re.M)[-1:]), "")

    @property
    def tasks(self) -> int:
        """The number of tasks that have begun."""
        return len(re.findall(r"^TASK \[", self.output, re.M))

    def reached(self, task: str) -> bool:
        """Return whether a task has begun."""
        assert self.process.poll() is None, self.output
        return re.search(rf"^TASK \[(.* : )?{task}\]", self.output, re.M) is not None

    def kill(self) -> None:
        """Kill it like its terminal would; a worker of Ansible, in its own session, still completes its task."""
        with contextlib.suppress(FileNotFoundError):
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
            self._workers = [int(pid) for pid in children.read_text().split()]
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def bury(self) -> None:
        """End the workers, which could wait forever for their results to be read."""
        for pid in self._workers:
            with contextlib.suppress(OSError):
                if f"--limit={self.host}" in Path(f"/proc/{pid}/cmdline").read_text():
                    os.kill(pid, signal.SIGKILL)

    @classmethod
    def end_all(cls) -> None:
        """End those that a failed test has left: they would change the hosts under the next one."""
        while cls._begun:
            run = cls._begun.pop()
            if run.process.poll() is None:
                run.kill()
                run.bury()

    def end(self, seconds: float | None = None) -> Self:
        """Wait until it has ended.

        Raises:
            subprocess.TimeoutExpired: it has not ended within that many seconds.
        """
        self.process.wait(seconds)
        self._reader.join()
        return self

    def succeeded(self) -> Self:
        """Wait until it has ended, and assert that it succeeded."""
        self.end()
        assert self.process.returncode == 0, self.output
        return self
