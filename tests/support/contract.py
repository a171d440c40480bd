"""One sequence of calls for the fake systemd and a real one, to compare their answers and effects.

The fake host is only as good as its agreement with systemd. ``follow`` takes a systemd through the sequence and returns
what was seen, step by step, without what differs between any two runs. The fake runs in the test's own process; for
a real systemd this file runs as a program, as root, and prints what it saw.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import systemd, trees
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.layout import Layout

APP = "contract"
GENERATIONS = ("g1", "g2", "g3")
ADDRESS = "127.0.0.1:8990"
OTHER = "127.0.0.1:8991"
# A service changes its behaviour by these files, which have its name; it reads them when it starts.
BEHAVIOUR = Path("/run/behaviour-of-contract")
PROPERTIES = (
    "ActiveState",
    "UnitFileState",
    "Result",
    "MainPID",
    "NRestarts",
    "NeedDaemonReload",
    "StateChangeTimestamp",
)
# Properties of services only.
OF_SERVICES = ("ExecMainCode", "ExecMainStatus", "TasksMax", "MemoryMax", "LimitNOFILE")

TIME = re.compile(r"\w{3} \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \w+")

# The service: it reports that it is ready, and accepts every connection until it is stopped.
PROGRAM = """
import os, select, signal, socket, sys
unit, behaviour = sys.argv[1], sys.argv[2]
print("begins", flush=True)
if os.path.exists(f"{behaviour}/{unit}.refuses"):
    sys.exit(22)
def end(*_):
    print("ends", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN if os.path.exists(f"{behaviour}/{unit}.hangs") else end)
inherited = [socket.socket(fileno=3 + number) for number in range(int(os.environ.get("LISTEN_FDS", "0")))]
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
    notify.connect(os.environ["NOTIFY_SOCKET"].replace("@", "\\0", 1))
    notify.send(b"READY=1")
while True:
    for ready in select.select(inherited, [], [], None)[0]:
        ready.accept()[0].close()
"""

SERVICE = """[Unit]
StartLimitIntervalSec=0
[Service]
Type=notify
ExecStart=/usr/bin/python3 -u {behaviour}/program.py %n {behaviour}
KillMode=mixed
TimeoutStopSec=1
Restart={restart}
RestartSec=10
RuntimeDirectory={runtime}
TasksMax=320
LimitNOFILE=1024
{more}"""
SOCKET = """[Socket]
ListenStream=%i
ReusePort=yes
TriggerLimitIntervalSec=0
[Install]
WantedBy=sockets.target
"""


class World(Protocol):
    """A systemd, and ways to make its services fail and its addresses busy."""

    layout: Layout

    def refuse(self, unit: str) -> None:
        """Make a service exit with status 22 when it is started from now on."""

    def hang(self, unit: str) -> None:
        """Make a service ignore its stop signal after its next start."""

    def crash(self, unit: str) -> None:
        """Kill the main process of a service."""

    def connect(self, address: str) -> None:
        """Connect to an address, and wait for the effect."""

    def occupy(self, address: str) -> None:
        """Listen on an address without sharing it, like another program."""

    def listening(self, address: str) -> int:
        """Return how many sockets listen on an address."""

    def inherited(self, unit: str) -> int:
        """Return how many listening sockets a service has inherited."""


class Journey:
    """A sequence of calls, and what was seen after them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.layout = world.layout
        self.units: list[str] = []
        self._pids: dict[str, list[str]] = {}

    def write(self, name: str, text: str) -> None:
        """Write a unit file or a file of settings, without a daemon-reload."""
        path = self.layout.units / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def remove(self, name: str) -> None:
        """Remove a unit file or a file of settings."""
        (self.layout.units / name).unlink()

    def ask(self, *words: str) -> dict[str, Any]:
        """Call systemctl; return its exit status and its error message."""
        done = systemd._run("systemctl", *words, timeout=60)
        # Its messages about success are not part of the contract.
        return {"status": done.returncode, "complaint": _kind(done.stderr.splitlines()) if done.returncode else []}

    def seen(self, after: str | None) -> dict[str, Any]:
        """Return what systemd and the kernel report of every unit, and the log since a cursor of the journal."""
        return {
            "listed": systemd._states(f"{APP}*"),
            "units": {unit: self._unit(unit, after) for unit in self.units},
            "listening": {address: self.world.listening(address) for address in (ADDRESS, OTHER)},
            "links": sorted(
                str(path.relative_to(self.layout.units)) for path in self.layout.units.glob(f"*.wants/{APP}*")
            ),
        }

    def _unit(self, unit: str, after: str | None) -> dict[str, Any]:
        is_service = unit.endswith(".service")
        found: dict[str, Any] = dict(systemd.show(unit, *PROPERTIES, *(OF_SERVICES if is_service else ())))
        if not found["UnitFileState"]:
            # systemd's default limits, which differ between hosts.
            found = {name: value for name, value in found.items() if name in PROPERTIES}
        # The process ids differ; whether it is still the same process does not.
        pids = self._pids.setdefault(unit, ["0"])
        if pid := found.get("MainPID"):
            if pid not in pids:
                pids.append(pid)
            found["MainPID"] = f"process {pids.index(pid)}"
        found["StateChangeTimestamp"] = TIME.sub("a time", found["StateChangeTimestamp"])
        logged = systemd.logged(unit, 50, after)
        found["systemd says"] = _kind(one.text for one in logged if one.pid == "1")
        if is_service:
            # By unit: each logs at its own pace.
            found["it says"] = [one.text for one in logged if one.pid != "1"]
            found |= {"inherited": self.world.inherited(unit), "runtime directory": self._runtime(unit).is_dir()}
        return found

    def _runtime(self, unit: str) -> Path:
        folder = self.layout.runtime.with_name(unit.partition("@")[0])
        return folder / unit.partition("@")[2].partition(".")[0] if folder == self.layout.runtime else folder


# Differences between kernels, processes and versions of systemd (252 and 257), with their replacements.
KINDS = {
    re.compile(r"Failed to (?:create|receive) (listening socket .*): .*"): r"Failed to create \1",
    re.compile(r"(Failed to listen on sockets): .*"): r"\1",
    re.compile(r"(Killing process) \d+ \(.*\)"): r"\1",
    re.compile(r"Unit (?:file )?(\S+) does not exist\.?"): r"Unit \1 does not exist",
    re.compile(r"Scheduled restart job.*, (restart counter .*)(?:\nStopped .*)?"): r"Restart, \1",
}


def _kind(said: Iterable[str]) -> list[str]:
    """Return lines without the parts that are not part of the contract."""
    text = "\n".join(said)
    for pattern, left in KINDS.items():
        text = pattern.sub(left, text)
    return text.splitlines()


def follow(world: World) -> dict[str, Any]:
    """Take a systemd through the sequence.

    Returns:
        what was seen, by the name of the step.
    """
    journey = Journey(world)
    found: dict[str, Any] = {}
    for name, *calls in steps(journey):
        after = systemd.cursor()
        answers = [call() for call in calls]
        found[name] = {"answers": [answer for answer in answers if answer is not None], **journey.seen(after)}
    return found


def differences(real: Any, fake: Any, where: str = "") -> Iterator[str]:
    """Yield a line for each field in which two journeys differ."""
    if isinstance(real, dict) and isinstance(fake, dict):
        for name in [*real, *(fake.keys() - real.keys())]:
            yield from differences(real.get(name), fake.get(name), f"{where} / {name}" if where else name)
    elif real != fake:
        yield f"{where}: systemd {real}, the fake {fake}"


def steps(journey: Journey) -> Iterator[tuple[Any, ...]]:
    """Yield each step's name, and its calls."""
    world, layout = journey.world, journey.layout
    own, other, spare = (layout.service(name) for name in GENERATIONS)
    relief, canary = layout.relief("g1"), layout.canary("g1")
    listens, beside = layout.socket(ADDRESS), layout.socket(OTHER)
    journey.units = [own, other, spare, relief, canary, listens, beside]
    all_services, install = layout.service("*"), "[Install]\nWantedBy=multi-user.target\n"

    def call(*words: str) -> Callable[[], Any]:
        return lambda: journey.ask(*words)

    def write(name: str, text: str) -> Callable[[], Any]:
        return lambda: journey.write(name, text)

    def remove(name: str) -> Callable[[], Any]:
        return lambda: journey.remove(name)

    def service(name: str, restart: str, runtime: str, more: str = "") -> Callable[[], Any]:
        return write(name, SERVICE.format(behaviour=BEHAVIOUR, restart=restart, runtime=runtime, more=more))

    def starts(socket: str, unit: str) -> Callable[[], Any]:
        return write(f"{socket}.d/generation.conf", f"[Socket]\nService={unit}\n")

    reload = call("daemon-reload")
    yield (
        "a unit without a file is refused", call("start", own), call("stop", own), call("restart", own),
        call("enable", own), call("disable", own), call("start", listens), call("reset-failed", own),
    )  # fmt: skip
    yield "a pattern that matches nothing is not", call("stop", all_services), call("reset-failed", all_services)
    yield (
        "new files are read without a reload",
        service(f"{APP}@.service", "always", f"{APP}/%i", install),
        service(f"{APP}-relief@.service", "no", f"{APP}-relief"),
        service(f"{APP}-canary@.service", "no", f"{APP}-canary"),
        write(f"{APP}@.socket", SOCKET),
        *(write(f"{unit}.d/listen.conf", f"[Service]\nSockets={listens}\n") for unit in (own, other, relief)),
        starts(listens, own), starts(beside, other),
    )  # fmt: skip
    yield "a unit that never ran can be stopped", reload, call("stop", own), call("reset-failed", own)
    yield "a service starts the socket that it names", call("start", own)
    yield "starting what runs changes nothing", call("start", own), call("start", listens)
    yield "two generations share a socket", call("start", other)
    yield "a socket whose service runs is refused", call("start", beside)
    yield "a socket whose service has no file is refused", starts(beside, f"{APP}-x@g1.service"), call("start", beside)
    yield "a socket loads the service that it names", starts(beside, spare), call("start", beside)
    yield "enable makes links", call("--no-reload", "enable", own), call("--no-reload", "enable", listens), reload
    yield "enable is repeatable", call("--no-reload", "enable", own), reload
    yield "disable removes them", call("--no-reload", "disable", own), call("--no-reload", "disable", listens), reload
    yield "disable is repeatable", call("--no-reload", "disable", own), call("--no-reload", "disable", spare)
    yield "a changed file asks for a reload", service(f"{APP}@.service", "always", f"{APP}/%i", f"# new\n{install}")
    yield "changed settings do", reload, write(f"{own}.d/generation.conf", "[Service]\n# new\n")
    yield "a reload loads them", reload
    yield (
        "what is not in memory is read when it starts",
        service(f"{APP}-canary@.service", "no", f"{APP}-canary", "# new\n"),
        write(f"{relief}.d/generation.conf", "[Service]\n# new\n"), call("start", relief), call("start", canary),
    )  # fmt: skip
    yield "removed settings ask for a reload", remove(f"{relief}.d/generation.conf")
    yield "a stop forgets what was loaded", call("stop", relief, canary)
    yield "a restart replaces the process", call("restart", own)
    yield "a stop ends one of two", call("stop", other)
    yield "a restart starts what does not run", call("restart", other), call("stop", other)
    yield "a crash is followed by a restart", lambda: world.refuse(own), lambda: world.crash(own)
    yield "a start waits for that restart", call("start", own)
    yield "a stop ends the restarts", call("stop", own)
    yield (
        "a connection starts a service in vain",
        call("stop", listens), call("start", listens), lambda: world.connect(ADDRESS),
    )  # fmt: skip
    yield (
        "a pattern stops all", call("stop", listens), call("stop", all_services), call("reset-failed", all_services),
    )  # fmt: skip
    yield "a connection starts the service of a socket", call("start", beside), lambda: world.connect(OTHER)
    yield "a connection starts what was stopped", call("stop", spare), lambda: world.connect(OTHER)
    yield "a stop ends several", call("stop", beside, spare)
    yield "a service that is not restarted fails", lambda: world.refuse(canary), call("start", canary)
    yield "a stop leaves it failed", call("stop", layout.canary("*"))
    yield "a reset forgets it", call("reset-failed", layout.canary("*"))
    yield "a crash that no restart follows", call("start", relief), lambda: world.crash(relief)
    yield "a start forgets a crash", call("start", relief), call("stop", relief)
    yield (
        "a service that does not end is killed",
        lambda: world.hang(relief), call("start", relief), call("stop", relief),
    )  # fmt: skip
    yield "a reset of what was killed", call("reset-failed", layout.relief("*")), call("stop", listens)
    yield (
        "an address that another program has",
        lambda: world.occupy(ADDRESS), call("start", listens), call("start", other),
    )  # fmt: skip
    yield "a deaf service is stopped", call("stop", other), call("reset-failed", listens)
    yield (
        "a removed file is unknown after a reload", remove(f"{APP}-relief@.service"), remove(f"{relief}.d/listen.conf"),
        reload, call("start", relief), call("stop", relief), call("stop", layout.relief("*")),
    )  # fmt: skip


class Host:
    """The host on which this program runs."""

    def __init__(self) -> None:
        self.layout = Layout(APP)
        BEHAVIOUR.mkdir()
        (BEHAVIOUR / "program.py").write_text(PROGRAM)

    def refuse(self, unit: str) -> None:
        (BEHAVIOUR / f"{unit}.refuses").touch()

    def hang(self, unit: str) -> None:
        (BEHAVIOUR / f"{unit}.hangs").touch()

    def crash(self, unit: str) -> None:
        os.kill(int(systemd.show(unit, "MainPID")["MainPID"]), signal.SIGKILL)
        while systemd.show(unit, "ActiveState")["ActiveState"] in ("active", "deactivating"):
            time.sleep(0.05)

    def connect(self, address: str) -> None:
        name, _, port = address.partition(":")
        with socket.create_connection((name, int(port)), timeout=10):
            time.sleep(0.5)
            while systemd.systemctl("list-jobs", "--no-legend", f"{APP}*"):
                time.sleep(0.1)

    def occupy(self, address: str) -> None:
        name, _, port = address.partition(":")
        self._other = socket.create_server((name, int(port)))

    def listening(self, address: str) -> int:
        return len(subprocess.check_output(["ss", "-Htln", f"src = {address}"], text=True).splitlines())

    def inherited(self, unit: str) -> int:
        pid = systemd.show(unit, "MainPID").get("MainPID", "0")
        if pid == "0":
            return 0
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        return sum(int(value[11:]) for value in variables if value.startswith(b"LISTEN_FDS="))


def clear() -> None:
    """Remove everything that the sequence creates on the host."""
    layout = Layout(APP)
    patterns = (f"{APP}*.socket", f"{APP}*.service")
    systemd.systemctl("stop", *patterns)
    for path in (*layout.units.glob(f"{APP}*"), *layout.units.glob(f"*.wants/{APP}*"), BEHAVIOUR, layout.runtime):
        trees.remove(path)
    systemd.systemctl("daemon-reload")
    systemd.systemctl("reset-failed", *patterns)


if __name__ == "__main__":
    # From a run that was interrupted.
    clear()
    try:
        print(json.dumps(follow(Host())))
    finally:
        clear()
