#!/usr/bin/python
"""Module: mark an application as this role's."""

from __future__ import annotations

DOCUMENTATION = r"""
module: claim
short_description: Mark an application on a host, and create its account and its directories
version_added: 0.2.0
author: The flaskops maintainers (!UNKNOWN)
extends_documentation_fragment:
  - flaskops.uwsgi.application
  - flaskops.uwsgi.application.reserved
description:
  - Writes C(/var/lib/flaskops/APP.json), which only root can read. It records that the application belongs to this
    role, and which account and group were created for it. Only what has a mark is changed or removed later.
  - Creates the group, the account (a system account without login) and the directories of the application if they are
    missing. The directories belong to root and are readable by the group.
  - Fails if a path or a unit of the application's name belongs to something else. In that case, nothing is changed.
options:
  user:
    description: The account of the service.
    type: str
    required: true
  group:
    description: The group of the service.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Claim the names of the application
  flaskops.uwsgi.claim:
    app_name: aiops_flask
    user: aiops_flask
    group: aiops_flask
"""

RETURN = r"""
missing:
  description: What was, or in check mode would be, created or corrected, a sentence for each.
  type: list
  elements: str
  returned: always
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import accounts, arguments, claim
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic import reservation


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=arguments.APPLICATION
        | arguments.RESERVED
        | {
            "user": {"type": "str", "required": True},
            "group": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    os.umask(0o022)
    layout = arguments.owned(module)
    user, group = module.params["user"], module.params["group"]
    missing = claim.missing(layout, user, group)
    if missing and not module.check_mode:
        try:
            with reservation.exclusive_to(layout, module.params):
                claim.claim(layout, user, group)
        except (claim.ClaimError, accounts.AccountError, reservation.LockedError) as error:
            module.fail_json(msg=str(error))
    diff = {"before": "".join(f"{line}\n" for line in missing), "after": ""}
    module.exit_json(changed=bool(missing), missing=missing, diff=diff)


if __name__ == "__main__":
    main()
