"""A host in memory: systemd, its journal, the kernel's sockets and uWSGI's health, as a swap sees them.

It answers the command lines that ``module_utils.host.systemd`` runs, and behaves like systemd. ``contract`` defines
for which calls, and a test of the scenario life compares it with a real systemd:

- a unit in memory is as it was when it was loaded, or at the last daemon-reload; any other is read when it is needed;
- a socket opens a descriptor of its own beside others of the same address, if all of them have ReusePort;
- a socket refuses to start while the service that it names runs;
- a service inherits, when it starts, the descriptor of every socket that it names (``Sockets=``) or that names it;
- a connection that no process accepts starts the service that the socket names, also right after a stop of that one;
- a service with ``Restart=always`` that cannot start is restarted forever;
- units that run, have failed or wait for a restart are in memory, and so are the units that they name;
- ``disable`` fails where there is neither a unit file nor a link, ``stop`` for a name that no unit file has,
  ``reset-failed`` for one that is not in memory; none of them fails for a pattern.
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import systemd
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.address import instance, of_instance
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.layout import Layout
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.untrusted import UntrustedError
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release import credentials
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release import generation as gen
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic import sockets, swap

ADDRESS = "0.0.0.0:8040"
# Two runs, as a reservation names them.
US = {"who": "us@controller", "home": "controller", "pid": 6, "start": "1", "since": "now", "what": "deploy"}
THEM = {"who": "them@controller", "home": "controller", "pid": 7, "start": "2", "since": "then", "what": "deploy"}
# The characters that make an argument of systemctl a pattern.
PATTERN = re.compile(r"[*?[]")
# A systemd-creds that encrypts, and decrypts only under the same name, while it has a key.
CREDS = """#!/bin/sh
test -f "$0.key" || { echo "no key" >&2; exit 1; }
case $1 in
    encrypt) echo "$3" && exec base64 ;;
    decrypt) read -r name && test "$name" = "$2" && exec base64 -d ;;
esac
exit 1
"""


@dataclass(frozen=True)
class TemporaryLayout(Layout):
    """A layout whose every path is below one directory."""

    top: Path = Path("/nonexistent")

    @classmethod
    def below(cls, top: Path, app: str) -> TemporaryLayout:
        """Return the layout, with the directories that the role creates before a swap."""
        layout = cls(app, top / "opt", top)
        for folder in (layout.releases, layout.venvs, layout.generations, layout.units, layout.sysctl.parent):
            folder.mkdir(parents=True)
        layout.runtime.parent.mkdir()
        layout.volatile_units.mkdir()
        return layout

    @property
    def runtime(self) -> Path:
        return self.top / "run" / self.app

    @property
    def lock(self) -> Path:
        return self.top / "lock" / f"{self.app}.deploy"

    @property
    def trial(self) -> Path:
        return self.top / "run" / f"{self.app}.trial"

    @property
    def tried(self) -> Path:
        return self.top / "run" / f"{self.app}.tried"

    @property
    def volatile_units(self) -> Path:
        return self.top / "run" / "systemd"

    @property
    def sysctl(self) -> Path:
        return self.top / "sysctl.d" / f"60-{self.app}.conf"

    @property
    def units(self) -> Path:
        return self.top / "units"

    @property
    def unit_folders(self) -> tuple[Path, ...]:
        return (self.units, self.top / "usr-lib-units")

    @property
    def mark(self) -> Path:
        return self.top / "var" / "lib" / "flaskops" / f"{self.app}.json"

    @property
    def data(self) -> tuple[Path, ...]:
        return tuple(self.top / "var" / name / self.app for name in ("lib", "cache", "log"))


class Event(NamedTuple):
    """A request to systemd or uWSGI, and what the pointers named at that moment."""

    what: str
    current: str | None
    pidfile: str | None


class Descriptor:
    """A listening socket of the kernel; every process that inherits it accepts from the same queue."""

    def __init__(self, address: str) -> None:
        self.address = address


@dataclass
class Record:
    """What systemd records about the last run of a unit in memory.

    Args:
        result: systemd's name for how it ended.
        code: SIGCHLD's code of the main process's end, 0 for none.
        status: its exit status, or the signal that killed it.
        restarts: how often systemd has started it by itself.
        changed: whether its state has changed since it came into memory.
    """

    result: str = "success"
    code: int = 0
    status: int = 0
    restarts: int = 0
    changed: bool = False

    def end(self, result: str = "success", code: int = 0, status: int = 0) -> None:
        """Record how a run ended; without arguments, that one begins."""
        self.result, self.code, self.status, self.changed = result, code, status, True


class Clock:
    """Time that passes only during a sleep."""

    def __init__(self) -> None:
        self.now = 0.0
        # Called after each sleep.
        self.tick: Callable[[], object] = lambda: None

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.tick()


class FakeHost:
    """See the module.

    Args:
        layout: the application's paths.
        monkeypatch: replaces the real functions with the fake.
    """

    def __init__(self, layout: TemporaryLayout, monkeypatch: pytest.MonkeyPatch) -> None:
        self.layout = layout
        self.clock = Clock()
        self.events: list[Event] = []
        # Running units, with their main process; a socket has none.
        self.active: dict[str, int] = {}
        self.failed: set[str] = set()
        # Services that wait for a restart.
        self.crashing: set[str] = set()
        # Services that systemd kills when they are stopped, and what each service logs while it is stopped.
        self.timed_out: set[str] = set()
        self.farewell: dict[str, list[str]] = {}
        # Units that systemd cannot start, and instances that answer their health check with a problem: `new`,
        # or only one kind of it, `shop-relief/new`.
        self.refused: set[str] = set()
        self.sick: dict[str, str] = {}
        self.log: dict[str, list[str]] = {}
        # How often each instance had to restart a worker, by the path of its stats.
        self.respawned: dict[Path, int] = {}
        # What systemd holds open, by unit, and what each service inherited.
        self.open: dict[str, Descriptor] = {}
        # Addresses on which another program listens without sharing.
        self.taken: set[str] = set()
        self.inherited: dict[str, list[Descriptor]] = {}
        # Addresses to which a client connects after every event, and when no process accepted the connection.
        self.clients: set[str] = set()
        self.waited: list[str] = []
        # By unit, process and text.
        self._journal: list[tuple[str, int, str]] = [("other.service", 1, "logged before")]
        # The settings of what systemd holds in memory, None where there is no unit file, and how its last run went.
        self._loaded: dict[str, str | None] = {}
        self._records: dict[str, Record] = {}
        self._pid = 1000
        monkeypatch.setattr(systemd, "_run", self._run)
        monkeypatch.setattr(swap, "await_health", self._await_health)
        monkeypatch.setattr(swap, "respawns", self._respawns)
        monkeypatch.setattr(swap, "time", self.clock)
        monkeypatch.setattr(sockets, "listening", lambda address: bool(self.listeners(address)))

    # What a test reads.

    @property
    def actions(self) -> list[str]:
        """Everything that was requested, in order, without read-only calls."""
        return [event.what for event in self.events]

    def event(self, what: str) -> Event:
        """Return the first event with that name."""
        return next(event for event in self.events if event.what == what)

    def descriptors(self, address: str = ADDRESS) -> set[Descriptor]:
        """Return the listening sockets of an address, whoever holds them."""
        held = [*self.open.values(), *(one for inherited in self.inherited.values() for one in inherited)]
        return {descriptor for descriptor in held if descriptor.address == address}

    def listeners(self, address: str) -> int:
        """Return how many sockets listen on an address, including those of another program."""
        return len(self.descriptors(address)) + (address in self.taken)

    def answering(self, address: str = ADDRESS) -> set[str]:
        """Return the generations that accept connections on an address."""
        return {
            self._instance(unit)
            for unit, inherited in self.inherited.items()
            if any(descriptor.address == address for descriptor in inherited)
        }

    def running(self) -> set[str]:
        """Return the generations that run, without canaries and reliefs."""
        return {self._instance(unit) for unit in self.active if fnmatch.fnmatch(unit, self.layout.service("*"))}

    def sockets(self) -> set[str]:
        """Return the addresses whose sockets are active."""
        return {of_instance(self._instance(unit)) for unit in self.active if unit.endswith(".socket")}

    def enabled(self) -> set[str]:
        """Return the units that start at boot."""
        return {path.name for path in self.layout.units.glob("*.wants/*")}

    def unit_files(self) -> dict[str, str]:
        """Return every file below the unit directory with its content."""
        return {str(path.relative_to(self.layout.top)): text for path, text in self._files().items()}

    def pidfile_pid(self) -> int | None:
        """Return the process id in the application's pidfile."""
        return int(self.layout.pidfile.read_text()) if self.layout.pidfile.exists() else None

    def everything(self) -> tuple[Any, ...]:
        """Return everything that a failure must leave unchanged."""
        inherited = {unit: tuple(descriptors) for unit, descriptors in self.inherited.items()}
        state = (dict(self.active), set(self.crashing), dict(self.open), inherited)
        return (self.unit_files(), self.enabled(), *state, self.pidfile_pid(), self.layout.current_generation())

    # What a test arranges.

    def serve(self, name: str, **more: Any) -> None:
        """Write a generation and swap to it, without recording events."""
        write_generation(self.layout, name, **more)
        swap.Swap(self.layout, name).run()
        self.events.clear()

    def systemctl(self, *arguments: str) -> str:
        """Run systemctl as an operator does by hand."""
        return self._systemctl(*arguments)

    def crash(self, unit: str) -> None:
        """End a service like a kill -9 of its master, before it is restarted."""
        self._killed(unit, "signal")
        self._clear(unit)
        (self.crashing if self._always(unit) else self.failed).add(unit)

    def write(self, unit: str, line: str) -> None:
        """Log a line of a unit's process."""
        self._print(unit, self.active.get(unit, self._pid), {unit: [line]})

    def meet(self, address: str) -> None:
        """Connect to an address, like a client."""
        self.clients.add(address)
        self._connect("a client came")
        self.clients.discard(address)

    def lose_descriptor(self, address: str = ADDRESS) -> None:
        """Close a socket's descriptor behind systemd's back, so that the service started since cannot accept."""
        lost = self.open.pop(self.layout.socket(address))
        for inherited in self.inherited.values():
            if lost in inherited:
                inherited.remove(lost)

    # What the code under test calls.

    def _await_health(self, path: Path, target: str, *_: Any) -> str | None:
        # In the directory of its generation, or in that of its unit kind.
        kind = self.layout.app if path.parent.name == path.stem else path.parent.name
        instance = f"{kind}/{path.stem}"
        self._note(f"health {instance}")
        if not path.is_socket():
            return f"GET {target} got no answer: nobody listens"
        return self.sick.get(instance) or self.sick.get(path.stem)

    def _respawns(self, path: Path) -> int:
        if not path.is_socket():
            raise UntrustedError(path, "No such file or directory")
        return self.respawned.get(path, 0)

    def _run(self, *command: str, timeout: float) -> subprocess.CompletedProcess[str]:
        assert timeout > 0
        try:
            output = {"journalctl": self._journalctl, "systemctl": self._systemctl}[command[0]](*command[1:])
        except RefusedError as error:
            return subprocess.CompletedProcess(command, error.status, "", str(error))
        return subprocess.CompletedProcess(command, 0, output, "")

    def _journalctl(self, *arguments: str) -> str:
        words = list(arguments)
        options = {word.partition("=")[0]: word.partition("=")[2] for word in words if "=" in word}
        limit = int(options["--lines"])
        if "--show-cursor" in words:
            return "".join(f"{text}\n" for *_, text in self._journal[-limit:]) + f"-- cursor: {self._cursor()}\n"
        assert (options["--output"], "--reverse" in words) == ("json", True)
        unit = words[words.index("--unit") + 1]
        self._note(f"journal of {unit}")
        matching = [(at, pid, text) for at, (by, pid, text) in enumerate(self._journal) if by == unit][-limit:]
        records = (
            {
                "__REALTIME_TIMESTAMP": str(at),
                "__CURSOR": f"s=1;i={at:x};b=1;m={at:x}",
                "_PID": str(pid),
                "MESSAGE": text,
            }
            for at, pid, text in reversed(matching)
        )
        return "".join(f"{json.dumps(record)}\n" for record in records)

    def _cursor(self) -> str:
        return f"s=1;i={len(self._journal) - 1:x};b=1;m=0"

    def _systemctl(self, *arguments: str) -> str:
        verb, *words = (word for word in arguments if not word.startswith("--"))
        # A test can have ended a running unit.
        self._collect()
        if verb == "show":
            known = self._properties(words[0])
            wanted = [word.removeprefix("--property=") for word in arguments if word.startswith("--property=")]
            return "".join(f"{name}={known[name]}\n" for name in wanted if name in known)
        if verb == "list-units":
            units = sorted(self._in_memory())
            return "".join(
                f"{unit} loaded {self._state(unit)} x a description of words\n"
                for unit in units
                if any(fnmatch.fnmatch(unit, pattern) for pattern in words)
            )
        self._note(" ".join((verb, *words)))
        verbs: dict[str, Callable[..., None]] = {
            "daemon-reload": self._daemon_reload,
            "start": self._start_all,
            "stop": self._stop,
            "restart": self._restart,
            "reset-failed": self._reset_failed,
            "enable": self._enable,
            "disable": self._disable,
        }
        try:
            verbs[verb](*words)
        finally:
            self._connect(" ".join((verb, *words)))
            self._collect()
        return ""

    def _properties(self, unit: str) -> dict[str, str]:
        text = self._text(unit)
        installable = "[Install]" in (text or "")
        enabled = self._wants(unit).is_symlink()
        record = self._record(unit)
        common = {
            "ActiveState": self._state(unit),
            "UnitFileState": "" if text is None else "enabled" if enabled else "disabled" if installable else "static",
            "Result": record.result,
            "StateChangeTimestamp": "Tue 2026-11-24 06:40:46 UTC" if record.changed else "",
            "NeedDaemonReload": "yes" if text is not None and text != self._stored(unit) else "no",
        }
        if unit.endswith(".socket"):
            return common
        return common | {
            "MainPID": str(self.active.get(unit, 0)),
            "NRestarts": str(record.restarts),
            "ExecMainCode": str(record.code),
            "ExecMainStatus": str(record.status),
            "TasksMax": "320",
            "MemoryMax": "infinity",
            "LimitNOFILE": "1024",
        }

    def _state(self, unit: str) -> str:
        if unit in self.active:
            return "active"
        return "activating" if unit in self.crashing else "failed" if unit in self.failed else "inactive"

    def _in_memory(self) -> set[str]:
        found: set[str] = set()
        named = {*self.active, *self.failed, *self.crashing}
        while named:
            found |= named
            named = {
                name for unit in named for name in (*self._named_sockets(unit), self._starts(unit)) if name
            } - found
        return found

    def _collect(self) -> None:
        """Load the units that have come into memory, and forget those that are no longer needed."""
        units = self._in_memory()
        self._loaded = {unit: self._text(unit) for unit in units}
        self._records = {unit: record for unit, record in self._records.items() if unit in units}

    def _record(self, unit: str) -> Record:
        return self._records.setdefault(unit, Record())

    def _daemon_reload(self) -> None:
        self._loaded = {unit: self._stored(unit) for unit in self._loaded}
        for unit in self._loaded:
            self._record(unit).changed = True

    def _files(self) -> dict[Path, str]:
        folders = (self.layout.units, self.layout.volatile_units)
        found = (path for folder in folders for path in folder.rglob("*"))
        return {path: path.read_text() for path in found if path.is_file() and not path.is_symlink()}

    # Starting.

    def _start_all(self, *units: str) -> None:
        for unit in units:
            self._start(unit)

    def _start(self, unit: str) -> None:
        if self._text(unit) is None:
            raise RefusedError(f"Failed to start {unit}: Unit {unit} not found.", 5)
        if unit in self.active:
            return
        self.failed.discard(unit)
        if unit.endswith(".socket"):
            self._open(unit)
        else:
            self._run_service(unit)

    def _open(self, unit: str) -> None:
        address = of_instance(self._instance(unit))
        text = self._text(unit) or ""
        assert ("ListenStream=%i\n" if address == self._instance(unit) else f"ListenStream={address}\n") in text, text
        starts = self._starts(unit)
        if self._text(starts) is None:
            self._deny(unit, f"Socket service {starts} not loaded, refusing.")
        if starts in self.active:
            self._deny(unit, f"Socket service {starts} already active, refusing.")
        if address in self.taken or (self.descriptors(address) and "ReusePort=yes" not in text):
            self.failed.add(unit)
            self._say(unit, f"{unit}: Failed to create listening socket ({address}): Address already in use")
            self._say(unit, f"{unit}: Failed to listen on sockets: Address already in use")
            self._record(unit).end("resources")
            self._deny(unit, "Failed with result 'resources'.")
        self.active[unit] = 0
        self.open[unit] = Descriptor(address)
        self._record(unit).end()
        self._say(unit, f"Listening on {unit}.")

    def _deny(self, socket: str, why: str) -> NoReturn:
        self._say(socket, f"{socket}: {why}")
        self._say(socket, f"Failed to listen on {socket}.")
        raise RefusedError('Job failed. See "journalctl -xe" for details.')

    def _run_service(self, unit: str) -> None:
        for socket in self._named_sockets(unit):
            # It only wants the sockets: without them it starts, but cannot accept.
            with contextlib.suppress(RefusedError):
                self._start(socket)
        record = self._record(unit)
        if unit in self.crashing:
            record.restarts += 1
            self._say(unit, f"{unit}: Scheduled restart job, restart counter is at {record.restarts}.")
            self._say(unit, f"Stopped {unit}.")
        self._say(unit, f"Starting {unit}...")
        self._pid += 1
        self._print(unit, self._pid, self.log)
        if unit in self.refused:
            record.end("exit-code", os.CLD_EXITED, 22)
            self._say(unit, f"{unit}: Main process exited, code=exited, status=22/n/a")
            self._say(unit, f"{unit}: Failed with result 'exit-code'.")
            self._say(unit, f"Failed to start {unit}.")
            self._clear(unit)
            (self.crashing if self._always(unit) else self.failed).add(unit)
            raise RefusedError(
                f"Job for {unit} failed because the control process exited with error code.\n"
                f'See "systemctl status {unit}" and "journalctl -xeu {unit}" for details.\n'
            )
        record.end()
        self._say(unit, f"Started {unit}.")
        self.crashing.discard(unit)
        self.active[unit] = self._pid
        triggers = {*self._named_sockets(unit), *(socket for socket in self.open if self._starts(socket) == unit)}
        self.inherited[unit] = [self.open[socket] for socket in sorted(triggers) if socket in self.open]
        runtime, generation = self._runtime(unit), self._instance(unit)
        runtime.mkdir(parents=True, exist_ok=True)
        for suffix in ("sock", "stats"):
            (runtime / f"{generation}.{suffix}").unlink(missing_ok=True)
            os.mknod(runtime / f"{generation}.{suffix}", stat.S_IFSOCK | 0o600)
        # The unit's ExecStartPost.
        if own := self._pidfile(unit):
            own.write_text(f"{self._pid}\n")
            if own.name == f"{generation}.pid" and self.layout.current_generation() == generation:
                self.layout.pidfile.unlink(missing_ok=True)
                self.layout.pidfile.symlink_to(own.name)

    def _always(self, unit: str) -> bool:
        return "Restart=always" in (self._text(unit) or "")

    def _restart(self, unit: str) -> None:
        if self._text(unit) is None:
            raise RefusedError(f"Failed to restart {unit}: Unit {unit} not found.", 5)
        self._end(unit)
        # No connection starts a unit that already has a job.
        self._connect(f"restart {unit}, halfway", busy=unit)
        self._start(unit)

    # Stopping.

    def _stop(self, *units: str) -> None:
        for name in units:
            if not PATTERN.search(name) and name not in self._in_memory() and self._text(name) is None:
                raise RefusedError(f"Failed to stop {name}: Unit {name} not loaded.", 5)
        known = {*self.active, *self.crashing}
        for unit in [name for name in known if any(fnmatch.fnmatch(name, pattern) for pattern in units)]:
            self._end(unit)

    def _end(self, unit: str) -> None:
        if unit.endswith(".socket"):
            self._record(unit).end()
            self._say(unit, f"{unit}: Deactivated successfully.")
            self._say(unit, f"Closed {unit}.")
        elif unit in self.active:
            self._say(unit, f"Stopping {unit}...")
            self._print(unit, self.active[unit], self.farewell)
            if unit in self.timed_out:
                self._say(unit, f"{unit}: State 'stop-sigterm' timed out. Killing.")
                self._say(unit, f"{unit}: Killing process {self.active[unit]} (uwsgi) with signal SIGKILL.")
                self._killed(unit, "timeout")
                self.failed.add(unit)
            else:
                self._record(unit).end(code=os.CLD_EXITED)
                self._say(unit, f"{unit}: Deactivated successfully.")
            self._say(unit, f"Stopped {unit}.")
        elif unit in self.crashing:
            self._say(unit, f"Stopped {unit}.")
        self._clear(unit)

    def _killed(self, unit: str, result: str) -> None:
        self._record(unit).end(result, os.CLD_KILLED, signal.SIGKILL)
        self._say(unit, f"{unit}: Main process exited, code=killed, status=9/KILL")
        self._say(unit, f"{unit}: Failed with result '{result}'.")

    def _clear(self, unit: str) -> None:
        """Remove what belongs to a running unit."""
        self.active.pop(unit, None)
        self.crashing.discard(unit)
        self.inherited.pop(unit, None)
        self.open.pop(unit, None)
        if unit.endswith(".socket"):
            return
        # RuntimeDirectoryPreserve=no.
        shutil.rmtree(self._runtime(unit), ignore_errors=True)
        # The unit's ExecStopPost.
        if own := self._pidfile(unit):
            own.unlink(missing_ok=True)
            if self.layout.pidfile.is_symlink() and str(self.layout.pidfile.readlink()) == own.name:
                self.layout.pidfile.unlink()

    def _reset_failed(self, *patterns: str) -> None:
        for name in patterns:
            if not PATTERN.search(name) and name not in self._in_memory():
                raise RefusedError(f"Failed to reset failed state of unit {name}: Unit {name} not loaded.")
        self.failed = {unit for unit in self.failed if not any(fnmatch.fnmatch(unit, one) for one in patterns)}

    # Connections.

    def _connect(self, after: str, busy: str = "") -> None:
        for address in sorted(self.clients):
            found = self.descriptors(address)
            if not found:
                self.waited.append(after)
            for descriptor in found:
                if any(descriptor in inherited for inherited in self.inherited.values()):
                    continue
                self.waited.append(after)
                socket = next(unit for unit, held in self.open.items() if held is descriptor)
                if self._starts(socket) != busy:
                    self._activate(self._starts(socket))

    def _activate(self, unit: str) -> None:
        if unit in self.active:
            return
        self._note(f"a connection starts {unit}")
        # The result is in the journal.
        with contextlib.suppress(RefusedError):
            self._start(unit)

    # Unit files.

    def _wants(self, unit: str) -> Path:
        target = "sockets" if unit.endswith(".socket") else "multi-user"
        return self.layout.units / f"{target}.target.wants" / unit

    def _enable(self, unit: str) -> None:
        if not self._unit_file(unit).is_file():
            raise RefusedError(f"Failed to enable unit: Unit file {unit} does not exist.")
        link = self._wants(unit)
        link.parent.mkdir(exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(self._unit_file(unit))

    def _disable(self, unit: str) -> None:
        link = self._wants(unit)
        if not link.is_symlink() and not self._unit_file(unit).is_file():
            raise RefusedError(f"Failed to disable unit: Unit file {unit} does not exist.")
        link.unlink(missing_ok=True)

    def _unit_file(self, unit: str) -> Path:
        return self.layout.units / re.sub(r"@.*\.(service|socket)$", r"@.\1", unit)

    def _sources(self, unit: str) -> Iterator[Path]:
        # The unit file of an instance's own name takes precedence over the template's, wherever they are.
        own = (folder / unit for folder in (self.layout.units, self.layout.volatile_units))
        yield next(filter(Path.is_file, own), self._unit_file(unit))
        # Drop-ins are sorted by name; those in /etc hide those of the same name in /run.
        for name in ("credentials", "generation", "listen", "trial"):
            folders = (self.layout.units, self.layout.volatile_units)
            paths = (folder / f"{unit}.d" / f"{name}.conf" for folder in folders)
            yield from [path for path in paths if path.is_file()][:1]

    def _text(self, unit: str) -> str | None:
        """Return a unit's settings as systemd has loaded them, or would load them."""
        return self._loaded[unit] if unit in self._loaded else self._stored(unit)

    def _stored(self, unit: str) -> str | None:
        paths = list(self._sources(unit))
        return "".join(path.read_text() for path in paths) if paths[0].is_file() else None

    def _named_sockets(self, unit: str) -> list[str]:
        return re.findall(r"^Sockets=(.*)$", self._text(unit) or "", re.M)

    def _starts(self, unit: str) -> str:
        """Return the service that a socket starts; empty for other units."""
        if not unit.endswith(".socket"):
            return ""
        named = re.findall(r"^Service=(.*)$", self._text(unit) or "", re.M)
        return str(named[-1]) if named else unit.replace(".socket", ".service")

    def _runtime(self, unit: str) -> Path:
        folder = self.layout.runtime.parent / unit.partition("@")[0]
        return folder / self._instance(unit) if folder == self.layout.runtime else folder

    def _pidfile(self, unit: str) -> Path | None:
        """Return the pidfile that root writes for a unit; a canary and a check have none."""
        generation = self._instance(unit)
        names = {self.layout.service(generation): f"{generation}.pid"}
        names |= {self.layout.relief(generation): f"{generation}.relief.pid"}
        return self.layout.runtime / names[unit] if unit in names else None

    def _instance(self, unit: str) -> str:
        return unit.partition("@")[2].rpartition(".")[0]

    def _say(self, unit: str, line: str) -> None:
        self._journal.append((unit, 1, line))

    def _print(self, unit: str, pid: int, lines: Mapping[str, list[str]]) -> None:
        self._journal += [(unit, pid, line) for line in lines.get(unit, [])]

    def _note(self, what: str) -> None:
        pidfile = self.layout.pidfile
        self.events.append(
            Event(
                what,
                self.layout.current_generation(),
                str(pidfile.readlink()) if pidfile.is_symlink() else None,
            )
        )


class RefusedError(Exception):
    """systemd refuses.

    Args:
        complaint: systemctl's message.
        status: its exit status.
    """

    def __init__(self, complaint: str, status: int = 1) -> None:
        super().__init__(complaint)
        self.status = status


def unit_file(layout: Layout, name: str, restart: str, install: str = "") -> str:
    """Return a service's unit file as a generation requires it."""
    return f"[Service]\n# {layout.app} as {name} wants it\nRestart={restart}\nSyslogIdentifier={layout.app}\n{install}"


def manifest(name: str = "g1", **more: Any) -> dict[str, Any]:
    """Return the manifest of a generation, as the role writes it."""
    return {
        "generation": name,
        "release": "r1",
        "venv": "v1",
        "mode": "gevent",
        "processes": 4,
        "cores": 3000,
        "listen": ADDRESS,
        "wsgi_file": "run.py",
        "callable": "app",
        "health": {"path": "/healthz", "status": 200, "timeout": 5},
        "start_timeout": 60,
        "stop_timeout": 30,
        "settle": 0.0,
        "keep": 3,
        "checksums": {},
        **more,
    }


def write_generation(
    layout: Layout,
    name: str,
    *,
    listen: str = ADDRESS,
    release: str = "r1",
    venv: str = "v1",
    secrets: Mapping[str, str] | None = None,
    **more: Any,
) -> None:
    """Write a generation as the module ``generation`` does, with its release and virtual environment."""
    stream = "%i" if instance(listen) == listen else listen
    files = {
        "uwsgi.ini": f"[uwsgi]\n# {name}\n",
        "environment": 'TOKEN="hidden"\n',
        "units/app@.socket": f"[Socket]\nListenStream={stream}\nReusePort=yes\n[Install]\nWantedBy=sockets.target\n",
        "units/app@.service": unit_file(layout, name, "always", "[Install]\nWantedBy=multi-user.target\n"),
        "units/app-canary@.service": unit_file(layout, name, "no"),
        "units/app-relief@.service": unit_file(layout, name, "no"),
        "units/app-check@.service": unit_file(layout, name, "no"),
        "units/generation.conf": f"[Service]\n# {name}\n",
        "units/listen.conf": f"[Service]\nSockets={layout.socket(listen)}\n",
    }
    gen.write(layout.generations / name, files, os.getgid())
    checksums = {file: hashlib.sha256(content.encode()).hexdigest() for file, content in files.items()}
    document = manifest(
        name, app_name=layout.app, release=release, venv=venv, listen=listen, checksums=checksums, **more
    )
    if secrets:
        credentials.write(layout.generations / name, secrets)
        document["secrets"] = {"names": sorted(secrets), "fingerprint": repr(secrets)}
    for link, target in (("release", release), ("venv", venv)):
        (layout.generations / name / link).symlink_to(f"../../{link}s/{target}")
    for folder in (layout.releases / release, layout.venvs / venv):
        folder.mkdir(exist_ok=True)
    (layout.generations / name / gen.MANIFEST).write_text(json.dumps(document))
