#!/usr/bin/python
"""Module: build a wheelhouse on a build host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: wheelhouse
short_description: Build a wheelhouse in a sandbox
version_added: 0.2.0
author: The flaskops maintainers (!UNKNOWN)
extends_documentation_fragment:
  - flaskops.uwsgi.build
description:
  - Downloads every file of the locks, compares it with its hash, and builds each sdist in its own transient unit,
    without network and as an account that exists only as long as the unit.
  - Leaves one archive and nothing else.
options:
  locks:
    description: The locks whose wheels are collected, requirements files with exact versions and hashes.
    type: list
    elements: str
    required: true
  distribution:
    description: A wheel, an sdist or a folder's archive of the application's own, on the host. Empty for none.
    type: str
    default: ''
  project:
    description: The name of O(distribution) if it is a folder's archive. Empty if its file name contains it.
    type: str
    default: ''
  patches:
    description: For each NAME-VERSION the patches, names to contents, to apply before its sdist is built.
    type: dict
    default: {}
  target:
    description: The path of the archive on the host. Only the owner of its directory may read it.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Build the wheels
  flaskops.uwsgi.wheelhouse:
    locks: ["{{ lookup('ansible.builtin.file', 'requirements.txt') }}"]
    build_lock: "{{ lookup('ansible.builtin.file', 'build.txt') }}"
    target: /var/tmp/wheelhouse.tar
    timeout: 1800
    memory_mb: 2048
    disk_mb: 2048
    tasks: 512
"""

RETURN = r"""
sha256:
  description: The archive's SHA-256.
  type: str
  returned: success
megabytes:
  description: The archive's size, in units of 10^6 bytes.
  type: int
  returned: success
wheels:
  description: >-
    For each wheel its C(file), its C(sha256), and C(built_from), the SHA-256 of the file that it was built from, empty
    if it was fetched.
  type: list
  elements: dict
  returned: success
seconds:
  description: How long it took.
  type: int
  returned: success
subject:
  description: What failed, such as C(uwsgi==2.0.31).
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

import time
from collections.abc import Iterator
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import arguments, interpreter
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release.artifact import sha256
from ansible_collections.flaskops.uwsgi.plugins.module_utils.wheelhouse import cache
from ansible_collections.flaskops.uwsgi.plugins.module_utils.wheelhouse.failure import lacking
from ansible_collections.flaskops.uwsgi.plugins.module_utils.wheelhouse.sandbox import (
    Limits,
    Sandbox,
    StepError,
    workspace,
)
from ansible_collections.flaskops.uwsgi.plugins.module_utils.wheelhouse.wheels import (
    File,
    build,
    collect,
    entries,
    fetch,
    itself,
    tools,
)


def wheels(sandbox: Sandbox, parameters: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    """Yield each wheel, and the SHA-256 of the file that it was built from; empty if it was fetched."""
    # uv creates locks; no build needs it.
    tooling = [entry for entry in entries(parameters["build_lock"]) if entry.name != "uv"]
    wanted = [entry for lock in parameters["locks"] for entry in entries(lock)]
    files = fetch(sandbox, [*tooling, *wanted])
    mine = {id(entry) for entry in tooling}
    tool_files = [file for file in files if id(file.entry) in mine]
    installed = [file for file in files if id(file.entry) not in mine]
    if parameters["distribution"]:
        path = Path(parameters["distribution"])
        installed.append(File(itself(path, parameters["project"]), path))
    # What installs the others on the hosts; the application may have it, too.
    own = {file.path.name for file in installed}
    yield from ((file.path, "") for file in tool_files if file.entry.name == "installer" and file.path.name not in own)
    yield from ((file.path, "") for file in installed if file.is_wheel)
    environment: Path | None = None
    for file in (file for file in installed if not file.is_wheel):
        patches = parameters["patches"].get(f"{file.entry.name}-{file.entry.version}", {})
        python = map(str, astuple(sandbox.python)) if sandbox.python else ()
        key = cache.key(file.path, patches, (tool.path for tool in tool_files), python)
        wheel = cache.find(key)
        if not wheel:
            environment = environment or tools(sandbox, tool_files)
            wheel = build(sandbox, file, environment, patches)
            cache.keep(key, wheel)
        yield wheel, sha256(file.path)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=arguments.BUILD
        | {
            "locks": {"type": "list", "elements": "str", "required": True},
            "distribution": {"type": "str", "default": ""},
            "project": {"type": "str", "default": ""},
            "patches": {"type": "dict", "default": {}},
            "target": {"type": "path", "required": True},
        },
        supports_check_mode=False,
    )
    parameters = module.params
    limits = Limits(parameters["timeout"], parameters["memory_mb"], parameters["disk_mb"], parameters["tasks"])
    target = Path(parameters["target"])
    started = time.monotonic()
    try:
        with workspace() as work:
            sandbox = Sandbox(work, limits, interpreter.of(module))
            found = collect(list(wheels(sandbox, parameters)), target)
    except StepError as error:
        lacks = lacking(error.said)
        module.fail_json(msg=str(error), subject=error.subject, why=error.why, said=error.said, **lacks)
    module.exit_json(
        changed=True,
        sha256=sha256(target),
        megabytes=round(target.stat().st_size / 1e6),
        wheels=[asdict(wheel) for wheel in found],
        seconds=round(time.monotonic() - started),
    )


if __name__ == "__main__":
    main()
