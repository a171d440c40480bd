#!/usr/bin/python
"""Module: lock requirements on a build host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: resolution
short_description: Lock requirements in a sandbox
version_added: 0.2.0
author: The flaskops maintainers (!UNKNOWN)
extends_documentation_fragment:
  - flaskops.uwsgi.build
description:
  - Runs uv in a transient unit, as an account that exists only as long as the unit, and returns the lock.
  - For requirements that cannot be read without running the build of a package.
options:
  requirements:
    description: The requirements, one per line.
    type: str
    required: true
  constraints:
    description: Constraints for them, one per line.
    type: str
    default: ''
  overrides:
    description: Requirements that replace all others of the same name, whatever requires them; one per line.
    type: str
    default: ''
  preferred:
    description: A lock whose versions are used if they fit.
    type: str
    default: ''
  project:
    description: >-
      The path of a pyproject.toml, setup.py or setup.cfg in O(archive), whose dependencies are locked. Empty for none.
    type: str
    default: ''
  extras:
    description: The extras of O(project) whose dependencies are also locked.
    type: list
    elements: str
    default: []
  archive:
    description: A distribution of the application's own, or with O(project) a tar.gz of its folder. Empty for none.
    type: str
    default: ''
"""

EXAMPLES = r"""
- name: Lock the requirements
  flaskops.uwsgi.resolution:
    requirements: psycopg2
    build_lock: "{{ lookup('ansible.builtin.file', 'build.txt') }}"
    timeout: 1800
    memory_mb: 2048
    disk_mb: 2048
    tasks: 512
"""

RETURN = r"""
lock:
  description: The lock, a requirements file with exact versions and hashes.
  type: str
  returned: success
subject:
  description: What failed.
  type: str
  returned: failure
why:
  description: V(timeout), V(memory), V(hash), V(output) or V(failed).
  type: str
  returned: failure
said:
  description: The end of what the failed step printed.
  type: str
  returned: failure
package_manager:
  description: The package manager of the host, C(apt) or C(dnf).
  type: str
  returned: failure
installed:
  description: Packages that the failed step asks for although the host has them.
  type: list
  elements: str
  returned: failure
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import arguments, interpreter
from ansible_collections.flaskops.uwsgi.plugins.module_utils.wheelhouse.failure import lacking
from ansible_collections.flaskops.uwsgi.plugins.module_utils.wheelhouse.resolution import Wanted, resolve
from ansible_collections.flaskops.uwsgi.plugins.module_utils.wheelhouse.sandbox import (
    Limits,
    Sandbox,
    StepError,
    workspace,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=arguments.BUILD
        | {
            "requirements": {"type": "str", "required": True},
            "constraints": {"type": "str", "default": ""},
            "overrides": {"type": "str", "default": ""},
            "preferred": {"type": "str", "default": ""},
            "project": {"type": "str", "default": ""},
            "extras": {"type": "list", "elements": "str", "default": []},
            "archive": {"type": "str", "default": ""},
        },
        supports_check_mode=False,
    )
    parameters = module.params
    limits = Limits(parameters["timeout"], parameters["memory_mb"], parameters["disk_mb"], parameters["tasks"])
    files = {f"{name}.txt": parameters[name] for name in ("requirements", "constraints", "overrides", "preferred")}
    archive = Path(parameters["archive"]) if parameters["archive"] else None
    wanted = Wanted(files, parameters["project"], archive, parameters["extras"])
    try:
        with workspace() as work:
            sandbox = Sandbox(work, limits, interpreter.of(module))
            lock = resolve(sandbox, parameters["build_lock"], wanted)
    except StepError as error:
        lacks = lacking(error.said)
        module.fail_json(msg=str(error), subject=error.subject, why=error.why, said=error.said, **lacks)
    module.exit_json(changed=False, lock=lock)


if __name__ == "__main__":
    main()
