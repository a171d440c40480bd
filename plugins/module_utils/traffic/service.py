"""Reports what runs of an application on a host, and how that differs from its generation."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from ..host import checksums, runtime, systemd, temporary
from ..host.layout import Layout
from ..host.untrusted import UntrustedError
from ..host.uwsgi import read_stats
from ..release import credentials
from ..release import generation as gen
from ..release.artifact import sha256
from . import reservation, sockets

_TIMESTAMP = "StateChangeTimestamp"


def drift(layout: Layout) -> list[str]:
    """Return how this host differs from its serving generation, a sentence for each difference.

    An empty list means that the generation serves exactly as deployed.
    """
    current = layout.current_generation()
    if current is None:
        return ["no generation serves", *_abandoned(layout)]
    damaged = [f"generation {name} is damaged: {reason}" for name, reason in gen.damaged(layout).items()]
    wanted = gen.best_known(layout, current)
    if wanted is None:
        return [*damaged, f"the address of generation {current} is unknown", *_abandoned(layout)]
    tried = current != layout.deployed_generation()
    found = damaged + [
        f"{name} was changed by hand"
        for name, recorded in wanted.checksums.items()
        if not checksums.matches(recorded, name, layout.generations / current / name, layout.app)
    ]
    found += [
        f"{target} does not match the generation"
        for target, stored in (gen.trial_targets if tried else gen.unit_targets)(layout, current).items()
        if _sha256(target) != _sha256(stored)
    ]
    found += [
        f"{name} was changed by hand"
        for name in credentials.spoiled(layout.generations / current, wanted.secrets.names)
    ]
    unit, boots = layout.service(current), layout.service(layout.deployed_generation() or current)
    state = systemd.show(unit, "ActiveState", "NeedDaemonReload", "MainPID")
    if state["ActiveState"] != "active":
        found.append(f"{unit} is {state['ActiveState']}")
    if systemd.show(boots, "UnitFileState")["UnitFileState"] != "enabled":
        found.append(f"{boots} does not start at boot")
    if state["NeedDaemonReload"] == "yes":
        found.append(f"{unit} was changed but not loaded")
    socket = layout.socket(wanted.listen)
    activation = (layout.trial_dropin if tried else layout.socket_dropin)(wanted.listen)
    opened = systemd.show(socket, "ActiveState", "UnitFileState")
    if (opened["ActiveState"], opened["UnitFileState"]) != ("active", "enabled"):
        found.append(f"{socket} is {opened['ActiveState']} and {opened['UnitFileState'] or 'absent'}")
    elif not sockets.listening(wanted.listen):
        found.append(f"nothing listens on {wanted.listen}")
    elif _text(activation) != gen.socket_activates(unit):
        found.append(f"{socket} does not start {unit}")
    others = (name for name, active in systemd.sockets(layout).items() if active == "active")
    found += [f"{layout.socket(name)} is open beside it" for name in others if name != wanted.listen]
    found += [f"generation {name} runs beside the current one" for name in systemd.running(layout) if name != current]
    found += [f"{layout.relief(name)} of an interrupted restart runs" for name in systemd.relieving(layout)]
    found += _abandoned(layout)
    if state["ActiveState"] == "active" and not runtime.whole(layout, current):
        found.append(f"{unit} has lost its sockets in {runtime.folder(layout, unit)}")
    if not runtime.owned_by_root(layout):
        found.append(f"{layout.runtime} is writable by other accounts than root")
    if state["ActiveState"] == "active" and runtime.pidfile_pid(layout) != int(state["MainPID"]):
        found.append(f"{layout.pidfile} does not name the serving master")
    return found


def left(layout: Layout) -> list[str]:
    """Return the temporary units and unit files that a killed run has left on the host."""
    # While a module runs, they belong to it.
    if reservation.busy(layout):
        return []
    units = systemd.leftovers(layout)
    return [*units, *map(str, temporary.files_left(layout, units))]


def _abandoned(layout: Layout) -> list[str]:
    return [f"{name} was left by a run that was killed" for name in left(layout)]


def open_units(layout: Layout) -> list[str]:
    """Return the units that listen or serve, sockets first."""
    listening_now = [name for name, state in systemd.sockets(layout).items() if state == "active"]
    return [
        *(layout.socket(name) for name in listening_now),
        *(layout.service(name) for name in systemd.running(layout)),
        *(layout.relief(name) for name in systemd.relieving(layout)),
    ]


def enabled_generations(layout: Layout) -> list[str]:
    """Return the generations that start at boot."""
    wants = layout.units / "multi-user.target.wants"
    pattern = re.compile(re.escape(f"{layout.app}@") + r"(.+)\.service")
    names = wants.iterdir() if wants.is_dir() else ()
    return [match[1] for path in names if (match := pattern.fullmatch(path.name))]


def _text(path: Path) -> str:
    return path.read_bytes().decode(errors="replace") if path.is_file() else ""


def _sha256(path: Path) -> str:
    return sha256(path) if path.is_file() else ""


def status(layout: Layout) -> dict[str, Any]:
    """Return what serves now, according to systemd, uWSGI's stats and the kernel rather than the configuration."""
    current = layout.current_generation()
    wanted = gen.best_known(layout, current) if current else None
    unit = systemd.show(layout.service(current or "none"), "ActiveState", "MainPID", _TIMESTAMP, "NRestarts")
    main_pid = int(unit["MainPID"] or 0)
    found: dict[str, Any] = {
        "generation": current,
        "release": wanted.release if wanted else None,
        "state": unit["ActiveState"],
        "since": unit[_TIMESTAMP],
        "restarts": int(unit["NRestarts"] or 0),
        "main_pid": main_pid,
        "pidfile": str(layout.pidfile),
        "pidfile_pid": runtime.pidfile_pid(layout),
        "pidfile_true": runtime.pidfile_pid(layout) == (main_pid or None),
        "configured": {name: getattr(wanted, name, None) for name in ("mode", "processes", "cores")},
        "kept": gen.kept(layout),
        "rollback": gen.rollback_target(layout),
        "secrets": {
            "names": list(wanted.secrets.names) if wanted else [],
            "encrypted": credentials.encrypted(layout.generations / current) if current else None,
        },
        "lock": reservation.held(layout),
        "mode": None,
    }
    if unit["ActiveState"] == "active":
        try:
            found |= _observed(layout, str(current))
        except UntrustedError as error:
            # What systemd reports is still true.
            found["stats_error"] = f"uWSGI's stats do not respond: {error}"
    return found


def _observed(layout: Layout, current: str) -> dict[str, Any]:
    stats = read_stats(runtime.folder(layout, layout.service(current)) / f"{current}.stats")
    workers = stats.workers
    cores = [worker.cores for worker in workers]
    threads = [_threads(worker.pid) for worker in workers]
    return {
        "workers": len(workers),
        "workers_busy": sum(worker.busy > 0 for worker in workers),
        "busy": sum(worker.busy for worker in workers),
        "cores_per_worker": min(cores, default=0),
        "threads_per_worker": min(threads, default=0),
        # A thread per core is threads mode. Many cores on a few threads can only be greenlets.
        "mode": "threads" if min(threads, default=0) >= min(cores, default=0) else "gevent",
        "requests": sum(worker.requests for worker in workers),
        "exceptions": sum(worker.exceptions for worker in workers),
        "listen_queue": stats.listen_queue,
        "backlog": stats.backlog,
        # Requests in progress, and connections in the queue of the public socket.
        "capacity": sum(cores) + stats.backlog,
        "rss_mb": round(sum(_rss_kb(worker.pid) for worker in workers) / 1024, 1),
        "sampled_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _proc(pid: int, field: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{field}:")), 0)


def _threads(pid: int) -> int:
    return _proc(pid, "Threads")


def _rss_kb(pid: int) -> int:
    return _proc(pid, "VmRSS")
