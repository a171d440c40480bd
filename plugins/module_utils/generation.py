"""A generation on disk: a release, its configuration and its units, whole in one directory."""

from __future__ import annotations

import difflib
import json
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from . import credentials
from .layout import Layout

MANIFEST = "manifest.json"
# Values in here may be nobody's business: a diff shows which names changed, never to what.
ENVIRONMENT = "environment"
# What the gevent check said, once it was asked.
GEVENT_CHECK = "gevent_check.json"
_SERVED = ".served"
# As the filter environment_file writes it: a value may have several lines.
_VARIABLE = re.compile(r'^(\w+)=("(?:[^"\\]|\\.)*")$', re.M | re.S)


def manifest(layout: Layout, generation: str) -> dict[str, Any] | None:
    """Return what a generation says of itself, or None where it is not (wholly) there."""
    path = layout.generations / generation / MANIFEST
    if not path.is_file():
        return None
    document: dict[str, Any] = json.loads(path.read_text())
    return document


@dataclass(frozen=True, order=True)
class Mark:
    """That a generation began to serve.

    Args:
        number: counts the moves on this host; a clock can jump, this cannot.
        generation: the generation's id.
        how: ``deploy`` or ``rollback``.
        since: when, for people.
    """

    number: int
    generation: str
    how: str
    since: str


def history(layout: Layout) -> list[Mark]:
    """Return when each generation on the host last began to serve, the latest first."""
    marks = []
    for path in layout.generations.glob(f"*/{_SERVED}"):
        try:
            said = json.loads(path.read_text())
            marks.append(Mark(int(said["number"]), path.parent.name, said["how"], said["since"]))
        except (ValueError, KeyError, TypeError):
            # Somebody spoiled it: it did serve, and nobody knows when.
            marks.append(Mark(0, path.parent.name, "deploy", ""))
    return sorted(marks, reverse=True)


def kept(layout: Layout) -> list[str]:
    """Return the generations on the host that have served, the one that served last first."""
    return [mark.generation for mark in history(layout)]


def served(layout: Layout, generation: str) -> bool:
    """Tell whether a generation has ever served."""
    return (layout.generations / generation / _SERVED).is_file()


def mark_path(layout: Layout, generation: str) -> Path:
    """Return the file that says that a generation has served."""
    return layout.generations / generation / _SERVED


def mark_served(layout: Layout, generation: str, how: str = "deploy") -> None:
    """Note that a generation serves from now on, and how that came."""
    number = max((mark.number for mark in history(layout)), default=0) + 1
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    partial = layout.generations / generation / f"{_SERVED}.partial"
    partial.write_text(json.dumps({"number": number, "how": how, "since": since}) + "\n")
    partial.rename(partial.with_name(_SERVED))


def rollback_target(layout: Layout) -> str | None:
    """Return the generation that a rollback goes to when none is named, or None where there is none.

    It is the one that served before the last deploy. Where a rollback has been there already it stays the target:
    repeated, on one host or on those that a first try did not reach, a rollback goes neither further nor forth again.
    """
    marks = history(layout)
    if marks and marks[0].how == "rollback":
        return marks[0].generation
    return marks[1].generation if len(marks) > 1 else None


def remove(layout: Layout, generation: str) -> None:
    """Remove a generation and the unit settings that are its own."""
    shutil.rmtree(layout.generations / generation, ignore_errors=True)
    tasks = (partial(layout.task, "pre"), partial(layout.task, "post"))
    for unit in (kind(generation) for kind in (layout.service, layout.canary, layout.relief, layout.check, *tasks)):
        shutil.rmtree(layout.dropin(unit).parent, ignore_errors=True)


def canary_targets(layout: Layout, generation: str) -> dict[Path, Path]:
    """Return where the unit files that only a canary needs belong: installed path to stored path."""
    stored = layout.generations / generation / "units"
    canary = layout.canary(generation)
    return {
        layout.units / layout.canary(""): stored / "app-canary@.service",
        **_settings(layout, generation, canary),
    }


def check_targets(layout: Layout, generation: str) -> dict[Path, Path]:
    """Return where the unit files belong that only a gevent check needs: installed path to stored path."""
    stored = layout.generations / generation / "units"
    return {
        layout.units / layout.check(""): stored / "app-check@.service",
        **_settings(layout, generation, layout.check(generation)),
    }


def task_targets(layout: Layout, generation: str, when: str) -> dict[Path, Path]:
    """Return where the unit files that only a generation's commands need belong: installed path to stored path.

    Args:
        layout: the application's paths.
        generation: the generation's id.
        when: ``pre`` or ``post``.
    """
    stored = layout.generations / generation / "units"
    return {
        layout.units / layout.task(when, ""): stored / "app-task@.service",
        **_settings(layout, generation, layout.task(when, generation)),
    }


def unit_targets(layout: Layout, generation: str) -> dict[Path, Path]:
    """Return where each unit file of a generation belongs: installed path to stored path."""
    stored = layout.generations / generation / "units"
    service, relief = layout.service(generation), layout.relief(generation)
    return {
        **canary_targets(layout, generation),
        layout.units / layout.socket_template: stored / "app@.socket",
        layout.units / layout.service(""): stored / "app@.service",
        layout.units / layout.relief(""): stored / "app-relief@.service",
        **_settings(layout, generation, service),
        **_settings(layout, generation, relief),
        layout.dropin(service, "listen"): stored / "listen.conf",
        layout.dropin(relief, "listen"): stored / "listen.conf",
    }


def _settings(layout: Layout, generation: str, unit: str) -> dict[Path, Path]:
    """Return the settings that every unit of a generation needs to run its processes."""
    folder = layout.generations / generation
    named = {"generation": folder / "units" / "generation.conf", "credentials": folder / credentials.UNIT}
    return {
        layout.dropin(unit, name): stored for name, stored in named.items() if name != "credentials" or stored.is_file()
    }


def socket_activates(unit: str) -> str:
    """Return a socket's unit settings that name the service to start when none runs."""
    return f"[Socket]\nService={unit}\n"


def write(directory: Path, files: Mapping[str, str], group: int) -> None:
    """Write a generation's files into a directory of its own; what is there of an earlier try is removed.

    Args:
        directory: the directory to make.
        files: relative name to content.
        group: numeric id of the service's group.
    """
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o755, parents=True)
    for name, content in files.items():
        write_file(directory, name, content, group)


def write_file(directory: Path, name: str, content: str, group: int) -> None:
    """Write one file of a generation, readable by root and the service's group alone, whole or not at all."""
    path = directory / name
    path.parent.mkdir(mode=0o755, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.touch(mode=0o600)
    partial.write_text(content)
    # systemd reads the environment before it gives up root; the service need not read it at all.
    if name != ENVIRONMENT:
        shutil.chown(partial, group=group)
        partial.chmod(0o640)
    partial.rename(path)


def edited(directory: Path, files: Mapping[str, str]) -> list[str]:
    """Return the names of a whole generation's files that are not what they were written as."""
    return [
        name
        for name, content in files.items()
        if not (directory / name).is_file() or (directory / name).read_text() != content
    ]


def difference(layout: Layout, before: str | None, files: Mapping[str, str]) -> str:
    """Return a unified diff from a generation on the host to new files, values of the environment hidden.

    Args:
        layout: the application's paths.
        before: the generation to compare with, or None for the first one.
        files: relative name to new content.
    """
    hunks: list[str] = []
    for name, content in sorted(files.items()):
        path = layout.generations / (before or "") / name
        old = path.read_text() if before and path.is_file() else ""
        if name == ENVIRONMENT:
            hunks += _environment_difference(old, content)
            continue
        hunks += difflib.unified_diff(
            old.splitlines(keepends=True),
            content.splitlines(keepends=True),
            f"{before or '(none)'}/{name}",
            f"new/{name}",
        )
    return "".join(hunks)


def secrets_difference(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> str:
    """Return which secrets come and go from one manifest to another; of values, only whether any changed.

    Args:
        before: the manifest to compare with, or None for the first one.
        after: the new manifest.
    """
    none: dict[str, Any] = {"names": [], "fingerprint": ""}
    old, new = ((found or {}).get("secrets", none) for found in (before, after))
    lines = [f"- {name}\n" for name in old["names"] if name not in new["names"]]
    lines += [f"+ {name}\n" for name in new["names"] if name not in old["names"]]
    # The fingerprint is one for all of them: where names differ, it does anyway.
    if not lines and old["fingerprint"] != new["fingerprint"]:
        lines = ["~ values changed\n"]
    return "".join(["--- secrets (values hidden)\n", *lines]) if lines else ""


def _environment_difference(old: str, new: str) -> list[str]:
    before, after = (dict(_VARIABLE.findall(text)) for text in (old, new))
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    if not changed:
        return []
    signs = {name: "+" if name not in before else "-" if name not in after else "~" for name in changed}
    return ["--- environment (values hidden)\n", *(f"{signs[name]} {name}\n" for name in changed)]
