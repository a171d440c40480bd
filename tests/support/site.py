"""The host under attack: its operator, whose operations have time limits, and the accounts that attack it."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from tests.support import ROOT, listing
from tests.support.playbook import PLAIN, inventories
from tests.support.service import APP, Service, sample_application

HOST = "mol-hostile"
# What makes a release of the sample application hostile.
RELEASE = ROOT / "molecule" / "hostile" / "tests"
# The path of the attackers' tools on the host, and what only root may read.
TOOLS = "/var/tmp/hostile"
CANARY = "/etc/hostile-canary"
SECRET = "what only root may read"
# What an operator must never see: Python's tracebacks, and control characters other than line breaks and tabs.
NEVER_SAID = re.compile(
    r"Traceback \(most recent|MODULE FAILURE|MODULE_STDERR|unexpected exception|KeyError|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)


@dataclass
class Operation:
    """A playbook that has ended, successfully or not."""

    playbook: str
    status: int
    output: str
    seconds: float

    @property
    def said(self) -> str:
        """The output as one line."""
        return " ".join(self.output.split())

    def succeeded(self) -> Operation:
        """Assert that it succeeded."""
        assert self.status == 0, self.output[-8000:]
        return self

    def refused(self, *reasons: str) -> Operation:
        """Assert that it failed with these reasons."""
        assert self.status != 0, self.output[-8000:]
        for reason in reasons:
            assert re.search(reason, self.said), f"{reason!r} is not in: {self.output[-8000:]}"
        return self


class Site(Service):
    """The host under attack, its service, its operator and the attackers' accounts."""

    def __init__(self, host: Any, folder: Path) -> None:
        super().__init__(host)
        self.folder = folder
        self._numbers = itertools.count()
        self._attacks = itertools.count()
        self.source = self.release()

    # The operator.

    def release(self) -> str:
        """Return a new hostile release of the sample application."""
        number = next(self._numbers)
        code = f"\nimport app_hostile\n\napp.register_blueprint(app_hostile.blueprint)\n# release {number}\n"
        copy = sample_application(self.folder / str(number), code)
        for name in ("app_hostile.py", "app_ran.py"):
            shutil.copy(RELEASE / name, copy)
        # Run by every Python that has the release on its path.
        shutil.copy(RELEASE / "app_ran.py", copy / "sitecustomize.py")
        return str(copy)

    def operate(self, playbook: str, *arguments: str, within: float, **values: Any) -> Operation:
        """Run a playbook, and assert that it ends within its limit and prints nothing that it must not.

        Args:
            playbook: its name.
            arguments: further arguments of the command line.
            within: the limit in seconds.
            values: variables.
        """
        chosen = {
            "flask_uwsgi_source": self.source,
            "flask_uwsgi_environment": {"APP_WAIT_SECONDS": 0.5},
            "flask_uwsgi_canary_seconds": 0.5,
            "flask_uwsgi_stop_timeout": 10,
            "flask_uwsgi_health_timeout": 10,
            "flask_uwsgi_start_timeout": 20,
            "flask_uwsgi_threads": 64,
        } | values
        command = ["ansible-playbook", f"playbooks/{playbook}.yml", "--extra-vars", json.dumps(chosen), *arguments]
        command += inventories()
        began = time.monotonic()
        with subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            errors="surrogateescape",
            env={**os.environ, **PLAIN},
            # A process group of its own, which can be killed as a whole.
            start_new_session=True,
        ) as process:
            try:
                output, _ = process.communicate(timeout=within)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                hung = self.kill_modules()
                raise AssertionError(f"{playbook} has not ended within {within:g} s; on the host: {hung}") from None
        found = Operation(playbook, process.returncode, output, time.monotonic() - began)
        print(f"{playbook}: status {found.status} after {found.seconds:.1f} s")
        assert (said := NEVER_SAID.search(output)) is None, f"{said} in {output[-8000:]!r}"
        assert SECRET not in output
        return found

    def deploy(self, *arguments: str, within: float = 180, **values: Any) -> Operation:
        """Deploy the site's release."""
        return self.operate("deploy", *arguments, within=within, **values)

    def drift(self) -> list[str]:
        """Return the drift that the status playbook reports."""
        folder = self.folder / "status"
        settings = {"flask_uwsgi_status_output": "json", "flask_uwsgi_status_dir": str(folder)}
        self.operate("status", within=60, **settings).succeeded()
        found: list[str] = json.loads((folder / "status.json").read_text())[HOST]["drift"]
        return found

    def kill_modules(self) -> str:
        """End the modules that an operator's Ansible left behind on the host, and return their names."""
        return self.run(
            # With pipelining a module has no file, and its process no other name.
            "for pid in $(cd /proc; ls -d [0-9]*); do"
            " if test \"$(tr '\\0' ' ' 2>/dev/null < /proc/$pid/cmdline)\" = '/usr/bin/python3 ';"
            " then echo $pid: $(cat /proc/$pid/wchan) $(readlink /proc/$pid/fd/* | grep ^/run); kill -9 $pid; fi; done"
        )

    # The host.

    def serving(self) -> list[str]:
        """Return the units of the application that are active or failed, without its socket."""
        units = self.run(f"systemctl list-units --plain --no-legend '{APP}*.service' | awk '{{print $1, $3}}'")
        # A stop that timed out leaves its unit failed, with no process.
        return [unit for unit in units.splitlines() if not unit.endswith(" failed")]

    def alone(self) -> None:
        """Assert that the current generation serves, and that nothing else is active."""
        assert self.serving() == [f"{APP}@{self.generation}.service active"]

    def listing(self) -> dict[str, str]:
        """Return the whole host: types, owners, modes, links, and the content of /etc."""
        return listing.read(self.run(f"python3 {TOOLS}/scan.py"))

    # The attackers.

    def inside(self, code: str) -> str:
        """Run Python within the service, and return its output."""
        return requests.post(f"{self.url}/hostile/run", data=code, timeout=60).text

    @contextlib.contextmanager
    def attack(self, *command: str, account: str = APP) -> Iterator[str]:
        """Let an account of the host attack in the background, in a process outside the service's unit.

        Yields:
            the unit of the attack.
        """
        unit = f"attack-{next(self._attacks)}"
        words = " ".join(f"'{word}'" for word in command)
        self.run(f"systemd-run --quiet --unit={unit} --uid={account} {words}")
        try:
            yield unit
        finally:
            self.run(f"systemctl stop {unit} 2>/dev/null || test ! -e /run/systemd/transient/{unit}.service")

    @contextlib.contextmanager
    def planted(self, kind: str, *options: str) -> Iterator[None]:
        """Let the service's account plant something in its runtime directories (see tests/support)."""
        with self.attack("/usr/bin/python3", f"{TOOLS}/attacker.py", kind, APP, *options):
            # Long enough for the first round.
            time.sleep(0.5)
            yield
