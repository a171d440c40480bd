#!/usr/bin/python
"""Module: put sites of a load balancer in maintenance."""

from __future__ import annotations

DOCUMENTATION = r"""
module: balancer_maintenance
short_description: Put sites of a load balancer in maintenance, or out of it
version_added: 0.4.0
author: The flaskops maintainers (!UNKNOWN)
extends_documentation_fragment:
  - flaskops.uwsgi.balancer
description:
  - Changes HAProxy's map of sites at its runtime socket, and the file from which the next process reads it. Nothing is
    reloaded.
options:
  sites:
    description: Names of the sites, such as V(shop.example.org); all sites if it is empty.
    type: list
    elements: str
    default: []
  state:
    description: V(on) answers with the maintenance page, V(pause) holds requests, V(off) serves.
    type: str
    choices: ["on", "off", pause]
    required: true
  run:
    description: The run that does it, from the lookup P(flaskops.uwsgi.run_identity#lookup). It is recorded.
    type: dict
"""

EXAMPLES = r"""
- name: Show the maintenance page
  flaskops.uwsgi.balancer_maintenance:
    sites: [shop.example.org]
    state: "on"
    folder: /var/lib/haproxy-flaskops
"""

RETURN = r"""
sites:
  description: The names of the sites that were, or in check mode would be, changed.
  type: list
  elements: str
  returned: always
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskops.uwsgi.plugins.module_utils.balancer import arguments, maintenance
from ansible_collections.flaskops.uwsgi.plugins.module_utils.balancer.records import Records
from ansible_collections.flaskops.uwsgi.plugins.module_utils.balancer.runtime import RuntimeAPIError
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import files


class UnknownError(Exception):
    """A site is not one of this balancer."""


def chosen(sites: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    """Return the name of each site that is meant, by its id.

    Args:
        sites: the names, with the path, of each site.
        names: those that are meant; all if empty.

    Raises:
        UnknownError: a name is not a site's.
    """
    known = {name for those in sites.values() for name in those}
    if unknown := [name for name in names if name not in known]:
        raise UnknownError(
            f"{', '.join(unknown)} is no site of this balancer: name one of {', '.join(sorted(known))}, or run "
            "playbooks/load_balancer.yml after a change of load_balancer_sites"
        )
    return {site: those[0] for site, those in sites.items() if not names or set(those) & set(names)}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=arguments.BALANCER
        | {
            "sites": {"type": "list", "elements": "str", "default": []},
            "state": {"type": "str", "choices": ["on", "off", "pause"], "required": True},
            "run": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    state, folder = module.params["state"], Path(module.params["folder"])
    runtime = arguments.haproxy(module)
    file, records = folder / "maintenance.map", Records(folder / "maintenance.json")
    try:
        sites = chosen(files.read_object(folder / "sites.json"), module.params["sites"])
        now = maintenance.served(runtime, file)
        doomed = [site for site in sites if now.get(site, "off") != state]
        if doomed and not module.check_mode:
            maintenance.change(runtime, file, dict.fromkeys(doomed, state))
            if state == "off":
                records.remove(doomed)
            else:
                records.add(doomed, {**(module.params["run"] or {}), "state": state})
    except (UnknownError, RuntimeAPIError, files.DamagedError, OSError) as error:
        module.fail_json(msg=str(error))
    changed = [sites[site] for site in doomed]
    diff = {
        "before": "".join(f"{sites[site]} {now.get(site, 'off')}\n" for site in doomed),
        "after": "".join(f"{name} {state}\n" for name in changed),
    }
    module.exit_json(changed=bool(changed), sites=changed, diff=diff)


if __name__ == "__main__":
    main()
