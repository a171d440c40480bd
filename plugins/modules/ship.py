#!/usr/bin/python
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ship
short_description: Ship the release of a plan to a host, and unpack it there
version_added: 0.3.0
author: The flaskops maintainers (!UNKNOWN)
description:
  - Copies those archives of the artifact to the host that the host does not have, and gives them to the module
    M(flaskops.uwsgi.release).
  - An action plugin. It works in the role only.
options:
  plan:
    description: The result of M(flaskops.uwsgi.plan).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Ship and unpack the release
  flaskops.uwsgi.ship:
    plan: "{{ plan }}"
  become: true
"""

RETURN = r"""
release:
  description: As the module M(flaskops.uwsgi.release) returns it.
  type: str
  returned: success
venv:
  description: As the module M(flaskops.uwsgi.release) returns it.
  type: str
  returned: success
"""
