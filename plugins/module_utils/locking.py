"""What an application requires, as a lock: the one it brings, or one that uv makes on the controller."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ansible_collections.flaskops.uwsgi.plugins.module_utils import artifact as art
from ansible_collections.flaskops.uwsgi.plugins.module_utils.artifact import ArtifactError, Requirement
from ansible_collections.flaskops.uwsgi.plugins.module_utils.build_failure import missing_packages, telling_lines
from ansible_collections.flaskops.uwsgi.plugins.module_utils.once import once
from ansible_collections.flaskops.uwsgi.plugins.module_utils.source import Distribution, Package, Source

# Seconds that uv may take.
TIMEOUT = 600
_INCLUDED = re.compile(r"^\s*(?:-r|-c|--requirement|--constraint)[\s=]+(\S+)", re.MULTILINE)
_NETWORK = re.compile(
    r"Failed to fetch|error sending request|[Cc]onnect(ion)? (error|refused|timed out)|dns error|tcp connect"
)
_UV_IS_MISSING = (
    "no lock can be made, for the controller has no uv: install it beside Ansible (pip install uv), or set "
    "flask_uwsgi_requirements to a lock, with exact versions and hashes"
)

_EXPORT = ("export", "--frozen", "--no-emit-project", "--no-dev", "--format=requirements-txt", "--no-header")


@dataclass(frozen=True)
class Lock:
    """What is installed for an application, and, where the lock was made here, from which file and where it is."""

    entries: list[Requirement]
    made_from: str = ""
    path: Path | None = None


@dataclass(frozen=True)
class _Wanted:
    """What a lock is made of: a requirements file or pyproject.toml, and the source itself where it is a package."""

    file: Path | None
    source: Source
    variable: str
    server: str
    platform: str

    @property
    def exported(self) -> bool:
        return self.file is not None and self.file.suffix == ".toml" and _uv_lock(self.file).is_file()

    @property
    def name(self) -> str:
        if self.file:
            return "uv.lock" if self.exported else self.file.name
        return _root_name(self.source)

    @property
    def roots(self) -> list[str]:
        if isinstance(self.source, Package):
            return [self.source.requirement]
        return [self.source.path.as_uri()] if isinstance(self.source, Distribution) else []

    def itself(self, entry: Requirement) -> bool:
        """Tell whether an entry is the distribution that the lock is made for."""
        address = self.source.path.as_uri() if isinstance(self.source, Distribution) else None
        return address is not None and address in entry.text.split()


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
    variable = f"flask_uwsgi_requirements={given or file}" if file else f"flask_uwsgi_source={_root_name(source)}"
    if file and file.suffix != ".toml":
        entries = list(art.requirements(file.read_text()))
        if not art.loose(entries):
            _insist_on_package(source, entries, variable)
            return Lock(entries)
    if not file and not _identity(source):
        return Lock([])
    if file and file.suffix == ".toml":
        _insist_on_python(file, platform)
    wanted = _Wanted(file, source, variable, server.read_text(), platform)
    inputs = _inputs(file) if file else ()
    key = art.digest(art.RECIPE, platform, wanted.server, *_identity(source), wanted.name, *inputs)
    path = cache / f"lock-{key}.txt"
    if not path.is_file():
        once(cache, art.digest("lock", key), lambda: _make(wanted, path))
    return Lock(list(art.requirements(path.read_text())), wanted.name, path)


def _file(folder: Path | None, given: str) -> Path | None:
    if given:
        file = (folder or Path()) / Path(given).expanduser()
        if not file.is_file():
            where = f" in {folder}" if folder and not Path(given).is_absolute() else ""
            raise ArtifactError(
                f"flask_uwsgi_requirements={given} does not exist on the controller{where}: set it to a requirements "
                "file or pyproject.toml, relative to the source"
            )
        if file.suffix == ".toml" and not _project(file):
            raise ArtifactError(
                f"flask_uwsgi_requirements={given} has no project.dependencies: add them, or set it to another file"
            )
        return file.absolute()
    if folder and (folder / "requirements.txt").is_file():
        return (folder / "requirements.txt").absolute()
    # Many have one for the settings of their tools alone.
    if folder and (file := folder / "pyproject.toml").is_file() and _project(file):
        return file.absolute()
    return None


def _project(file: Path) -> bool:
    """Tell whether a pyproject.toml says what the project requires, and not only how tools are set."""
    if _uv_lock(file).is_file():
        return True
    try:
        document = tomllib.loads(file.read_text())
    except ValueError as error:
        raise ArtifactError(f"flask_uwsgi_requirements={file} is no valid TOML: {error}. Correct it") from error
    if "dependencies" in document.get("project", {}).get("dynamic", ()):
        raise ArtifactError(
            f"flask_uwsgi_requirements={file} has dynamic dependencies, which only a build would tell: set "
            "flask_uwsgi_requirements to the file that lists them"
        )
    if "project" not in document and "dependencies" in document.get("tool", {}).get("poetry", {}):
        raise ArtifactError(
            f"flask_uwsgi_requirements={file} has its dependencies in tool.poetry alone: export them (poetry export "
            "--output requirements.txt), or list them in project.dependencies"
        )
    return "project" in document


def _insist_on_python(file: Path, platform: str) -> None:
    """Refuse a project that is not for the host's Python, which uv does not (0.13)."""
    # Ansible itself needs it.
    from packaging.specifiers import SpecifierSet

    needs = str(tomllib.loads(file.read_text()).get("project", {}).get("requires-python", ""))
    python = platform.rpartition("-py")[2]
    # The platform does not tell the last number.
    if not any(SpecifierSet(needs).contains(f"{python}.{last}") for last in range(50)):
        raise ArtifactError(
            f"flask_uwsgi_requirements={file} has requires-python={needs!r}, and {platform} has Python {python}: "
            "deploy to another distribution, or widen it"
        )


def _root_name(source: Source) -> str:
    return source.path.name if isinstance(source, Distribution) else getattr(source, "requirement", "")


def _identity(source: Source) -> list[str]:
    """Return what the source adds to a lock, without a path of this controller."""
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
    """Yield the text of a file and of all that it includes."""
    if not file.is_file():
        raise ArtifactError(
            f"flask_uwsgi_requirements includes {file}, which does not exist on the controller: correct the -r or -c"
        )
    text = file.read_text()
    yield text
    if file.suffix == ".toml":
        if (lock := _uv_lock(file)).is_file():
            yield lock.read_text()
        return
    for name in _INCLUDED.findall(text):
        included = (file.parent / name).resolve()
        if "://" not in name and included not in seen:
            yield from _inputs(included, seen | {file.resolve(), included})


def _uv_lock(file: Path) -> Path:
    return file.with_name("uv.lock")


def _make(wanted: _Wanted, path: Path) -> str:
    """Write the lock to the cache, and return where it is."""
    text = _run(wanted, *_EXPORT) if wanted.exported else _compile(wanted)
    # A distribution is no release of the registry; the build host gets the file itself.
    entries = [entry for entry in art.requirements(text) if not wanted.itself(entry)]
    if entry := art.loose(entries):
        raise ArtifactError(
            f"{wanted.variable} cannot be locked: {art.shown(entry)!r} is no release of the registry, which alone "
            "has a hash. Require a release; a folder of the source needs flask_uwsgi_python_path and no line here"
        )
    art.write(path, f"# Made from {wanted.name} for {wanted.platform}.\n{art.rendered(entries)}".encode())
    return str(path)


def _compile(wanted: _Wanted) -> str:
    _, _, architecture, python = wanted.platform.rsplit("-", 3)
    # Together with the server's gevent, so that both have one greenlet. uWSGI shares nothing with anybody.
    roots = [*wanted.roots, *(entry.name for entry in art.requirements(wanted.server) if entry.name == "gevent")]
    with TemporaryDirectory() as work:
        output = Path(work) / "lock.txt"
        # uv keeps the versions that its output has, where they fit.
        output.write_text(wanted.server)
        _run(
            wanted, "pip", "compile", "--generate-hashes", "--no-header", "--no-annotate", "--no-emit-index-url",
            "--no-emit-find-links", "--python", sys.executable, "--python-version", python.removeprefix("py"),
            "--python-platform", f"{architecture}-unknown-linux-gnu", "--output-file", str(output),
            *([wanted.file.name] if wanted.file else []), "-",
            text="\n".join(roots) + "\n",
        )  # fmt: skip
        return output.read_text()


def _run(wanted: _Wanted, *arguments: str, text: str = "") -> str:
    beside = Path(sysconfig.get_path("scripts")) / "uv"
    uv = str(beside) if beside.is_file() else shutil.which("uv")
    if not uv:
        raise ArtifactError(f"{wanted.variable} is no lock, and {_UV_IS_MISSING}")
    try:
        done = subprocess.run(
            [uv, *arguments, "--quiet", "--no-progress"],
            cwd=wanted.file.parent if wanted.file else None, input=text, capture_output=True, text=True,
            timeout=TIMEOUT, env={**os.environ, "UV_PYTHON_DOWNLOADS": "never", "NO_COLOR": "1"}, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise ArtifactError(
            f"{wanted.variable} could not be locked in {TIMEOUT} s: try again, or give a lock"
        ) from error
    if done.returncode:
        raise ArtifactError(_failure(wanted, art.masked(done.stderr)))
    return done.stdout


def _failure(wanted: _Wanted, output: str) -> str:
    if packages := missing_packages(output):
        reason = (
            f"cannot be locked: the controller builds a package without a wheel to see what it requires, and lacks "
            f"{' '.join(packages)}. Install that there, or give a lock with exact versions and hashes"
        )
    elif _NETWORK.search(output):
        reason = (
            "cannot be locked: the package registry cannot be reached from the controller. Check network, proxy and "
            "uv's configuration there (UV_DEFAULT_INDEX; uv does not read pip's), or give a lock with exact versions "
            "and hashes"
        )
    else:
        reason = f"cannot be locked for {wanted.platform}: correct what it requires"
    return f"{wanted.variable} {reason}:" + "".join(f"\n    {line}" for line in telling_lines(output, 8))
