"""Provides the lock of what an application requires: its own, or one that is created and cached.

The controller creates it if nothing has to be built for that. What only a build can determine is resolved on a build
host, in its sandbox, and returned as a lock in the same place of the cache.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...module_utils.release import artifact as art
from ...module_utils.release.artifact import ArtifactError, Requirement
from ..run.once import once
from . import poetry, uv
from . import requirement_files as files
from .folder import Distribution, Package, Source
from .pyproject import bare, beside, insist_on_python, is_project, project_of, required
from .requirement_files import Wanted

# Files of tools that are not read, and how to turn each into one that is.
_CONDA = "list the packages that it installs from conda in a requirements.txt, by their names in the Python registry"
_UNREAD = {
    "Pipfile": "run `pipenv requirements --hash >requirements.txt` there",
    "environment.yml": _CONDA,
    "environment.yaml": _CONDA,
    "conda.yml": _CONDA,
    "conda.yaml": _CONDA,
    "pixi.toml": _CONDA,
}
# How uv reports that a package requires another version of a server package, and for which environments.
_CONFLICT = re.compile(
    r"(?P<who>[\w.-]+(?:[<>=!~]=?[^\s{},]+)?)\s+depends?\s+on\s+(?P<name>gevent|greenlet|uwsgi)(?:\{[^}]*\})?"
    r"(?P<what>[<>=!~][^\s{},]+)"
)
# Common names of requirements files other than requirements.txt.
_LISTS = re.compile(r"(requirements/[\w.-]+|[\w.-]*requirements[\w.-]*)\.(txt|in)")


@dataclass(frozen=True)
class Lock:
    """What is installed for an application, and, if the lock was created here, from what and where it is.

    ``ignored`` lists the options of the application's files that were ignored, ``notes`` are sentences for the
    operator. ``itself`` says whether the requirements name the source's own project.
    """

    entries: list[Requirement]
    made_from: str = ""
    path: Path | None = None
    ignored: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    itself: bool = False


@dataclass(frozen=True)
class Resolution:
    """A lock to create on a build host: from what, where to keep it, and its first lines.

    ``project`` is the pyproject.toml, setup.py or setup.cfg, relative to the folder that is built to be read; empty
    if there is none. ``extras`` are the requested ones.
    """

    made_from: str
    path: Path
    head: str
    requirements: str
    constraints: str
    overrides: str
    preferred: str
    project: str
    extras: list[str]
    distribution: Path | None
    ignored: list[str]


class Unresolved(Exception):
    """There is no lock yet, and only a build host can create it."""

    def __init__(self, resolution: Resolution) -> None:
        super().__init__(resolution.made_from)
        self.resolution = resolution


def lock_of(
    source: Source, folder: Path | None, given: str, server: Sequence[art.Requirement], platform: str, cache: Path,
    code: Sequence[Path] = (), built: bool = False,
) -> Lock:  # fmt: skip
    """Return what an application requires, with exact versions and hashes.

    A lock that was created stays in the cache until any of its inputs changes.

    Args:
        source: the source that ``flask_uwsgi_source`` names.
        folder: the folder of its files on the controller; None if there is none.
        given: ``flask_uwsgi_requirements``, relative to the folder; empty for the source's own.
        server: the lock of the application server for the platform; its versions are used if the application allows
            them.
        platform: distribution, architecture and Python, such as ``debian-12-x86_64-py3.11``.
        cache: a folder on the controller.
        code: the deployed files of the folder, which a build of the project would see.
        built: whether the folder's project is built and installed, so that its build may determine what it requires.

    Raises:
        ArtifactError: a file is missing, or no lock can be created.
        Unresolved: only a build host can create it.
    """
    file = _file(folder, given)
    itself = _itself(source)
    project_file = _project_file(folder, code) if built and folder and not file else None
    if not file and not itself and not project_file:
        return Lock([], notes=_unsaid(folder, code) if folder else [])
    file = file or project_file
    variable = f"flask_uwsgi_requirements={given or file}" if file else f"flask_uwsgi_source={itself[0]}"
    wanted, exported = (_built(file), None) if file and file == project_file else _wanted(file, folder, platform)
    if file and file.suffix != ".toml" and not wanted.project:
        entries = [requirement for line in wanted.requirements for requirement in art.requirements(line)]
        # Requirements that others constrain are not a complete lock.
        if not wanted.constraints and not art.loose(entries) and not (wanted.itself is not None and not entries):
            _insist_on_package(source, entries, variable)
            return Lock(entries, ignored=wanted.ignored, itself=wanted.itself is not None)
    if wanted.itself is not None:
        if not folder:
            raise AssertionError("only a folder's own requirements can name it")
        wanted = _with_project(wanted, folder, code)
    made_from = itself[0] if not file else exported.name if exported else file.name
    project = [art.code_id(folder, code, {}), *sorted(wanted.itself or ())] if wanted.project and folder else []
    key = art.digest(
        art.RECIPE, platform, art.rendered(server), made_from, *itself, *project, *wanted.preferred, *wanted.inputs
    )
    path = cache / f"lock-{key}.txt"
    head = f"# Made from {made_from} for {platform}.\n"
    resolution = _resolution(source, wanted, server, made_from, path, head)

    def make() -> str:
        """Keep the lock, or return its first lines if only a build host can create it."""
        try:
            text, notes = (exported.text(cache), []) if exported else _compiled(resolution, platform, cache)
        except uv.UvError as error:
            raise ArtifactError(f"{variable} {error}") from error
        begun = head + "".join(f"# {note}\n" for note in notes)
        if text is None:
            return begun
        art.write(path, f"{begun}{art.rendered(_checked(list(art.requirements(text)), variable))}".encode())
        return ""

    if not path.is_file() and (begun := once(cache, art.digest("lock", key), make)):
        raise Unresolved(replace(resolution, head=begun))
    # A build host may have created it, from the output of foreign code.
    text = files.text(path, None)
    noted = [line.removeprefix("# ") for line in text.removeprefix(head).splitlines() if line.startswith("# ")]
    return Lock(
        _checked(list(art.requirements(text)), variable), made_from, path, wanted.ignored,
        [*wanted.notes, *noted, *art.replaced([one for line in wanted.requirements for one in art.requirements(line)],
                                     server)],
        wanted.itself is not None,
    )  # fmt: skip


@dataclass(frozen=True)
class _Exported:
    """A lock of another tool, and a function that returns it as a requirements file, given the cache."""

    name: str
    text: Callable[[Path], str]


def _wanted(file: Path | None, folder: Path | None, platform: str) -> tuple[Wanted, _Exported | None]:
    """Return what a file requires, and the lock of uv or Poetry beside it, if that determines it."""
    if not file:
        return Wanted(), None
    # A file that the operator keeps outside the source is the operator's own.
    inside = folder if folder and file.is_relative_to(folder.absolute()) else None
    if file.suffix != ".toml":
        return files.read(file, inside), None
    insist_on_python(file, platform)
    if lock := beside(file, "uv.lock"):
        text = files.text(lock, inside)
        files.toml(text, lock)
        project = bare(file)
        inputs = [files.text(file, inside), text]
        return Wanted(inputs=inputs), _Exported("uv.lock", lambda cache: uv.export_lock(project, text, cache))
    poetry_lock = beside(file, "poetry.lock")
    preferred, notes, inputs = [], [], []
    if poetry_lock:
        text = files.text(poetry_lock, inside)
        inputs = [files.text(file, inside), text]
        if poetry.has_groups(files.toml(text, poetry_lock)):
            found = poetry.requirements(text, poetry_lock, required(file))
            return Wanted(inputs=inputs), _Exported("poetry.lock", lambda _: found)
        preferred = poetry.versions(text, poetry_lock)
        notes = [
            "poetry.lock has a lock-version that does not show which packages are only for development: its versions "
            "are used for what pyproject.toml requires (a lock of Poetry 2 is used as it is)"
        ]
    wanted = files.project(file, inside)
    if wanted.project and inside is None:
        raise ArtifactError(
            f"flask_uwsgi_requirements={file} has dependencies that only a build can determine, but is not in the "
            "source: set flask_uwsgi_source to its folder, or flask_uwsgi_requirements to the file that lists them"
        )
    place = str(file.relative_to(folder.absolute())) if wanted.project and folder else ""
    return replace(wanted, preferred=preferred, notes=notes, inputs=[*wanted.inputs, *inputs], project=place), None


def _project_file(folder: Path, code: Sequence[Path]) -> Path | None:
    """Return the file of a project whose requirements only a build can determine; None if there is no project."""
    found = project_of(folder, code)
    return (folder / found.file).absolute() if found else None


def _built(file: Path) -> Wanted:
    return Wanted(project=file.name, inputs=[files.text(file, file.parent)])


def _unsaid(folder: Path, code: Sequence[Path]) -> list[str]:
    """Return sentences about a folder without a file that lists its requirements.

    Raises:
        ArtifactError: it has a file of a tool that is not read.
    """
    if other := next((name for name in _UNREAD if (folder / name).is_file()), None):
        raise ArtifactError(
            f"flask_uwsgi_source has {other}, which is not read, and no requirements.txt and no pyproject.toml that "
            f"lists dependencies: {_UNREAD[other]}. Or set flask_uwsgi_requirements to such a file elsewhere"
        )
    lists = [str(file) for file in code if _LISTS.fullmatch(str(file))]
    which = f"; set flask_uwsgi_requirements to one of {', '.join(lists[:5])}" if lists else ""
    return [
        "flask_uwsgi_source has no requirements.txt and no project that lists its requirements: only uWSGI and gevent "
        f"are installed for it{which}"
    ]


def _with_project(wanted: Wanted, folder: Path, code: Sequence[Path]) -> Wanted:
    """Return requirements that name the source itself, together with those of its project."""
    found = project_of(folder, code, asked=True)
    if not found:
        raise ArtifactError(
            "flask_uwsgi_requirements names the source itself (`.`), which has no pyproject.toml with [project] or "
            "[build-system], and no setup.py: add one, or remove the line"
        )
    extras = wanted.itself or set()
    if found.file != "pyproject.toml":
        return replace(wanted, project=found.file, inputs=[*wanted.inputs, files.text(folder / found.file, folder)])
    own = files.project(folder / found.file, folder, sorted(extras))
    return replace(
        wanted, requirements=[*wanted.requirements, *own.requirements], ignored=[*wanted.ignored, *own.ignored],
        inputs=[*wanted.inputs, *own.inputs], project=own.project,
    )  # fmt: skip


def _resolution(
    source: Source, wanted: Wanted, server: Sequence[art.Requirement], made_from: str, path: Path, head: str
) -> Resolution:  # fmt: skip
    roots = [source.requirement] if isinstance(source, Package) else []
    # Resolved together with the server's gevent, so that both have one greenlet. uWSGI shares no dependency.
    shared = [entry.name for entry in server if entry.name == "gevent"]
    # They are installed in these versions whatever an application and its packages require, so what it requires must
    # work with them. (httpbin 0.10.2 requires greenlet below 3 for a compiler of its time.)
    fixed = [f"{entry.name}=={art.pin(entry)}" for entry in server if entry.name in art.SERVER]
    names = {entry.name for entry in server}
    preferred = [line for line in wanted.preferred if line.partition("==")[0] not in names]
    return Resolution(
        made_from=made_from,
        path=path,
        head=head,
        requirements="".join(f"{line}\n" for line in [*_without_server(wanted.requirements), *roots, *shared]),
        constraints="".join(f"{line}\n" for line in _without_server(wanted.constraints)),
        overrides="".join(f"{line}\n" for line in fixed),
        preferred=art.rendered(server) + "".join(f"{line}\n" for line in preferred),
        project=wanted.project,
        extras=sorted(wanted.itself or ()),
        distribution=source.path if isinstance(source, Distribution) else None,
        ignored=wanted.ignored,
    )


def _without_server(lines: Sequence[str]) -> list[str]:
    """Return requirements without those of the application server."""
    return [line for line in lines if not any(art.is_server(entry) for entry in art.requirements(line))]


def _compiled(resolution: Resolution, platform: str, cache: Path) -> tuple[str | None, list[str]]:
    """Return a lock (None if only a build host can create it), and which requirements of packages it overrules."""
    if resolution.project:
        return None, []
    # A distribution is not a release of the registry; the build host gets the file itself.
    address = resolution.distribution.as_uri() if resolution.distribution else ""
    wanted = [*resolution.requirements.splitlines(), *filter(None, [address])]
    limits, fixed = resolution.constraints.splitlines(), resolution.overrides.splitlines()
    notes: list[str] = []
    try:
        try:
            text = uv.compile_lock(wanted, [*limits, *fixed], [], resolution.preferred, platform, cache)
        except uv.UvError as error:
            conflict = _CONFLICT.search(str(error))
            if not conflict:
                raise
            notes = [_overruled(conflict, fixed)]
            text = uv.compile_lock(wanted, limits, fixed, resolution.preferred, platform, cache)
    except uv.BuildNeeded:
        return None, notes
    entries = art.requirements(text)
    return art.rendered(entry for entry in entries if not address or address not in entry.text.split()), notes


def _overruled(conflict: re.Match[str], fixed: Sequence[str]) -> str:
    name = conflict["name"]
    version = next(line.partition("==")[2] for line in fixed if line.startswith(f"{name}=="))
    return (
        f"{name} {version} of artifact_server_lock is installed, although {conflict['who']} depends on "
        f"{name}{conflict['what']}: this service is tested only with {version}"
    )


def _checked(entries: list[Requirement], variable: str) -> list[Requirement]:
    """Refuse anything but a lock of releases."""
    if entry := art.loose(entries):
        files.insist_on_release(entry.text.split(" --", 1)[0], variable)
        raise ArtifactError(
            f"{variable} cannot be locked: {art.shown(entry)[:200]!r} has no exact version or no hash in the "
            "registry. Require a release that has a hash"
        )
    return entries


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
        # Path.resolve would follow links, but links show whether it leads out of the source.
        return Path(os.path.abspath(file))  # noqa: PTH100
    if folder and (folder / "requirements.txt").is_file():
        return (folder / "requirements.txt").absolute()
    # Many projects have one only for their tools' settings.
    if folder and (file := folder / "pyproject.toml").is_file() and is_project(file):
        return file.absolute()
    return None


def _itself(source: Source) -> list[str]:
    """Return a source's entry in its own lock, without a path on this controller; nothing for files."""
    if isinstance(source, Distribution):
        return [source.path.name, art.sha256(source.path)]
    return [source.requirement] if isinstance(source, Package) else []


def _insist_on_package(source: Source, entries: list[Requirement], variable: str) -> None:
    """Refuse a lock that would install another package than the requested one, or none."""
    if not isinstance(source, Package):
        return
    pins = {entry.name: art.pin(entry) for entry in entries}
    if pins.get(source.name) != source.version:
        found = f"pins {source.name}=={pins[source.name]}" if source.name in pins else f"does not have {source.name}"
        raise ArtifactError(
            f"{variable} {found}, and flask_uwsgi_source={source.requirement}: recreate the lock from it, or leave "
            'flask_uwsgi_requirements empty ("") to have one created'
        )
