#!/usr/bin/python
"""Module: move the traffic to a generation."""

from __future__ import annotations

DOCUMENTATION = r"""
module: swap
short_description: Move an application's traffic to a generation without losing a request
version_added: 0.1.0
author: The flaskops maintainers (!UNKNOWN)
extends_documentation_fragment:
  - flaskops.uwsgi.application
  - flaskops.uwsgi.application.reserved
description:
  - Tries the generation on a private socket, starts it beside the running one on the same listening socket,
    and stops the running one gracefully once the new one is proven.
  - If the new generation does not serve, the running one is not affected, and nothing of the new one remains.
  - A deploy, a change of mode or configuration, a rollback and a restart all use this module.
options:
  generation:
    description: The generation that should serve. It must be on the host.
    type: str
    required: true
  how:
    description: The kind of move, recorded for later rollbacks.
    type: str
    choices: [deploy, rollback]
    default: deploy
  restart:
    description: Whether to replace the processes of a generation that already serves.
    type: bool
    default: false
  canary:
    description: Whether to first try the generation without traffic.
    type: bool
    default: true
  give_back:
    description: Whether to end this run's reservation of the application once the generation serves.
    type: bool
    default: false
  trial:
    description: Whether the move belongs to a trial (M(flaskops.uwsgi.trial)). Any other move ends one.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Move the traffic to the generation
  flaskops.uwsgi.swap:
    app_name: aiops_flask
    generation: 3f2a90c1d5e7
"""

RETURN = r"""
before:
  description: The generation that served before, or null.
  type: str
  returned: always
given_back:
  description: Whether this run's reservation was ended.
  type: bool
  returned: when not in check mode
steps:
  description: The seconds that each step took.
  type: dict
  returned: when not in check mode
toll:
  description: >-
    What the stop cut: C(requests) that were cut, C(workers) that were killed without one, and after how many
    C(seconds).
  type: dict
  returned: when not in check mode
"""

import os
from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import arguments
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.systemd import SystemdError
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic import reservation
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic.swap import Swap, SwapError


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=arguments.APPLICATION
        | arguments.RESERVED
        | {
            "generation": {"type": "str", "required": True},
            "how": {"type": "str", "choices": ["deploy", "rollback"], "default": "deploy"},
            "restart": {"type": "bool", "default": False},
            "canary": {"type": "bool", "default": True},
            "give_back": {"type": "bool", "default": False},
            "trial": {"type": "bool", "default": False},
        },
        required_if=[("give_back", True, ["run"])],
        supports_check_mode=True,
    )
    os.umask(0o022)
    asked = module.params
    layout = arguments.owned(module)
    new, before = asked["generation"], layout.current_generation()
    diff = {"before": f"{before}\n", "after": f"{new}\n"}
    if module.check_mode:
        module.exit_json(changed=True, before=before, diff=diff)
    try:
        with reservation.exclusive_to(layout, asked):
            options = {name: asked[name] for name in ("how", "restart", "canary", "trial")}
            swap = Swap(layout, new, **options)
            before = swap.old
            changed = swap.run()
        given_back = asked["give_back"] and reservation.release(layout, asked["run"])
        for said in swap.remarks:
            module.warn(said)
    except reservation.LockedError as error:
        module.fail_json(msg=str(error))
    except (SwapError, SystemdError) as error:
        serving = layout.current_generation()
        serves = f"Generation {serving} serves." if serving else "Nothing served before, nothing serves now."
        module.fail_json(msg=f"{error}\n{serves}")
    steps, toll = swap.steps, asdict(swap.toll)
    module.exit_json(changed=changed, before=before, given_back=given_back, steps=steps, toll=toll, diff=diff)


if __name__ == "__main__":
    main()
