"""Reports which units of an application a host has, and how what serves differs from its generation."""

from __future__ import annotations

import re
from pathlib import Path

from ..host import checksums, runtime, systemd, temporary
from ..host.layout import Layout
from ..release import credentials
from ..release import generation as gen
from ..release.artifact import sha256
from . import reservation, sockets


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
    if lost := lost_interpreter(layout.venvs / wanted.venv):
        found.append(lost)
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
    elif misgranted := sockets.misgranted(layout, wanted.listen):
        found.append(misgranted)
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


def lost_interpreter(venv: Path) -> str:
    """Return that the interpreter of a virtual environment was removed, such as by an upgrade; empty if it was not."""
    python = venv / "bin" / "python"
    if python.is_symlink() and not python.exists():
        return f"{python} leads to {python.resolve()}, which is missing"
    return ""


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
