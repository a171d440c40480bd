#!/usr/bin/python
"""Module: show what serves on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: status
short_description: Show what serves of an application on a host
version_added: 0.1.0
author: The flaskops maintainers (!UNKNOWN)
extends_documentation_fragment:
  - flaskops.uwsgi.application
description:
  - Asks systemd, uWSGI's stats and the kernel; never relies on the configuration or the pidfile.
  - Changes nothing.
"""

EXAMPLES = r"""
- name: Read the status
  flaskops.uwsgi.status:
    app_name: aiops_flask
  register: result
"""

RETURN = r"""
status:
  description: >-
    generation, platform, mode, state, since, restarts, main_pid, pidfile and whether it is true, workers and busy ones,
    cores and threads per worker, requests in flight (busy) and served, listen queue and backlog, memory of the workers
    (rss_mb), kept generations and the address of each, and drift. Values that only uWSGI knows are absent if its
    stats do not respond.
  type: dict
  returned: always
"""


from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import arguments
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.systemd import SystemdError
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic import status


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=arguments.APPLICATION,
        supports_check_mode=True,
    )
    layout = arguments.layout(module)
    try:
        found = status.of(layout)
    except (SystemdError, OSError, ValueError) as error:
        module.fail_json(msg=f"the status of {layout.app} cannot be read: {error}")
    module.exit_json(changed=False, status=found.to_dict())


if __name__ == "__main__":
    main()
