"""What the settings say of folders of the source, compared with what the artifact has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from ..settings import preflight
from ..settings.settings import Settings
from ..source import code_archive, left_out
from ..source.artifact import Artifact


def problems(settings: Settings, artifact: Artifact) -> Iterator[str]:
    """Yield which folders cannot be kept across releases, and which have no static files to serve."""
    archive = artifact.code["path"]
    for folder, file in code_archive.in_the_way(archive, settings.persistent).items() if settings.persistent else ():
        yield (
            f"flask_uwsgi_persistent has {folder!r}, and flask_uwsgi_source has a file {file}: name a folder, or "
            "rename one"
        )
    # Of a package's folders, and of those that the application fills, nothing is known here.
    wanted = {
        path: str(PurePosixPath(folder))
        for path, folder in settings.static.items()
        if ":" not in folder and not folder.startswith(f"{preflight.STATE}/")
    }
    kept = [PurePosixPath(name) for name in settings.persistent]
    names = [
        name for name in wanted.values()
        if name != "." and not any(PurePosixPath(name).is_relative_to(folder) for folder in kept)
    ]  # fmt: skip
    absent = code_archive.absent(archive, names) if names else []
    for path, folder in wanted.items():
        if folder in absent:
            yield (
                f"flask_uwsgi_static has {path}={folder}, and the artifact has no such folder: requests below {path} "
                "would reach the application. Name a folder of flask_uwsgi_source that artifact_exclude does not "
                f"leave out, package:folder of an installed package, or {preflight.STATE}/folder"
            )


def notes(settings: Settings, artifact: Artifact) -> list[str]:
    """Return what the application imports of its source that ``artifact_exclude`` leaves out of the release."""
    entry = settings.module.partition(":")[0] or str(PurePosixPath(settings.wsgi_file))
    # A project that is installed may have its packages in src.
    folders = [*settings.python_path, *artifact.python_path, *(["src"] if artifact.project else [])]
    roots = ["", *(str(PurePosixPath(folder)) for folder in folders if folder != ".")]
    return left_out.imported(artifact.code["path"], artifact.left_out, entry, list(dict.fromkeys(roots)))


def hidden(settings: Settings, artifact: Artifact) -> dict[str, int]:
    """Return how many files of the source each persistent folder hides, where it hides any."""
    return code_archive.below(artifact.code["path"], settings.persistent) if settings.persistent else {}
