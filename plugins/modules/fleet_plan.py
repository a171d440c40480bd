#!/usr/bin/python
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_plan
short_description: Compare the plans of the hosts that are deployed together
version_added: 0.3.0
author: The flaskops maintainers (!UNKNOWN)
description:
  - Fails with the problems of all hosts if one has any, and if applications on one machine collide.
  - An action plugin, which runs on the controller. Run it once for all hosts of a batch.
options:
  plans:
    description: The results of M(flaskops.uwsgi.plan), in the order of the play.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Compare the plans of the hosts
  flaskops.uwsgi.fleet_plan:
    plans: "{{ ansible_play_batch | map('extract', hostvars, 'plan') }}"
  run_once: true
  register: fleet
"""

RETURN = r"""
leaders:
  description: >-
    For each application the first host that gets another generation, which migrates and checks for all of them. If all
    hosts are only repaired, the first of those.
  type: dict
  returned: success
keepers:
  description: >-
    For each application with commands to run before it is activated, the host that keeps their record
    (M(flaskops.uwsgi.command_record)).
  type: dict
  returned: success
decisions:
  description: >-
    For each host that does not know it, what V(flask_uwsgi_mode=auto) was decided to be for its artifact on another.
  type: dict
  returned: success
builders:
  description: The hosts for which something has to be built first, one for each lock and each wheelhouse.
  type: list
  elements: str
  returned: success
deploying:
  description: The hosts that get a generation, or are repaired.
  type: list
  elements: str
  returned: success
text:
  description: The plans in words; hosts with the same plan share it.
  type: list
  elements: str
  returned: success
"""
