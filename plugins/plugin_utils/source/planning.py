"""What artifact an application becomes on a platform: named and, as far as its code goes, packed; no wheel is built."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ...module_utils.release import artifact as art
from ..run.once import once
from .artifact import Artifact, Request
from .dependencies import lock_of
from .folder import Distribution, Folder, Git, Package, Source, parse
from .git import checkout, tree
from .left_out import left_out
from .markers import applying, locked
from .patches import patches_of
from .pyproject import UNNAMED, insist_on_python, project_of, source_folders
from .wheelhouse import examine_wheel

# In every release, what was installed for it.
INSTALLED = "requirements.lock"


def planned(request: Request) -> Artifact:
    """Return the artifact, the same in a whole run of Ansible even if the source changes meanwhile.

    Whether its wheels are built is what it was when the run asked first; :func:`looked_up` looks again.

    Raises:
        ArtifactError: the input cannot become an artifact.
        Unresolved: the requirements have to be locked on a build host first.
    """
    cache = Path(request.cache)
    cache.mkdir(mode=0o755, parents=True, exist_ok=True)
    wanted = json.dumps(asdict(request), sort_keys=True)

    def work() -> str:
        return json.dumps(asdict(_with_wheels(_Planner(request).plan())))

    return Artifact(**json.loads(once(cache, f"artifact {wanted}", work)))


def looked_up(request: Request) -> Artifact:
    """Return the same with its wheels if they have been built by now.

    Raises:
        ArtifactError: as :func:`planned`.
        Unresolved: as :func:`planned`.
    """
    return _with_wheels(planned(request))


def _with_wheels(artifact: Artifact) -> Artifact:
    record = art.recorded(Path(artifact.wheelhouse["path"]), artifact.wheelhouse["digest"])
    return replace(artifact, wheelhouse={**artifact.wheelhouse, "built": record is not None, **(record or {})})


def packed(request: Request) -> Path:
    """Return the archive of a source's code, for a build host that has to read what it requires.

    Args:
        request: what was asked for, of a source that has a folder.

    Raises:
        ArtifactError: as :func:`planned`.
    """
    return _Planner(request).packed()


def insist_on_limits(limits: Mapping[str, Any]) -> None:
    """Refuse a limit of builds that is no positive number."""
    for name, value in limits.items():
        if not str(value).isdecimal() or not int(value):
            raise art.ArtifactError(f"{name}={value} is no whole number above 0: set it to one")


class _Planner:
    def __init__(self, request: Request) -> None:
        self._request = request
        self._cache = Path(request.cache)

    def plan(self) -> Artifact:
        """Return the artifact."""
        cache, platform = self._cache, self._request.platform
        source = parse(self._request.source)
        folder, origin = self._found(source)
        # A link may lead to any file of the controller: nothing of the source is read before this has looked at it.
        files = self._files(source, folder, origin) if folder else []
        insist_on_limits(self._request.limits)
        server = locked(Path(self._request.server_lock), "artifact_server_lock", platform)
        build = locked(Path(self._request.build_lock), "artifact_build_lock", platform)
        installs = bool(folder) and self._request.install
        lock = lock_of(source, folder, self._request.requirements, server, platform, cache, files, installs)
        entries, server, replaced = art.server_entries(applying(lock.entries, platform), server)
        patched = self._request.patches
        patches = patches_of([*entries, *server], Path(patched)) if patched else {}
        project = project_of(folder, files, lock.itself) if folder and installs else None
        if project and project.name in {entry.name for entry in entries}:
            raise art.ArtifactError(
                f"flask_uwsgi_requirements has {project.name}, which flask_uwsgi_source is itself: remove that line"
            )
        if project and Path("pyproject.toml") in files:
            insist_on_python((folder or Path()) / "pyproject.toml", platform, "flask_uwsgi_source")

        installed = art.rendered([*entries, *server])
        added = {} if Path(INSTALLED) in files else {INSTALLED: installed}
        root = folder or Path()
        code, code_archive, code_record = self._packed(root, files, added)
        distribution = source.path if isinstance(source, Distribution) else None
        wheelhouse = art.wheelhouse_id(
            # uv makes locks; no wheel depends on it.
            [*entries, *server, *(entry for entry in build if entry.name != "uv")],
            platform,
            *([origin["sha256"]] if distribution else []),
            *([code] if project else []),
            *sorted(self._request.build_packages),
            *([json.dumps(patches, sort_keys=True)] if patches else []),
            # uWSGI contains the path of its library, and an environment that of the interpreter.
            *([self._request.python] if self._request.python else []),
        )

        whole = art.digest(code, wheelhouse)
        made = {"from": lock.made_from, "packages": len(lock.entries), "path": str(lock.path)} if lock.path else {}
        return Artifact(
            id=art.short(whole),
            digest=whole,
            platform=platform,
            python=self._request.python,
            source=origin,
            locked=made,
            ignored=list(lock.ignored),
            notes=list(dict.fromkeys([*lock.notes, *replaced])),
            project=(project.name or UNNAMED) if project else "",
            python_path=[str(path) for path in source_folders(files)] if not project else [],
            left_out=left_out(folder, self._request.exclude, files) if folder else {},
            code={"id": art.short(code), "path": str(code_archive), **code_record},
            wheelhouse={
                "id": art.short(wheelhouse),
                "digest": wheelhouse,
                "path": str(cache / f"wheelhouse-{art.short(wheelhouse)}.tar"),
                "requirements": {"application": art.rendered(entries), "server": art.rendered(server)},
                # What a build gets of a folder is what is deployed of it.
                "distribution": str(code_archive if project else distribution or ""),
                "project": (project.name or UNNAMED) if project else "",
                "patches": patches,
            },
        )

    def packed(self) -> Path:
        """Return the archive of the code."""
        folder, origin = self._found(source := parse(self._request.source))
        if not folder:
            raise AssertionError("a project is read in its folder")
        return self._packed(folder, self._files(source, folder, origin), {})[1]

    def _packed(self, root: Path, files: list[Path], added: Mapping[str, str]) -> tuple[str, Path, dict[str, Any]]:
        """Return the digest of code, and its archive with its record, packed if it is not there."""
        code = art.code_id(root, files, added)
        archive = self._cache / f"code-{art.short(code)}.tar.gz"
        record = art.recorded(archive, code)
        if not record:
            unpacked = art.pack_code(root, files, added, archive)
            # Each file is read twice, and the archive would be taken for the first reading ever after.
            if art.code_id(root, files, added) != code:
                archive.unlink()
                raise art.ArtifactError(f"flask_uwsgi_source={root} was changed while it was packed: deploy again")
            record = art.record(archive, code, unpacked=unpacked)
        return code, archive, record

    def _files(self, source: Source, folder: Path, origin: dict[str, str]) -> list[Path]:
        top = tree(self._cache, origin["commit"]) if isinstance(source, Git) else folder
        return art.source_files(folder, self._request.exclude, top)

    def _insist_on_wheel(self, path: Path) -> None:
        """Refuse a wheel for what it holds now, and not when all the others have been built."""
        if path.suffix == ".whl":
            try:
                examine_wheel(path, self._request.platform)
            except art.ArtifactError as error:
                raise art.ArtifactError(
                    f"flask_uwsgi_source={path} is not safe to install:\n{error}\n"
                    "Fix the package, or deploy another version of it"
                ) from error

    def _found(self, source: Source) -> tuple[Path | None, dict[str, str]]:
        """Return the folder of a source, if it has one, and what tells it from others on every controller."""
        match source:
            case Package():
                return None, {"kind": "package", "package": source.requirement}
            case Distribution():
                self._insist_on_wheel(source.path)
                return None, {"kind": "distribution", "file": source.path.name, "sha256": art.sha256(source.path)}
            case Git():
                commit, folder = checkout(source, self._cache)
                origin = {"kind": "git", "commit": commit}
            case Folder():
                folder, origin = source.path, {"kind": "folder"}
        wsgi_file = self._request.wsgi_file
        if wsgi_file and not (folder / wsgi_file).is_file():
            raise art.ArtifactError(
                f"flask_uwsgi_wsgi_file={wsgi_file} does not exist in "
                f"flask_uwsgi_source={art.masked(self._request.source)}: set it to the file that makes the WSGI "
                "application, or set flask_uwsgi_module"
            )
        return folder, origin
