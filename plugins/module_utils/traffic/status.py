"""The status of an application: what serves on a host, according to systemd, uWSGI's stats and the kernel."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..host import runtime, systemd
from ..host.layout import Layout
from ..host.untrusted import UntrustedError
from ..host.uwsgi import read_stats
from ..release import credentials
from ..release import generation as gen
from . import reservation, service

_TIMESTAMP = "StateChangeTimestamp"


@dataclass(frozen=True)
class Configured:
    """How a generation is configured to serve; None where that is unknown.

    Args:
        mode: ``gevent`` or ``threads``.
        processes: its workers.
        cores: the requests in flight in each of them.
    """

    mode: str | None
    processes: int | None
    cores: int | None


@dataclass(frozen=True)
class Secrets:
    """The secrets of the serving generation.

    Args:
        names: their names.
        encrypted: whether they are encrypted on the host; None if nothing serves.
    """

    names: list[str]
    encrypted: bool | None


@dataclass(frozen=True)
class Observed:
    """What uWSGI's stats and the kernel report of the workers.

    Args:
        workers: how many there are.
        workers_busy: those with a request in flight.
        busy: requests in flight.
        cores_per_worker: requests that each worker can serve at once.
        threads_per_worker: its threads, counted by the kernel.
        requests: requests served.
        exceptions: those that raised an exception.
        listen_queue: connections that wait in the queue of the public socket.
        backlog: how many can wait.
        capacity: requests in progress and connections in the queue that are possible.
        rss_mb: resident memory of all workers in megabytes.
        sampled_at: when this was read.
    """

    workers: int
    workers_busy: int
    busy: int
    cores_per_worker: int
    threads_per_worker: int
    requests: int
    exceptions: int
    listen_queue: int
    backlog: int
    capacity: int
    rss_mb: float
    sampled_at: str

    @classmethod
    def read(cls, status: Mapping[str, Any]) -> Observed:
        """Return the part of a status that was observed."""
        return cls(**{name: status[name] for name in cls.__dataclass_fields__})

    @property
    def mode(self) -> str:
        """The mode that the workers serve in."""
        # A thread per core is threads mode. Many cores on a few threads can only be greenlets.
        return "threads" if self.threads_per_worker >= self.cores_per_worker else "gevent"


@dataclass(frozen=True)
class Status:
    """What serves of an application.

    Args:
        generation: the serving generation; None if nothing is deployed.
        release: its release, if known.
        platform: distribution, architecture and Python that it was built for; empty if unknown.
        state: the state of its unit, in systemd's words.
        since: when the unit entered it, as systemd prints it; empty if never.
        restarts: how often systemd has restarted it.
        main_pid: its master; 0 if there is none.
        pidfile: the path of the pidfile.
        pidfile_pid: the process that the pidfile names; None if it names none.
        pidfile_true: whether that is the master.
        configured: how the generation is configured.
        kept: the generations that can serve, most recent first.
        addresses: the address that each of them is served on.
        rollback: the generation that a rollback goes to.
        secrets: its secrets.
        lock: the run of Ansible that has reserved the application, with the age of the reservation.
        mode: the observed mode.
        observed: what is known of the workers; None if they could not be asked.
        stats_error: why uWSGI's stats did not respond; empty if they did, or were not asked.
        drift: how the host differs from the generation, a sentence for each difference.
    """

    generation: str | None
    release: str | None
    platform: str
    state: str
    since: str
    restarts: int
    main_pid: int
    pidfile: str
    pidfile_pid: int | None
    pidfile_true: bool
    configured: Configured
    kept: list[str]
    addresses: Mapping[str, str | None]
    rollback: str | None
    secrets: Secrets
    lock: Mapping[str, Any] | None
    mode: str | None
    observed: Observed | None
    stats_error: str
    drift: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Return the status as the module ``status`` does: without what could not be observed."""
        found = asdict(self)
        observed, error, drift = (found.pop(name) for name in ("observed", "stats_error", "drift"))
        return {**found, **(observed or {}), **({"stats_error": error} if error else {}), "drift": drift}

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Status:
        """Return the status that the module ``status`` has returned."""
        parts = {
            "configured": Configured(**document["configured"]),
            "secrets": Secrets(**document["secrets"]),
            "observed": Observed.read(document) if "workers" in document else None,
            "stats_error": document.get("stats_error", ""),
        }
        return cls(**{name: parts[name] if name in parts else document[name] for name in cls.__dataclass_fields__})


def of(layout: Layout) -> Status:
    """Return what serves now, whatever the configuration and the pidfile say.

    Raises:
        SystemdError: systemd does not respond.
    """
    current = layout.current_generation()
    wanted = gen.best_known(layout, current) if current else None
    unit = systemd.show(layout.service(current or "none"), "ActiveState", "MainPID", _TIMESTAMP, "NRestarts")
    main_pid, pidfile_pid = int(unit["MainPID"] or 0), runtime.pidfile_pid(layout)
    observed, error = None, ""
    if current and unit["ActiveState"] == "active":
        try:
            observed = _observed(layout, current)
        except UntrustedError as untrusted:
            # What systemd reports is still true.
            error = f"uWSGI's stats do not respond: {untrusted}"
    kept = gen.kept(layout)
    return Status(
        generation=current,
        release=wanted.release if wanted else None,
        platform=wanted.platform if wanted else "",
        state=unit["ActiveState"],
        since=unit[_TIMESTAMP],
        restarts=int(unit["NRestarts"] or 0),
        main_pid=main_pid,
        pidfile=str(layout.pidfile),
        pidfile_pid=pidfile_pid,
        pidfile_true=pidfile_pid == (main_pid or None),
        configured=Configured(wanted.mode, wanted.processes, wanted.cores) if wanted else Configured(None, None, None),
        kept=kept,
        addresses={name: gen.address(layout, name) for name in kept},
        rollback=gen.rollback_target(layout),
        secrets=Secrets(
            names=list(wanted.secrets.names) if wanted else [],
            encrypted=credentials.encrypted(layout.generations / current) if current else None,
        ),
        lock=reservation.held(layout),
        mode=observed.mode if observed else None,
        observed=observed,
        stats_error=error,
        drift=[*service.drift(layout), *([error] if error else [])],
    )


def _observed(layout: Layout, current: str) -> Observed:
    stats = read_stats(runtime.folder(layout, layout.service(current)) / f"{current}.stats")
    workers = stats.workers
    cores = [worker.cores for worker in workers]
    return Observed(
        workers=len(workers),
        workers_busy=sum(worker.busy > 0 for worker in workers),
        busy=sum(worker.busy for worker in workers),
        cores_per_worker=min(cores, default=0),
        threads_per_worker=min((_threads(worker.pid) for worker in workers), default=0),
        requests=sum(worker.requests for worker in workers),
        exceptions=sum(worker.exceptions for worker in workers),
        listen_queue=stats.listen_queue,
        backlog=stats.backlog,
        capacity=sum(cores) + stats.backlog,
        rss_mb=round(sum(_rss_kb(worker.pid) for worker in workers) / 1024, 1),
        sampled_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )


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
