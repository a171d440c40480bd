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
"""

EXAMPLES = r"""
- name: Find out where the application answers
  flaskops.uwsgi.endpoint:
  register: found
"""

RETURN = r"""
endpoint:
  description: >-
    The application's name, the host's C(address) and the C(port), the C(mount) point, path, status and host name of a
    health request, and the C(capacity) in requests at the same time.
  type: dict
  returned: success
"""
