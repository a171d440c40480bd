"""What an application requires, as a lock: the one it brings, or one that is made on the controller and kept."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.flaskops.uwsgi.plugins.module_utils import artifact as art
from ansible_collections.flaskops.uwsgi.plugins.module_utils import uv
from ansible_collections.flaskops.uwsgi.plugins.module_utils.artifact import ArtifactError, Requirement
from ansible_collections.flaskops.uwsgi.plugins.module_utils.once import once
from ansible_collections.flaskops.uwsgi.plugins.module_utils.pyproject import insist_on_python, is_project, uv_lock
from ansible_collections.flaskops.uwsgi.plugins.module_utils.source import Distribution, Package, Source

_INCLUDED = re.compile(r"^\s*(?:-r|-c|--requirement|--constraint)[\s=]+(\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Lock:
    """What is installed for an application, and, where the lock was made here, from what and where it is."""

    entries: list[Requirement]
    made_from: str = ""
    path: Path | None = None


def lock_of(source: Source, folder: Path | None, given: str, server: Path, platform: str, cache: Path) -> Lock:
    """Return what an application requires, with exact versions and hashes.

    A lock that is made stays in the cache until something that went into it changes.

    Args:
        source: what ``flask_uwsgi_source`` names.
        folder: where its files are on the controller; None for what has no folder.
        given: ``flask_uwsgi_requirements``, relative to the folder; empty for what the source has.
        server: the lock of the application server, whose versions are taken where the application allows them.
        platform: distribution, architecture and Python, such as ``debian-12-x86_64-py3.11``.
        cache: a folder on the controller.

    Raises:
        ArtifactError: a file is missing, or no lock can be made.
    """
    file = _file(folder, given)
    itself = _itself(source)
    if not file and not itself:
        return Lock([])
    variable = f"flask_uwsgi_requirements={given or file}" if file else f"flask_uwsgi_source={itself[0]}"
    if file and file.suffix != ".toml":
        entries = list(art.requirements(file.read_text()))
        if not art.loose(entries):
            _insist_on_package(source, entries, variable)
            return Lock(entries)
    elif file:
        insist_on_python(file, platform)
    inputs = list(_inputs(file)) if file else []
    made_from = itself[0] if not file else "uv.lock" if file.suffix == ".toml" and uv_lock(file) else file.name
    key = art.digest(art.RECIPE, platform, server.read_text(), made_from, *itself, *inputs)
    path = cache / f"lock-{key}.txt"

    def make() -> str:
        try:
            entries = list(_made(source, file, server.read_text(), platform))
        except uv.UvError as error:
            raise ArtifactError(f"{variable} {error}") from error
        if entry := art.loose(entries):
            raise ArtifactError(
                f"{variable} cannot be locked: {art.shown(entry)!r} is no release of the registry, which alone has a "
                "hash. Require a release; a folder of the source needs flask_uwsgi_python_path and no line here"
            )
        art.write(path, f"# Made from {made_from} for {platform}.\n{art.rendered(entries)}".encode())
        return str(path)

    if not path.is_file():
        once(cache, art.digest("lock", key), make)
    return Lock(list(art.requirements(path.read_text())), made_from, path)


def _made(source: Source, file: Path | None, server: str, platform: str) -> Iterator[Requirement]:
    if file and file.suffix == ".toml" and uv_lock(file):
        yield from art.requirements(uv.export_lock(file))
        return
    roots = [source.requirement] if isinstance(source, Package) else []
    # A distribution is no release of the registry; the build host gets the file itself.
    address = source.path.as_uri() if isinstance(source, Distribution) else ""
    # Together with the server's gevent, so that both have one greenlet. uWSGI shares nothing with anybody.
    shared = [entry.name for entry in art.requirements(server) if entry.name == "gevent"]
    text = uv.compile_lock(file, [*roots, *filter(None, [address]), *shared], server, platform)
    yield from (entry for entry in art.requirements(text) if not address or address not in entry.text.split())


def _file(folder: Path | None, given: str) -> Path | None:
    if given:
        file = (folder or Path()) / Path(given).expanduser()
        if not file.is_file():
            where = f" in {folder}" if folder and not Path(given).is_absolute() else ""
            raise ArtifactError(
                f"flask_uwsgi_requirements={given} does not exist on the controller{where}: set it to a requirements "
                "file or pyproject.toml, relative to the source"
            )
        if file.suffix == ".toml" and not is_project(file):
            raise ArtifactError(
                f"flask_uwsgi_requirements={given} has no project.dependencies: add them, or set it to another file"
            )
        return file.absolute()
    if folder and (folder / "requirements.txt").is_file():
        return (folder / "requirements.txt").absolute()
    # Many have one for the settings of their tools alone.
    if folder and (file := folder / "pyproject.toml").is_file() and is_project(file):
        return file.absolute()
    return None


def _itself(source: Source) -> list[str]:
    """Return what a source is to its own lock, without a path of this controller; nothing for files."""
    if isinstance(source, Distribution):
        return [source.path.name, art.sha256(source.path)]
    return [source.requirement] if isinstance(source, Package) else []


def _insist_on_package(source: Source, entries: list[Requirement], variable: str) -> None:
    """Refuse a lock that would install another package than the one that was asked for, or none."""
    if not isinstance(source, Package):
        return
    pins = {entry.name: art.pin(entry) for entry in entries}
    if pins.get(source.name) != source.version:
        found = f"pins {source.name}=={pins[source.name]}" if source.name in pins else f"does not have {source.name}"
        raise ArtifactError(
            f"{variable} {found}, and flask_uwsgi_source={source.requirement}: make the lock anew from it, or leave "
            'flask_uwsgi_requirements empty ("") to have one made'
        )


def _inputs(file: Path, seen: frozenset[Path] = frozenset()) -> Iterator[str]:
    """Yield the text of a file and of all that goes into its lock."""
    if not file.is_file():
        raise ArtifactError(
            f"flask_uwsgi_requirements includes {file}, which does not exist on the controller: correct the -r or -c"
        )
    text = file.read_text()
    yield text
    if file.suffix == ".toml":
        if lock := uv_lock(file):
            yield lock.read_text()
        return
    for name in _INCLUDED.findall(text):
        included = (file.parent / name).resolve()
        if "://" not in name and included not in seen:
            yield from _inputs(included, seen | {file.resolve(), included})
