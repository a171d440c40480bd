"""Lookup: what artifact an application becomes on a platform, and whether it is built already."""

from __future__ import annotations

DOCUMENTATION = r"""
name: artifact
short_description: Name the artifact of an application, and pack its code
version_added: 0.1.0
author: The flaskops maintainers (!UNKNOWN)
description:
  - Computes on the controller the id of the artifact an application becomes on a platform.
  - Packs the code into the cache when it is not there. The wheels are built by the role C(artifact).
  - Runs no code of the application or of what it requires.
options:
  _terms:
    description: Nothing; everything is an option.
  source:
    description:
      - The application, a folder, a wheel or an sdist on the controller, a pinned package (C(NAME==VERSION)), or a git
        repository (C(git+URL@REF)).
    type: str
    required: true
  requirements:
    description:
      - What the application requires, a file relative to the source. Where it is no lock, one is made and kept in the
        cache. Empty for what the source has.
    type: str
    default: ''
  install:
    description: Whether a folder that names a build backend is built and installed, as by C(pip install .).
    type: bool
    default: true
  wsgi_file:
    description: The file that the source must have; empty for none.
    type: str
    default: ''
  server_lock:
    description: The requirements of the application server (uWSGI, gevent), with hashes.
    type: path
    required: true
  build_lock:
    description: What builds wheels (pip, build backends), with hashes.
    type: path
    required: true
  patches:
    description: The folder that has a folder of patches for each NAME-VERSION that is built with some.
    type: path
    required: true
  limits:
    description: The variables that bound a build, to be checked.
    type: dict
    default: {}
  build_packages:
    description: Debian packages that the application's wheels are compiled with. Others give other wheels.
    type: list
    elements: str
    default: []
  platform:
    description: Distribution, architecture and Python of the hosts, such as C(debian-12-x86_64-py3.11).
    type: str
    required: true
  exclude:
    description: Shell patterns of files and folders to leave out.
    type: list
    elements: str
    default: []
  cache:
    description: The folder on the controller that keeps archives.
    type: path
    required: true
"""

EXAMPLES = r"""
- ansible.builtin.set_fact:
    artifact: "{{ lookup('flaskops.uwsgi.artifact', source='app', ...) }}"
"""

RETURN = r"""
_raw:
  description:
    - One dictionary with C(id), C(digest), C(platform), C(source), C(locked), C(code) and C(wheelhouse).
    - An C(id) is the first 12 digits of a SHA-256, for people. What decides is the whole, the C(digest).
    - C(source) has the C(kind) and what is the same on every controller, such as the C(commit).
    - C(locked) tells C(from) which file a lock was made, of how many C(packages), and its C(path); empty where the
      application brings one. C(ignored) names the options in files of the application that did not count, C(notes) are
      sentences for the operator.
    - C(project) is the name of the project that the source is, where it is installed; empty otherwise. C(python_path)
      has the folders of the source, relative to it, that are put on Python's path since nothing is installed of them.
    - C(left_out) has the Python packages and modules of the source that are not deployed, each with the pattern of
      O(exclude) that says so.
    - C(code) and C(wheelhouse) each have C(id), C(path) and, when they are in the cache, C(file), C(sha256) and
      C(unpacked), the number of bytes that the archive unpacks to.
    - Only C(problem), a sentence with its remedy, where the input cannot become an artifact.
    - Only C(resolution) and C(ignored) where the requirements have to be locked on a build host first; it is what the
      module P(flaskops.uwsgi.resolution#module) needs, and the C(path) where the lock is kept.
    - C(wheelhouse.requirements) holds the two requirement texts to build from, C(wheelhouse.distribution) the file to
      build besides, empty for none, C(wheelhouse.project) its name where it is the archive of a folder,
      C(wheelhouse.patches) what its sdists are patched with.
  type: list
  elements: dict
"""

import json
from pathlib import Path
from typing import Any

from ansible.plugins.lookup import LookupBase
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release import artifact as art
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source.dependencies import Resolution, Unresolved, lock_of
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source.folder import (
    Distribution,
    Folder,
    Git,
    Package,
    Source,
    parse,
)
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source.git import checkout, tree
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source.left_out import left_out
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source.patches import patches_of
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source.pyproject import (
    UNNAMED,
    insist_on_python,
    project_of,
    source_folders,
)
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source.wheelhouse import examine_wheel

# Tells in every release what was installed for it.
INSTALLED = "requirements.lock"


def insist_on_limits(limits: dict[str, Any]) -> None:
    """Refuse a limit of builds that is no positive number."""
    for name, value in limits.items():
        if not str(value).isdecimal() or not int(value):
            raise art.ArtifactError(f"{name}={value} is no whole number above 0: set it to one")


class LookupModule(LookupBase):  # type: ignore[misc]
    """See DOCUMENTATION."""

    def run(self, terms: list[Any], variables: Any = None, **kwargs: Any) -> list[dict[str, Any]]:
        """Return the plan as a list of one dictionary."""
        self.set_options(var_options=variables, direct=kwargs)
        try:
            return [self._plan()]
        except art.ArtifactError as error:
            # For the role to tell: what a lookup raises reaches people wrapped in Ansible's own words.
            return [{"problem": str(error)}]
        except Unresolved as unresolved:
            return [self._unresolved(unresolved.resolution)]

    def _plan(self) -> dict[str, Any]:
        cache = Path(self.get_option("cache"))
        cache.mkdir(mode=0o755, parents=True, exist_ok=True)
        platform = self.get_option("platform")
        source = parse(self.get_option("source"))
        folder, origin = self._found(source, cache)
        # A link may lead to any file of the controller: nothing of the source is read before this has looked at it.
        files = self._files(source, folder, origin, cache) if folder else []
        insist_on_limits(self.get_option("limits"))
        server_lock = Path(self.get_option("server_lock"))
        server = art.read_lock(server_lock, "artifact_server_lock")
        build = art.read_lock(Path(self.get_option("build_lock")), "artifact_build_lock")
        installs = bool(folder) and self.get_option("install")
        lock = lock_of(source, folder, self.get_option("requirements"), server_lock, platform, cache, files, installs)
        entries, server, replaced = art.server_entries(lock.entries, server)
        patches = patches_of([*entries, *server], Path(self.get_option("patches")))
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
        code = art.code_id(root, files, added)
        distribution = source.path if isinstance(source, Distribution) else None
        wheelhouse = art.wheelhouse_id(
            # uv makes locks; no wheel depends on it.
            [*entries, *server, *(entry for entry in build if entry.name != "uv")],
            platform,
            *([origin["sha256"]] if distribution else []),
            *([code] if project else []),
            *sorted(self.get_option("build_packages")),
            *([json.dumps(patches, sort_keys=True)] if patches else []),
        )

        code_archive = cache / f"code-{art.short(code)}.tar.gz"
        code_record = art.recorded(code_archive, code)
        if code_record is None:
            unpacked = art.pack_code(root, files, added, code_archive)
            code_record = art.record(code_archive, code, unpacked=unpacked)
        wheels_archive = cache / f"wheelhouse-{art.short(wheelhouse)}.tar"
        wheels_record = art.recorded(wheels_archive, wheelhouse)
        whole = art.digest(code, wheelhouse)
        made = {"from": lock.made_from, "packages": len(lock.entries), "path": str(lock.path)} if lock.path else {}
        return {
            "id": art.short(whole),
            "digest": whole,
            "platform": platform,
            "source": origin,
            "locked": made,
            "ignored": lock.ignored,
            "notes": list(dict.fromkeys([*lock.notes, *replaced])),
            "project": (project.name or UNNAMED) if project else "",
            "python_path": source_folders(files) if not project else [],
            "left_out": left_out(folder, self.get_option("exclude"), files) if folder else {},
            "code": {"id": art.short(code), "path": str(code_archive), **code_record},
            "wheelhouse": {
                "id": art.short(wheelhouse),
                "digest": wheelhouse,
                "path": str(wheels_archive),
                "built": wheels_record is not None,
                "requirements": {"application": art.rendered(entries), "server": art.rendered(server)},
                # What a build gets of a folder is what is deployed of it.
                "distribution": str(code_archive if project else distribution or ""),
                "project": (project.name or UNNAMED) if project else "",
                "patches": patches,
                **(wheels_record or {}),
            },
        }

    def _unresolved(self, resolution: Resolution) -> dict[str, Any]:
        """Return what a build host needs to make a lock, with the code packed that it would build to be read."""
        archive = str(resolution.distribution or "")
        if resolution.project:
            cache = Path(self.get_option("cache"))
            source = parse(self.get_option("source"))
            folder, origin = self._found(source, cache)
            if not folder:
                raise AssertionError("a project is read in its folder")
            files = self._files(source, folder, origin, cache)
            whole = art.code_id(folder, files, {})
            code = cache / f"code-{art.short(whole)}.tar.gz"
            if art.recorded(code, whole) is None:
                art.record(code, whole, unpacked=art.pack_code(folder, files, {}, code))
            archive = str(code)
        fields = ("made_from", "head", "requirements", "constraints", "overrides", "preferred", "project", "extras")
        return {
            "resolution": {name: getattr(resolution, name) for name in fields}
            | {"path": str(resolution.path), "archive": archive},
            "ignored": resolution.ignored,
        }

    def _files(self, source: Source, folder: Path, origin: dict[str, str], cache: Path) -> list[Path]:
        top = tree(cache, origin["commit"]) if isinstance(source, Git) else folder
        return art.source_files(folder, self.get_option("exclude"), top)

    def _insist_on_wheel(self, path: Path) -> None:
        """Refuse a wheel for what it holds now, and not when all the others have been built."""
        if path.suffix == ".whl":
            try:
                examine_wheel(path, self.get_option("platform"))
            except art.ArtifactError as error:
                raise art.ArtifactError(
                    f"flask_uwsgi_source={path} is not safe to install:\n{error}\n"
                    "Fix the package, or deploy another version of it"
                ) from error

    def _found(self, source: Source, cache: Path) -> tuple[Path | None, dict[str, str]]:
        """Return the folder of a source, if it has one, and what tells it from others on every controller."""
        match source:
            case Package():
                return None, {"kind": "package", "package": source.requirement}
            case Distribution():
                self._insist_on_wheel(source.path)
                return None, {"kind": "distribution", "file": source.path.name, "sha256": art.sha256(source.path)}
            case Git():
                commit, folder = checkout(source, cache)
                origin = {"kind": "git", "commit": commit}
            case Folder():
                folder, origin = source.path, {"kind": "folder"}
        wsgi_file = self.get_option("wsgi_file")
        if wsgi_file and not (folder / wsgi_file).is_file():
            raise art.ArtifactError(
                f"flask_uwsgi_wsgi_file={wsgi_file} does not exist in "
                f"flask_uwsgi_source={art.masked(self.get_option('source'))}: set it to the file that makes the WSGI "
                "application, or set flask_uwsgi_module"
            )
        return folder, origin
