#!/usr/bin/python
"""Module: install the commands of a load balancer."""

from __future__ import annotations

DOCUMENTATION = r"""
module: balancer_program
short_description: Install the commands that HAProxy's unit, the timer and keepalived run on a load balancer
version_added: 0.4.0
author: The flaskops maintainers (!UNKNOWN)
description:
  - Installs the part of the collection that these commands need, in one folder. They need nothing but Python.
options:
  folder:
    description: The folder. It is run as C(python3 -I FOLDER COMMAND).
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Install the commands
  flaskops.uwsgi.balancer_program:
    folder: /usr/local/lib/haproxy-flaskops
"""

RETURN = r"""
files:
  description: The files that were, or in check mode would be, written.
  type: list
  elements: str
  returned: always
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskops.uwsgi.plugins.module_utils.balancer import installation


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={"folder": {"type": "path", "required": True}}, supports_check_mode=True)
    folder = Path(module.params["folder"])
    try:
        wanted = installation.different(folder)
        if not module.check_mode:
            installation.install(folder, wanted)
    except OSError as error:
        module.fail_json(msg=f"the commands of the balancer cannot be installed: {error}")
    module.exit_json(
        changed=bool(wanted), files=sorted(wanted), diff={"before": "", "after": "\n".join(sorted(wanted))}
    )


if __name__ == "__main__":
    main()
