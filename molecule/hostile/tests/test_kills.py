"""Deploys are killed at random moments under load: no request fails, and the next run needs no help."""

from __future__ import annotations

import base64
import itertools
import json
import os
import random
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import console
from tests.support.playbook import Playbook
from tests.support.service import APP, UNNEEDED, Service, sample_application
from tests.support.witness import Witness

SEED = int(os.environ.get("FLASKOPS_SEED", "13"))
KILLS = 20 if os.environ.get("FLASKOPS_FULL") else 8
# On a busy machine as many as fit in this time, at least one of each kind.
BUDGET_S = 1200 if KILLS > 8 else 240
# A host that was reset boots and answers within this time; a module that waits for a dead host ends within this time.
SOON_S = 120

pytestmark = [pytest.mark.timeout(BUDGET_S + 1200), pytest.mark.full]

# Kills the running module and its children, and prints its name. With pipelining a module has no file: it is a child
# of the shell that Ansible started with sudo.
KILL_MODULE = """
import os, pathlib, signal, sys, time

def processes():
    found = {}
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            parent = (path / "stat").read_text().rpartition(")")[2].split()[1]
            found[int(path.name)] = (int(parent), (path / "cmdline").read_bytes())
        except OSError:
            pass
    return found

deadline = time.monotonic() + float(sys.argv[1])
while time.monotonic() < deadline:
    seen = processes()
    doomed = {pid for pid, (_, line) in seen.items() if b"BECOME-SUCCESS" in line and pid != os.getpid()}
    modules = set()
    while new := {pid for pid, (parent, _) in seen.items() if parent in doomed} - doomed:
        doomed |= new
        modules |= {pid for pid in new if b"BECOME-SUCCESS" not in seen[pid][1]}
    if modules:
        for pid in sorted(doomed, reverse=True):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        print(len(modules), "processes")
        sys.exit()
    time.sleep(0.01)
print("nothing")
"""


class Host(Service):
    """The host, its service and its operator."""

    def __init__(self, host: Any, folder: Path) -> None:
        super().__init__(host)
        self._folder = folder
        self._numbers = itertools.count()
        self.hostname = str(host.backend.get_hostname())
        self.playbook = type("HostPlaybook", (Playbook,), {"host": self.hostname})

    def release(self) -> str:
        """Return a new release of the sample application."""
        number = next(self._numbers)
        return str(sample_application(self._folder / str(number), f"\n# release {number}\n"))

    def deploy(self, source: str, mode: str, **more: Any) -> Playbook:
        """Start to deploy a release."""
        values = more | {
            "mode": mode,
            "flask_uwsgi_source": source,
            "flask_uwsgi_threads": 8,
            "flask_uwsgi_canary_seconds": 0.5,
            "flask_uwsgi_stop_timeout": 10,
            "flask_uwsgi_pre_activate": ["sleep 0.5"],
            "flask_uwsgi_post_activate": ["sleep 0.5"],
        }
        return self.playbook("deploy", "-e", json.dumps(values))

    def drift(self) -> list[str]:
        """Return the drift that the status playbook reports."""
        folder = self._folder / "status"
        variables = json.dumps({"flask_uwsgi_status_output": "json", "flask_uwsgi_status_dir": str(folder)})
        self.playbook("status", "-e", variables).succeeded()
        found: list[str] = json.loads((folder / "status.json").read_text())[self.hostname]["drift"]
        return found

    def reservation(self) -> str:
        """Return who has the application reserved; empty after a boot."""
        return self.run(f"cat /run/{APP}.deploy 2>/dev/null || test ! -e /run/{APP}.deploy")

    def units(self) -> list[str]:
        """Return the units of the application that are active or failed."""
        listed = self.run(f"systemctl list-units --plain --no-legend '{APP}*' | awk '{{print $1, $3}}'")
        return sorted(line for line in listed.splitlines() if not line.startswith("system-"))

    def left_on_disk(self) -> str:
        """Return files that no kept generation needs."""
        return self.run(
            f"cd /opt/{APP};"
            " ls -d .*.partial */.*.partial */*/.*.partial */.*.wheels 2>/dev/null;"
            f"{UNNEEDED}"
            " for name in venvs/*; do test -f $name/.complete || echo $name; done;"
            f" ls -d /etc/systemd/system/{APP}-check@* /etc/systemd/system/{APP}-pre@* /etc/systemd/system/{APP}-post@*"
            f" /run/{APP}-canary /run/{APP}-relief /run/{APP}-check /run/{APP}-pre /run/{APP}-post 2>/dev/null;"
            " true"
        )

    def whole(self) -> None:
        """Assert that one generation serves, that everything names it, and that nothing else is left."""
        generation = self.generation
        assert self.units() == [
            f"{APP}@{address} active" for address in ("0.0.0.0:8040.socket", f"{generation}.service")
        ]
        assert self.run(f"cat /run/{APP}/{APP}.pid") == str(self.master) != "0"
        assert self.left_on_disk() == ""
        # The application is not reserved.
        assert self.reservation() == ""
        assert self.drift() == []


@pytest.fixture(scope="module")
def site(host: Any, tmp_path_factory: pytest.TempPathFactory) -> Host:
    return Host(host, tmp_path_factory.mktemp("kills"))


def kill_module(site: Host, deploy: Playbook) -> str:
    script = base64.b64encode(KILL_MODULE.encode()).decode()
    found = site.run(f"echo {script} | base64 -d > /run/kill-module.py && python3 /run/kill-module.py 10")
    # Ansible notices that its module is gone, releases what it can, and fails.
    deploy.end(SOON_S)
    return f"module ({found})"


def kill_controller(site: Host, deploy: Playbook) -> str:
    deploy.kill()
    return "controller"


def kill_host(site: Host, deploy: Playbook) -> str:
    console.power("reset", site.hostname)
    # Otherwise it would wait for an answer that never comes.
    deploy.kill()
    return "host"


WAYS: tuple[Callable[[Host, Playbook], str], ...] = (kill_module, kill_controller, kill_host)


def test_deploys_killed_at_random_moments_lose_no_request_and_the_next_one_needs_no_help(
    site: Host, witness: Witness
) -> None:
    chance = random.Random(SEED)
    print(f"FLASKOPS_SEED={SEED}, {KILLS} kills")
    began = time.monotonic()
    site.deploy(site.release(), "gevent").succeeded()
    # How long a deploy takes on this machine.
    usual = time.monotonic() - began
    site.whole()
    for number in range(KILLS):
        if number >= len(WAYS) and time.monotonic() - began > BUDGET_S:
            print(f"{KILLS - number} kills are left out: this machine is too busy")
            break
        way = WAYS[number % len(WAYS)]
        mode = ("gevent", "threads")[number // len(WAYS) % 2]
        source, after = site.release(), chance.uniform(0.1, 1.0) * usual
        before = site.generation
        with witness.window(f"kill {number}", steady=0.5) as window:
            deploy = site.deploy(source, mode)
            time.sleep(after)
            task = deploy.task
            killed = time.monotonic()
            what = way(site, deploy)
            again = site.deploy(source, mode).succeeded()
            deploy.bury()
            site.whole()
        report = window.report()
        print(f"{number}: {what} killed after {after:.1f} of {usual:.1f} s at {task!r}; {report.describe()}")
        assert report.answered, "no request was answered"
        now = site.generation
        assert now != before and {name.split()[0] for name in report.answered} <= {before, now}
        if way is kill_host:
            # Requests in flight when the power was cut, and those sent before the host listened again.
            back = booted(site, killed)
            late = [one for one in witness.samples_before(time.monotonic()) if one.failure and one.begun > back]
            assert late == [], late
        else:
            assert report.failures == {}, report.examples
        assert re.search(r"failed=0", again.output)


FOREIGN = """
import json, pathlib, sys
path = pathlib.Path(sys.argv[1])
if text := path.read_text():
    # Where it is: a module that is at work has this file locked.
    path.write_text(json.dumps({**json.loads(text), "home": "another controller"}))
"""


def kill_after(deploy: Playbook, tasks: int) -> str:
    """Kill a deploy, but not its module, after so many of its tasks have begun; return the task's name."""
    while deploy.process.poll() is None and deploy.tasks < tasks:
        time.sleep(0.02)
    task = deploy.task
    deploy.kill()
    return task


# Of the tasks of a deploy, of which the last ones follow the swap, which gives the reservation back.
@pytest.mark.parametrize("share", [0.4, 0.5, 0.6, 0.7, 0.8])
def test_deploys_of_two_controllers_killed_one_after_the_other_lose_no_request(
    site: Host, witness: Witness, share: float
) -> None:
    def from_elsewhere() -> None:
        site.run(f"python3 -c '{FOREIGN}' /run/{APP}.deploy")

    usual = site.deploy(site.release(), "gevent").succeeded().tasks
    first, second = site.release(), site.release()
    with witness.window(f"two controllers, {share:.0%}", steady=0.5) as window:
        one = site.deploy(first, "gevent")
        tasks = [kill_after(one, int(share * usual))]
        reserved = bool(site.reservation())
        from_elsewhere()
        # It cannot be known of a run elsewhere that it was killed.
        refused = site.deploy(second, "gevent").end() if reserved else None
        other = site.deploy(second, "gevent", flask_uwsgi_break_lock=True)
        tasks.append(kill_after(other, int(share * usual)))
        from_elsewhere()
        site.deploy(first, "gevent", flask_uwsgi_break_lock=True).succeeded()
        for deploy in (one, other):
            deploy.bury()
        site.whole()
    report = window.report()
    print(f"two controllers killed at {tasks}; {report.describe()}")
    assert reserved, tasks
    assert refused is not None and refused.process.returncode != 0
    assert "is being changed on this host: deploy by" in refused.said or "reserved" in refused.said, refused.output
    assert report.failures == {}, report.examples


def booted(site: Host, killed: float) -> float:
    """Return when the host's socket was open again after its power was cut, by the clock of this machine."""
    opened = int(
        site.run(f"systemctl show '{APP}@0.0.0.0:8040.socket' --property=ActiveEnterTimestampMonotonic --value")
    )
    # Containers share the machine's clock.
    assert opened / 1e6 > killed
    return opened / 1e6
