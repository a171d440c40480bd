"""Filters of the role flask_uwsgi: they compute on the controller, so that hosts are asked once."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ansible_collections.flaskops.uwsgi.plugins.module_utils import controller, lock, preflight, secrets
from ansible_collections.flaskops.uwsgi.plugins.module_utils.artifact import digest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.deploy_show import seconds


def environment_file(variables: dict[str, Any]) -> str:
    """Return a systemd EnvironmentFile (see systemd.exec(5)) with every value quoted."""

    def quoted(value: Any) -> str:
        text = str(value)
        for special in ("\\", '"', "$", "`"):
            text = text.replace(special, "\\" + special)
        return f'"{text}"'

    return "".join(f"{name}={quoted(value)}\n" for name, value in sorted(variables.items()))


def generation(
    files: dict[str, str], manifest: dict[str, Any], confidential: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Name a generation by all that it consists of.

    Args:
        files: relative names to contents.
        manifest: what the generation says of itself; the same on every host.
        confidential: secrets by name. They are no part of what is returned, but other values make another id.

    Returns:
        ``id``, and ``files`` with the manifest added.
    """
    if confidential:
        manifest = {**manifest, "secrets": secrets.identity(confidential, manifest["app_name"])}
    name = digest(json.dumps(manifest, sort_keys=True), *(f"{key}\0{files[key]}" for key in sorted(files)))
    checksums = {key: hashlib.sha256(files[key].encode()).hexdigest() for key in sorted(files)}
    document = json.dumps({"generation": name, **manifest, "checksums": checksums}, indent=2) + "\n"
    return {"id": name, "files": {**files, "manifest.json": document}}


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
    return "\n".join(lines)


def replaceable(owner: dict[str, Any] | None, break_lock: bool | str) -> dict[str, Any]:
    """Return whose reservation may be replaced: that of a run that lives no more, or anybody's if told so."""
    return owner if owner and not lock_problems(owner, break_lock) else {}


def lock_problems(owner: dict[str, Any] | None, break_lock: bool | str) -> list[str]:
    """Tell who else is changing the application, and what to do.

    Args:
        owner: who has reserved it on the host, or None.
        break_lock: the variable ``flask_uwsgi_break_lock``.
    """
    ours = lock.same(owner, controller.identity())
    if not owner or ours or preflight.truth(break_lock) or not controller.lives(owner):
        return []
    return [
        f"the application is being changed on this host: {lock.describe(owner)}. Wait for it to end. "
        "If you know that it has ended, run again with -e flask_uwsgi_break_lock=true"
    ]


class FilterModule:
    """Named as Ansible expects."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {
            "deploy_summary": deploy_summary,
            "environment_file": environment_file,
            "files_per_worker": preflight.files_per_worker,
            "generation": generation,
            "lock_problems": lock_problems,
            "preflight_problems": preflight.preflight_problems,
            "replaceable": replaceable,
            "settings_problems": preflight.settings_problems,
            "service_tasks": preflight.tasks,
        }
