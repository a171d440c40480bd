#!/usr/bin/python
"""Module: unpack an artifact on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release
short_description: Unpack an artifact into a read-only release with its virtual environment
version_added: 0.1.0
author: The flaskops maintainers (!UNKNOWN)
extends_documentation_fragment:
  - flaskops.uwsgi.application
  - flaskops.uwsgi.application.reserved
description:
  - Checks the shipped archives against their checksums, unpacks the code, and installs the wheels offline.
  - Runs no code of either. The library C(installer) that the record of the wheelhouse names installs the wheels.
  - Each appears complete or not at all; after a failure, the remains are removed.
  - A directory with the same short id that contains another artifact is replaced if no kept generation uses it, and
    refused if one does.
options:
  state:
    description:
      - With V(absent), everything unpacked for generations that never served is removed.
    type: str
    choices: [present, absent]
    default: present
  artifact:
    description:
      - C(id) and C(digest) of the artifact, and those of its C(code) and C(wheelhouse) with the records of their
        archives, as the module M(flaskops.uwsgi.build) returns them.
      - Required with O(state=present).
    type: dict
  python:
    description: >-
      The absolute path of the interpreter of the virtual environment, which only root may be able to change. Empty for
      the one that runs this.
    type: str
    default: ''
  incoming:
    description: The directory on the host that has the archives, except those of O(inline).
    type: path
  inline:
    description: Small archives themselves, in Base64, by file name.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Unpack the release
  flaskops.uwsgi.release:
    app_name: aiops_flask
    artifact: "{{ artifact }}"
    incoming: /var/tmp/incoming

- name: Remove the release that will not serve
  flaskops.uwsgi.release:
    app_name: aiops_flask
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

import base64
import errno
import gzip
import inspect
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import arguments, files, interpreter, selinux, trees
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.selinux import SELinuxError
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release import installing
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release.artifact import MARKER, marked, sha256
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release.retention import orphans, remove_orphans
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic import reservation

# Seconds that one program may take.
_TIMEOUT = 900


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
            f"not {entry['sha256'][:16]}…. Nothing was unpacked. Deploy again to ship it again"
        )
    return archive


@contextmanager
def arrived(module: AnsibleModule, entry: dict[str, Any]) -> Iterator[Path]:
    """Yield a shipped archive, after its checksum was compared, whichever way it came."""
    content = module.params["inline"].get(entry["file"])
    if content is None:
        yield checked(Path(module.params["incoming"] or "."), entry)
        return
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / str(entry["file"])).write_bytes(base64.b64decode(content))
        yield checked(Path(folder), entry)


def extract(archive: Path, target: Path, most: int) -> None:
    """Extract an archive of regular files and directories, and nothing else.

    It does not rely on the filters of ``tarfile``, which Python 3.11.2 (Debian 12) lacks. As it never creates a link,
    no name can lead out of the target once its own parts are checked.

    Args:
        archive: the archive, possibly compressed.
        target: the directory to create.
        most: the maximum total size of its files in bytes.

    Raises:
        ReleaseError: it is damaged, too large, or contains anything else.
    """
    left = most
    target.mkdir()
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                if path.is_absolute() or ".." in path.parts:
                    raise ReleaseError(f"{archive.name} holds {member.name!r}, which leads out of its folder")
                if not (member.isreg() or member.isdir()):
                    raise ReleaseError(f"{archive.name} holds {member.name!r}, which is neither a file nor a folder")
                left -= member.size
                if left < 0:
                    raise ReleaseError(f"{archive.name} unpacks to more than the {most} bytes in its record")
                folder = target / path if member.isdir() else (target / path).parent
                folder.mkdir(parents=True, exist_ok=True)
                if content := tar.extractfile(member):
                    mode = 0o755 if member.mode & 0o100 else 0o644
                    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
                    with os.fdopen(os.open(target / path, flags, mode), "wb") as file:
                        shutil.copyfileobj(content, file)
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, FileExistsError, NotADirectoryError) as error:
        raise ReleaseError(f"{archive.name} cannot be unpacked: {error}") from error


def unpack_code(archive: Path, release: Path, entry: dict[str, Any], digest: str, python: str = sys.executable) -> None:
    """Unpack the code beside its final path, then move it there in one step.

    Args:
        archive: the code.
        release: the directory to create.
        entry: the archive's record.
        digest: the artifact's SHA-256, for the marker.
        python: the interpreter that will run it.
    """
    partial = release.with_name(f".{release.name}.partial")
    release.parent.mkdir(parents=True, exist_ok=True)
    trees.remove(partial)
    try:
        extract(archive, partial, int(entry["unpacked"]))
        compile_all(partial, release, python)
        (partial / MARKER).write_text(f"{digest}\n")
        partial.chmod(0o755)
        files.place(partial, release)
    finally:
        _leave_nothing(partial)


def compile_all(folder: Path, final: Path, python: str) -> None:
    """Compile the sources below a directory to bytecode, which the service may not write.

    A source that the compiler refuses, or that ends the compiler, is no reason to skip the others.

    Args:
        folder: the directory.
        final: the path that it will have.
        python: the interpreter that will read them.

    Raises:
        ReleaseError: it took too long.
    """
    try:
        subprocess.run(
            [python, "-IS", "-m", "compileall", "-qq", "-s", str(folder), "-p", str(final), str(folder)],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT, check=False, umask=0o022,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise ReleaseError(f"compiling the files of {final} took more than {_TIMEOUT} s") from error


def install_wheels(archive: Path, venv: Path, entry: dict[str, Any], digest: str, python: str = sys.executable) -> None:
    """Create a virtual environment with an interpreter, for whose version the wheels were chosen, and install them.

    Root runs no code of a wheel.
    A virtual environment contains its own path, so it cannot be moved into place: a marker that is written last
    distinguishes a complete one from an incomplete one.

    Args:
        archive: the wheels.
        venv: the directory to create.
        entry: the archive's record.
        digest: the wheelhouse's SHA-256, for the marker.
        python: the interpreter.
    """
    wheels = venv.with_name(f".{venv.name}.wheels")
    venv.parent.mkdir(parents=True, exist_ok=True)
    for stale in (venv, wheels):
        trees.remove(stale, at_once=True)
    try:
        extract(archive, wheels, int(entry["unpacked"]))
        library = wheels / str(entry["installer"])
        if not library.is_file():
            raise ReleaseError(f"{archive.name} contains no {library.name}: artifact_build_lock must contain installer")
        _run(python, "-I", "-S", "-m", "venv", "--without-pip", str(venv))
        others = [str(wheels / str(name)) for name in entry["installs"]]
        _run(python, "-I", "-S", "-c", inspect.getsource(installing), str(venv), str(library), *others)
        compile_all(venv / "lib", venv / "lib", python)
        insist_on_plain(venv, Path(python))
        selinux.relabel(venv)
        files.sync_tree(venv)
        files.write(venv / MARKER, f"{digest}\n")
        files.sync(venv.parent)
    except SELinuxError as error:
        _leave_nothing(venv)
        raise ReleaseError(f"the programs of {venv} cannot be labelled for SELinux: {error}") from error
    except BaseException:
        _leave_nothing(venv)
        raise
    finally:
        _leave_nothing(wheels)


def _leave_nothing(path: Path) -> None:
    """Remove what is no longer needed; if that fails, the next deploy does it."""
    with suppress(OSError):
        trees.remove(path)


def insist_on_plain(venv: Path, python: Path = Path(sys.executable)) -> None:
    """Refuse an environment with anything but files and folders that only root can change.

    Args:
        venv: the environment.
        python: the interpreter that it was made with.

    Raises:
        ReleaseError: it has another kind of file, a file that changes the account of whoever runs it or that others can
            write to, or a link that leads out and not to the interpreter.
    """
    own = python.resolve()
    for path in venv.rglob("*"):
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            leads = path.resolve()
            if not (leads == own or leads.is_relative_to(venv.resolve())):
                raise ReleaseError(f"{path} is a link that leads out of the virtual environment, to {leads}")
        elif not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            raise ReleaseError(f"{path} is neither a file nor a folder")
        elif status.st_mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IWGRP | stat.S_IWOTH):
            raise ReleaseError(f"{path} has the mode {stat.S_IMODE(status.st_mode):04o}")


def _run(*command: str) -> None:
    try:
        done = subprocess.run(
            command,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT, check=False,
            umask=0o022,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise ReleaseError(f"`{command[0]} {command[1]}…` took more than {_TIMEOUT} s") from error
    if done.returncode:
        if "No space left" in done.stderr:
            raise OSError(errno.ENOSPC, "No space left on device")
        raise ReleaseError(f"`{command[0]} {command[1]}…` failed: {done.stderr.strip()[-1500:]}")


def make_way(folder: Path, digest: str, replaceable: list[Path]) -> bool:
    """Return whether a directory has to be created, after removing an unused one with the same short id.

    Args:
        folder: a release or a virtual environment.
        digest: the SHA-256 of its expected content.
        replaceable: directories that no kept generation uses.

    Raises:
        ReleaseError: it contains another artifact, which a kept generation uses.
    """
    found = marked(folder)
    if found == digest:
        return False
    if folder.exists() and folder not in replaceable:
        raise ReleaseError(
            f"{folder} is in use and contains something other than what is to be deployed: its SHA-256 is "
            f"{found[:16] or 'unknown'}, not {digest[:16]}…. Nothing was changed. Any change of the source or of the "
            "lock changes the id: make one, and deploy again"
        )
    return True


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=arguments.APPLICATION
        | arguments.RESERVED
        | {
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "artifact": {"type": "dict"},
            "incoming": {"type": "path"},
            # Code belongs neither on a terminal (-vvv) nor in the journal.
            "inline": {"type": "dict", "default": {}, "no_log": True},
            "python": {"type": "str", "default": ""},
        },
        required_if=[("state", "present", ["artifact"])],
        supports_check_mode=True,
    )
    os.umask(0o022)
    layout = arguments.owned(module)
    if module.params["state"] == "absent":
        module.exit_json(changed=bool(orphans(layout)) if module.check_mode else remove_orphans(layout))
    artifact = module.params["artifact"]
    release = layout.releases / artifact["id"]
    venv = layout.venvs / artifact["wheelhouse"]["id"]
    try:
        unused = orphans(layout)
        need_venv = make_way(venv, artifact["wheelhouse"]["digest"], unused)
        need_release = make_way(release, artifact["digest"], unused)
    except ReleaseError as error:
        module.fail_json(msg=str(error))
    other = interpreter.of(module)
    python = other.path if other else sys.executable
    result = {"release": str(release), "venv": str(venv), "changed": need_venv or need_release}
    if module.check_mode:
        module.exit_json(**result)
    try:
        with reservation.exclusive_to(layout, module.params):
            if need_venv:
                wheels = artifact["wheelhouse"]
                with arrived(module, wheels) as archive:
                    install_wheels(archive, venv, wheels, wheels["digest"], python)
            if need_release:
                trees.remove(release, at_once=True)
                with arrived(module, artifact["code"]) as archive:
                    unpack_code(archive, release, artifact["code"], artifact["digest"], python)
    except reservation.LockedError as error:
        module.fail_json(msg=str(error))
    except ReleaseError as error:
        module.fail_json(msg=f"{error}. The running service was not changed")
    except OSError as error:
        full = error.errno == errno.ENOSPC
        remedy = (
            "Free space there, or lower flask_uwsgi_keep_releases, and deploy again" if full else "Correct it there"
        )
        module.fail_json(
            msg=f"{'disk full' if full else error} while unpacking release {artifact['id']} below "
            f"flask_uwsgi_base_dir={layout.base}: what was unpacked of it was removed, and the running service was not "
            f"changed. {remedy}"
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
