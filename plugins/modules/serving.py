#!/usr/bin/python
"""Module: start, stop or restart a deployed application."""

from __future__ import annotations

DOCUMENTATION = r"""
module: serving
short_description: Start, stop or restart a deployed application
version_added: 0.1.0
author: The flaskops maintainers (!UNKNOWN)
extends_documentation_fragment:
  - flaskops.uwsgi.application
  - flaskops.uwsgi.application.reserved
description:
  - Acts on the generation that was deployed last, and does not change which one that is.
  - A restart replaces every process without a failed request.
  - A stop lets the requests in flight finish. It does not survive a reboot.
options:
  state:
    description: The desired state. V(restarted) also starts a stopped application.
    type: str
    choices: [started, stopped, restarted]
    required: true
"""

EXAMPLES = r"""
- name: Restart the application
  flaskops.uwsgi.serving:
    app_name: aiops_flask
    state: restarted
"""

RETURN = r"""
generation:
  description: The generation that was acted on.
  type: str
  returned: always
steps:
  description: The seconds that each step took.
  type: dict
  returned: when something was started
toll:
  description: >-
    What the stop cut: C(requests) that were cut, C(workers) that were killed without one, and after how many
    C(seconds).
  type: dict
  returned: always
"""

import os
from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import arguments
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.systemd import SystemdError
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic import reservation, service, trial
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic.stopping import stop_all
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic.swap import Swap, SwapError


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=arguments.APPLICATION
        | arguments.RESERVED
        | {
            "state": {"type": "str", "choices": ["started", "stopped", "restarted"], "required": True},
        },
        supports_check_mode=True,
    )
    os.umask(0o022)
    layout = arguments.owned(module)
    state, current = module.params["state"], layout.current_generation() or ""
    if not current:
        module.fail_json(msg=f"{layout.app} is not deployed below {layout.base} on this host: deploy it first")
    result: dict[str, Any] = {"generation": current, "steps": {}, "toll": {}}
    try:
        if module.check_mode:
            wanted = {
                "started": bool(service.drift(layout)),
                "stopped": bool(service.open_units(layout) or service.left(layout)),
                "restarted": True,
            }
            module.exit_json(changed=wanted[state], **result)
        with reservation.exclusive_to(layout, module.params):
            # Ends a trial whose owner is gone, or it would restart what is stopped here.
            changed = trial.abandon(layout)
            result["generation"] = current = layout.current_generation() or current
            if state == "stopped":
                ran, cost = stop_all(layout)
                changed |= ran
            else:
                swap = Swap(layout, current, restart=state == "restarted")
                changed |= swap.run()
                result["steps"], cost = swap.steps, swap.toll
            result["toll"] = asdict(cost)
    except (SwapError, SystemdError, reservation.LockedError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=changed, **result)


if __name__ == "__main__":
    main()
