#!/usr/bin/python
"""Module: reserve an application for one run of Ansible."""

from __future__ import annotations

DOCUMENTATION = r"""
module: reservation
short_description: Reserve an application on a host for one run of Ansible
version_added: 0.1.0
author: The flaskops maintainers (!UNKNOWN)
description:
  - While a run has an application reserved, any other run that would change it is refused, with the name of its owner.
  - A reservation is in C(/run), so it does not survive a reboot. It is a lease, which every module of the run renews.
options:
  app_name:
    description: The application's name.
    type: str
    required: true
  state:
    description: V(present) reserves, V(absent) releases; a reservation of another run is not changed.
    type: str
    choices: [present, absent]
    default: present
  run:
    description: The run, as the lookup P(flaskops.uwsgi.run_identity#lookup) returns it.
    type: dict
    required: true
  lease:
    description: Seconds after which another run may replace the reservation if no module has renewed it.
    type: int
    default: 1800
  replace:
    description: >-
      The owner of a reservation to ignore, because its run has ended. With C(renewed), only if it has not been
      renewed since then.
    type: dict
"""

EXAMPLES = r"""
- name: Reserve the application
  flaskops.uwsgi.reservation:
    app_name: aiops_flask
    run: "{{ lookup('flaskops.uwsgi.run_identity', 'deploy') }}"
"""

RETURN = r"""
reserved_by:
  description: The run that has now reserved the application, or null.
  type: dict
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import arguments
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic import reservation


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "app_name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "run": {"type": "dict", "required": True},
            "lease": {"type": "int", "default": reservation.LEASE_S},
            "replace": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    layout, run = arguments.layout(module), module.params["run"]
    try:
        if module.check_mode:
            pass
        elif module.params["state"] == "present":
            reservation.reserve(layout, run | {"lease": module.params["lease"]}, module.params["replace"])
        else:
            reservation.release(layout, run)
    except reservation.LockedError as error:
        module.fail_json(msg=str(error))
    # Nothing that outlasts the run.
    module.exit_json(changed=False, reserved_by=reservation.owner(layout))


if __name__ == "__main__":
    main()
