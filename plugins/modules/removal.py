#!/usr/bin/python
"""Module: remove an application from a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: removal
short_description: Stop an application and remove it from a host
version_added: 0.1.0
author: The flaskops maintainers
extends_documentation_fragment:
  - flaskops.uwsgi.application
  - flaskops.uwsgi.application.reserved
description:
  - Lets the requests in flight end, then removes units, code, virtual environments, configuration, and what the
    application left in C(/run).
  - The application's data (C(/var/lib/APP), C(/var/cache/APP), C(/var/log/APP)) stay unless they are asked for.
options:
  data:
    description: Whether to remove the application's data too.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Application is gone, its data are not
  flaskops.uwsgi.removal:
    app_name: aiops_flask
"""

RETURN = r"""
removed:
  description: The files and directories that were, or in check mode would be, removed.
  type: list
  elements: str
  returned: always
"""


from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskops.uwsgi.plugins.module_utils import arguments, lock, removal
from ansible_collections.flaskops.uwsgi.plugins.module_utils.systemd import SystemdError


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=arguments.APPLICATION
        | arguments.RESERVED
        | {
            "data": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    layout = arguments.layout(module.params)
    doomed = [str(path) for path in removal.paths(layout, data=module.params["data"])]
    diff = {"before": "".join(f"{path}\n" for path in doomed), "after": ""}
    if doomed and not module.check_mode:
        try:
            with lock.exclusive(layout, module.params["run"], module.params["replace"]):
                removal.remove(layout, data=module.params["data"])
        except (SystemdError, lock.LockedError) as error:
            module.fail_json(msg=str(error))
    module.exit_json(changed=bool(doomed), removed=doomed, diff=diff)


if __name__ == "__main__":
    main()
