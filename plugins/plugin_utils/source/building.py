"""What a build host gets to make a lock or a wheelhouse of, and what is kept of what it has made."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...module_utils.release import artifact as art
from ...module_utils.wheelhouse.failure import build_problem
from .artifact import Artifact, Request
from .dependencies import Resolution
from .markers import locked
from .planning import packed
from .wheelhouse import examine

# The fields of a resolution that are options of the module ``resolution``.
RESOLVED = ("requirements", "constraints", "overrides", "preferred", "project", "extras")


def limits(request: Request) -> dict[str, Any]:
    """Return the options that both modules of a build host have in common."""
    return {
        "build_lock": Path(request.build_lock).read_text(),
        "python": request.python,
        **{name.removeprefix("artifact_build_"): value for name, value in request.limits.items()},
    }


def archive_of(request: Request, resolution: Resolution) -> Path | None:
    """Return the file that a build host needs to make a lock, if any: a distribution, or the code of a project."""
    return packed(request) if resolution.project else resolution.distribution


def keep_lock(resolution: Resolution, lock: str) -> None:
    """Keep a lock in the cache.

    Args:
        resolution: what was to be locked.
        lock: what the build host made of it.
    """
    art.write(resolution.path, (resolution.head + lock).encode())


@contextmanager
def fetched(artifact: Artifact) -> Iterator[Path]:
    """Provide the path of a file to fetch a wheelhouse to. It is removed at the end, unless it was kept."""
    final = Path(artifact.wheelhouse["path"])
    # Another run may be about to fetch the same one.
    with tempfile.TemporaryDirectory(prefix=f"{final.name}.", dir=final.parent) as folder:
        yield Path(folder) / final.name


def keep_wheelhouse(artifact: Artifact, archive: Path, request: Request, wheels: Iterable[Mapping[str, Any]]) -> None:
    """Compare a wheelhouse with its locks, and keep it in the cache.

    Args:
        artifact: what it is for.
        archive: the file that was fetched.
        request: what was asked for.
        wheels: the result of the module ``wheelhouse``.

    Raises:
        ArtifactError: it does not match its locks, or a wheel is not safe to install.
    """
    house = artifact.wheelhouse
    final = Path(house["path"])
    try:
        found = examine(
            archive,
            [entry for text in house["requirements"].values() for entry in art.requirements(text)],
            locked(Path(request.build_lock), "artifact_build_lock", artifact.platform),
            artifact.platform,
            Path(house["distribution"]) if house["distribution"] else None,
            {wheel["file"]: wheel["built_from"] for wheel in wheels if wheel["built_from"]},
            house["project"],
        )
    except art.ArtifactError as error:
        # It always has the same name: a refused wheelhouse is not an artifact, and only the last one is of interest.
        refused = archive.replace(final.with_name(f"{final.name}.refused"))
        raise art.ArtifactError(
            f"the wheelhouse {house['id']} does not match its locks, or contains a wheel that is not safe to install:\n"
            f"{error}\nRemove such a package from the lock or pin another version of it, and deploy again. The wheels "
            f"are in {refused} for inspection; nothing was shipped, and no application host was changed."
        ) from error
    art.keep(archive, final, house["digest"], **found)


def problem(request: Request, result: Mapping[str, Any], host: str, project: str) -> str:
    """Return why a build host could not make it, and what to do.

    Args:
        request: what was asked for.
        result: that of the module that failed.
        host: the name of the build host in the inventory.
        project: the name of the source itself if it is built; else empty.
    """
    named = f"flask_uwsgi_requirements={request.requirements}"
    variable = named if request.requirements else f"flask_uwsgi_source={art.masked(request.source)}"
    return build_problem(result, variable, host, request.limits, project)
