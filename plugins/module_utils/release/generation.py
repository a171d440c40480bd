"""A generation on disk: a release, its configuration and its units, complete in one directory."""

from __future__ import annotations

import difflib
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..host import address as addresses
from ..host import files, kinds, trees
from ..host.layout import Layout
from . import credentials, values
from . import manifest as manifests
from .manifest import Health, Manifest, Secrets

MANIFEST = manifests.FILE
# Its values may be confidential: a diff shows which names changed, never the values.
ENVIRONMENT = "environment"
# Configuration files of the application, which may contain such values as well.
_FILES = f"{values.FOLDER}/"
# The result of the gevent check, once it has run.
GEVENT_CHECK = "gevent_check.json"
_SERVED = ".served"
# The format of the filter environment_file, in which a value may have several lines.
_VARIABLE = re.compile(r'^(\w+)=("(?:[^"\\]|\\.)*")$', re.M | re.S)


def manifest(layout: Layout, generation: str) -> Manifest | None:
    """Return the manifest of a generation, or None if the generation is missing, incomplete or damaged."""
    try:
        return manifests.read(layout.generations / generation / MANIFEST)
    except files.DamagedError:
        return None


def damage(layout: Layout, generation: str) -> str:
    """Return what is wrong with the manifest of a generation; an empty string if nothing is."""
    try:
        manifests.read(layout.generations / generation / MANIFEST)
    except files.DamagedError as error:
        return str(error)
    return ""


def damaged(layout: Layout) -> dict[str, str]:
    """Return the generations that serve or served and whose manifests are damaged, each with what is wrong."""
    names = {*(mark.generation for mark in _marks(layout)), layout.deployed_generation(), layout.current_generation()}
    found = {name: damage(layout, name) for name in sorted(name for name in names if name)}
    return {name: reason for name, reason in found.items() if reason}


def best_known(layout: Layout, generation: str) -> Manifest | None:
    """Return the manifest of a generation, or, if it is damaged, as much of it as the other files contain.

    It is enough to start, stop and show the service. Nothing is deployed with it: the next deploy rewrites it.
    """
    return manifest(layout, generation) or _salvaged(layout, generation)


def _salvaged(layout: Layout, generation: str) -> Manifest | None:
    folder = layout.generations / generation
    listen = re.search(r"^Sockets=.*@(\S+)\.socket$", _text(folder / "units" / "listen.conf"), re.M)
    ini, unit = _text(folder / "uwsgi.ini"), _text(folder / "units" / kinds.SERVICE.template)

    def value(text: str, key: str, default: int) -> int:
        found = re.search(rf"^{key} ?= ?(\d{{1,9}})$", text, re.M)
        return int(found[1]) if found else default

    if not listen:
        return None
    cores = {mode: value(ini, mode, 0) for mode in ("gevent", "threads")}
    mode = "gevent" if cores["gevent"] else "threads"
    secrets = folder / credentials.FOLDER
    return Manifest(
        release=_target(folder / "release"),
        venv=_target(folder / "venv"),
        mode=mode,
        processes=value(ini, "processes", 0),
        cores=cores[mode],
        listen=addresses.of_instance(listen[1]),
        wsgi_file="",
        callable="",
        # Only whether it responds can be checked.
        health=Health("/", 0, 60.0),
        start_timeout=value(unit, "TimeoutStartSec", 90),
        stop_timeout=value(unit, "TimeoutStopSec", 90),
        # Everything on the host is kept.
        keep=1000,
        checksums={},
        secrets=Secrets(tuple(sorted(path.name for path in secrets.glob("[!.]*")))),
    )


def _text(path: Path) -> str:
    return path.read_bytes().decode(errors="replace") if path.is_file() else ""


def _target(link: Path) -> str:
    return link.readlink().name if link.is_symlink() else ""


def address(layout: Layout, generation: str) -> str | None:
    """Return the address that a generation is served on, even if its manifest is damaged."""
    found = best_known(layout, generation)
    return found.listen if found else None


@dataclass(frozen=True, order=True)
class Mark:
    """The record that a generation began to serve.

    Args:
        number: the sequence number of the move on this host; unlike a clock, it cannot jump.
        generation: the generation's id.
        how: ``deploy`` or ``rollback``.
        since: when, for people.
    """

    number: int
    generation: str
    how: str
    since: str


def history(layout: Layout) -> list[Mark]:
    """Return when each generation on the host last began to serve, latest first.

    `current` comes first whatever the marks say: a run can be killed before it marks the generation that it has just
    linked, or after it has marked one that it never linked. One that is marked but was not linked comes last.
    """
    marks = sorted(_marks(layout), reverse=True)
    current = layout.deployed_generation()
    if current is None:
        return marks
    number = max((mark.number for mark in marks), default=0) + 1
    own = next((mark for mark in marks if mark.generation == current), Mark(number, current, "deploy", ""))
    return [own, *(mark for mark in marks if mark < own), *(mark for mark in marks if mark > own)]


def _marks(layout: Layout) -> list[Mark]:
    return [_mark(path) for path in layout.generations.glob(f"*/{_SERVED}")]


def _mark(path: Path) -> Mark:
    try:
        said = files.read_object(path)
    except files.DamagedError:
        said = {}
    number, how, since = said.get("number"), said.get("how"), said.get("since")
    if isinstance(number, int) and how in ("deploy", "rollback") and isinstance(since, str):
        return Mark(number, path.parent.name, how, since)
    # It did serve, at an unknown time.
    return Mark(0, path.parent.name, "deploy", "")


def kept(layout: Layout) -> list[str]:
    """Return the generations on the host that have served and can serve again, most recent first."""
    names = [mark.generation for mark in history(layout)]
    return [name for name in names if name == layout.deployed_generation() or manifest(layout, name)]


def served(layout: Layout, generation: str) -> bool:
    """Return whether a generation serves or has ever served."""
    return generation == layout.deployed_generation() or mark_path(layout, generation).is_file()


def mark_path(layout: Layout, generation: str) -> Path:
    """Return the file that records that a generation has served."""
    return layout.generations / generation / _SERVED


def mark_served(layout: Layout, generation: str, how: str = "deploy") -> None:
    """Record that a generation serves from now on, and why."""
    number = max((mark.number for mark in _marks(layout)), default=0) + 1
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    document = json.dumps({"number": number, "how": how, "since": since})
    files.write(layout.generations / generation / _SERVED, f"{document}\n", 0o640)


def rollback_target(layout: Layout) -> str | None:
    """Return the generation that a rollback goes to by default, or None if there is none.

    It is the one that served before the last deploy. It stays the target after a rollback to it: a repeated rollback,
    on one host or on those that a first attempt did not reach, goes neither further back nor forward again.
    """
    names = kept(layout)
    latest = max((mark for mark in _marks(layout) if mark.generation in names), default=None)
    # Also a move that was interrupted before `current` named it.
    if latest and latest.how == "rollback":
        return latest.generation
    return names[1] if len(names) > 1 else None


@dataclass(frozen=True)
class Checked:
    """The result of a generation's gevent check.

    Args:
        path: the path that was requested.
        verdict: ``ok``, ``warning`` or ``blocks``.
    """

    path: str
    verdict: str


def gevent_check(layout: Layout, generation: str) -> Checked | None:
    """Return the result of a generation's gevent check, or None if it has not run or the result is damaged."""
    try:
        said = files.read_object(layout.generations / generation / GEVENT_CHECK)
    except files.DamagedError:
        return None
    path, verdict = said.get("path"), said.get("verdict")
    return Checked(path, verdict) if isinstance(path, str) and isinstance(verdict, str) else None


def remove(layout: Layout, generation: str) -> None:
    """Remove a generation and its own unit settings."""
    # What remains of it in the middle must not be taken for a whole one that was edited.
    trees.remove(layout.generations / generation, at_once=True)
    for kind in kinds.KINDS:
        trees.remove(layout.dropin(layout.unit(kind, generation)).parent)


def targets(layout: Layout, generation: str, *wanted: kinds.Kind) -> dict[Path, Path]:
    """Return the unit files that only some kinds of units need: installed path to stored path."""
    found: dict[Path, Path] = {}
    for kind in wanted:
        unit, settings = layout.unit(kind, generation), _settings(layout, generation, kind)
        found[layout.units / layout.unit(kind, "")] = layout.generations / generation / "units" / kind.template
        found |= {layout.dropin(unit, name): stored for name, stored in settings.items()}
    return found


def unit_targets(layout: Layout, generation: str) -> dict[Path, Path]:
    """Return the permanent unit files of a generation: installed path to stored path."""
    socket = layout.generations / generation / "units" / "app@.socket"
    own = layout.socket_file(address(layout, generation) or "")
    return {own: socket, **targets(layout, generation, *kinds.LASTING)}


def canary_targets(layout: Layout, generation: str) -> dict[Path, Path]:
    """Return the unit files that a canary needs, and the settings of the generation's other units.

    These are nobody else's, and systemd then reads all of them at once.
    """
    own = {layout.dropin(layout.unit(kind, generation)).parent for kind in kinds.LASTING}
    settings = {target: stored for target, stored in unit_targets(layout, generation).items() if target.parent in own}
    return targets(layout, generation, kinds.CANARY) | settings


def trial_targets(layout: Layout, generation: str) -> dict[Path, Path]:
    """Return the unit files of a generation on trial: installed path to stored path.

    They do not survive a reboot, and exist for this one instance beside the units of the deployed generation: systemd
    prefers a unit file with an instance's own name to the template, wherever the two are.
    """
    found: dict[Path, Path] = {}
    for kind in kinds.LASTING:
        unit, settings = layout.volatile_units / layout.unit(kind, generation), _settings(layout, generation, kind)
        found[unit] = layout.generations / generation / "units" / kind.template
        found |= {unit.with_name(f"{unit.name}.d") / f"{name}.conf": stored for name, stored in settings.items()}
    return found


def _settings(layout: Layout, generation: str, kind: kinds.Kind) -> dict[str, Path]:
    """Return the settings that a kind of unit needs to run a generation's processes, by file name."""
    folder = layout.generations / generation
    found = {"generation": folder / "units" / "generation.conf"}
    if (secrets := folder / credentials.UNIT).is_file():
        found["credentials"] = secrets
    if not kind.temporary:
        found["listen"] = folder / "units" / "listen.conf"
    return found


def socket_activates(unit: str) -> str:
    """Return a socket's unit settings that name the service to start if none runs."""
    return f"[Socket]\nService={unit}\n"


def write(directory: Path, contents: Mapping[str, str], group: int) -> None:
    """Write a generation's files into a directory of its own; the remains of an earlier attempt are removed.

    Args:
        directory: the directory to create.
        contents: relative name to content.
        group: gid of the service's group.
    """
    trees.remove(directory)
    directory.mkdir(mode=0o755, parents=True)
    for name, content in contents.items():
        write_file(directory, name, content, group)


def write_file(directory: Path, name: str, content: str, group: int) -> None:
    """Write one file of a generation, readable only by root and the service's group, completely or not at all."""
    path = directory / name
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    # systemd reads the environment as root; the service need not read it at all.
    if name == ENVIRONMENT:
        files.write(path, content, 0o600)
    else:
        files.write(path, content, 0o640, group)


def finish(directory: Path, content: str, group: int) -> None:
    """Write the manifest of a generation that is otherwise complete: without it, the generation does not count.

    Args:
        directory: the generation's directory.
        content: the manifest.
        group: gid of the service's group.
    """
    files.sync_tree(directory)
    write_file(directory, MANIFEST, content, group)
    files.sync(directory.parent)


def linked(link: Path, target: str) -> bool:
    """Return whether a link of a generation exists and points to what it should."""
    return link.is_symlink() and str(link.readlink()) == target


def edited(directory: Path, contents: Mapping[str, str]) -> list[str]:
    """Return the names of a complete generation's files that have changed since they were written."""
    return [
        name
        for name, content in contents.items()
        if not (directory / name).is_file() or (directory / name).read_bytes() != content.encode()
    ]


def difference(layout: Layout, before: str | None, contents: Mapping[str, str]) -> str:
    """Return a unified diff from a generation on the host to new files, hiding the application's values.

    Args:
        layout: the application's paths.
        before: the generation to compare with, or None for the first one.
        contents: relative name to new content.
    """
    hunks = _files_difference(layout.generations / before if before else None, contents)
    for name, content in sorted(contents.items()):
        if name.startswith(_FILES):
            continue
        old = _text(layout.generations / before / name) if before else ""
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


def secrets_difference(before: Secrets, after: Secrets) -> str:
    """Return which secrets are added and removed between generations, and only whether any value changed."""
    lines = [f"- {name}\n" for name in before.names if name not in after.names]
    lines += [f"+ {name}\n" for name in after.names if name not in before.names]
    # They share one fingerprint, which differs anyway if the names do.
    if not lines and before.fingerprint != after.fingerprint:
        lines = ["~ values changed\n"]
    return "".join(["--- secrets (values hidden)\n", *lines]) if lines else ""


def _environment_difference(old: str, new: str) -> list[str]:
    before, after = (dict(_VARIABLE.findall(text)) for text in (old, new))
    return _names_difference("environment (values hidden)", before, after)


def _files_difference(before: Path | None, contents: Mapping[str, str]) -> list[str]:
    folder = before / _FILES if before else None
    paths = [path for path in folder.rglob("*") if path.is_file()] if folder else []
    old = {str(path.relative_to(folder)): _text(path) for path in paths if folder}
    new = {name.removeprefix(_FILES): text for name, text in contents.items() if name.startswith(_FILES)}
    return _names_difference("flask_uwsgi_files (contents hidden)", old, new)


def _names_difference(title: str, before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    signs = {name: "+" if name not in before else "-" if name not in after else "~" for name in changed}
    return [f"--- {title}\n", *(f"{signs[name]} {name}\n" for name in changed)] if changed else []
