#!/usr/bin/python
"""Module: write a generation."""

from __future__ import annotations

DOCUMENTATION = r"""
module: generation
short_description: Write a generation beside the running one, validated
version_added: 0.1.0
author: The flaskops maintainers
extends_documentation_fragment:
  - flaskops.uwsgi.application
description:
  - Writes configuration, environment and units of a generation into a directory of its own.
  - The uWSGI configuration is checked with uWSGI itself and the units with C(systemd-analyze verify) before
    the generation counts as there; one that fails leaves nothing behind.
  - The secrets become systemd credentials, which root alone can read; they are encrypted where the host can.
  - The diff is against the generation that serves; values of the environment and secrets are not shown.
options:
  generation:
    description: The generation's id.
    type: str
    required: true
  release:
    description: The id of the release (the artifact) it runs.
    type: str
    required: true
  venv:
    description: The id of the virtual environment it runs in.
    type: str
    required: true
  group:
    description: The service's group, which may read the configuration.
    type: str
    required: true
  files:
    description: Relative names with their contents.
    type: dict
    required: true
  secrets:
    description: Secrets by name. The manifest in O(files) says which.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Generation is written
  flaskops.uwsgi.generation:
    app_name: aiops_flask
    generation: 3f2a90c1d5e7
    release: 8c11aa20f3b4
    venv: 0d9e8f7a6b5c
    group: aiops_flask
    files:
      uwsgi.ini: "{{ lookup('ansible.builtin.template', 'uwsgi.ini.j2') }}"
"""

RETURN = r"""
path:
  description: The generation's directory.
  type: str
  returned: always
mended:
  description: >-
    The files of a generation that was there already which somebody had changed by hand, or which the host can no
    longer decrypt.
  type: list
  elements: str
  returned: always
encrypted:
  description: Whether the secrets are encrypted on the host; null where there are none, or in check mode.
  type: bool
  returned: always
"""

import grp
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskops.uwsgi.plugins.module_utils import arguments, credentials
from ansible_collections.flaskops.uwsgi.plugins.module_utils import generation as gen
from ansible_collections.flaskops.uwsgi.plugins.module_utils.explain import explain
from ansible_collections.flaskops.uwsgi.plugins.module_utils.layout import Layout
from ansible_collections.flaskops.uwsgi.plugins.module_utils.secrets import texts
from ansible_collections.flaskops.uwsgi.plugins.module_utils.swap import remove_orphans


class InvalidError(Exception):
    """uWSGI or systemd refuses what was written."""


def validate_ini(directory: Path) -> None:
    """Let uWSGI read the configuration without starting anything.

    ``--version`` ends the program right after every key was parsed (2.0.31), and ``vacuum`` then removes
    the sockets it names: hence a runtime directory that does not exist.
    """
    done = subprocess.run(
        [str(directory / "venv/bin/uwsgi"), "--ini", str(directory / "uwsgi.ini"), "--version"],
        env={"RUNTIME_DIRECTORY": "/nonexistent", "PATH": os.environ["PATH"]},
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    if done.returncode:
        output = (done.stdout + done.stderr).splitlines()
        raise InvalidError(explain(output, "", "") or "uWSGI refuses uwsgi.ini: " + " | ".join(output[-3:]))


def validate_units(layout: Layout, generation: str, address: str) -> None:
    """Let systemd verify the units before they are installed."""
    with tempfile.TemporaryDirectory() as scratch:
        beside = gen.check_targets(layout, generation) | gen.task_targets(layout, generation, "pre")
        for target, stored in (gen.unit_targets(layout, generation) | beside).items():
            copy = Path(scratch) / target.relative_to(layout.units)
            copy.parent.mkdir(exist_ok=True)
            shutil.copyfile(stored, copy)
        dropin = Path(scratch) / layout.socket_dropin(address).relative_to(layout.units)
        dropin.parent.mkdir()
        dropin.write_text(gen.socket_activates(layout.service(generation)))
        # The service brings the socket along, whose name `systemd-analyze` would take for two.
        names = [unit(generation) for unit in (layout.service, layout.canary, layout.relief, layout.check)]
        names.append(layout.task("pre", generation))
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", *names],
            env={"SYSTEMD_UNIT_PATH": f"{scratch}:", "PATH": os.environ["PATH"]},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    complaints = [
        line.replace(f"{scratch}/", "") for line in done.stderr.splitlines() if layout.app in line or scratch in line
    ]
    if done.returncode or complaints:
        raise InvalidError(
            "systemd refuses the units (a directive in flask_uwsgi_unit_overrides?): "
            + " | ".join(complaints or done.stderr.splitlines()[-3:])
        )


def write_secrets(module: AnsibleModule, final: Path, secrets: dict[str, str], result: dict[str, Any]) -> None:
    """Write the secrets, and tell whether they are encrypted."""
    why = credentials.write(final, secrets)
    result["encrypted"] = not why
    if why:
        module.warn(f"flask_uwsgi_secrets lie on this host unencrypted, for root alone: {why}")


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=arguments.APPLICATION
        | {
            "generation": {"type": "str", "required": True},
            "release": {"type": "str", "required": True},
            "venv": {"type": "str", "required": True},
            "group": {"type": "str", "required": True},
            # They hold the application's environment: neither a terminal (-vvv) nor systemd's journal need.
            "files": {"type": "dict", "required": True, "no_log": True},
            "secrets": {"type": "dict", "default": {}, "no_log": True},
        },
        supports_check_mode=True,
    )
    os.umask(0o022)
    layout = arguments.owned(module)
    name = module.params["generation"]
    files: dict[str, str] = module.params["files"]
    secrets = texts(module.params["secrets"])
    final = layout.generations / name
    # In the manifest's place last: a directory without it is not a generation.
    body = {key: value for key, value in files.items() if key != gen.MANIFEST}
    whole = (final / gen.MANIFEST).is_file()
    edited = gen.edited(final, body) if whole else []
    stale = credentials.stale(final, secrets) if whole else []
    current = layout.current_generation()
    serving = gen.manifest(layout, current) if current else None
    hidden = gen.secrets_difference(serving, json.loads(files[gen.MANIFEST]))
    result = {
        "path": str(final),
        "changed": not whole or bool(edited or stale),
        "mended": edited + stale,
        "encrypted": credentials.encrypted(final),
        "diff": {"prepared": gen.difference(layout, current, body) + hidden},
    }
    if module.check_mode or not result["changed"]:
        module.exit_json(**result)
    group = grp.getgrnam(module.params["group"]).gr_gid
    if whole:
        # It may be serving: mend file by file, and never take the directory away.
        for file in edited:
            gen.write_file(final, file, body[file], group)
        if stale:
            write_secrets(module, final, secrets, result)
        module.exit_json(**result)
    try:
        gen.write(final, body, group)
        if secrets:
            write_secrets(module, final, secrets, result)
        (final / "release").symlink_to(f"../../releases/{module.params['release']}")
        (final / "venv").symlink_to(f"../../venvs/{module.params['venv']}")
        validate_ini(final)
        validate_units(layout, name, json.loads(files[gen.MANIFEST])["listen"])
        gen.write_file(final, gen.MANIFEST, files[gen.MANIFEST], group)
    except (InvalidError, OSError, subprocess.SubprocessError) as error:
        shutil.rmtree(final, ignore_errors=True)
        # Its release was unpacked for it alone.
        remove_orphans(layout)
        module.fail_json(
            msg=f"generation {name} is refused: {error}. Nothing of it remains; the running service was not touched"
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
