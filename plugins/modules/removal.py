#!/usr/bin/python
"""Module: remove an application from a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: removal
short_description: Stop an application and remove it from a host
version_added: 0.1.0
author: The flaskops maintainers (!UNKNOWN)
extends_documentation_fragment:
  - flaskops.uwsgi.application
  - flaskops.uwsgi.application.reserved
description:
  - Lets the requests in flight finish, then removes units, code, virtual environments, configuration, and what the
    application left in C(/run).
  - The application's data (C(/var/lib/APP), C(/var/lib/APP-persistent), C(/var/cache/APP), C(/var/log/APP)) and its
    account are kept unless O(data) is true. The account and the group are removed only if a deploy created them and
    nothing else needs them.
  - Fails if the name is not an application of this role and belongs to something else. In that case, nothing is
    removed.
options:
  data:
    description: Whether to remove the application's data and its account as well.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Remove the application, but keep its data
  flaskops.uwsgi.removal:
    app_name: aiops_flask
"""

RETURN = r"""
removed:
  description: The files, directories and accounts that were, or in check mode would be, removed.
  type: list
  elements: str
  returned: always
kept:
  description: What has the application's name and is kept, each with the reason.
  type: list
  elements: str
  returned: always
"""


from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import arguments
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.systemd import SystemdError
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic import removal, reservation


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
    layout, data = arguments.layout(module), module.params["data"]
    try:
        found = removal.doomed(layout, data=data)
        if found and not module.check_mode:
            with reservation.exclusive_to(layout, module.params):
                found = removal.remove(layout, data=data)
    except (removal.RemovalError, SystemdError, reservation.LockedError, OSError) as error:
        module.fail_json(msg=str(error))
    diff = {"before": "".join(f"{name}\n" for name in found.names), "after": ""}
    module.exit_json(changed=bool(found), removed=found.names, kept=list(found.kept), diff=diff)


if __name__ == "__main__":
    main()
