"""Moves the traffic of an application from one generation to another without losing a request.

Both generations accept from the same listening socket, which systemd owns: the new one is started and
proven before the old one is stopped gracefully, so at every moment somebody accepts. The measurements
that chose this are in docs/HOW_IT_WORKS.md.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import generation as gen
from . import service, systemd
from .explain import explain, telling
from .layout import Layout
from .uwsgi import await_health

# How long systemd itself may take on top of the times the operator set.
_GRACE = 15


class SwapError(Exception):
    """The new generation does not serve; what served before still does."""


class Swap:
    """One move from the generation that serves to another one that is written already.

    Args:
        layout: the application's paths.
        new: the generation to move to.
        canary: whether to try it off the traffic first.
    """

    def __init__(self, layout: Layout, new: str, *, canary: bool = True) -> None:
        found = gen.manifest(layout, new)
        if found is None:
            there = ", ".join(gen.kept(layout)) or "none"
            raise SwapError(f"generation {new} is not on this host; kept are: {there}")
        self.layout = layout
        self.new = new
        self.manifest: dict[str, Any] = found
        self.old: str | None = None
        self.with_canary = canary
        self.steps: dict[str, float] = {}

    def run(self) -> bool:
        """Carry out the move.

        Returns:
            whether anything changed.

        Raises:
            SwapError: the new generation is not fit to serve. The old one was not disturbed.
        """
        with _exclusive(self.layout):
            self.old = self.layout.current_generation()
            before = systemd.running(self.layout)
            try:
                if self.with_canary and self.new not in before:
                    self._timed("canary", self._try_off_traffic)
                # Before the units are loaded: from then on systemd tells the new address, and has lost the socket.
                if self._address_changes():
                    self._timed("address", self._leave_address)
                changed = self._install_units(self.new)
                self._timed("start", self._start)
            except (SwapError, systemd.SystemdError, OSError) as error:
                self._restore(before)
                raise SwapError(str(error)) from error
            changed |= self._point() or self.new not in before
            others = [name for name in systemd.running(self.layout) if name != self.new]
            if others:
                self._timed("stop_old", lambda: self._stop(others))
            pruned = prune(self.layout, self.new, self.old, int(self.manifest["keep"]))
            return changed or bool(others) or pruned

    def _timed(self, step: str, action: Callable[[], None]) -> None:
        started = time.monotonic()
        action()
        self.steps[step] = round(time.monotonic() - started, 3)

    def _try_off_traffic(self) -> None:
        unit = self.layout.canary(self.new)
        # The units that serve are left alone until the canary has answered.
        self._install_units(
            self.new, only=(self.layout.canary_dropin(self.new), self.layout.units / self.layout.canary(""))
        )
        try:
            self._bring_up(unit, self.layout.canary_runtime)
        finally:
            # By pattern: a unit that systemd could not even load is no error here.
            pattern = self.layout.canary("*")
            systemd.systemctl("stop", pattern, timeout=_GRACE + float(self.manifest["stop_timeout"]))
            systemd.systemctl("reset-failed", pattern)

    def _start(self) -> None:
        # The service only wants its socket: without this it would start deaf where the address cannot be opened.
        systemd.systemctl("start", self.layout.socket_unit)
        self._bring_up(self.layout.service(self.new), self.layout.runtime)

    def _bring_up(self, unit: str, runtime: Path) -> None:
        since = f"@{int(time.time())}"
        health = self.manifest["health"]
        try:
            systemd.systemctl("start", unit, timeout=_GRACE + float(self.manifest["start_timeout"]))
            problem = await_health(
                runtime / f"{self.new}.sock", health["path"], int(health["status"]), float(health["timeout"])
            )
        except systemd.SystemdError as error:
            problem = str(error).partition("\n")[0]
        if problem:
            self._refuse(unit, since, problem)

    def _refuse(self, unit: str, since: str, problem: str) -> None:
        logged = systemd.journal(unit, 100, since)
        lines = telling(logged)
        cause = explain(logged, self.manifest["wsgi_file"], self.manifest["callable"])
        raise SwapError(
            f"generation {self.new} ({self.manifest['mode']}) does not serve: {cause or problem}.\n"
            + "\n".join(("Its last log lines:", *(f"    {line}" for line in lines[-15:])))
        )

    def _install_units(self, generation: str, only: tuple[Path, ...] = ()) -> bool:
        changed = False
        for target, stored in gen.unit_targets(self.layout, generation).items():
            if not only or target in only:
                changed |= _put(target, stored.read_text())
        if not only and not self.layout.socket_dropin.exists():
            # systemd starts no socket that has no service to start.
            changed |= _put(self.layout.socket_dropin, gen.socket_activates(self.layout, generation))
        if changed:
            systemd.systemctl("daemon-reload")
        return changed

    def _address_changes(self, generation: str | None = None) -> bool:
        """Tell whether the socket must be opened anew for a generation (by default the new one)."""
        wanted = gen.manifest(self.layout, generation) if generation else self.manifest
        if systemd.show(self.layout.socket_unit, "ActiveState")["ActiveState"] != "active":
            # systemd opens no socket whose service runs already.
            return bool(systemd.running(self.layout))
        listening = systemd.show(self.layout.socket_unit, "Listen")["Listen"].partition(" ")[0]
        return bool(wanted) and (listening != (wanted or {})["listen"] or not service.listening(listening))

    def _leave_address(self) -> None:
        # systemd will not open another address while a service holds the socket.
        # In one call: between two, a connection would make the socket start the old generation again.
        self._stop(systemd.running(self.layout), self.layout.socket_unit)

    def _restore(self, before: list[str]) -> None:
        """Put back what was installed, and leave nothing of a generation that never served."""
        if self.new == self.old:
            return
        if self.new in systemd.instances(self.layout):
            self._stop([self.new])
        systemd.systemctl("reset-failed", self.layout.service("*"))
        if self.old and gen.manifest(self.layout, self.old):
            if self._address_changes(self.old):
                systemd.systemctl("stop", self.layout.socket_unit)
            self._install_units(self.old)
            if self.old in before:
                systemd.systemctl(
                    "start", self.layout.service(self.old), timeout=_GRACE + self._seconds("start_timeout", self.old)
                )
        else:
            if systemd.show(self.layout.socket_unit, "ActiveState")["ActiveState"] == "active":
                systemd.systemctl("stop", self.layout.socket_unit)
            for target in (*gen.unit_targets(self.layout, self.new), self.layout.socket_dropin):
                target.unlink(missing_ok=True)
            shutil.rmtree(self.layout.socket_dropin.parent, ignore_errors=True)
        if not gen.served(self.layout, self.new):
            gen.remove(self.layout, self.new)
        prune(self.layout, self.old, None, int(self.manifest["keep"]))
        systemd.systemctl("daemon-reload")

    def _point(self) -> bool:
        """Make the pidfile, `current`, the boot and the socket name the new generation."""
        changed = point_pidfile(self.layout, self.new)
        changed |= _link(self.layout.current, f"generations/{self.new}")
        gen.mark_served(self.layout, self.new)
        enabled = set(_enabled(self.layout))
        for name in enabled - {self.new}:
            systemd.systemctl("--no-reload", "disable", self.layout.service(name))
        if self.new not in enabled:
            systemd.systemctl("--no-reload", "enable", self.layout.service(self.new))
        if systemd.show(self.layout.socket_unit, "UnitFileState")["UnitFileState"] != "enabled":
            systemd.systemctl("--no-reload", "enable", self.layout.socket_unit)
            changed = True
        changed |= _put(self.layout.socket_dropin, gen.socket_activates(self.layout, self.new))
        if changed or enabled != {self.new}:
            systemd.systemctl("daemon-reload")
            changed = True
        return changed

    def _stop(self, generations: list[str], *first: str) -> None:
        units = [self.layout.service(name) for name in generations]
        longest = max((self._seconds("stop_timeout", name) for name in generations), default=0.0)
        systemd.systemctl("stop", *first, *units, timeout=_GRACE + longest)

    def _seconds(self, timeout: str, generation: str) -> float:
        return float((gen.manifest(self.layout, generation) or self.manifest)[timeout])


@contextmanager
def _exclusive(layout: Layout) -> Iterator[None]:
    """Refuse to work on an application that somebody else is working on."""
    layout.lock.parent.mkdir(exist_ok=True)
    with layout.lock.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            raise SwapError(
                f"another deploy of {layout.app} is at work on this host ({lock.read().strip()}): "
                "wait for it to end, then deploy again"
            ) from error
        lock.truncate(0)
        lock.write(f"pid {os.getpid()}, since {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}")
        lock.flush()
        yield
        lock.truncate(0)


def point_pidfile(layout: Layout, generation: str) -> bool:
    """Make the application's pidfile name a generation's master, and that file tell the truth.

    Args:
        layout: the application's paths.
        generation: the generation that serves.

    Returns:
        whether it named another one, or lied.
    """
    pid = systemd.show(layout.service(generation), "MainPID")["MainPID"]
    own = layout.runtime / f"{generation}.pid"
    changed = not own.is_file() or own.read_text().strip() != pid
    if changed:
        owner = layout.runtime.stat()
        partial = own.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        # The service may write in this directory: root must not follow a link that it planted.
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(f"{pid}\n")
            os.fchown(stream.fileno(), owner.st_uid, owner.st_gid)
        partial.rename(own)
    return _link(layout.pidfile, own.name) or changed


def prune(layout: Layout, new: str | None, old: str | None, keep: int) -> bool:
    """Remove generations beyond those to keep, then the releases and environments nobody names.

    Args:
        layout: the application's paths.
        new: the generation that serves, if any; always kept.
        old: the one before it, the next rollback's target; always kept.
        keep: how many to keep in all.

    Returns:
        whether anything was removed.
    """
    safe = {name for name in (new, old) if name}
    others = [name for name in gen.kept(layout) if name not in safe]
    # What serves and the one before it: a rollback needs two.
    doomed = others[max(keep, 2) - len(safe) :]
    for name in doomed:
        gen.remove(layout, name)
    manifests = [gen.manifest(layout, name) or {} for name in gen.kept(layout)]
    orphans = [
        path
        for folder, key in ((layout.releases, "release"), (layout.venvs, "venv"))
        for path in folder.iterdir()
        if path.name not in {found.get(key) for found in manifests}
    ]
    for path in orphans:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    return bool(doomed or orphans)


def _enabled(layout: Layout) -> list[str]:
    wants = layout.units / "multi-user.target.wants"
    pattern = re.compile(re.escape(f"{layout.app}@") + r"(.+)\.service")
    names = wants.iterdir() if wants.is_dir() else ()
    return [match[1] for path in names if (match := pattern.fullmatch(path.name))]


def _put(path: Path, content: str) -> bool:
    if path.is_file() and path.read_text() == content:
        return False
    path.parent.mkdir(mode=0o755, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(content)
    partial.chmod(0o644)
    partial.rename(path)
    return True


def _link(path: Path, target: str) -> bool:
    if path.is_symlink() and str(path.readlink()) == target:
        return False
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    partial.symlink_to(target)
    partial.rename(path)
    return True
