#!/usr/bin/python
"""Module: show what a load balancer does."""

from __future__ import annotations

DOCUMENTATION = r"""
module: balancer_status
short_description: Show the servers of a load balancer, who drained them, and its certificates
version_added: 0.4.0
author: The flaskops maintainers (!UNKNOWN)
extends_documentation_fragment:
  - flaskops.uwsgi.balancer
description:
  - Asks HAProxy at its runtime socket; never relies on its configuration.
  - Changes nothing.
options:
  settings:
    description: The settings of renewals. Without this file, nothing is renewed.
    type: path
    default: /etc/haproxy/flaskops/acme.json
"""

EXAMPLES = r"""
- name: Read the balancer's status
  flaskops.uwsgi.balancer_status:
    folder: /var/lib/haproxy-flaskops
  register: result
"""

RETURN = r"""
servers:
  description: >-
    backend, name, address, admin (ready, drain or maint), status, weight, sessions, queued and check of each server.
  type: list
  elements: dict
  returned: always
drained:
  description: The run that drained each server that gets no requests, by the server's name.
  type: dict
  returned: always
maintenance:
  description: Each site in maintenance, by its name; its state, V(on) or V(pause), and who set it and since when.
  type: dict
  returned: always
leaving:
  description: Processes that a reload has left to end their connections.
  type: list
  elements: int
  returned: always
certificates:
  description: >-
    file, names, ends, serial (on the disk), served (in HAProxy's memory) and temporary of each certificate in use.
  type: list
  elements: dict
  returned: always
renewals:
  description: A message for each certificate that could not be renewed.
  type: list
  elements: str
  returned: always
"""

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskops.uwsgi.plugins.module_utils.balancer import arguments, certificates, maintenance
from ansible_collections.flaskops.uwsgi.plugins.module_utils.balancer.records import Records
from ansible_collections.flaskops.uwsgi.plugins.module_utils.balancer.renewal import Renewal, moment, problems
from ansible_collections.flaskops.uwsgi.plugins.module_utils.balancer.runtime import Runtime, RuntimeAPIError
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import files
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.files import DamagedError

SERVICE = "haproxy-flaskops-renew.service"


def in_use(runtime: Runtime, renewal: Renewal) -> list[dict[str, Any]]:
    """Return what is known of each certificate in HAProxy's memory.

    Args:
        runtime: HAProxy.
        renewal: what is renewed.
    """
    renewed = {site.file for site in renewal.sites}
    found = []
    for file, served in certificates.loaded(runtime).items():
        shown: dict[str, Any] = {"file": file.name, "names": [], "ends": "", "serial": "", "served": served}
        shown["temporary"] = False
        # One that cannot be read has no serial number on the disk.
        with suppress(certificates.CertificateError):
            kept = certificates.kept(file)
            shown |= {"names": kept.names, "ends": moment(kept.ends), "serial": kept.serial}
            shown["temporary"] = file in renewed and kept.self_signed
        found.append(shown)
    return found


def failures(module: AnsibleModule, renewal: Renewal) -> list[str]:
    """Return a message for each certificate that could not be renewed.

    Args:
        module: the module, which runs commands.
        renewal: what is renewed.
    """
    if not renewal.sites:
        return []
    if found := problems(renewal.records.read()):
        return found
    # A full disk has no room for a record, either.
    failed = module.run_command(["systemctl", "is-failed", "--quiet", SERVICE])[0] == 0
    return [f"the last renewal of certificates failed: see `journalctl -u {SERVICE}`"] if failed else []


def in_maintenance(runtime: Runtime, folder: Path) -> dict[str, Any]:
    """Return the state of each site in maintenance, and who set it, by the site's name.

    Args:
        runtime: HAProxy.
        folder: where the balancer keeps its records.
    """
    served = maintenance.served(runtime, folder / "maintenance.map")
    names = files.read_object(folder / "sites.json") if served else {}
    runs = Records(folder / "maintenance.json").read()
    return {names.get(site, [site])[0]: {**runs.get(site, {}), "state": state} for site, state in served.items()}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=arguments.BALANCER
        | {
            "settings": {"type": "path", "default": "/etc/haproxy/flaskops/acme.json"},
        },
        supports_check_mode=True,
    )
    runtime, folder = arguments.haproxy(module), Path(module.params["folder"])
    try:
        servers = runtime.servers()
        records = Records(folder / "drained.json").read()
        held = in_maintenance(runtime, folder)
        leaving = runtime.leaving()
        renewal = Renewal.configured(runtime, Path(module.params["settings"]), folder)
        used = in_use(runtime, renewal)
        renewals = failures(module, renewal)
    except (RuntimeAPIError, DamagedError, OSError) as error:
        module.fail_json(msg=str(error))
    away = {one.name for one in servers if one.admin != "ready"}
    module.exit_json(
        changed=False,
        servers=[asdict(one) for one in servers],
        drained={name: run for name, run in records.items() if name in away},
        maintenance=held,
        leaving=leaving,
        certificates=used,
        renewals=renewals,
    )


if __name__ == "__main__":
    main()
