"""Moves the traffic of an application from one generation to another without losing a request.

Both generations accept from the same listening socket, which systemd owns. The new one is started and proven before the
old one is stopped gracefully, so something always accepts. docs/HOW_IT_WORKS.md has the measurements behind this
choice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from ..failure import deaths
from ..failure.explain import MOST_READ, refusal
from ..host import files, runtime, systemd, trees
from ..host.foreign import printable
from ..host.journal import Said
from ..host.layout import Layout
from ..host.untrusted import UntrustedError
from ..host.uwsgi import await_health, respawns
from ..release import credentials, retention
from ..release import generation as gen
from . import service, sockets, stopping, toll


class SwapError(Exception):
    """The new generation does not serve; the old one still does."""


class Swap:
    """A move from the serving generation to another one that has already been written.

    If the generation already serves, differences from it are repaired. Its processes are replaced if they were started
    from something else, or if a restart is requested: a relief instance serves in the meantime.

    The caller holds the application's lock (see ``reservation.exclusive``).

    Args:
        layout: the application's paths.
        new: the new generation.
        how: ``deploy`` or ``rollback``, recorded for later rollbacks.
        restart: whether to replace the processes of a generation that already serves.
        canary: whether to first try a generation that does not run, without traffic.
        trial: whether the move is part of a trial (see ``trial``): a reboot undoes it, the history of the host does not
            record it, and nothing is pruned. Any other move ends a trial.

    Raises:
        SwapError: the generation is not on the host, or it is damaged and not the one that was deployed last.
    """

    def __init__(
        self,
        layout: Layout,
        new: str,
        *,
        how: str = "deploy",
        restart: bool = False,
        canary: bool = True,
        trial: bool = False,
    ) -> None:
        deployed = layout.deployed_generation()
        # The serving generation can be started and restarted even if its manifest is damaged.
        found = gen.best_known(layout, new) if new == deployed else gen.manifest(layout, new)
        if found is None:
            there = ", ".join(gen.kept(layout)) or "none"
            why = "is not on this host"
            if gen.served(layout, new):
                why = f"is damaged ({gen.damage(layout, new)}) and cannot serve: deploy to rewrite it"
            raise SwapError(f"generation {new} {why}; kept are: {there}")
        self.layout = layout
        self.new = new
        self.how = how
        self.restart = restart
        self.with_canary = canary
        self.trial = trial
        self.manifest = found
        # Not failures, but what the operator should know.
        self.remarks: list[str] = []
        self.address = found.listen
        self.old = layout.current_generation()
        # A trial changes only what a reboot undoes.
        self.volatile = trial and new != deployed
        if self.volatile and self.address != gen.address(layout, deployed or ""):
            raise SwapError(f"generation {new} is served on {self.address}: a trial cannot change the address")
        # The state before the move, to be restored if it fails.
        self.deployed = deployed
        self.before = gen.best_known(layout, self.old) if self.old else None
        self.enabled = set(service.enabled_generations(layout))
        mark = gen.mark_path(layout, new)
        self.mark = mark.read_bytes() if mark.is_file() else None
        self.steps: dict[str, float] = {}
        # The requests that were cut when the old processes were stopped.
        self.toll = toll.Toll()
        self.opened = False
        self.tried = False

    def run(self) -> bool:
        """Carry out the move.

        Returns:
            whether anything changed.

        Raises:
            SwapError: the new generation cannot serve. The old one was not affected.
        """
        try:
            changed = self._bring_in()
        except BaseException as error:
            # Whatever happened, the old generation still serves, and the new one must not stay beside it.
            left = self._restore()
            if not isinstance(error, Exception):
                raise
            raise SwapError("\n".join((_said(error), *left))) from error
        # This comes first: a connection to a socket whose generation was just stopped would start it again.
        steps = [self._close_other_sockets, self._stop_others, self._tidy]
        return self._finish(*steps, *([] if self.trial else [self._prune])) or changed

    def _bring_in(self) -> bool:
        """Start the new generation beside the old one, and make everything refer to it.

        Returns:
            whether anything changed.
        """
        changed = stopping.end_leftovers(self.layout, self.new)
        state = systemd.instances(self.layout).get(self.new, "inactive")
        # One that is starting or stopping is started as well: systemd waits for either.
        runs = state == "active"
        if not runs and (lost := service.lost_interpreter(self.layout.venvs / self.manifest.venv)):
            raise SwapError(
                f"generation {self.new} cannot start: {lost}. Install that interpreter again, or deploy with another "
                "one (flask_uwsgi_python)"
            )
        if self.with_canary and not runs:
            self._timed("canary", self._try_off_traffic)
        changed |= self._install(self.new, self._targets(self.new))
        stopped = state in ("inactive", "failed")
        # Done before the socket is opened, since a connection may start the generation.
        claimed = runtime.make_way(self.layout, self.new, runs=not stopped)
        if self._open_socket(by_relief=not stopped):
            changed = True
        if not runs:
            self._timed("start", self._start)
        elif changed or self.restart or not runtime.whole(self.layout, self.new):
            self._timed("restart", self._restart)
            changed = True
        else:
            # A killed swap can have left one that was never proven.
            self._prove()
        return self._point() or changed or claimed or not runs

    def _finish(self, *steps: Callable[[], bool]) -> bool:
        """Carry out the remaining steps once the new generation serves, continuing past failures.

        Returns:
            whether anything changed.

        Raises:
            SwapError: a step failed. The new generation serves nevertheless.
        """
        changed, problems = False, []
        for step in steps:
            try:
                changed |= step()
            except Exception as error:
                problems.append(_said(error))
        if problems:
            raise SwapError(
                f"generation {self.new} serves, but the previous one could not be cleaned up: {'; '.join(problems)}. "
                "Correct this, and deploy again"
            )
        return changed

    def _tries(self, generation: str) -> bool:
        """Return whether a generation serves, or would serve, only for a trial."""
        return self.volatile if generation == self.new else generation != self.deployed

    def _targets(self, generation: str) -> dict[Path, Path]:
        return (gen.trial_targets if self._tries(generation) else gen.unit_targets)(self.layout, generation)

    def _activate(self, generation: str, unit: str) -> bool:
        """Have the socket start a unit of a generation; return whether it was set to start another one."""
        own = self.layout.trial_dropin(self.address)
        if self._tries(generation):
            return files.put(own, gen.socket_activates(unit))
        changed = files.put(self.layout.socket_dropin(self.address), gen.socket_activates(unit))
        if own.exists():
            own.unlink()
            changed = True
        return changed

    def _timed(self, step: str, action: Callable[[], None]) -> None:
        started = time.monotonic()
        action()
        self.steps[step] = round(time.monotonic() - started, 3)

    def _try_off_traffic(self) -> None:
        unit = self.layout.canary(self.new)
        self.tried = True
        # The serving units are not changed until the canary has responded.
        targets = self._targets(self.new) if self.volatile else gen.canary_targets(self.layout, self.new)
        self._install(self.new, targets)
        self._clear(unit)
        try:
            self._bring_up(unit, settle=self.manifest.settle)
        finally:
            self._end_canary()

    def _end_canary(self) -> None:
        # A pattern is used because a unit that systemd could not load is then no error.
        pattern = self.layout.canary("*")
        systemd.systemctl("stop", pattern, timeout=stopping.GRACE + self.manifest.stop_timeout)
        systemd.systemctl("reset-failed", pattern)

    def _clear(self, unit: str) -> None:
        """Remove what is in a unit's way: systemd cannot remove a directory while its account goes on writing there."""
        trees.remove(runtime.folder(self.layout, unit))

    def _start(self) -> None:
        self._bring_up(self.layout.service(self.new))

    def _restart(self) -> None:
        relief = self.layout.relief(self.new)
        if not systemd.relieving(self.layout):
            self._clear(relief)
        try:
            self._bring_up(relief)
        except BaseException:
            self._stop([relief])
            systemd.systemctl("reset-failed", self.layout.relief("*"))
            raise
        runtime.point_pidfile(self.layout, relief)
        # If a step fails from here on, the relief keeps running: nothing else serves.
        own, end = self.layout.service(self.new), systemd.cursor()
        try:
            self._bring_up(own, verb="restart")
        except BaseException:
            if systemd.show(own, "ActiveState")["ActiveState"] == "active":
                # It has started but is unhealthy, and would take every second request.
                self._stop([own])
                runtime.point_pidfile(self.layout, relief)
            raise
        self.toll += toll.taken([own], end)

    def _prove(self) -> None:
        end = systemd.cursor()
        unit = self.layout.service(self.new)
        if problem := self._health_problem(unit):
            self._refuse(unit, end, problem)

    def _health_problem(self, unit: str) -> str | None:
        health = self.manifest.health
        socket = runtime.folder(self.layout, unit) / f"{self.new}.sock"
        return await_health(socket, health.path, health.status, health.timeout, health.host, self._remark)

    def _remark(self, said: str) -> None:
        # The canary reports the same as the service.
        if said not in self.remarks:
            self.remarks.append(said)

    def _bring_up(self, unit: str, *, verb: str = "start", settle: float = 0) -> None:
        end = systemd.cursor()
        # One that ends while it starts finishes its requests, as the one before it does in a restart.
        stops = 1 if verb == "start" else 2
        longest = stopping.GRACE + self.manifest.start_timeout + stops * self.manifest.stop_timeout
        try:
            systemd.systemctl(verb, unit, timeout=longest)
            problem = self._health_problem(unit)
            if settle and not problem:
                problem = self._watch(unit, settle) or self._health_problem(unit)
        except systemd.SystemdError as error:
            problem = str(error).partition("\n")[0]
        if problem:
            self._refuse(unit, end, problem)

    def _watch(self, unit: str, seconds: float) -> str | None:
        """Watch a new instance for some seconds: it must stay healthy, and none of its workers may die."""
        started = time.monotonic()
        stats = runtime.folder(self.layout, unit) / f"{self.new}.stats"
        # uWSGI opens its stats only once its workers run: on a busy host the first response can come before that.
        unheard: UntrustedError | None = None
        patience = seconds + self.manifest.health.timeout
        while (past := time.monotonic() - started) < (patience if unheard else seconds):
            if systemd.show(unit, "ActiveState")["ActiveState"] != "active":
                return f"it ended {past:.1f} s after it had become healthy"
            try:
                if respawns(stats):
                    return f"a worker died, no later than {past:.1f} s after the first good response"
                unheard = None
            except UntrustedError as error:
                unheard = error
            # The stats of thousands of cores cost 40 ms of CPU.
            time.sleep(0.5)
        return f"its stats do not respond: {unheard.reason}" if unheard else None

    def _refuse(self, unit: str, after: str | None, problem: str) -> None:
        # A failing application may print its credentials.
        names = self.manifest.secrets.names
        blot = credentials.blotter(self.layout.generations / self.new, names)
        logged = [Said(pid, printable(blot(text))) for pid, text in systemd.logged(unit, MOST_READ, after)]
        state = systemd.show(unit, *deaths.PROPERTIES)
        cause, *log = refusal(logged, self.manifest, problem, state, str(self.layout.root))
        raise SwapError("\n".join((f"generation {self.new} ({self.manifest.mode}) does not serve: {cause}", *log)))

    def _install(self, generation: str, targets: dict[Path, Path]) -> bool:
        changed = [files.put(target, stored.read_text()) for target, stored in targets.items()]
        stale = systemd.show(self.layout.service(generation), "NeedDaemonReload")["NeedDaemonReload"] == "yes"
        if any(changed) or stale:
            systemd.systemctl("daemon-reload")
        return any(changed) or stale

    def _open_socket(self, *, by_relief: bool) -> bool:
        """Have systemd listen on the generation's address, beside all others that it listens on.

        Args:
            by_relief: the generation's own service runs, and systemd opens no socket whose service already runs.
        """
        unit = self.layout.socket(self.address)
        opened = systemd.show(unit, "ActiveState")["ActiveState"] == "active"
        if opened and sockets.listening(self.address):
            return sockets.grant(self.layout, self.address)
        if opened:
            # It has lost its descriptor without noticing.
            systemd.systemctl("stop", unit)
        if taken := sockets.occupied(self.address):
            raise SwapError(
                f"generation {self.new} ({self.manifest.mode}) does not serve: flask_uwsgi_bind={self.address} is "
                f"{taken}, which systemd would replace: move it away, or choose another path"
            )
        starts = self.layout.relief(self.new) if by_relief else self.layout.service(self.new)
        if by_relief and self.new in systemd.relieving(self.layout):
            self._stop([starts])
        if self._activate(self.new, starts):
            systemd.systemctl("daemon-reload")
        end = systemd.cursor()
        try:
            systemd.systemctl("start", unit)
        except systemd.SystemdError as error:
            # systemctl says no more than that the journal has the reason.
            taken = ", on which another program listens" if sockets.listening(self.address) else ""
            problem = f"generation {self.new} ({self.manifest.mode}) does not serve: systemd cannot listen on"
            log = [f"    {printable(line)}" for line in systemd.journal(unit, 10, end)] or [f"    {error}"]
            raise SwapError(
                "\n".join((f"{problem} {self.address}{taken}.", "systemd's last log lines:", *log))
            ) from error
        self.opened = True
        return True

    def _restore(self) -> list[str]:
        """Restore what was installed, and remove everything of a generation that never served.

        Returns:
            what could not be restored, a sentence for each.
        """
        left = []
        steps = [self._close_new_socket, self._stop_new, self._point_back, self._forget_new]
        for step in (
            *([self._end_canary] if self.tried else []),
            *([self._take_back_restart] if self.new == self.old else steps),
        ):
            try:
                step()
            except Exception as error:
                # Whatever the error is, the other steps are still needed.
                left.append(f"It could not be restored: {_said(error)}")
        return left

    def _take_back_restart(self) -> None:
        if self.opened and self.new in systemd.running(self.layout) and self.new not in systemd.relieving(self.layout):
            # Nothing accepts from it, and every second connection would wait there.
            systemd.systemctl("stop", self.layout.socket(self.address))
            self._activate(self.new, self.layout.service(self.new))
            systemd.systemctl("daemon-reload")

    def _close_new_socket(self) -> None:
        """Close the socket that was opened for the new generation, before a connection restarts the generation."""
        if self.old and not self.before and not self.opened:
            # The address of a damaged one is unknown; its socket was already open.
            return
        if not self.old or not self.before or self.before.listen != self.address:
            sockets.close(self.layout, self.address)
            return
        if self.opened:
            systemd.systemctl("stop", self.layout.socket(self.address))
        if self._activate(self.old, self.layout.service(self.old)):
            systemd.systemctl("daemon-reload")

    def _stop_new(self) -> None:
        beside = [self.layout.service(self.new)] if self.new in systemd.instances(self.layout) else []
        beside += [self.layout.relief(self.new)] if self.new in systemd.relieving(self.layout) else []
        if beside:
            self._stop(beside)
        systemd.systemctl("reset-failed", self.layout.service("*"), self.layout.relief("*"))

    def _point_back(self) -> None:
        """Make the pidfile, `current`, the boot and the socket refer to the old generation."""
        if self.deployed:
            files.link(self.layout.current, f"generations/{self.deployed}")
        else:
            self.layout.current.unlink(missing_ok=True)
        if self.old and self.old != self.deployed:
            files.link(self.layout.tried, str(self.layout.generations / self.old))
        else:
            self.layout.tried.unlink(missing_ok=True)
        if self.old:
            # For a damaged one, what exists of it.
            targets = {target: stored for target, stored in self._targets(self.old).items() if stored.is_file()}
            self._install(self.old, targets)
            if self.before:
                sockets.grant(self.layout, self.before.listen)
            if self.old in systemd.running(self.layout):
                runtime.point_pidfile(self.layout, self.layout.service(self.old))
        self._enable(self.enabled)
        if not self.old or self.volatile:
            for target in self._targets(self.new):
                target.unlink(missing_ok=True)
        systemd.systemctl("daemon-reload")

    def _forget_new(self) -> None:
        if self.trial:
            return
        if self.mark is not None:
            files.write(gen.mark_path(self.layout, self.new), self.mark, 0o640)
        elif self.new != self.deployed:
            gen.remove(self.layout, self.new)
        retention.prune(self.layout, self.old, None, self.manifest.keep)
        systemd.systemctl("daemon-reload")

    def _point(self) -> bool:
        """Make the pidfile, `current`, the boot and the socket refer to the new generation."""
        unit, socket = self.layout.service(self.new), self.layout.socket(self.address)
        changed = runtime.point_pidfile(self.layout, unit)
        if self.volatile:
            changed |= files.link(self.layout.tried, str(self.layout.generations / self.new))
            if self._activate(self.new, unit):
                systemd.systemctl("daemon-reload")
                changed = True
            return changed
        moves = self.deployed != self.new
        # The target of `current` must count as one that has served, or a rollback skips it and a prune removes it.
        if not self.trial and (moves or self.mark is None):
            gen.mark_served(self.layout, self.new, self.how)
            changed = True
        changed |= files.link(self.layout.current, f"generations/{self.new}")
        if self.layout.tried.is_symlink():
            self.layout.tried.unlink()
            changed = True
        changed |= self._enable({self.new})
        if systemd.show(socket, "UnitFileState")["UnitFileState"] != "enabled":
            systemd.systemctl("--no-reload", "enable", socket)
            changed = True
        # Done before the tried generation is stopped: a connection would start it again.
        changed |= self._activate(self.new, unit)
        if changed:
            systemd.systemctl("daemon-reload")
            # systemctl does not sync what it enables.
            files.sync_tree(self.layout.units)
        return changed

    def _enable(self, wanted: set[str]) -> bool:
        """Make these generations start at boot and no others; return whether that is new."""
        enabled = set(service.enabled_generations(self.layout))
        for name in enabled - wanted:
            systemd.systemctl("--no-reload", "disable", self.layout.service(name))
        for name in wanted - enabled:
            systemd.systemctl("--no-reload", "enable", self.layout.service(name))
        return enabled != wanted

    def _stop_others(self) -> bool:
        """Gracefully stop everything that serves beside the new generation's own instance."""
        others = [self.layout.service(name) for name in systemd.running(self.layout) if name != self.new]
        others += [self.layout.relief(name) for name in systemd.relieving(self.layout)]
        if others:
            self._timed("stop_old", lambda: self._stop(others))
            # A unit that did not end in time was killed, and would stay in the list of failed units.
            systemd.systemctl("reset-failed", self.layout.service("*"), self.layout.relief("*"))
        return bool(others)

    def _prune(self) -> bool:
        retention.forget_trial(self.layout, self.new)
        return retention.prune(self.layout, self.new, self.old, self.manifest.keep)

    def _tidy(self) -> bool:
        runtime.tidy(self.layout, {self.new, *systemd.running(self.layout)}, systemd.relieving(self.layout))
        return False

    def _close_other_sockets(self) -> bool:
        others = [address for address in sockets.addresses(self.layout) if address != self.address]
        for address in others:
            sockets.close(self.layout, address)
        if others:
            systemd.systemctl("daemon-reload")
        return bool(others)

    def _stop(self, units: Iterable[str]) -> None:
        self.toll += stopping.stop(self.layout, units)


def _said(error: BaseException) -> str:
    """Return an error as a sentence for the operator, including an unexpected one."""
    known = isinstance(error, (SwapError, systemd.SystemdError, OSError, UntrustedError))
    return str(error) if known else f"an unexpected error, {type(error).__name__}: {error}"
