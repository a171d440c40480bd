#!/usr/bin/python
"""Module: look which packages a host lacks."""

from __future__ import annotations

DOCUMENTATION = r"""
module: packages
short_description: Look which packages a host lacks, and what installs them
version_added: 0.1.0
author: The flaskops maintainers (!UNKNOWN)
description:
  - Reads the list of installed packages, of dpkg or of rpm.
  - Changes nothing.
options:
  names:
    description: The packages.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Look for a compiler
  flaskops.uwsgi.packages:
    names: [gcc]
  register: packages
"""

RETURN = r"""
manager:
  description: The package manager of the host, C(apt) or C(dnf). Empty if it has neither.
  type: str
  returned: success
backend:
  description: What Ansible's module C(dnf) calls it, C(dnf4) or C(dnf5). Empty without dnf.
  type: str
  returned: success
missing:
  description: Those of the packages that are not installed.
  type: list
  elements: str
  returned: success
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import packages


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"names": {"type": "list", "elements": "str", "default": []}}, supports_check_mode=True
    )
    module.exit_json(
        changed=False,
        manager=packages.manager(),
        backend=packages.dnf_backend(),
        missing=packages.missing(module.params["names"]),
    )


if __name__ == "__main__":
    main()
