#!/usr/bin/python
"""Module: show what a load balancer does."""

from __future__ import annotations

DOCUMENTATION = r"""
module: balancer_status
short_description: Show the servers of a load balancer, and who drained them
version_added: 0.4.0
author: The flaskops maintainers (!UNKNOWN)
description:
  - Asks HAProxy at its runtime socket; never relies on its configuration.
  - Changes nothing.
options:
  folder:
    description: Where the balancer keeps the states and records.
    type: path
    required: true
  socket:
    description: HAProxy's runtime socket.
    type: path
    default: /run/haproxy/admin.sock
  master:
    description: The socket of HAProxy's master process.
    type: path
    default: /run/haproxy-master.sock
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
leaving:
  description: Processes that a reload has left to end their connections.
  type: list
  elements: int
  returned: always
"""

from dataclasses import asdict
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskops.uwsgi.plugins.module_utils.balancer.records import Records
from ansible_collections.flaskops.uwsgi.plugins.module_utils.balancer.runtime import Runtime, RuntimeAPIError
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.files import DamagedError


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "path", "required": True},
            "socket": {"type": "path", "default": "/run/haproxy/admin.sock"},
            "master": {"type": "path", "default": "/run/haproxy-master.sock"},
        },
        supports_check_mode=True,
    )
    runtime = Runtime(Path(module.params["socket"]), Path(module.params["master"]))
    try:
        servers = runtime.servers()
        records = Records(Path(module.params["folder"]) / "drained.json").read()
        leaving = runtime.leaving()
    except (RuntimeAPIError, DamagedError, OSError) as error:
        module.fail_json(msg=str(error))
    away = {one.name for one in servers if one.admin != "ready"}
    module.exit_json(
        changed=False,
        servers=[asdict(one) for one in servers],
        drained={name: run for name, run in records.items() if name in away},
        leaving=leaving,
    )


if __name__ == "__main__":
    main()
