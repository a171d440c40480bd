#!/usr/bin/python
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: endpoint
short_description: Return where an application answers on a host
version_added: 0.4.0
author: The flaskops maintainers (!UNKNOWN)
description:
  - Reads the variables of the role P(flaskops.uwsgi.flask_uwsgi#role), and asks no host.
  - An action plugin, which runs on the controller.
options:
  listen:
    description: >-
      Address and port that it listens on, such as V(0.0.0.0:8040). Without it, those of C(flask_uwsgi_bind) and
      C(flask_uwsgi_port).
    type: str
"""

EXAMPLES = r"""
- name: Find out where the application answers
  flaskops.uwsgi.endpoint:
  register: found
"""

RETURN = r"""
endpoint:
  description: >-
    The application's name, the C(address) and C(port) where it is reached, the C(mount) point, path, status and host
    name of a health request, and the C(capacity) in requests at the same time.
  type: dict
  returned: success
"""
