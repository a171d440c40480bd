#!/usr/bin/python
"""Module: all that a deploy must know of a host, in one round trip."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_state
short_description: Tell all that a deploy must know of a host in one round trip
version_added: 0.1.0
author: The flaskops maintainers
extends_documentation_fragment:
  - flaskops.uwsgi.application
description:
  - Returns platform, limits, who holds the port, and what of the application is there, serves and drifts.
  - Changes nothing.
options:
  bind:
    description: The address the application shall listen on.
    type: str
    default: 0.0.0.0
  port:
    description: The port the application shall listen on.
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
  packages:
    description: Debian packages that the application needs.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Host is known
  flaskops.uwsgi.host_state:
    app_name: aiops_flask
    port: 8040
    user: aiops_flask
    group: aiops_flask
  register: state
"""

RETURN = r"""
host:
  description: Platform, limits, free space, and which of the packages are missing.
  type: dict
  returned: always
app:
  description: >-
    The generation that serves, how it drifts from what was deployed, whether the account is there, what is
    unpacked, who has reserved the application, what bears its name, its neighbours, and who else holds the port.
  type: dict
  returned: always
"""

import grp
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskops.uwsgi.plugins.module_utils import arguments, host, lock, service, systemd
from ansible_collections.flaskops.uwsgi.plugins.module_utils import generation as gen
from ansible_collections.flaskops.uwsgi.plugins.module_utils.artifact import MARKER, marked
from ansible_collections.flaskops.uwsgi.plugins.module_utils.layout import Layout


def known(lookup: Callable[[str], object], name: str) -> bool:
    """Tell whether the account data base has an entry."""
    try:
        lookup(name)
    except KeyError:
        return False
    return True


def strangers(layout: Layout, bind: str, port: int) -> list[dict[str, Any]]:
    """Return who holds the port, unless it is a socket unit of the application."""
    ours = any(state == "active" and address.endswith(f":{port}") for address, state in systemd.sockets(layout).items())
    return [] if ours else host.port_holders(bind, port)


def foreign(layout: Layout) -> list[str]:
    """Return the units and the directory of the application's name that are not the application's."""
    folders = (Path("/etc/systemd/system"), Path("/usr/lib/systemd/system"), Path("/lib/systemd/system"))
    units = [folder / unit for folder in folders for unit in (layout.service(""), layout.socket_template)]
    found = [str(unit) for unit in units if unit.is_file() and not unit.read_text().startswith("# Written by Ansible")]
    known = {"current", "generations", "incoming", "releases", "venvs"}
    strange = layout.root.is_dir() and any(path.name not in known for path in layout.root.glob("[!.]*"))
    return sorted({*found, *([str(layout.root)] if strange and not layout.current.is_symlink() else [])})


def neighbours(layout: Layout) -> dict[str, str]:
    """Return the other applications of the host and the address of each, whether it is served now or not."""
    others = (Layout(path.parent.name, layout.base) for path in layout.base.glob("*/current") if path.is_symlink())
    # Of one whose manifest is damaged, too: it is nobody else's business.
    addresses = {other.app: gen.address(other, other.current_generation() or "") for other in others}
    return {app: address for app, address in addresses.items() if address and app != layout.app}


def checked(layout: Layout) -> list[dict[str, Any]]:
    """Return what the gevent check said of the generations on the host."""
    found = []
    for name in names(layout.generations, gen.GEVENT_CHECK):
        said, manifest = gen.gevent_check(layout, name), gen.manifest(layout, name)
        if said and manifest:
            entry = manifest.module or f"{manifest.wsgi_file}:{manifest.callable}"
            verdict = {"path": said["path"], "verdict": said["verdict"]}
            found.append({"artifact": manifest.artifact, "entry": entry, **verdict})
    return found


def names(folder: Path, marker: str = "") -> list[str]:
    """Return the names of the whole entries of a folder."""
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.name[0] != "." and (path / marker).exists())


def digests(folder: Path) -> dict[str, str]:
    """Return the whole entries of a folder, each with the digest of what it holds."""
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
            "packages": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    layout = arguments.layout(module.params)
    facts = host.facts(layout.base) | {"missing_packages": host.missing_packages(module.params["packages"])}
    current = layout.current_generation()
    serving = gen.best_known(layout, current) if current else None
    bind, port = module.params["bind"], module.params["port"]
    app: dict[str, Any] = {
        "name": layout.app,
        "wants": [bind, str(port)],
        "decision": {serving.artifact: serving.decision} if serving and serving.decision else {},
        "checked": checked(layout),
        "current": current,
        "mode": serving.mode if serving else None,
        "listen": serving.listen if serving else None,
        "lock": lock.owner(layout),
        "kept": gen.kept(layout),
        "digest": serving.digest if serving else None,
        "releases": digests(layout.releases),
        "venvs": digests(layout.venvs),
        "account": known(pwd.getpwnam, module.params["user"]) and known(grp.getgrnam, module.params["group"]),
        "drift": [],
        "foreign": foreign(layout),
        "neighbours": neighbours(layout),
        "strangers": [],
    }
    if facts["systemd"]:
        app["drift"] = service.drift(layout)
        app["strangers"] = strangers(layout, bind, port)
    module.exit_json(changed=False, host=facts, app=app)


if __name__ == "__main__":
    main()
