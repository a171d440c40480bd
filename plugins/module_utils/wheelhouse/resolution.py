"""Creates a lock on a build host for requirements that cannot be read without a build."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import inside
from .sandbox import Sandbox, StepError
from .wheels import contents, entries, fetch, tools

# Bytes; the locks of the largest applications have a few hundred thousand.
_MOST = 2**23


@dataclass(frozen=True)
class Wanted:
    """What to lock.

    ``files`` contains the texts ``requirements.txt``, ``constraints.txt``, ``overrides.txt`` and ``preferred.txt``.
    ``project`` is the path of a pyproject.toml, setup.py or setup.cfg in the archive ``project.tar.gz``, or empty.
    ``archive`` is that archive or a distribution of the application's own; ``extras`` are the requested extras of the
    project.
    """

    files: Mapping[str, str]
    project: str
    archive: Path | None
    extras: Sequence[str] = ()


def resolve(sandbox: Sandbox, build_lock: str, wanted: Wanted) -> str:
    """Return the lock, a text that the caller must check.

    Args:
        sandbox: where to run uv and what it builds.
        build_lock: the build tools and uv.
        wanted: what to lock.

    Raises:
        StepError: no lock can be created.
    """
    files = fetch(sandbox, entries(build_lock))
    uv = next((file for file in files if file.entry.name == "uv"), None)
    if uv is None:
        raise StepError("artifact_build_lock", "failed", "ERROR: artifact_build_lock has no uv: add it")
    environment = tools(sandbox, (file for file in files if file is not uv))
    folder = sandbox.work / "wanted"
    folder.mkdir()
    for name, text in wanted.files.items():
        (folder / name).write_text(text)
    given = {"wanted": folder, "uv": uv.path.parent}
    if wanted.archive and wanted.project:
        (folder / "project").write_text("".join(f"{line}\n" for line in (wanted.project, *wanted.extras)))
        shutil.copyfile(wanted.archive, folder / "project.tar.gz")
    elif wanted.archive:
        # uv gets its path, and repeats it in a line of the lock.
        given["distribution"] = sandbox.work / "distribution"
        given["distribution"].mkdir()
        name = wanted.archive.name
        shutil.copyfile(wanted.archive, given["distribution"] / name)
        with (folder / "requirements.txt").open("a") as stream:
            stream.write((inside.GIVEN / "distribution" / name).as_uri() + "\n")
    archive = sandbox.run("the requirements", "lock", given=given, tools=environment, network=True)
    found = [path for _, path in contents(archive, 2, "the requirements", sandbox.work / "lock")]
    if [path.name for path in found] != ["lock.txt"] or found[0].stat().st_size > _MOST:
        raise StepError("the requirements", "output", "ERROR: the result is not a lock")
    address = (inside.GIVEN / "distribution").as_uri()
    text = found[0].read_text(errors="replace")
    return _without(text, address)


def _without(text: str, address: str) -> str:
    """Return a lock without the entry of the distribution itself, which is a file on the build host."""
    lines = text.replace("\\\n", " ").splitlines()
    return "".join(f"{line}\n" for line in lines if address not in line)
