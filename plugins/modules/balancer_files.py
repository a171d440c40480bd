#!/usr/bin/python
"""Module: install the files of a load balancer."""

from __future__ import annotations

DOCUMENTATION = r"""
module: balancer_files
short_description: Install what HAProxy needs on a load balancer besides its configuration
version_added: 0.4.0
author: The flaskops maintainers (!UNKNOWN)
description:
  - Creates directories, writes files, and installs the commands that HAProxy's unit, the timer and keepalived run.
    These commands are a part of the collection, and need nothing but Python.
  - All in one step, because each further one costs time on each balancer.
options:
  program:
    description: The folder of the commands. It is run as C(python3 -I FOLDER COMMAND).
    type: path
    required: true
  directories:
    description: Directories of root, with C(path) and C(mode), each below one that exists or stands before it.
    type: list
    elements: dict
    default: []
  files:
    description:
      - Files of root with mode 0644, with C(path) and C(text). One with C(once) is left as it is if it exists.
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: Install what HAProxy needs
  flaskops.uwsgi.balancer_files:
    program: /usr/local/lib/haproxy-flaskops
    directories:
      - {path: /var/lib/haproxy-flaskops, mode: "0755"}
    files:
      - {path: /var/lib/haproxy-flaskops/maintenance.map, text: "", once: true}
"""

RETURN = r"""
paths:
  description: What was, or in check mode would be, created or written.
  type: list
  elements: str
  returned: always
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskops.uwsgi.plugins.module_utils.balancer import installation
from ansible_collections.flaskops.uwsgi.plugins.module_utils.balancer.installation import Directory, File


def wanted(asked: dict[str, Any]) -> list[Directory | File]:
    """Return what is asked for, in an order in which it can be made."""
    program = Path(asked["program"])
    return [
        *(Directory(Path(one["path"]), int(str(one["mode"]), 8)) for one in asked["directories"]),
        *(File(Path(one["path"]), one["text"], once=bool(one.get("once"))) for one in asked["files"]),
        *installation.program(program),
    ]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "program": {"type": "path", "required": True},
            "directories": {"type": "list", "elements": "dict", "default": []},
            "files": {"type": "list", "elements": "dict", "default": []},
        },
        supports_check_mode=True,
    )
    try:
        missing = [one for one in wanted(module.params) if one.differs]
        before = "".join(f"{one.path}\n{one.now}" for one in missing)
        if not module.check_mode:
            for one in missing:
                one.make()
    except OSError as error:
        module.fail_json(msg=f"the files of the balancer cannot be installed: {error}")
    after = "".join(f"{one.path}\n{one.text}" for one in missing)
    paths = [str(one.path) for one in missing]
    module.exit_json(changed=bool(missing), paths=paths, diff={"before": before, "after": after})


if __name__ == "__main__":
    main()
