#!/usr/bin/python
"""Module: let other generations serve temporarily."""

from __future__ import annotations

DOCUMENTATION = r"""
module: trial
short_description: Let other generations serve temporarily, and restore the original one
version_added: 0.1.0
author: The flaskops maintainers (!UNKNOWN)
extends_documentation_fragment:
  - flaskops.uwsgi.application
description:
  - While a trial lasts, the module M(flaskops.uwsgi.swap) with O(flaskops.uwsgi.swap#module:trial=true) moves the
    traffic to generations that are on the host but are not recorded in its history.
  - A trial has to be extended again and again. When its seconds run out, the watchdog on the host restores the original
    generation, whatever became of the controller.
options:
  state:
    description:
      - V(present) begins a trial.
      - V(extended) extends it, and fails if it has ended.
      - V(watched) waits until the trial has ended, and ends it when its seconds run out. Run it with C(async).
      - V(absent) restores the original generation, and removes those that were tried.
    type: str
    choices: [present, extended, watched, absent]
    default: present
  seconds:
    description: How long the trial lasts from now.
    type: int
    default: 120
  run:
    description: The run, as the lookup P(flaskops.uwsgi.run_identity#lookup) returns it.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Begin a trial
  flaskops.uwsgi.trial:
    app_name: aiops_flask
    seconds: 120
    run: "{{ lookup('flaskops.uwsgi.run_identity', 'compare') }}"

- name: Restore the original generation if nobody extends the trial
  flaskops.uwsgi.trial:
    app_name: aiops_flask
    state: watched
    run: "{{ lookup('flaskops.uwsgi.run_identity', 'compare') }}"
  async: 7200
  poll: 0
"""

RETURN = r"""
found:
  description: The generation that is restored at the end.
  type: str
  returned: with O(state=present) and O(state=extended)
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import arguments
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.systemd import SystemdError
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic import reservation, trial
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic.swap import SwapError


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=arguments.APPLICATION
        | {
            "state": {"type": "str", "choices": ["present", "extended", "watched", "absent"], "default": "present"},
            "seconds": {"type": "int", "default": 120},
            "run": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    os.umask(0o022)
    layout, run = arguments.owned(module), module.params["run"]
    result: dict[str, Any] = {"changed": False}
    try:
        if module.check_mode:
            pass
        elif module.params["state"] == "present":
            result["found"] = trial.begin(layout, run, module.params["seconds"])
        elif module.params["state"] == "extended":
            result["found"] = trial.extend(layout, run, module.params["seconds"])
        elif module.params["state"] == "watched":
            result["changed"] = trial.watch(layout, run)
        else:
            result["changed"] = trial.end(layout, run)
    except (trial.TrialError, reservation.LockedError, SwapError, SystemdError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
