"""Filters of the role flask_uwsgi: they compute on the controller, so that hosts are asked once."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import checksums, kinds, persistent
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.layout import Layout
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release import secrets, values
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release.artifact import digest, short
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic import reservation, toll
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.report.deploy_show import seconds
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.run import controller
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.settings import preflight
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source import code_archive, left_out

# Milliseconds of computing for each request from which on it is the processor that they wait for, and the threads that
# then do.
_COMPUTES_MS = 100
_COMPUTING_THREADS = 8


def environment_file(variables: dict[str, Any]) -> str:
    """Return a systemd EnvironmentFile (see systemd.exec(5)) with every value quoted."""

    def quoted(value: Any) -> str:
        text = values.written(value)
        for special in ("\\", '"', "$", "`"):
            text = text.replace(special, "\\" + special)
        return f'"{text}"'

    return "".join(f"{name}={quoted(value)}\n" for name, value in sorted(variables.items()))


def generation(
    files: dict[str, str], manifest: dict[str, Any], confidential: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Name a generation by all that it consists of.

    What can be guessed, such as a PIN in the environment, enters only through a slow hash: the id is in the name of the
    unit, in the journal and in the list of processes.

    Args:
        files: relative names to contents.
        manifest: what the generation says of itself; the same on every host.
        confidential: secrets by name. They are no part of what is returned, but other values make another id.

    Returns:
        ``id`` (short, for people), ``digest`` (the whole), and ``files`` with the manifest added.
    """
    if confidential:
        manifest = {**manifest, "secrets": secrets.identity(confidential, manifest["app_name"])}
    app = str(manifest["app_name"])
    parts = (f"{key}\0{checksums.identity(key, files[key], app)}" for key in sorted(files))
    whole = digest(json.dumps(manifest, sort_keys=True), *parts)
    named = {"generation": short(whole), "digest": whole, **manifest}
    recorded = {key: checksums.checksum(key, files[key], app) for key in sorted(files)}
    document = json.dumps({**named, "checksums": recorded}, indent=2) + "\n"
    return {"id": short(whole), "digest": whole, "files": {**files, "manifest.json": document}}


def unit_kind(name: str) -> dict[str, Any]:
    """Return what a kind of unit is (see ``kinds.Kind``), for the template of its unit file.

    Args:
        name: such as ``service`` or ``canary``.
    """
    kind = kinds.BY_NAME[name]
    return {**asdict(kind), "suffix": kind.suffix}


def static_folder(folder: str, root: str, plan: dict[str, Any]) -> str:
    """Return where a folder of static files is on the host.

    Args:
        folder: relative to the source, ``package:folder`` of an installed package, or ``$STATE_DIRECTORY/folder``.
        root: the application's directory on the host.
        plan: the artifact, as the lookup ``artifact`` returns it.
    """
    if folder.startswith(f"{preflight.STATE}/"):
        # systemd's StateDirectory is below /var/lib wherever the application's own directory is.
        return f"/var/lib/{root.rpartition('/')[2]}/{folder.removeprefix(f'{preflight.STATE}/')}"
    package, _, inner = folder.rpartition(":")
    if not package:
        return f"{root}/releases/{plan['id']}/{inner}"
    python = str(plan["platform"]).rpartition("-py")[2]
    return (
        f"{root}/venvs/{plan['wheelhouse']['id']}/lib/python{python}/site-packages/{package.replace('.', '/')}/{inner}"
    )


def persistent_folders(names: list[str], app: str, base: str, plan: dict[str, Any]) -> list[dict[str, str]]:
    """Return the folders of a generation that outlive it, each with its ``store`` and its ``mount`` on the host.

    Args:
        names: the value of ``flask_uwsgi_persistent``.
        app: the application's name.
        base: the directory that holds applications.
        plan: the artifact, as the lookup ``artifact`` returns it.
    """
    found = persistent.folders(Layout(app, Path(base)), plan["id"], plan["wheelhouse"]["id"], names)
    return [{"store": str(folder.store), "mount": str(folder.mount)} for folder in found]


def persistent_problems(names: list[str], plan: dict[str, Any]) -> list[str]:
    """Return which folders of ``flask_uwsgi_persistent`` are files in the source.

    Args:
        names: the variable's value.
        plan: the artifact, as the lookup ``artifact`` returns it.
    """
    return [
        f"flask_uwsgi_persistent has {folder!r}, and flask_uwsgi_source has a file {file}: name a folder, or rename one"
        for folder, file in code_archive.in_the_way(plan["code"]["path"], names).items()
    ]


def static_problems(folders: dict[str, str], persistent_names: list[str], plan: dict[str, Any]) -> list[str]:
    """Return which folders of ``flask_uwsgi_static`` are not in the artifact: the application would be asked instead.

    Args:
        folders: the variable's value.
        persistent_names: ``flask_uwsgi_persistent``, whose folders need not be in the source.
        plan: the artifact, as the lookup ``artifact`` returns it.
    """
    wanted = {
        path: str(PurePosixPath(folder))
        for path, folder in folders.items()
        if ":" not in folder and not folder.startswith(f"{preflight.STATE}/")
    }
    kept = [PurePosixPath(name) for name in persistent_names]
    names = [
        name for name in wanted.values()
        if name != "." and not any(PurePosixPath(name).is_relative_to(folder) for folder in kept)
    ]  # fmt: skip
    absent = code_archive.absent(plan["code"]["path"], names)
    return [
        f"flask_uwsgi_static has {path}={folder}, and the artifact has no such folder: what is asked for below {path} "
        "would reach the application. Name a folder of flask_uwsgi_source that artifact_exclude does not leave out, "
        f"package:folder of an installed package, or {preflight.STATE}/folder"
        for path, folder in wanted.items()
        if folder in absent
    ]


def left_out_notes(settings: dict[str, Any], plan: dict[str, Any]) -> list[str]:
    """Return what the application imports of its source that ``artifact_exclude`` leaves out of the release.

    Args:
        settings: ``module``, ``wsgi_file`` and ``python_path`` of the application.
        plan: the artifact, as the lookup ``artifact`` returns it.
    """
    entry = str(settings["module"]).partition(":")[0] or str(PurePosixPath(settings["wsgi_file"]))
    # A project that is installed may have its packages in src.
    folders = [*settings["python_path"], *plan["python_path"], *(["src"] if plan["project"] else [])]
    roots = ["", *(str(PurePosixPath(folder)) for folder in folders if folder != ".")]
    return left_out.imported(plan["code"]["path"], plan["left_out"], entry, list(dict.fromkeys(roots)))


def hidden_files(names: list[str], plan: dict[str, Any]) -> dict[str, int]:
    """Return how many files of the source each folder of ``flask_uwsgi_persistent`` hides, where it hides any.

    Args:
        names: the variable's value.
        plan: the artifact, as the lookup ``artifact`` returns it.
    """
    return code_archive.below(plan["code"]["path"], names)


def batch(hosts: list[dict[str, Any]]) -> dict[str, Any]:
    """Compare the hosts that are deployed together.

    Args:
        hosts: the variables of each host, in the order of the play. One that was not asked does not count.

    Returns:
        ``leaders``, for each application the first host that gets it anew: it migrates and checks for all of them; and
        ``problems``, for each host what it wants that another application on the same machine wants too.
    """
    asked = [host for host in hosts if "__flask_uwsgi_state" in host]
    leaders: dict[str, str] = {}
    machines: dict[str, list[dict[str, Any]]] = {}
    for host in asked:
        state = host["__flask_uwsgi_state"]
        machines.setdefault(state["host"]["machine"], []).append(host)
        if not host["__flask_uwsgi_settled"]:
            leaders.setdefault(state["app"]["name"], host["inventory_hostname"])
    problems = {
        host["inventory_hostname"]: [problem for other in shared if other is not host for problem in _same(host, other)]
        for shared in machines.values()
        for host in shared
    }
    return {"leaders": leaders, "problems": {name: found for name, found in problems.items() if found}}


def _same(host: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Return what an application wants that another one of the same machine wants too."""
    name, its_name = host["inventory_hostname"], other["inventory_hostname"]
    own, its = host["__flask_uwsgi_state"]["app"], other["__flask_uwsgi_state"]["app"]
    app, (bind, port, user) = own["name"], own["wants"]
    its_app, (its_bind, its_port, its_user) = its["name"], its["wants"]
    if its_app == app:
        return [
            f"flask_uwsgi_app_name={app} is wanted by {name} and by {its_name}, which are one host: "
            "give each application of a host a name of its own"
        ]
    problems = []
    if its_user == user:
        problems.append(
            f"flask_uwsgi_user={user} is wanted by {app} and by {its_app} on one host ({name}, {its_name}): "
            "give each application of a host an account of its own"
        )
    if its_port == port and (bind == its_bind or "0.0.0.0" in (bind, its_bind)):
        problems.append(
            f"flask_uwsgi_port={port} is wanted by {app} and by {its_app} on one host ({name}, {its_name}): "
            "give each application of a host a port of its own"
        )
    return problems


def decided(hosts: list[dict[str, Any]], app: str, artifact: str) -> dict[str, Any]:
    """Return what auto was decided to be when the artifact was deployed first; empty where it was not.

    Args:
        hosts: the variables of each host of the play.
        app: the application's name.
        artifact: the artifact's digest.
    """
    states = (host["__flask_uwsgi_state"]["app"] for host in hosts if "__flask_uwsgi_state" in host)
    found = (state["decision"].get(artifact) for state in states if state["name"] == app)
    return next((decision for decision in found if decision), {})


def threads_instead(check: dict[str, Any], threads: int, processes: int, host: dict[str, Any]) -> dict[str, Any]:
    """Return what auto is where the gevent check does not say ok.

    Args:
        check: its result.
        threads: the threads of a worker that are wanted (``flask_uwsgi_threads``).
        processes: the workers.
        host: ``host`` of the module ``host_state``.

    Returns:
        ``mode``, the number of ``threads``, and ``because`` (a sentence).
    """
    reasons = [
        finding["what"]
        for name, part in check["checks"].items()
        for finding in part["findings"]
        # Of what was not loaded, nothing was measured.
        if finding["level"] in ("warning", "blocks") and not (check.get("failure") and name == "cooperation")
    ]
    fits = preflight.most_threads(processes, host)
    computes = (check["cpu_share"] or 0) * (check["burst_ms"] or 0) / check["requests"] >= _COMPUTES_MS
    size = min(threads, fits, _COMPUTING_THREADS if computes else threads)
    why = (
        "its requests compute, and more would only wait for the interpreter"
        if size < min(threads, fits)
        else "what this host allows"
        if size < threads
        else "flask_uwsgi_threads"
    )
    return {
        "mode": "threads",
        "threads": size,
        "because": f"auto is threads, {size} a worker ({why}): {'; '.join(reasons)}",
    }


def gevent_refusal(check: dict[str, Any]) -> str:
    """Tell why a deploy in gevent mode is refused, and what to do.

    Args:
        check: the result of the gevent check.
    """
    if check.get("common"):
        return common_failure(check)
    lines = ["flask_uwsgi_mode=gevent breaks this application, says the gevent check:"]
    if check.get("failure") == "hangs":
        lines = ["The gevent check could not load this application, of which gevent need not be the cause:"]
    for name, part in check["checks"].items():
        for finding in part["findings"]:
            if finding["level"] == "blocks":
                lines.append(f"  {name}: {finding['what']}")
                lines += [f"      {line}" for line in finding["evidence"][:12]]
                lines.append(f"      remedy: {finding['remedy']}")
    lines.append(
        "Mend it, or deploy with -e mode=threads, or let it pass with -e flask_uwsgi_gevent_check=warn. "
        "What runs was not touched."
    )
    return "\n".join(lines)


def common_failure(check: dict[str, Any]) -> str:
    """Tell why an application is refused that would fail in threads mode, too.

    Args:
        check: the result of the gevent check.
    """
    findings = check["checks"]["imports"]["findings"]
    evidence: list[str] = next((found["evidence"] for found in findings if found["level"] == "blocks"), [])
    what = "Its calls, the innermost first:" if check.get("failure") == "hangs" else "Its last log lines:"
    return "\n".join(
        (
            f"{check['cause']}.",
            *((what, *(f"    {line}" for line in evidence)) if evidence else ()),
            "This is not gevent's doing: threads mode would fail in the same way. What runs was not touched.",
        )
    )


def deploy_summary(hosts: list[dict[str, Any]]) -> str:
    """Tell in one line per host what a deploy came to.

    Args:
        hosts: the variables of each host, as the role left them.
    """
    lines = []
    for host in hosts:
        app, named = host["__flask_uwsgi_state"]["app"], host["__flask_uwsgi_generation"]
        mode = json.loads(named["files"]["manifest.json"])["mode"]
        swap = host.get("__flask_uwsgi_swap") or {}
        if host["__flask_uwsgi_settled"]:
            what = f"{named['id']} ({mode}) serves as wanted, nothing to do"
        elif app["current"] == named["id"]:
            what = f"{named['id']} ({mode}) repaired: {'; '.join(app['drift'])}"
        else:
            before = f"{app['current']} ({app['mode']})" if app["current"] else "nothing"
            what = f"{before} -> {named['id']} ({mode})"
        lines.append(f"{host['inventory_hostname']}: {what}{seconds(swap.get('steps', {}))}")
        lines += [f"{host['inventory_hostname']}: {said}" for said in toll.told(swap.get("toll") or {})]
    return "\n".join(lines)


def replaceable(owner: dict[str, Any] | None, break_lock: bool | str) -> dict[str, Any]:
    """Return whose reservation may be replaced: that of a run that has ended, or anybody's with ``break_lock``."""
    if not owner or lock_problems(owner, break_lock):
        return {}
    if preflight.truth(break_lock) or not controller.lives(owner):
        return {key: value for key, value in owner.items() if key != "renewed"}
    # Only its lease has ended: the run may renew it until the host replaces it.
    return owner


def lock_problems(owner: dict[str, Any] | None, break_lock: bool | str) -> list[str]:
    """Return who else is changing the application, and what to do.

    Args:
        owner: who has reserved it on the host, with the age of the reservation, or None.
        break_lock: the variable ``flask_uwsgi_break_lock``.
    """
    ours = reservation.same(owner, controller.identity())
    if not owner or ours or preflight.truth(break_lock) or not controller.lives(owner):
        return []
    idle, lease = int(owner.get("idle_s", 0)), int(owner.get("lease", reservation.LEASE_S))
    if idle >= lease:
        return []
    return [
        f"the application is being changed on this host: {reservation.describe(owner)}; its last step here was "
        f"{idle} s ago. Wait for it to end. Without another step the reservation ends in {lease - idle} s "
        "(flask_uwsgi_lease). If you know that the run has ended, run again with -e flask_uwsgi_break_lock=true"
    ]


class FilterModule:
    """Named as Ansible expects."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {
            "application_files": values.application_files,
            "batch": batch,
            "common_failure": common_failure,
            "decided": decided,
            "deploy_summary": deploy_summary,
            "environment_file": environment_file,
            "expanded_variables": values.expanded,
            "open_files": preflight.open_files,
            "generation": generation,
            "gevent_refusal": gevent_refusal,
            "hidden_files": hidden_files,
            "left_out_notes": left_out_notes,
            "lock_problems": lock_problems,
            "persistent_folders": persistent_folders,
            "persistent_problems": persistent_problems,
            "preflight_problems": preflight.preflight_problems,
            "replaceable": replaceable,
            "settings_problems": preflight.settings_problems,
            "service_tasks": preflight.tasks,
            "static_folder": static_folder,
            "static_problems": static_problems,
            "threads_instead": threads_instead,
            "unit_kind": unit_kind,
        }
