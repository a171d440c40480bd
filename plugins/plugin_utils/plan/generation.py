"""Renders and names a generation: the files that it consists of beside its release."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import jinja2

from ...module_utils.host import checksums, kinds, persistent
from ...module_utils.host.layout import Layout
from ...module_utils.release import secrets, values
from ...module_utils.release.artifact import digest, short
from ..settings import preflight
from ..settings.settings import Settings
from ..settings.specs import ROLE
from ..source.artifact import Artifact
from .choice import Choice

# As they are.
_FILES = ("guard.py", "websocket.py", "application.py", "proxies.py", "process.py", "gevent_hook.py")
_TEMPLATES = {
    "uwsgi.ini": "uwsgi.ini.j2",
    "credentials.py": "credentials.py.j2",
    "threads.py": "threads.py.j2",
    "entry.py": "entry.py.j2",
    "units/generation.conf": "generation.conf.j2",
    "units/listen.conf": "listen.conf.j2",
    "units/app@.socket": "app.socket.j2",
}


@dataclass(frozen=True)
class Generation:
    """A generation by name.

    Args:
        id: its short name, for people.
        digest: the whole name, which decides.
    """

    id: str
    digest: str


def named(settings: Settings, artifact: Artifact, choice: Choice) -> Generation:
    """Return the name of the generation that settings and an artifact make."""
    return name(rendered(settings, artifact, choice), manifest(settings, artifact, choice), settings.secrets)


def files(settings: Settings, artifact: Artifact, choice: Choice) -> dict[str, str]:
    """Return all files of a generation, the manifest included: relative names to contents."""
    contents, said = rendered(settings, artifact, choice), manifest(settings, artifact, choice)
    return {**contents, "manifest.json": document(contents, said, settings.secrets)}


def name(contents: Mapping[str, str], said: Mapping[str, Any], confidential: Mapping[str, Any]) -> Generation:
    """Name a generation by all that it consists of.

    What can be guessed, such as a PIN in the environment, enters only through a slow hash: the id is in the name of the
    unit, in the journal and in the list of processes.

    Args:
        contents: relative names to contents.
        said: what the generation says of itself; the same on every host.
        confidential: secrets by name.
    """
    app = str(said["app_name"])
    parts = (f"{key}\0{checksums.identity(key, contents[key], app)}" for key in sorted(contents))
    whole = digest(json.dumps(_with_secrets(said, confidential), sort_keys=True), *parts)
    return Generation(short(whole), whole)


def document(contents: Mapping[str, str], said: Mapping[str, Any], confidential: Mapping[str, Any]) -> str:
    """Return the manifest as it is on the host, with the generation's name and a checksum of every file."""
    app, generation = str(said["app_name"]), name(contents, said, confidential)
    recorded = {key: checksums.checksum(key, contents[key], app) for key in sorted(contents)}
    whole = {"generation": generation.id, "digest": generation.digest, **_with_secrets(said, confidential)}
    return json.dumps({**whole, "checksums": recorded}, indent=2) + "\n"


def _with_secrets(said: Mapping[str, Any], confidential: Mapping[str, Any]) -> dict[str, Any]:
    if not confidential:
        return dict(said)
    return {**said, "secrets": asdict(secrets.identity(confidential, str(said["app_name"])))}


def manifest(settings: Settings, artifact: Artifact, choice: Choice) -> dict[str, Any]:
    """Return what a generation says of itself, for the swap, the status and a rollback."""
    return {
        "app_name": settings.app_name,
        "source": artifact.source,
        "packages": sorted(set(settings.packages)),
        "artifact": artifact.digest,
        "release": artifact.id,
        "venv": artifact.wheelhouse["id"],
        "platform": artifact.platform,
        "mode": choice.mode,
        "decision": choice.decision,
        "processes": settings.processes,
        "cores": choice.cores,
        "listen": settings.listen,
        "wsgi_file": settings.wsgi_file,
        "callable": settings.callable,
        "module": settings.module,
        "health": {
            "path": settings.health,
            "status": settings.accepted,
            "host": settings.health_host,
            "timeout": settings.health_timeout,
        },
        "start_timeout": settings.start_timeout,
        "stop_timeout": settings.stop_timeout,
        "settle": settings.canary_seconds,
        "keep": settings.keep_releases,
    }


def rendered(settings: Settings, artifact: Artifact, choice: Choice) -> dict[str, str]:
    """Return the files of a generation without its manifest. Nothing in them may depend on the host."""
    folders = [*settings.python_path, *(path for path in artifact.python_path if path not in settings.python_path)]
    release = f"{settings.root}/releases/{artifact.id}"
    layout = Layout(settings.app_name, Path(settings.base_dir))
    context = {
        "s": settings,
        "mode": choice.mode,
        "cores": choice.cores,
        "release": release,
        "venv": f"{settings.root}/venvs/{artifact.wheelhouse['id']}",
        "python_path": folders,
        "static": {path: static_folder(folder, settings.root, artifact) for path, folder in settings.static.items()},
        "persistent": persistent.folders(layout, artifact.id, artifact.wheelhouse["id"], settings.persistent),
        "expanded": values.expanded(settings.environment),
        "open_files": preflight.open_files(choice.mode, choice.cores),
        "tasks": preflight.tasks(choice.mode, settings.processes, choice.cores, settings.environment),
        "ini": {key: [values.written(item) for item in _flat(value)] for key, value in settings.extra_ini.items()},
        "overrides": {key: [str(item) for item in _flat(value)] for key, value in settings.unit_overrides.items()},
    }
    environment = {**dict.fromkeys(preflight.POOLS, 1), **settings.environment}
    return {
        "environment": environment_file(environment),
        **{name: _render(template, context) for name, template in _TEMPLATES.items()},
        **{
            f"{when}.sh": _render("commands.sh.j2", {**context, "when": when, "commands": commands})
            for when, commands in (("pre", settings.pre_activate), ("post", settings.post_activate))
        },
        # All tasks share one.
        **{
            f"units/{kind.template}": _render("app.service.j2", {**context, "kind": kind})
            for kind in kinds.KINDS
            if kind is not kinds.POST
        },
        **{name: f"{(ROLE / 'files' / name).read_text().rstrip()}\n" for name in _FILES},
        **values.application_files(settings.files),
    }


def compile_templates() -> None:
    """Compile all templates, also for the processes that this one forks afterwards."""
    for template in (ROLE / "templates").glob("*.j2"):
        _environment().get_template(template.name)


def environment_file(variables: Mapping[str, Any]) -> str:
    """Return a systemd EnvironmentFile (see systemd.exec(5)) with every value quoted."""

    def quoted(value: Any) -> str:
        text = values.written(value)
        for special in ("\\", '"', "$", "`"):
            text = text.replace(special, "\\" + special)
        return f'"{text}"'

    return "".join(f"{key}={quoted(value)}\n" for key, value in sorted(variables.items()))


def static_folder(folder: str, root: str, artifact: Artifact) -> str:
    """Return where a folder of static files is on the host.

    Args:
        folder: relative to the source, ``package:folder`` of an installed package, or ``$STATE_DIRECTORY/folder``.
        root: the application's directory on the host.
        artifact: the release.
    """
    if folder.startswith(f"{preflight.STATE}/"):
        # systemd's StateDirectory is below /var/lib wherever the application's own directory is.
        return f"/var/lib/{PurePosixPath(root).name}/{folder.removeprefix(f'{preflight.STATE}/')}"
    package, _, inner = folder.rpartition(":")
    if not package:
        return f"{root}/releases/{artifact.id}/{inner}"
    python = artifact.platform.rpartition("-py")[2]
    place = f"{root}/venvs/{artifact.wheelhouse['id']}/lib/python{python}/site-packages"
    return f"{place}/{package.replace('.', '/')}/{inner}"


def _flat(value: Any) -> Iterator[Any]:
    """Yield the items of a value that may be a list, or a list of lists."""
    if isinstance(value, list):
        for item in value:
            yield from _flat(item)
    else:
        yield value


def _render(template: str, context: Mapping[str, Any]) -> str:
    return _environment().get_template(template).render(context)


@cache
def _environment() -> jinja2.Environment:
    """Return an environment that reads a template as Ansible would, but for variables that it does not know."""
    # What is rendered are units, scripts and an ini, never HTML.
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROLE / "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {"quote": shlex.quote, "json": json.dumps}
    return made
