#!/usr/bin/python
"""Module: unpack an artifact on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release
short_description: Unpack an artifact into a read-only release with its virtual environment
version_added: 0.1.0
author: The flaskops maintainers
extends_documentation_fragment:
  - flaskops.uwsgi.application
description:
  - Checks the shipped archives against their checksums, unpacks the code, and installs the wheels offline.
  - Each appears whole or not at all; what failed half-way is removed.
options:
  state:
    description:
      - With V(absent), whatever was unpacked and shipped for generations that never served is removed.
    type: str
    choices: [present, absent]
    default: present
  artifact:
    description:
      - The artifact's description, as the lookup P(flaskops.uwsgi.artifact#lookup) returns it.
      - Required with O(state=present).
    type: dict
  incoming:
    description: The directory on the host where the archives were put. It is removed when all is unpacked.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Release is unpacked
  flaskops.uwsgi.release:
    app_name: aiops_flask
    artifact: "{{ artifact }}"
    incoming: /opt/aiops_flask/incoming

- name: Release that will not serve is gone
  flaskops.uwsgi.release:
    app_name: aiops_flask
    incoming: /opt/aiops_flask/incoming
    state: absent
"""

RETURN = r"""
release:
  description: The directory of the release.
  type: str
  returned: with O(state=present)
venv:
  description: The directory of the virtual environment.
  type: str
  returned: with O(state=present)
"""

import compileall
import errno
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskops.uwsgi.plugins.module_utils import arguments
from ansible_collections.flaskops.uwsgi.plugins.module_utils.artifact import sha256
from ansible_collections.flaskops.uwsgi.plugins.module_utils.swap import orphans, remove


class ReleaseError(Exception):
    """The release could not be unpacked; nothing of it remains."""


def checked(incoming: Path, entry: dict[str, Any]) -> Path:
    """Return the shipped archive after comparing its checksum."""
    archive = incoming / str(entry["file"])
    if not archive.is_file():
        raise ReleaseError(f"{archive} was not shipped: deploy again")
    found = sha256(archive)
    if found != entry["sha256"]:
        archive.unlink()
        raise ReleaseError(
            f"artifact archive {archive.name} arrived damaged: its SHA-256 is {found[:16]}…, "
            f"not {entry['sha256'][:16]}…. Nothing was unpacked. Deploy again to ship it anew"
        )
    return archive


def extract(archive: Path, target: Path) -> None:
    """Extract an archive, with Python's data filter where this Python has it (Debian 12's has not)."""
    with tarfile.open(archive) as tar:
        tar.extraction_filter = getattr(tarfile, "data_filter", None)
        tar.extractall(target)


def unpack_code(archive: Path, release: Path) -> None:
    """Unpack the code beside its final place, then move it there in one step."""
    partial = release.with_name(f".{release.name}.partial")
    release.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        extract(archive, partial)
        # Nobody but root may write here, so the bytecode must be there before the service needs it.
        compileall.compile_dir(partial, quiet=2, stripdir=partial, prependdir=release)
        partial.chmod(0o755)
        partial.rename(release)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def install_wheels(archive: Path, venv: Path) -> None:
    """Make a virtual environment of this interpreter, whose version chose the wheels, and install them offline.

    A virtual environment knows its own path, so it cannot be moved into place: a marker written last
    tells a whole one from a half-made one.
    """
    wheels = venv.with_name(f".{venv.name}.wheels")
    venv.parent.mkdir(parents=True, exist_ok=True)
    for stale in (venv, wheels):
        shutil.rmtree(stale, ignore_errors=True)
    try:
        extract(archive, wheels)
        # pip runs from its own wheel, so hosts need neither pip nor ensurepip, and keep none.
        pip = next(wheels.glob("pip-*.whl"), None)
        if pip is None:
            raise ReleaseError(f"{archive.name} holds no wheel of pip: artifact_build_lock must name it")
        others = sorted(str(wheel) for wheel in wheels.glob("*.whl") if wheel != pip)
        _run(sys.executable, "-m", "venv", "--without-pip", str(venv))
        _run(
            f"{venv}/bin/python", f"{pip}/pip", "--disable-pip-version-check", "--no-cache-dir",
            "install", "--quiet", "--no-index", "--no-deps", "--root-user-action=ignore", *others,
        )  # fmt: skip
        (venv / ".complete").touch()
    except BaseException:
        shutil.rmtree(venv, ignore_errors=True)
        raise
    finally:
        shutil.rmtree(wheels, ignore_errors=True)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, umask=0o022)
    if done.returncode:
        if "No space left" in done.stderr:
            raise OSError(errno.ENOSPC, "No space left on device")
        raise ReleaseError(f"`{command[0]} {command[1]}…` failed: {done.stderr.strip()[-1500:]}")


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=arguments.APPLICATION
        | {
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "artifact": {"type": "dict"},
            "incoming": {"type": "path", "required": True},
        },
        required_if=[("state", "present", ["artifact"])],
        supports_check_mode=True,
    )
    os.umask(0o022)
    layout = arguments.owned(module)
    artifact, incoming = module.params["artifact"], Path(module.params["incoming"])
    if module.params["state"] == "absent":
        doomed = [*orphans(layout), *([incoming] if incoming.exists() else [])]
        if not module.check_mode:
            remove(doomed)
        module.exit_json(changed=bool(doomed))
    release = layout.releases / artifact["id"]
    venv = layout.venvs / artifact["wheelhouse"]["id"]
    need_venv = not (venv / ".complete").exists()
    result = {"release": str(release), "venv": str(venv), "changed": need_venv or not release.is_dir()}
    if module.check_mode:
        module.exit_json(**result)
    try:
        if need_venv:
            install_wheels(checked(incoming, artifact["wheelhouse"]), venv)
        if not release.is_dir():
            unpack_code(checked(incoming, artifact["code"]), release)
    except ReleaseError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        module.fail_json(
            msg=f"disk full while unpacking release {artifact['id']} below flask_uwsgi_base_dir="
            f"{layout.base}: what was unpacked of it is removed and the running service was not touched. "
            "Free space there, or lower flask_uwsgi_keep_releases, and deploy again"
        )
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
