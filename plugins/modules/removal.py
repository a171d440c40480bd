#!/usr/bin/python
"""Module: remove an application from a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: removal
short_description: Stop an application and remove it from a host
version_added: 0.1.0
author: The flaskops maintainers
description:
  - Lets the requests in flight end, then removes units, code, virtual environments, configuration, and what the
    application left in C(/run).
  - The application's data (C(/var/lib/APP), C(/var/cache/APP), C(/var/log/APP)) stay unless they are asked for.
options:
  app_name:
    description: The application's name.
    type: str
    required: true
  base_dir:
    description: The directory that holds one directory per application.
    type: path
    default: /opt
  data:
    description: Whether to remove the application's data too.
    type: bool
    default: false
  run:
    description: Who asks, as the lookup P(flaskops.uwsgi.run_identity#lookup) returns it.
    type: dict
  replace:
    description: Whose reservation of the application does not count, because he lives no more.
    type: dict
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

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskops.uwsgi.plugins.module_utils import lock, removal
from ansible_collections.flaskops.uwsgi.plugins.module_utils.layout import Layout
from ansible_collections.flaskops.uwsgi.plugins.module_utils.systemd import SystemdError


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "app_name": {"type": "str", "required": True},
            "base_dir": {"type": "path", "default": "/opt"},
            "data": {"type": "bool", "default": False},
            "run": {"type": "dict"},
            "replace": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    layout = Layout(module.params["app_name"], Path(module.params["base_dir"]))
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
