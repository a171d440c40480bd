"""What runs of an application on a host, and how that differs from what its generation says."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from . import generation as gen
from . import systemd
from .artifact import sha256
from .host import listeners
from .layout import Layout
from .uwsgi import read_stats

_TIMESTAMP = "ActiveEnterTimestamp"


def drift(layout: Layout) -> list[str]:
    """Return how this host differs from what the serving generation wants, one sentence each.

    An empty list means that the generation serves exactly as it was deployed.
    """
    current = layout.current_generation()
    wanted = gen.manifest(layout, current) if current else None
    if current is None or wanted is None:
        return ["no generation serves"]
    found = [
        f"{name} was changed by hand"
        for name, checksum in wanted["checksums"].items()
        if _sha256(layout.generations / current / name) != checksum
    ]
    found += [
        f"{target} is not what the generation wants"
        for target, stored in gen.unit_targets(layout, current).items()
        if _sha256(target) != _sha256(stored)
    ]
    unit = layout.service(current)
    state = systemd.show(unit, "ActiveState", "UnitFileState", "NeedDaemonReload", "MainPID")
    if state["ActiveState"] != "active":
        found.append(f"{unit} is {state['ActiveState']}")
    if state["UnitFileState"] != "enabled":
        found.append(f"{unit} does not start at boot")
    if state["NeedDaemonReload"] == "yes":
        found.append(f"{unit} was changed and not loaded")
    socket = systemd.show(layout.socket_unit, "ActiveState", "UnitFileState", "Listen")
    if (socket["ActiveState"], socket["UnitFileState"]) != ("active", "enabled"):
        found.append(f"{layout.socket_unit} is {socket['ActiveState']} and {socket['UnitFileState'] or 'absent'}")
    elif socket["Listen"].partition(" ")[0] != wanted["listen"]:
        found.append(f"{layout.socket_unit} listens on {socket['Listen']}, not on {wanted['listen']}")
    elif not listening(wanted["listen"]):
        found.append(f"nobody listens on {wanted['listen']}")
    found += [f"generation {name} runs beside the current one" for name in systemd.running(layout) if name != current]
    if state["ActiveState"] == "active" and pidfile_pid(layout) != int(state["MainPID"]):
        found.append(f"{layout.pidfile} does not name the serving master")
    return found


def listening(address: str) -> bool:
    """Ask the kernel whether an address (``0.0.0.0:8040``) is listened on: systemd can believe it and be wrong."""
    bind, _, port = address.partition(":")
    return bool(listeners(bind, int(port)))


def _sha256(path: Path) -> str:
    return sha256(path) if path.is_file() else ""


def pidfile_pid(layout: Layout) -> int | None:
    """Return the process id in the application's pidfile, or None where there is none."""
    try:
        return int(layout.pidfile.read_text())
    except (OSError, ValueError):
        return None


def status(layout: Layout) -> dict[str, Any]:
    """Return what serves now: as systemd, uWSGI's stats and the kernel tell, not as it was configured."""
    current = layout.current_generation()
    wanted = (gen.manifest(layout, current) if current else None) or {}
    unit = systemd.show(layout.service(current or "none"), "ActiveState", "MainPID", _TIMESTAMP, "NRestarts")
    main_pid = int(unit["MainPID"] or 0)
    found: dict[str, Any] = {
        "generation": current,
        "state": unit["ActiveState"],
        "since": unit[_TIMESTAMP],
        "restarts": int(unit["NRestarts"] or 0),
        "main_pid": main_pid,
        "pidfile": str(layout.pidfile),
        "pidfile_pid": pidfile_pid(layout),
        "pidfile_true": pidfile_pid(layout) == (main_pid or None),
        "configured": {name: wanted.get(name) for name in ("mode", "processes", "cores")},
        "kept": gen.kept(layout),
        "mode": None,
    }
    if unit["ActiveState"] == "active":
        found |= _observed(layout, str(current))
    return found


def _observed(layout: Layout, current: str) -> dict[str, Any]:
    stats = read_stats(layout.runtime / f"{current}.stats")
    workers = stats["workers"]
    cores = [len(worker["cores"]) for worker in workers]
    threads = [_threads(worker["pid"]) for worker in workers]
    return {
        "workers": len(workers),
        "busy": sum(core["in_request"] for worker in workers for core in worker["cores"]),
        "cores_per_worker": min(cores, default=0),
        "threads_per_worker": min(threads, default=0),
        # A thread per core is threads mode. Many cores on a few threads can only be greenlets.
        "mode": "threads" if min(threads, default=0) >= min(cores, default=0) else "gevent",
        "requests": sum(worker["requests"] for worker in workers),
        "exceptions": sum(worker["exceptions"] for worker in workers),
        "listen_queue": stats["listen_queue"],
        # What is being served, and what waits in the queue of the public socket.
        "capacity": sum(cores) + max((socket["max_queue"] for socket in stats["sockets"]), default=0),
        "rss_mb": round(sum(_rss_kb(worker["pid"]) for worker in workers) / 1024, 1),
        "sampled_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _proc(pid: int, field: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{field}:")), 0)


def _threads(pid: int) -> int:
    return _proc(pid, "Threads")


def _rss_kb(pid: int) -> int:
    return _proc(pid, "VmRSS")
