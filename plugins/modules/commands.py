#!/usr/bin/python
"""Module: run a generation's commands."""

from __future__ import annotations

DOCUMENTATION = r"""
module: commands
short_description: Run the commands that belong to a deploy, such as a migration
version_added: 0.1.0
author: The flaskops maintainers (!UNKNOWN)
extends_documentation_fragment:
  - flaskops.uwsgi.application
  - flaskops.uwsgi.application.reserved
description:
  - Runs them in the release of a generation, with its environment, as the service's account and in its sandbox.
  - The first command that fails ends the list.
options:
  generation:
    description: The generation. It must be on the host, but need not serve.
    type: str
    required: true
  when:
    description: Which list to run, the one before or the one after the activation.
    type: str
    choices: [pre, post]
    required: true
  timeout:
    description: Seconds that the list may take.
    type: int
    default: 300
"""

EXAMPLES = r"""
- name: Migrate the database
  flaskops.uwsgi.commands:
    app_name: shop
    generation: 3f2a90c1d5e7
    when: pre
"""

RETURN = r"""
printed:
  description: What the commands printed.
  type: list
  elements: str
  returned: when not in check mode
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import arguments
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.systemd import SystemdError
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic import commands, reservation


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=arguments.APPLICATION
        | arguments.RESERVED
        | {
            "generation": {"type": "str", "required": True},
            "when": {"type": "str", "choices": ["pre", "post"], "required": True},
            "timeout": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    layout, asked = arguments.owned(module), module.params
    if module.check_mode:
        module.exit_json(changed=True)
    try:
        with reservation.exclusive_to(layout, asked):
            printed = commands.run(layout, asked["generation"], asked["when"], asked["timeout"])
    except (commands.CommandsError, SystemdError, reservation.LockedError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=True, printed=printed)


if __name__ == "__main__":
    main()
