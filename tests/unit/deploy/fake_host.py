"""A host that runs in memory: systemd, its journal and uWSGI's health, as far as a swap sees them.

It answers the very command lines that ``module_utils.systemd`` runs, and keeps what a real systemd 252
was seen to do: units are as they were at the last daemon-reload; a listening socket whose address was changed
by a daemon-reload tells the new address and has lost its descriptor; a socket refuses to start while the
service it belongs to runs.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils import generation as gen
from ansible_collections.flaskops.uwsgi.plugins.module_utils import service, swap, systemd
from ansible_collections.flaskops.uwsgi.plugins.module_utils.layout import Layout

ADDRESS = "0.0.0.0:8040"


@dataclass(frozen=True)
class TemporaryLayout(Layout):
    """A layout whose every path is below one directory."""

    top: Path = Path("/nonexistent")

    @classmethod
    def below(cls, top: Path, app: str) -> TemporaryLayout:
        """Return the layout, with the directories that the role makes before a swap."""
        layout = cls(app, top / "opt", top)
        for folder in (layout.releases, layout.venvs, layout.generations, layout.units):
            folder.mkdir(parents=True)
        layout.runtime.parent.mkdir()
        return layout

    @property
    def runtime(self) -> Path:
        return self.top / "run" / self.app

    @property
    def canary_runtime(self) -> Path:
        return self.top / "run" / f"{self.app}-canary"

    @property
    def lock(self) -> Path:
        return self.top / "lock" / f"{self.app}.deploy"

    @property
    def units(self) -> Path:
        return self.top / "units"


class Event(NamedTuple):
    """One thing that was asked of systemd or uWSGI, and what the pointers named at that moment."""

    what: str
    current: str | None
    pidfile: str | None


class FakeHost:
    """See the module.

    Args:
        layout: the application's paths.
        monkeypatch: puts the fake in place of the real thing.
    """

    def __init__(self, layout: TemporaryLayout, monkeypatch: pytest.MonkeyPatch) -> None:
        self.layout = layout
        self.events: list[Event] = []
        self.active: dict[str, int] = {}
        self.failed: set[str] = set()
        # Units that systemd cannot start, and generations that answer their health check with a problem.
        self.refused: set[str] = set()
        self.sick: dict[str, str] = {}
        self.log: dict[str, list[str]] = {}
        # The listening socket: what systemd holds open, and what each service inherited of it.
        self.descriptor = ""
        self.inherited: dict[str, str] = {}
        self._loaded: dict[Path, str] = {}
        self._pid = 1000
        monkeypatch.setattr(systemd, "_run", self._run)
        monkeypatch.setattr(swap, "await_health", self._await_health)
        monkeypatch.setattr(service, "listening", lambda address: address == self.descriptor)

    # What a test asks.

    @property
    def actions(self) -> list[str]:
        """Everything that was asked for, in order, less what only looks."""
        return [event.what for event in self.events]

    def event(self, what: str) -> Event:
        """Return the first event of that name."""
        return next(event for event in self.events if event.what == what)

    def answering(self, address: str = ADDRESS) -> set[str]:
        """Return the generations that accept connections on an address."""
        return {self._instance(unit) for unit, inherited in self.inherited.items() if inherited == address}

    def running(self) -> set[str]:
        """Return the generations that run, canaries apart."""
        return {self._instance(unit) for unit in self.active if fnmatch.fnmatch(unit, self.layout.service("*"))}

    def enabled(self) -> set[str]:
        """Return the units that start at boot."""
        return {path.name for path in self.layout.units.glob("*.wants/*")}

    def unit_files(self) -> dict[str, str]:
        """Return every file below the unit directory with its content."""
        files = (path for path in self.layout.units.rglob("*") if path.is_file() and not path.is_symlink())
        return {str(path.relative_to(self.layout.units)): path.read_text() for path in files}

    def pidfile_pid(self) -> int | None:
        """Return the process id that somebody reads through the application's pidfile."""
        return int(self.layout.pidfile.read_text()) if self.layout.pidfile.exists() else None

    # What a test arranges.

    def serve(self, name: str, **more: Any) -> None:
        """Write a generation and swap to it, off the record."""
        write_generation(self.layout, name, **more)
        swap.Swap(self.layout, name).run()
        self.events.clear()

    def crash(self, generation: str) -> None:
        """End a running generation as a kill -9 of its master would."""
        unit = self.layout.service(generation)
        del self.active[unit], self.inherited[unit]

    # What the code under test sees.

    def _await_health(self, path: Path, target: str, status: int, timeout: float) -> str | None:
        self._note(f"health {path.parent.name}/{path.stem}")
        return self.sick.get(path.stem)

    def _run(self, *command: str, timeout: float) -> subprocess.CompletedProcess[str]:
        assert timeout > 0
        try:
            if command[0] == "journalctl":
                output = "\n".join(self.log.get(command[command.index("--unit") + 1], []))
                self._note(" ".join(("journal", command[command.index("--since") + 1])))
            else:
                assert command[0] == "systemctl"
                output = self._systemctl(*command[1:])
        except _RefusedError as error:
            return subprocess.CompletedProcess(command, 1, "", str(error))
        return subprocess.CompletedProcess(command, 0, output, "")

    def _systemctl(self, *arguments: str) -> str:
        verb, *words = (word for word in arguments if not word.startswith("--"))
        if verb == "show":
            known = self._properties(words[0])
            wanted = [word.removeprefix("--property=") for word in arguments if word.startswith("--property=")]
            return "".join(f"{name}={known[name]}\n" for name in wanted)
        if verb == "list-units":
            units = sorted({*self.active, *self.failed})
            return "".join(
                f"{unit} loaded {self._state(unit)} x a description of words\n"
                for unit in units
                if fnmatch.fnmatch(unit, words[0])
            )
        self._note(" ".join((verb, *words)))
        verbs: dict[str, Callable[..., None]] = {
            "daemon-reload": self._daemon_reload,
            "start": self._start,
            "stop": self._stop,
            "reset-failed": self._reset_failed,
            "enable": self._enable,
            "disable": self._disable,
        }
        verbs[verb](*words)
        return ""

    def _properties(self, unit: str) -> dict[str, str]:
        text = self._loaded_text(unit)
        wants = "sockets.target.wants" if unit == self.layout.socket_unit else "multi-user.target.wants"
        enabled = (self.layout.units / wants / unit).is_symlink()
        listen = re.search(r"^ListenStream=(.*)$", text or "", re.M)
        return {
            "ActiveState": self._state(unit),
            "UnitFileState": "" if text is None else "enabled" if enabled else "disabled",
            "MainPID": str(self.active.get(unit, 0)),
            "NRestarts": "0",
            "ActiveEnterTimestamp": "Tue 2026-11-24 06:40:46 UTC" if unit in self.active else "",
            "NeedDaemonReload": "yes" if text is not None and text != self._stored_text(unit) else "no",
            # As it was loaded, which need not be where anybody listens.
            "Listen": f"{listen[1]} (Stream)" if listen else "",
        }

    def _state(self, unit: str) -> str:
        return "active" if unit in self.active else "failed" if unit in self.failed else "inactive"

    def _daemon_reload(self) -> None:
        files = (path for path in self.layout.units.rglob("*") if path.is_file() and not path.is_symlink())
        self._loaded = {path: path.read_text() for path in files}
        if self.descriptor and f"ListenStream={self.descriptor}\n" not in (
            self._loaded_text(self.layout.socket_unit) or ""
        ):
            self.descriptor = ""

    def _start(self, unit: str) -> None:
        text = self._loaded_text(unit)
        if text is None:
            raise _RefusedError(f"Failed to start {unit}: Unit {unit} not found.")
        if unit in self.active:
            return
        self.failed.discard(unit)
        if unit == self.layout.socket_unit:
            self._start_socket()
            return
        if "Sockets=" in text:
            self._start_socket()
        if unit in self.refused:
            self.failed.add(unit)
            raise _RefusedError(
                f"Job for {unit} failed because the control process exited with error code.\n"
                f'See "systemctl status {unit}" and "journalctl -xeu {unit}" for details.\n'
            )
        self._pid += 1
        self.active[unit] = self._pid
        if "Sockets=" in text:
            self.inherited[unit] = self.descriptor
            self.layout.runtime.mkdir(exist_ok=True)
            (self.layout.runtime / f"{self._instance(unit)}.pid").write_text(f"{self._pid}\n")

    def _start_socket(self) -> None:
        unit = self.layout.socket_unit
        if unit in self.active:
            return
        text = self._loaded_text(unit) or ""
        service = re.search(r"^Service=(.*)$", text, re.M)
        if not service or self._loaded_text(service[1]) is None:
            raise _RefusedError(f"Failed to start {unit}: Unit {unit} has a bad unit file setting.")
        if service[1] in self.active:
            raise _RefusedError(f"{unit}: Socket service {service[1]} already active, refusing.")
        self.active[unit] = 0
        listen = re.search(r"^ListenStream=(.*)$", text, re.M)
        assert listen
        self.descriptor = listen[1]

    def _stop(self, *units: str) -> None:
        for unit in [name for name in self.active if any(fnmatch.fnmatch(name, pattern) for pattern in units)]:
            del self.active[unit]
            self.inherited.pop(unit, None)
            if unit == self.layout.socket_unit:
                self.descriptor = ""
                continue
            # The unit's ExecStopPost.
            for suffix in ("pid", "sock", "stats"):
                (self.layout.runtime / f"{self._instance(unit)}.{suffix}").unlink(missing_ok=True)
            if self.layout.pidfile.is_symlink() and not self.layout.pidfile.exists():
                self.layout.pidfile.unlink()

    def _reset_failed(self, pattern: str) -> None:
        self.failed = {unit for unit in self.failed if not fnmatch.fnmatch(unit, pattern)}

    def _wants(self, unit: str) -> Path:
        target = "sockets" if unit.endswith(".socket") else "multi-user"
        return self.layout.units / f"{target}.target.wants" / unit

    def _enable(self, unit: str) -> None:
        link = self._wants(unit)
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(self._unit_file(unit))

    def _disable(self, unit: str) -> None:
        self._wants(unit).unlink(missing_ok=True)

    def _unit_file(self, unit: str) -> Path:
        return self.layout.units / re.sub(r"@.*\.service$", "@.service", unit)

    def _sources(self, unit: str) -> Iterator[Path]:
        yield self._unit_file(unit)
        yield self.layout.units / f"{unit}.d" / "generation.conf"

    def _loaded_text(self, unit: str) -> str | None:
        if self._unit_file(unit) not in self._loaded:
            return None
        return "".join(self._loaded.get(path, "") for path in self._sources(unit))

    def _stored_text(self, unit: str) -> str:
        return "".join(path.read_text() for path in self._sources(unit) if path.is_file())

    def _instance(self, unit: str) -> str:
        return unit.partition("@")[2].removesuffix(".service")

    def _note(self, what: str) -> None:
        pidfile = self.layout.pidfile
        self.events.append(
            Event(
                what,
                self.layout.current_generation(),
                pidfile.readlink().name if pidfile.is_symlink() else None,
            )
        )


class _RefusedError(Exception):
    pass


def write_generation(
    layout: Layout,
    name: str,
    *,
    listen: str = ADDRESS,
    release: str = "r1",
    venv: str = "v1",
    **more: Any,
) -> None:
    """Write a generation as the module ``generation`` does, with its release and virtual environment."""
    files = {
        "uwsgi.ini": f"[uwsgi]\n# {name}\n",
        "environment": 'TOKEN="hidden"\n',
        "units/app.socket": f"[Socket]\nListenStream={listen}\n",
        "units/app@.service": f"[Service]\n# as {name} wants it\nSockets={layout.app}.socket\n",
        "units/app-canary@.service": f"[Service]\n# as {name} wants it\n",
        "units/generation.conf": f"[Service]\n# {name}\n",
    }
    gen.write(layout.generations / name, files, os.getgid())
    manifest = {
        "generation": name,
        "release": release,
        "venv": venv,
        "mode": "gevent",
        "processes": 4,
        "cores": 3000,
        "listen": listen,
        "wsgi_file": "run.py",
        "callable": "app",
        "health": {"path": "/healthz", "status": 200, "timeout": 5},
        "start_timeout": 60,
        "stop_timeout": 30,
        "keep": 3,
        "checksums": {file: hashlib.sha256(content.encode()).hexdigest() for file, content in files.items()},
        **more,
    }
    for folder in (layout.releases / release, layout.venvs / venv):
        folder.mkdir(exist_ok=True)
    (layout.generations / name / gen.MANIFEST).write_text(json.dumps(manifest))
