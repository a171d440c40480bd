"""What a deploy will do on one host: decided once, before anything is changed, and followed by every later phase."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ...module_utils.host import packages
from ..run import reserved
from ..run.seal import opened, seal
from ..settings import capabilities
from ..settings.settings import Settings
from ..source.artifact import Artifact, Request
from ..source.dependencies import Resolution
from . import folders
from .choice import Choice
from .generation import Generation
from .request import sealed, unsealed

# What there is to do on a host.
NOTHING, RELEASE, DEPLOY, RESOLVE = "nothing", "release", "deploy", "resolve"


@dataclass(frozen=True)
class Plan:
    """The plan of one host.

    Args:
        host: the host's name in the inventory.
        problems: why the host cannot be deployed to, each with its remedy. Nothing else counts then.
        work: ``nothing``; ``release``, where only the reservation of a run that has ended is left; ``deploy``; or
            ``resolve``, where a build host has to lock the requirements before there can be a plan.
        text: the plan in words, one line each.
        app_name: the application.
        root: its directory on the host.
        machine: what tells this machine from others, whatever their names are in the inventory.
        wants: what no other application of the machine may have: address, port and account.
        generation: the id of the generation that will serve.
        digest: its whole name.
        mode: its mode.
        cores: the requests in flight in each of its workers.
        processes: its workers.
        decision: what ``flask_uwsgi_mode=auto`` is for it; empty without auto.
        undecided: whether the gevent check has still to decide that.
        decided: what auto was decided to be on this host, by the digest of the artifact.
        check: whether the gevent check has to be made.
        probe: what it requests and accepts, ``path`` and ``status``.
        commands: whether the commands of ``flask_uwsgi_pre_activate`` have to run, unless the keeper has recorded that
            they have.
        keeper: the host that keeps that record; empty for the first host of the application.
        artifact: the digest of the artifact.
        platform: distribution, architecture and Python of the host.
        python: the interpreter of the application; empty for the system's.
        code: whether the release has to be shipped.
        wheels: whether the wheels have to be shipped.
        serving: the generation that serves now; empty where none does.
        moves: whether it will be served on another address.
        drift: how the host differs from what was deployed.
        repairs: whether the generation that serves stays, and only drift is repaired.
        run: this run of Ansible, as the owner of reservations.
        replace: the owner of a reservation that does not count; empty for none.
        claims: whether account, group and directories are incomplete.
        packages: packages of the host to install for the application.
        libpython: the package of Python's shared library, where it is missing.
        somaxconn: whether net.core.somaxconn is below the backlog.
        limits: the facts of the host that limit its threads.
        wheelhouse: the digest of its wheels.
        builds: what a build host has to make first, a lock or a wheelhouse; the same for all hosts that need it.
        sealed: the settings that the generation is made of, for whoever writes it: an expression such as ``now()`` has
            another value when it is evaluated again. Empty if there is nothing to write.
        asked: what was asked of the artifact, sealed for the same reason. Empty if there is nothing to build or ship.
    """

    host: str
    problems: list[str] = field(default_factory=list)
    work: str = NOTHING
    text: list[str] = field(default_factory=list)
    app_name: str = ""
    root: str = ""
    machine: str = ""
    wants: list[str] = field(default_factory=list)
    generation: str = ""
    digest: str = ""
    mode: str = ""
    cores: int = 0
    processes: int = 0
    decision: dict[str, Any] = field(default_factory=dict)
    undecided: bool = False
    decided: dict[str, Any] = field(default_factory=dict)
    check: bool = False
    probe: dict[str, str | int] = field(default_factory=dict)
    commands: bool = False
    keeper: str = ""
    artifact: str = ""
    platform: str = ""
    python: str = ""
    code: bool = False
    wheels: bool = False
    serving: str = ""
    moves: bool = False
    drift: list[str] = field(default_factory=list)
    repairs: bool = False
    run: dict[str, Any] = field(default_factory=dict)
    replace: dict[str, Any] = field(default_factory=dict)
    claims: bool = False
    packages: list[str] = field(default_factory=list)
    libpython: str = ""
    somaxconn: bool = False
    limits: dict[str, int] = field(default_factory=dict)
    wheelhouse: str = ""
    builds: str = ""
    sealed: str = ""
    asked: str = ""

    @classmethod
    def read(cls, result: Mapping[str, Any]) -> Plan:
        """Return the plan that a registered result has."""
        return cls(**{name: result[name] for name in cls.__dataclass_fields__})

    @property
    def settings(self) -> Settings:
        """The settings that the generation is made of.

        Raises:
            SealError: the plan is of another run, or there is nothing to write.
        """
        return Settings(**json.loads(opened(self.sealed)))

    @property
    def request(self) -> Request:
        """What was asked of the artifact.

        Raises:
            SealError: the plan is of another run, or there is nothing to build or ship.
        """
        return unsealed(self.asked)


def of(
    host: str,
    settings: Settings,
    state: Mapping[str, Any],
    request: Request,
    artifact: Artifact,
    choice: Choice,
    generation: Generation,
) -> Plan:
    """Return the plan of a host on which a deploy has no problem.

    Args:
        host: its name in the inventory.
        settings: the application's.
        state: the result of the module ``host_state``.
        request: what was asked of the artifact.
        artifact: what is deployed.
        choice: how it serves.
        generation: what serves in the end.
    """
    app = state["app"]
    same = generation.id == app["current"]
    settled = same and generation.digest == app["digest"] and not app["drift"]
    wheels = artifact.wheelhouse["digest"] not in app["venvs"].values()
    return Plan(
        host,
        work=(RELEASE if app["lock"] else NOTHING) if settled else DEPLOY,
        sealed="" if settled else seal(json.dumps(asdict(settings))),
        asked="" if settled else sealed(request),
        builds=artifact.wheelhouse["digest"] if wheels and not artifact.wheelhouse["built"] else "",
        text=_text(settings, state, artifact, choice, generation, settled),
        generation=generation.id,
        digest=generation.digest,
        mode=choice.mode,
        cores=choice.cores,
        processes=settings.processes,
        decision=choice.decision,
        undecided=choice.undecided,
        commands=bool(settings.pre_activate) and not same,
        check=_is_unchecked(settings, app, artifact, choice),
        probe={"path": settings.probe, "status": settings.probe_accepted},
        moves=_moves(settings, app),
        artifact=artifact.digest,
        code=artifact.digest not in app["releases"].values(),
        wheels=wheels,
        wheelhouse=artifact.wheelhouse["digest"],
        drift=app["drift"],
        repairs=same,
        **_known(settings, state),
    )


def unresolved(
    host: str, settings: Settings, state: Mapping[str, Any], request: Request, resolution: Resolution
) -> Plan:
    """Return the plan of a host whose requirements have to be locked on a build host first.

    Args:
        host: its name in the inventory.
        settings: the application's.
        state: the result of the module ``host_state``.
        request: what was asked of the artifact.
        resolution: the lock to make.
    """
    text = [
        f"the requirements of {resolution.made_from} cannot be read without running a build: a deploy resolves them on "
        "a build host in its sandbox, and the ids of artifact and generation are known then",
        *_ignored(resolution.ignored),
        *capabilities.notes(state["host"], secrets=bool(settings.secrets), builds=True),
    ]
    return Plan(
        host, work=RESOLVE, text=text, builds=str(resolution.path), asked=sealed(request), **_known(settings, state)
    )


def _known(settings: Settings, state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of a host without the artifact."""
    facts, app = state["host"], state["app"]
    return {
        "keeper": settings.keeper,
        "machine": facts["machine"],
        "wants": app["wants"],
        "decided": app["decision"],
        "platform": facts["platform"],
        "python": facts.get("chosen", {}).get("path", ""),
        "serving": f"{app['current']} ({app['mode']})" if app["current"] else "",
        "replace": reserved.replaceable(app["lock"], settings.break_lock),
        "claims": bool(app["missing"]),
        "packages": facts["missing_packages"],
        "libpython": _libpython(facts),
        "somaxconn": settings.backlog > facts["somaxconn"],
        "limits": {name: facts[name] for name in ("tasks", "nofile", "file_max")},
    }


def _moves(settings: Settings, app: Mapping[str, Any]) -> bool:
    return bool(app["listen"]) and app["listen"] != settings.listen


def _is_unchecked(settings: Settings, app: Mapping[str, Any], artifact: Artifact, choice: Choice) -> bool:
    """Return whether the gevent check is wanted, and no generation on the host has its answer."""
    if settings.gevent_check == "off":
        return False
    if settings.mode == "auto":
        return choice.undecided
    known = [(said["artifact"], said["entry"], said["path"]) for said in app["checked"]]
    return choice.mode == "gevent" and (artifact.digest, settings.entry, settings.probe) not in known


def _text(
    settings: Settings,
    state: Mapping[str, Any],
    artifact: Artifact,
    choice: Choice,
    generation: Generation,
    settled: bool,
) -> list[str]:
    app = state["app"]
    named = f"{generation.id} ({choice.mode})"
    if settled:
        return [f"nothing to do: generation {named} serves as wanted"]
    if generation.id == app["current"]:
        return [f"repair of generation {named}: {'; '.join(app['drift'])}"]
    before = f"{app['current'] or 'nothing'}{f' ({mode})' if (mode := app['mode']) else ''}"
    after = "gevent, or threads if the gevent check is against it" if choice.undecided else choice.mode
    release = "on the host" if artifact.digest in app["releases"].values() else "to ship"
    wheels = (
        "on the host" if artifact.wheelhouse["digest"] in app["venvs"].values()
        else "to ship" if artifact.wheelhouse["built"]
        else "to build"
    )  # fmt: skip
    commit = f" (commit {artifact.source['commit'][:12]})" if artifact.source["kind"] == "git" else ""
    return [
        f"{before} -> {generation.id} ({after}); traffic moves once it is proven",
        f"artifact {artifact.id}{commit}: {release}, wheels {wheels}",
        *_of_source(settings, artifact),
        *_of_host(settings, state),
        *capabilities.notes(state["host"], secrets=bool(settings.secrets), builds=wheels == "to build"),
    ]


def _of_source(settings: Settings, artifact: Artifact) -> list[str]:
    text = []
    if artifact.project:
        text.append(
            f"{artifact.project}: built from flask_uwsgi_source and installed, as by `pip install .` "
            "(flask_uwsgi_install=false leaves it a folder)"
        )
    text += [
        f"{folder}: on Python's path, for the source has packages there and no build backend"
        for folder in artifact.python_path
    ]
    text += [*artifact.notes, *folders.notes(settings, artifact)]
    if locked := artifact.locked:
        text.append(
            f"lock made from {locked['from']}: {locked['packages']} packages, kept in {locked['path']} (copy it into "
            "the source to have the same everywhere)"
        )
    text += _ignored(artifact.ignored)
    text += [
        f"flask_uwsgi_persistent: what the source has in {folder} ({count} file{'s' if count > 1 else ''}) is hidden "
        "by the folder that outlives releases"
        for folder, count in sorted(folders.hidden(settings, artifact).items())
    ]
    return text


def _of_host(settings: Settings, state: Mapping[str, Any]) -> list[str]:
    facts, app = state["host"], state["app"]
    text = []
    if _moves(settings, app):
        text.append(
            f"address {app['listen']} -> {settings.listen}: the old one is served until the new one answers, then "
            "closed"
        )
    if not app["accounts"]["user"]:
        text.append(f"account {settings.user}: to create")
    if chosen := facts.get("chosen"):
        text.append(f"{capabilities.interpreter(settings.python, chosen)}: Python {chosen['full']} in {chosen['path']}")
    if facts["missing_packages"]:
        text.append(f"flask_uwsgi_packages: {' '.join(facts['missing_packages'])} to install")
    if package := _libpython(facts):
        text.append(f"package {package}: to install")
    return text


def _libpython(facts: Mapping[str, Any]) -> str:
    return "" if facts["libpython"] else packages.libpython(facts["package_manager"], facts["python"])


def _ignored(names: list[str]) -> list[str]:
    known = "does not count, and only the controller's and the build host's own configuration does"
    return [f"{known}: {', '.join(names)}"] if names else []
