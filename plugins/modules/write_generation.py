#!/usr/bin/python
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: write_generation
short_description: Render the generation of a plan, and write it on the host
version_added: 0.3.0
author: The flaskops maintainers (!UNKNOWN)
description:
  - Renders units, configuration and scripts from the settings in the plan, and gives them to the module
    M(flaskops.uwsgi.generation). The variables of the role are not evaluated again.
  - An action plugin. It works in the role only.
options:
  plan:
    description: The result of M(flaskops.uwsgi.plan).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Write the generation
  flaskops.uwsgi.write_generation:
    plan: "{{ plan }}"
  become: true
"""

RETURN = r"""
mended:
  description: As the module M(flaskops.uwsgi.generation) returns it.
  type: list
  elements: str
  returned: always
encrypted:
  description: As the module M(flaskops.uwsgi.generation) returns it.
  type: bool
  returned: always
"""
