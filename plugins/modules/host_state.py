#!/usr/bin/python
"""Module: gather everything that a deploy must know about a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_state
short_description: Gather everything that a deploy must know about a host in one round trip
version_added: 0.1.0
author: The flaskops maintainers (!UNKNOWN)
extends_documentation_fragment:
  - flaskops.uwsgi.application
description:
  - Returns platform, limits, processes on the port, and the state of the application, with its drift.
  - Changes nothing.
options:
  bind:
    description: The address, or the path of the UNIX socket, that the application will listen on.
    type: str
    default: 0.0.0.0
  port:
    description: The port that the application will listen on, which does not count for a path.
    type: int
    required: true
  user:
    description: The account of the service.
    type: str
    required: true
  group:
    description: The group of the service.
    type: str
    required: true
  socket_group:
    description: The group that may connect to a UNIX socket; empty for the service's.
    type: str
    default: ""
  packages:
    description: Packages of the host that the application needs.
    type: list
    elements: str
    default: []
  python:
    description: >-
      The absolute path of the interpreter that the application will run with. Empty for the one that runs modules.
    type: str
    default: ''
"""

EXAMPLES = r"""
- name: Examine the host
  flaskops.uwsgi.host_state:
    app_name: aiops_flask
    port: 8040
    user: aiops_flask
    group: aiops_flask
  register: state
"""

RETURN = r"""
host:
  description: >-
    Platform, limits, free space, the package manager, which of the packages are missing, the mode of SELinux, and the
    type that its policy gives to the programs of a release. With another O(python), C(chosen) has its C(path), its
    version, and why it cannot be used.
  type: dict
  returned: always
app:
  description: >-
    The serving generation, its drift, what is unpacked, who has reserved the application, its account and group, what
    else on the host has its name, its neighbours, the directories above it, and what else has the port or the path.
  type: dict
  returned: always
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

# An older Python cannot read what follows, and its traceback would name no remedy.
if sys.version_info < (3, 9):  # noqa: UP036
    too_old = (
        f"ansible_python_interpreter={sys.executable} is Python {sys.version.split()[0]}, and 3.9 or newer is needed: "
        "set it to a newer one of this host, or use a newer release of the distribution"
    )
    print(json.dumps({"failed": True, "msg": too_old}))
    raise SystemExit(1)

from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import (
    accounts,
    address,
    arguments,
    claim,
    interpreter,
    listening,
    marks,
    ownership,
    packages,
    selinux,
    systemd,
)
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import facts as host
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.address import Address
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.layout import Layout
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release import generation as gen
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release.artifact import MARKER, marked
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic import reservation, service


def opened(layout: Layout) -> list[Address]:
    """Return the addresses whose sockets systemd holds for the application."""
    return [address.read(text) for text, state in systemd.sockets(layout).items() if state == "active"]


def strangers(layout: Layout, wanted: Address) -> list[listening.Process]:
    """Return the processes that listen there, except those of the application."""
    # Another address of the same port is opened beside the application's own.
    return [one for one in listening.holders(wanted, opened(layout)) if not is_own(layout, one.pid)]


def is_own(layout: Layout, pid: int) -> bool:
    """Return whether a process is an instance of the application that has inherited a socket which was closed since."""
    try:
        return accounts.runs_in_unit(layout.app, pid)
    except OSError:
        return False


def place(layout: Layout, wanted: Address, group: str) -> dict[str, Any]:
    """Return the place of a UNIX socket.

    Args:
        layout: the application's paths.
        wanted: the address.
        group: the group that may connect.

    Returns:
        the directories ``above``, whether all of them exist (``there``), what has the path (``holder``), and whether
        the ``group`` exists; empty for TCP.
    """
    if not wanted.path:
        return {}
    path = Path(wanted.path)
    return {
        "above": ownership.above(path.parent),
        "there": path.parent.is_dir(),
        "holder": "" if wanted in opened(layout) or listening.is_left_over(path) else ownership.describe(path),
        "group": accounts.group(group) is not None,
    }


def owner(layout: Layout) -> dict[str, str | None] | None:
    """Return the application's directory and account, or None if it is not deployed."""
    mark = marks.current(layout) or marks.read(layout)
    if not mark or mark.data_only:
        return None
    user, group = (account.name if account else None for account in (mark.user, mark.group))
    return {"base": mark.base, "user": user, "group": group}


def known_accounts(layout: Layout, user: str, group: str) -> dict[str, Any]:
    """Return the account and the group of the service, and what else the account is used for."""
    entry, known, found = accounts.described(user), marks.current(layout), accounts.group(group)
    uid = entry["uid"] if entry else None
    own = known and known.user and known.user.number == uid
    # An application's own account may run anything, and must not be able to prevent a deploy.
    running = accounts.processes(layout.app, uid) if uid is not None and not own else []
    return {
        "user": entry,
        "group": {"name": group, "gid": found.number} if found else None,
        "processes": [asdict(process) for process in running[:5]],
        "applications": [
            other.app for other, mark in marks.applications(layout).items() if mark.user and mark.user.number == uid
        ],
    }


def neighbours(layout: Layout) -> dict[str, str]:
    """Return the other applications of the host and the address of each, whether it is serving or not."""
    others = marks.applications(layout)
    # This includes one whose manifest is damaged, which must not affect the others.
    found = {other.app: gen.address(other, other.current_generation() or "") for other in others}
    return {app: listens for app, listens in found.items() if listens}


def checked(layout: Layout) -> list[dict[str, str]]:
    """Return the gevent check's results for the generations on the host."""
    found = []
    for name in names(layout.generations, gen.GEVENT_CHECK):
        said, manifest = gen.gevent_check(layout, name), gen.manifest(layout, name)
        if said and manifest:
            entry = manifest.module or f"{manifest.wsgi_file}:{manifest.callable}"
            found.append({"artifact": manifest.artifact, "entry": entry, **asdict(said)})
    return found


def names(folder: Path, marker: str = "") -> list[str]:
    """Return the names of the complete entries of a folder."""
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.name[0] != "." and (path / marker).exists())


def digests(folder: Path) -> dict[str, str]:
    """Return the complete entries of a folder, each with the digest of its content."""
    return {name: marked(folder / name) for name in names(folder, MARKER)}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=arguments.APPLICATION
        | {
            "bind": {"type": "str", "default": "0.0.0.0"},
            "port": {"type": "int", "required": True},
            "user": {"type": "str", "required": True},
            "group": {"type": "str", "required": True},
            "socket_group": {"type": "str", "default": ""},
            "packages": {"type": "list", "elements": "str", "default": []},
            "python": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    layout = arguments.layout(module)
    facts = host.facts(layout.base) | {
        "missing_packages": packages.missing(module.params["packages"]),
        "selinux": selinux.mode(),
        "program_type": selinux.program_type(layout.venvs),
    }
    facts |= interpreter.facts(module.params["python"], facts)
    current = layout.current_generation()
    serving = gen.best_known(layout, current) if current else None
    wanted = address.of(module.params["bind"], module.params["port"])
    user, group = module.params["user"], module.params["group"]
    app: dict[str, Any] = {
        "name": layout.app,
        "root": str(layout.root),
        "wants": [wanted.bind, str(wanted.port), user],
        "decision": {serving.artifact: serving.decision} if serving and serving.decision else {},
        "checked": checked(layout),
        "current": current,
        "mode": serving.mode if serving else None,
        "listen": serving.listen if serving else None,
        "lock": reservation.held(layout),
        "kept": gen.kept(layout),
        "digest": serving.digest if serving else None,
        "releases": digests(layout.releases),
        "venvs": digests(layout.venvs),
        "drift": [],
        "foreign": [asdict(entry) for entry in (*ownership.foreign(layout), *ownership.taken(layout))],
        "owner": owner(layout),
        "accounts": known_accounts(layout, user, group),
        "applications": sorted(other.app for other in marks.applications(layout)),
        "directories": ownership.directories(layout),
        "missing": claim.missing(layout, user, group),
        "neighbours": neighbours(layout),
        "strangers": [],
        "socket": {},
    }
    if facts["systemd"]:
        app["drift"] = service.drift(layout) + (app["missing"] if current else [])
        app["strangers"] = [asdict(process) for process in strangers(layout, wanted)]
        app["socket"] = place(layout, wanted, module.params["socket_group"] or group)
    module.exit_json(changed=False, host=facts, app=app)


if __name__ == "__main__":
    main()
