"""The few things we ask of systemd, through its own command line."""

from __future__ import annotations

import subprocess

from .layout import Layout


class SystemdError(Exception):
    """systemctl refused, failed, or did not answer in time."""


def _run(*command: str, timeout: float) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired as error:
        raise SystemdError(f"`{' '.join(command)}` did not end within {timeout:.0f} s") from error


def systemctl(*arguments: str, timeout: float = 30) -> str:
    """Run systemctl and return its standard output.

    Args:
        arguments: the words after ``systemctl``.
        timeout: seconds after which the call is given up (the job goes on in systemd).

    Raises:
        SystemdError: it exited non-zero or took too long.
    """
    done = _run("systemctl", *arguments, timeout=timeout)
    if done.returncode:
        raise SystemdError(f"`systemctl {' '.join(arguments)}` failed: {done.stderr.strip()}")
    return done.stdout


def show(unit: str, *properties: str) -> dict[str, str]:
    """Return the named properties of a unit; an unknown unit has empty ones."""
    output = systemctl("show", unit, *(f"--property={name}" for name in properties))
    pairs = (line.partition("=") for line in output.splitlines())
    return {name: value for name, _, value in pairs}


def instances(layout: Layout) -> dict[str, str]:
    """Return the generations systemd holds in memory, each with its state.

    Returns:
        generation to ActiveState, for instance ``{"3f2a…": "active"}``.
    """
    output = systemctl("list-units", "--all", "--plain", "--no-legend", "--no-pager", layout.service("*"))
    states: dict[str, str] = {}
    for line in output.splitlines():
        unit, _load, active, *_ = line.split()
        states[unit.removeprefix(f"{layout.app}@").removesuffix(".service")] = active
    return states


def running(layout: Layout) -> list[str]:
    """Return the generations that run, or are about to start or to end."""
    return [name for name, state in instances(layout).items() if state not in ("inactive", "failed")]


def journal(unit: str, lines: int = 25, since: str | None = None) -> list[str]:
    """Return the last lines a unit logged, without timestamps.

    Args:
        unit: the unit's name.
        lines: how many lines at the most.
        since: a time journalctl understands, such as ``@1700000000``.
    """
    window = ("--since", since) if since else ()
    done = _run("journalctl", "--unit", unit, "--no-pager", "--output=cat", f"--lines={lines}", *window, timeout=30)
    return done.stdout.splitlines()
