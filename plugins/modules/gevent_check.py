#!/usr/bin/python
"""Module: check whether gevent mode will work for a generation."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gevent_check
short_description: Find out whether gevent mode works for an application, without traffic
version_added: 0.1.0
author: The flaskops maintainers (!UNKNOWN)
extends_documentation_fragment:
  - flaskops.uwsgi.application
  - flaskops.uwsgi.application.reserved
description:
  - Starts the generation with one worker on a private socket, under the account and the sandbox of the service, and
    examines how it is imported, which libraries it uses, and whether its requests overlap.
  - The running service is not changed, and only the result is left on the host, in the generation's
    directory as C(gevent_check.json).
  - No verdict fails the module. In check mode, nothing is done.
options:
  generation:
    description: The generation to check, in gevent mode. It must be on the host.
    type: str
    required: true
  path:
    description: The path to request, first alone, then many times at once. Empty for C(/).
    type: str
    default: ""
  status:
    description: The expected HTTP status; 0 for any below 500.
    type: int
    default: 200
  host:
    description: The Host header of the requests.
    type: str
    default: localhost
  requests:
    description: Number of requests to send at once.
    type: int
    default: 10
  timeout:
    description: Seconds that the check may take.
    type: int
    default: 60
  memory_mb:
    description: Megabytes of memory that it may use.
    type: int
    default: 1024
  report:
    description: >-
      A file on the controller that the result is written to, in JSON; its directory is created. Read by the action
      plugin of the same name.
    type: path
  catalogue:
    description: The known libraries, with C(version) and C(libraries).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Check gevent mode
  flaskops.uwsgi.gevent_check:
    app_name: aiops_flask
    generation: 3f2a90c1d5e7
    path: /healthz
    catalogue: "{{ lookup('ansible.builtin.file', 'gevent_libraries.yml') | from_yaml }}"
"""

RETURN = r"""
check:
  description: >-
    verdict (ok, warning or blocks), failure (why the application was not loaded, or null), common (whether it fails for
    a reason other than gevent), cause (that reason), checks (imports, libraries
    and cooperation, each with its verdict and findings of level, what, evidence and remedy), generation, release,
    path, requests, least_ms, single_ms, burst_ms, overlap, cpu_share, catalogue (its version), duration_s, and all
    measurements.
  type: dict
  returned: when not in check mode
"""

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskops.uwsgi.plugins.module_utils.failure import stacks
from ansible_collections.flaskops.uwsgi.plugins.module_utils.failure.blame import in_either_mode
from ansible_collections.flaskops.uwsgi.plugins.module_utils.failure.explain import entry_of, explain, relevant_lines
from ansible_collections.flaskops.uwsgi.plugins.module_utils.gevent import processes
from ansible_collections.flaskops.uwsgi.plugins.module_utils.gevent.elf import ElfError, wants
from ansible_collections.flaskops.uwsgi.plugins.module_utils.gevent.instance import Instance, running
from ansible_collections.flaskops.uwsgi.plugins.module_utils.gevent.judge import Compiled, Evidence, judge
from ansible_collections.flaskops.uwsgi.plugins.module_utils.gevent.probe import Measured, measure
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import arguments
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.distributions import normalised
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.foreign import printable
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.health_answer import advice, gist
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.layout import Layout
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.systemd import SystemdError
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release import credentials
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release import generation as gen
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release.manifest import Manifest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic import reservation

RESULT = "gevent_check.json"
_MOST_VERSION = 50
# The first status that reports an error of the application.
_ERROR = 500


def distributions(paths: list[Path]) -> dict[str, str]:
    """Return the distributions in the given folders, normalised names with versions."""
    found = metadata.distributions(path=[str(path) for path in paths])
    return {normalised(one.metadata["Name"]): one.version for one in found if one.metadata["Name"]}


def within(said: object, root: Path) -> Path | None:
    """Return a path that the application named, with links resolved, or None if it is outside a folder."""
    if not isinstance(said, str) or "\0" in said:
        return None
    path = Path(os.path.realpath(said))
    return path if path.is_relative_to(root) else None


def listed(document: Mapping[str, Any], name: str) -> list[Any]:
    """Return a list from the application's document; anything else counts as empty."""
    found = document.get(name)
    return found if isinstance(found, list) else []


def version(document: Mapping[str, Any], name: str) -> str | None:
    """Return a version from the application's document, if it is valid."""
    found = document.get(name)
    return found if isinstance(found, str) and len(found) < _MOST_VERSION else None


def network(loaded: Mapping[str, Any], root: Path) -> list[Compiled]:
    """Return the compiled modules below the application's root that access the network themselves."""
    found = []
    for row in listed(loaded, "extensions"):
        path = within(row.get("file"), root) if isinstance(row, dict) else None
        if path is None or not path.is_file():
            continue
        try:
            why = wants(path).network()
        except (ElfError, OSError):
            continue
        if why:
            found.append(Compiled(str(row.get("module")), why))
    return found


def chosen(manifest: Manifest, asked: Mapping[str, Any]) -> bool:
    """Return whether the requested path is not the health path."""
    return (asked["path"] or "/", asked["status"]) != (manifest.health.path, manifest.health.status)


def unhealthy_cause(instance: Instance, manifest: Manifest, measured: Measured, host: str) -> str:
    """Return why the health path does not answer as it should, if gevent is certainly not the cause."""
    last = measured.alone[-1] if measured.alone and measured.single_ms is None else None
    if last is None or not last.status:
        return ""
    shown = gist(last.said) if not last.location else f"a redirect to {last.location}"
    problem = f"GET {measured.path} answered {last.status} instead of {measured.wanted}: {shown}"
    if last.status < _ERROR:
        said = advice(last.status, measured.wanted, measured.path, host, last.location)
        return f"{problem}. {said}" if said else problem
    logged, unit, root = instance.log(), instance.state(), str(instance.layout.root)
    if not in_either_mode(logged, manifest, unit, root, loading=False):
        return ""
    return explain(logged, manifest, problem, unit, root) or problem


def look(instance: Instance, manifest: Manifest, asked: Mapping[str, Any]) -> Evidence:
    """Run the instance and return the evidence."""
    layout, started = instance.layout, time.monotonic()
    deadline = started + asked["timeout"]
    release, venv = layout.releases / manifest.release, layout.venvs / manifest.venv
    sites = [*venv.glob("lib/python3*/site-packages")]
    roots = [f"{path}/" for path in (release, *sites)]
    # Half of it is for the probe.
    failure = instance.start(started + asked["timeout"] / 2)
    if failure:
        logged = instance.log()
        unit, root = instance.state(), str(layout.root)
        ended = failure == "ended"
        cause = explain(logged, manifest, "", unit, root) if ended else ""
        common = bool(cause) and in_either_mode(logged, manifest, unit, root, loading=True)
        trace = instance.hanging() if failure == "hangs" else relevant_lines(logged)
        if failure == "hangs" and (cause := stacks.server(stacks.of(trace), entry_of(manifest))):
            common = True
        return Evidence(failure=failure, cause=cause, common=common, trace=trace, roots=roots)
    loaded, activity = instance.loaded(), {}
    worker = instance.worker

    def when_late() -> None:
        activity.update(instance.activity())

    measured = measure(
        instance.socket,
        asked["path"] or "/",
        worker or 0,
        requests=asked["requests"],
        wanted=asked["status"],
        host=asked["host"],
        deadline=deadline,
        patience=max(2.0, min(15.0, asked["timeout"] / 4)),
        when_late=when_late,
    )
    died = instance.worker != worker
    cause = "" if died or chosen(manifest, asked) else unhealthy_cause(instance, manifest, measured, asked["host"])
    activity = activity or instance.activity()
    # By now the requests have also imported what they need.
    loaded |= {name: activity[name] for name in ("modules", "extensions", "processes") if name in activity}
    folders = [path for said in listed(loaded, "path") if (path := within(said, layout.root))]
    return Evidence(
        loaded=loaded,
        activity=activity,
        died=died,
        cause=cause,
        common=bool(cause),
        chosen=chosen(manifest, asked),
        trace=(instance.crash() or relevant_lines(instance.log())) if died else (),
        measured=measured,
        installed=distributions([*sites, *folders]),
        network=network(loaded, layout.root),
        processes=processes.of_application(
            loaded,
            [path for path in folders if path.is_relative_to(release.resolve())],
            sites,
            manifest.module,
            release.resolve() / manifest.wsgi_file,
        ),
        roots=roots,
    )


def check(layout: Layout, manifest: Manifest, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Carry out the check and return its document."""
    started = time.monotonic()
    with running(layout, asked["generation"], timeout=asked["timeout"], memory_mb=asked["memory_mb"]) as instance:
        evidence = look(instance, manifest, asked)
    measured = asdict(evidence.measured) if evidence.measured else {}
    return {
        "generation": asked["generation"],
        "release": manifest.release,
        **asdict(judge(evidence, asked["catalogue"])),
        "failure": evidence.failure,
        "common": evidence.common,
        "cause": evidence.cause,
        "path": asked["path"] or "/",
        **{name: measured.get(name) for name in ("single_ms", "burst_ms", "overlap", "cpu_share", "busy_share")},
        "least_ms": round(evidence.measured.least_ms, 2) if evidence.measured else None,
        "requests": asked["requests"],
        "measured": measured,
        "catalogue": asked["catalogue"]["version"],
        **{name: version(evidence.loaded, name) for name in ("gevent", "python")},
        "checked_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "duration_s": round(time.monotonic() - started, 2),
    }


def blotted(value: Any, blot: Callable[[str], str]) -> Any:
    """Return a document with every text in it masked."""
    if isinstance(value, str):
        return blot(value)
    if isinstance(value, Mapping):
        return {key: blotted(inner, blot) for key, inner in value.items()}
    return [blotted(inner, blot) for inner in value] if isinstance(value, (list, tuple)) else value


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=arguments.APPLICATION
        | arguments.RESERVED
        | {
            "generation": {"type": "str", "required": True},
            "path": {"type": "str", "default": ""},
            "status": {"type": "int", "default": 200},
            "host": {"type": "str", "default": "localhost"},
            "requests": {"type": "int", "default": 10},
            "timeout": {"type": "int", "default": 60},
            "memory_mb": {"type": "int", "default": 1024},
            "report": {"type": "path"},
            "catalogue": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    layout = arguments.owned(module)
    if module.check_mode:
        module.exit_json(changed=False)
    os.umask(0o022)
    asked = module.params
    named = f"generation {asked['generation']}"
    manifest = gen.manifest(layout, asked["generation"])
    if manifest is None or manifest.mode != "gevent":
        problem = f"is not on this host, or is damaged ({gen.damage(layout, asked['generation'])}): write it first"
        if manifest:
            problem = f"is in {manifest.mode} mode: set flask_uwsgi_mode=gevent to check it"
        module.fail_json(msg=f"{named} {problem}")
        return
    try:
        with reservation.exclusive_to(layout, asked):
            directory = layout.generations / asked["generation"]
            names = manifest.secrets.names
            # A failing application may print the values that it was given.
            blot = credentials.blotter(directory, names)
            document = blotted(check(layout, manifest, asked), lambda text: printable(blot(text)))
            group = (directory / "uwsgi.ini").stat().st_gid
            gen.write_file(directory, RESULT, json.dumps(document, indent=2) + "\n", group)
    except reservation.LockedError as error:
        module.fail_json(msg=str(error))
    except (SystemdError, OSError) as error:
        module.fail_json(msg=f"gevent mode could not be checked: {error}. The running service was not changed")
    module.exit_json(changed=False, check=document)


if __name__ == "__main__":
    main()
