"""The calls to systemd, through its command line."""

from __future__ import annotations

import subprocess

from . import address, kinds
from . import journal as records
from .foreign import capture, printable
from .layout import Layout


class SystemdError(Exception):
    """systemctl failed, or did not respond in time."""


def _run(*command: str, timeout: float) -> subprocess.CompletedProcess[str]:
    try:
        return capture(command, timeout)
    except OSError as error:
        raise SystemdError(f"`{command[0]}` cannot be run: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise SystemdError(f"`{' '.join(command)}` did not end within {timeout:.0f} s") from error


def systemctl(*arguments: str, timeout: float = 90) -> str:
    """Run systemctl and return its standard output.

    Args:
        arguments: the words after ``systemctl``.
        timeout: seconds to wait for the call (the job continues in systemd). While 12,000 threads ended, which systemd
            kills one by one, a reload took more than 30.

    Raises:
        SystemdError: it exited non-zero or took too long.
    """
    done = _run("systemctl", *arguments, timeout=timeout)
    if done.returncode:
        raise SystemdError(f"`systemctl {' '.join(arguments)}` failed: {_said(done)}")
    return done.stdout


def show(unit: str, *properties: str) -> dict[str, str]:
    """Return the given properties of a unit; they are empty for an unknown unit."""
    output = systemctl("show", unit, *(f"--property={name}" for name in properties))
    pairs = (line.partition("=") for line in output.splitlines())
    return {name: value for name, _, value in pairs}


def _states(*patterns: str) -> dict[str, str]:
    """Return the units in systemd's memory that match a pattern, each with its ActiveState."""
    output = systemctl("list-units", "--all", "--plain", "--no-legend", "--no-pager", *patterns)
    rows = (line.split() for line in output.splitlines())
    return {row[0]: row[2] for row in rows}


def instances(layout: Layout) -> dict[str, str]:
    """Return the generations that systemd has in memory, each with its state.

    Returns:
        generation to ActiveState, for instance ``{"3f2a…": "active"}``.
    """
    return {_instance(unit): state for unit, state in _states(layout.service("*")).items()}


def sockets(layout: Layout) -> dict[str, str]:
    """Return the addresses whose sockets systemd has in memory, written out, each with its state."""
    states = _states(layout.socket("*"))
    return {address.of_instance(_instance(unit)): state for unit, state in states.items()}


def _instance(unit: str) -> str:
    return unit.partition("@")[2].rpartition(".")[0]


def running(layout: Layout) -> list[str]:
    """Return the generations that run, or are starting or stopping."""
    return _alive(instances(layout))


def relieving(layout: Layout) -> list[str]:
    """Return the generations that a relief serves."""
    return _alive({_instance(unit): state for unit, state in _states(layout.relief("*")).items()})


def leftovers(layout: Layout) -> list[str]:
    """Return the temporary units that run or have failed: they belong to a module at work, or to a killed one."""
    states = _states(*(layout.unit(kind, "*") for kind in kinds.TEMPORARY))
    return sorted(name for name, state in states.items() if state != "inactive")


def _alive(states: dict[str, str]) -> list[str]:
    return [name for name, state in states.items() if state not in ("inactive", "failed")]


def cursor() -> str | None:
    """Return the end of the journal, to read later what was logged since, even if the clock jumps."""
    output = journalctl("--output=cat", "--lines=1", "--show-cursor")
    marks = [line.removeprefix("-- cursor: ") for line in output.splitlines() if line.startswith("-- cursor: ")]
    return marks[-1] if marks else None


def journal(unit: str, lines: int = 25, after: str | None = None) -> list[str]:
    """Return the last lines a unit logged, without timestamps and unchanged: they can contain any character.

    Args:
        unit: the unit's name. What others log in its name does not count (``add_matches_for_unit`` in systemd's
            ``logs-show.c``: journald's own ``_SYSTEMD_UNIT``, and ``UNIT`` only from process 1).
        lines: maximum number of lines.
        after: a cursor; only what was logged after it is returned.
    """
    return [line.text for line in logged(unit, lines, after)]


def logged(unit: str, lines: int, after: str | None = None) -> list[records.Said]:
    """Return the lines of :func:`journal`, each line with the process that logged it."""
    # After a cursor, systemd 252 shows the first lines; backwards, it shows the last ones.
    found = records.parse(journalctl("--unit", unit, *records.OPTIONS, f"--lines={lines}"))
    found = [one for one in found if not after or records.later(one, after)]
    return [records.Said(one.pid, line) for one in found for line in one.lines][-lines:]


def journalctl(*arguments: str, timeout: float = 60) -> str:
    """Run journalctl and return its standard output.

    Raises:
        SystemdError: it failed or took too long.
    """
    done = _run("journalctl", "--no-pager", "--quiet", *arguments, timeout=timeout)
    # It also fails if no entry matches.
    if done.returncode and done.stderr.strip():
        raise SystemdError(_said(done))
    return done.stdout


def _said(done: subprocess.CompletedProcess[str]) -> str:
    """Return a command's error output, which can contain names of the host's units."""
    return "\n".join(printable(line) for line in done.stderr.strip().splitlines())
