#!/usr/bin/python
"""Module: write a generation."""

from __future__ import annotations

DOCUMENTATION = r"""
module: generation
short_description: Write and validate a generation beside the running one
version_added: 0.1.0
author: The flaskops maintainers (!UNKNOWN)
extends_documentation_fragment:
  - flaskops.uwsgi.application
  - flaskops.uwsgi.application.reserved
description:
  - Writes configuration, environment and units of a generation into its own directory.
  - The uWSGI configuration is checked with uWSGI itself, as the service's account in the service's sandbox, and the
    units with C(systemd-analyze verify), before the generation is complete; one that fails leaves nothing behind.
  - What the serving generation has word for word, in the same environment, is not checked again.
  - The secrets become systemd credentials, which only root can read; they are encrypted if the host can.
  - The diff is against the serving generation; values of the environment and secrets are not shown.
options:
  generation:
    description: The generation's id.
    type: str
    required: true
  release:
    description: The id of the release (the artifact) that it runs.
    type: str
    required: true
  venv:
    description: The id of the virtual environment that it runs in.
    type: str
    required: true
  group:
    description: The service's group, which may read the configuration.
    type: str
    required: true
  persistent:
    description:
      - Folders of the release, or with C(venv/) before them of the virtual environment, that are stored elsewhere and
        mounted there. If a mount point is missing, it is created, empty.
    type: list
    elements: str
    default: []
  files:
    description: Relative names with their contents.
    type: dict
    required: true
  secrets:
    description: Secrets by name. The manifest in O(files) lists them.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Write the generation
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
    The files of an existing generation that somebody had changed by hand, or that the host can no longer decrypt.
  type: list
  elements: str
  returned: always
encrypted:
  description: Whether the secrets are encrypted on the host; null if there are none, or in check mode.
  type: bool
  returned: always
"""

import grp
import json
import os
import re
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flaskops.uwsgi.plugins.module_utils.failure import deaths
from ansible_collections.flaskops.uwsgi.plugins.module_utils.failure.explain import refused_by
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import (
    arguments,
    checksums,
    files,
    kinds,
    persistent,
    systemd,
    temporary,
    trees,
)
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.layout import Layout
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release import credentials, manifest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release import generation as gen
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release.retention import remove_orphans
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release.secrets import texts
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic import reservation

# Seconds that uWSGI may take to read its configuration; the unit's TimeoutStartSec is the same.
VALIDATE_S = 30
# systemd-analyze begins a line with a unit, or with one of its files and a line number.
_OF_UNIT = re.compile(r"\S+@\S+\.(?:service|socket)(?:\.d/[\w.-]+(?::\d+)?)?: ")


class InvalidError(Exception):
    """uWSGI or systemd refused what was written."""


def validate_ini(layout: Layout, generation: str) -> None:
    """Have uWSGI read the configuration as the service's account, in its sandbox, without starting anything.

    uWSGI is a file of the release: any wheel may have replaced it, so root does not run it.
    ``--version`` ends the program once every key is parsed (2.0.31).

    Args:
        layout: the application's paths.
        generation: the generation, written except for its manifest.

    Raises:
        InvalidError: uWSGI refuses the configuration, or cannot be run.
        SystemdError: systemd does not respond.
    """
    unit = layout.unit(kinds.VALIDATE, generation)
    stored = layout.generations / generation / "units"
    targets = {
        layout.units / layout.unit(kinds.VALIDATE, ""): stored / kinds.VALIDATE.template,
        layout.dropin(unit): stored / "generation.conf",
    }
    after = systemd.cursor()
    with temporary.installed(layout, layout.unit(kinds.VALIDATE, "*"), targets):
        try:
            systemd.systemctl("start", unit, timeout=VALIDATE_S + temporary.GRACE)
        except systemd.SystemdError as error:
            # A program that never ran has printed nothing; systemd says why.
            output = temporary.printed(unit, after) or systemd.journal(unit, 3, after) or [str(error)]
            logged = systemd.journal(unit, 20, after)
            known = deaths.explain(logged, systemd.show(unit, *deaths.PROPERTIES), str(layout.root))
            known = known or refused_by(output)
            raise InvalidError(known or f"uWSGI refuses uwsgi.ini: {' | '.join(output[-3:])}") from error


def validate_units(layout: Layout, generation: str, address: str) -> None:
    """Have systemd verify the units before they are installed."""
    with tempfile.TemporaryDirectory() as scratch:
        # All tasks have the same unit file.
        brief = (kinds.CHECK, kinds.PRE)
        wanted = gen.unit_targets(layout, generation) | gen.targets(layout, generation, *brief)
        for target, stored in wanted.items():
            copy = Path(scratch) / target.relative_to(layout.units)
            copy.parent.mkdir(exist_ok=True)
            shutil.copyfile(stored, copy)
        dropin = Path(scratch) / layout.socket_dropin(address).relative_to(layout.units)
        dropin.parent.mkdir()
        dropin.write_text(gen.socket_activates(layout.service(generation)))
        # The service includes the socket, whose name `systemd-analyze` would take for two.
        names = [layout.unit(kind, generation) for kind in (kinds.SERVICE, kinds.CANARY, kinds.RELIEF, *brief)]
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", *names],
            env={"SYSTEMD_UNIT_PATH": f"{scratch}:", "PATH": os.environ["PATH"]},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    own = re.compile(rf"(?<![\w.@-]){re.escape(layout.app)}({'|'.join(kinds.SUFFIXES)})@|{re.escape(scratch)}/")
    # Each kind of unit reports the same. What systemd says of the host's other units is no business of a deploy.
    complaints = list(
        dict.fromkeys(
            _OF_UNIT.sub("", line.replace(f"{scratch}/", "")) for line in done.stderr.splitlines() if own.search(line)
        )
    )
    if done.returncode or complaints:
        raise InvalidError(
            "systemd refuses the units (a directive in flask_uwsgi_unit_overrides?): "
            + " | ".join(line.rstrip(".") for line in complaints or done.stderr.splitlines()[-3:])
        )


def proven(layout: Layout, release: str, venv: str, contents: dict[str, str]) -> bool:
    """Return whether uWSGI and systemd have accepted the same configuration before: that of the serving generation.

    Both read only the names of directives and their values, and of these the release's folder alone may differ.

    Args:
        layout: the application's paths.
        release: the id of the new generation's release.
        venv: the id of its virtual environment, which uWSGI is a part of.
        contents: relative name to content.
    """
    serving = layout.deployed_generation()
    known = gen.manifest(layout, serving) if serving else None
    new = json.loads(contents[gen.MANIFEST])
    names = manifest.secrets(new).names
    if not (serving and known) or (known.venv, known.listen, known.secrets.names) != (venv, new["listen"], names):
        return False
    old, own = (str(layout.releases / name) for name in (known.release, release))
    judged = [name for name in {*contents, *known.checksums} if name == "uwsgi.ini" or name.startswith("units/")]
    return all(
        # What was edited by hand is no proof.
        checksums.matches(known.checksums.get(name, ""), name, layout.generations / serving / name, layout.app)
        and (layout.generations / serving / name).read_text().replace(old, own) == contents.get(name)
        for name in judged
    )


def write_secrets(module: AnsibleModule, final: Path, secrets: dict[str, str]) -> None:
    """Write the secrets, and warn if they are not encrypted."""
    if why := credentials.write(final, secrets):
        module.warn(f"flask_uwsgi_secrets are stored unencrypted on this host, readable only by root: {why}")


def is_there(module: AnsibleModule, layout: Layout, name: str, digest: str) -> bool:
    """Return whether the generation is on the host; fail if another one in use has the same short id."""
    found = gen.manifest(layout, name)
    if found is None:
        return False
    if found.digest == digest:
        return True
    if name in {layout.current_generation(), *gen.kept(layout)}:
        module.fail_json(
            msg=f"generation {name} on this host has the same short id but is a different one: its SHA-256 is "
            f"{found.digest[:16] or 'not recorded'}…, not {digest[:16]}…. Any change of a variable "
            "or of the source changes the id: make one, and deploy again. Nothing was changed"
        )
    return False


def create(module: AnsibleModule, layout: Layout, links: dict[str, str], secrets: dict[str, str]) -> None:
    """Write a complete generation and validate it; if it is refused, remove it and fail."""
    name, contents = module.params["generation"], module.params["files"]
    final, group = layout.generations / name, grp.getgrnam(module.params["group"]).gr_gid
    # The manifest comes last: a directory without it is not a generation.
    body = {key: value for key, value in contents.items() if key != gen.MANIFEST}
    try:
        gen.write(final, body, group)
        if secrets:
            write_secrets(module, final, secrets)
        for link, target in links.items():
            files.link(final / link, target)
        if not proven(layout, module.params["release"], module.params["venv"], contents):
            validate_units(layout, name, json.loads(contents[gen.MANIFEST])["listen"])
            validate_ini(layout, name)
        gen.finish(final, contents[gen.MANIFEST], group)
    except (InvalidError, systemd.SystemdError, OSError, subprocess.SubprocessError) as error:
        # Without its marker it is ignored, and the next deploy removes it.
        with suppress(OSError):
            trees.remove(final)
        # Its release was unpacked only for it.
        remove_orphans(layout)
        module.fail_json(
            msg=f"generation {name} is refused: {error}. Nothing of it remains; the running service was not changed"
        )


def mend(module: AnsibleModule, layout: Layout, edited: list[str], links: dict[str, str]) -> None:
    """Write again what is not as deployed, file by file: the directory of a serving generation is never replaced."""
    name, contents = module.params["generation"], module.params["files"]
    final, group = layout.generations / name, grp.getgrnam(module.params["group"]).gr_gid
    for file in sorted(edited, key=lambda file: file == gen.MANIFEST):
        if file in links:
            files.link(final / file, links[file])
        else:
            gen.write_file(final, file, contents[file], group)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=arguments.APPLICATION
        | arguments.RESERVED
        | {
            "generation": {"type": "str", "required": True},
            "release": {"type": "str", "required": True},
            "venv": {"type": "str", "required": True},
            "group": {"type": "str", "required": True},
            "persistent": {"type": "list", "elements": "str", "default": []},
            # They contain the application's environment, which belongs neither on a terminal (-vvv) nor in the journal.
            "files": {"type": "dict", "required": True, "no_log": True},
            "secrets": {"type": "dict", "default": {}, "no_log": True},
        },
        supports_check_mode=True,
    )
    os.umask(0o022)
    layout = arguments.owned(module)
    name = module.params["generation"]
    contents: dict[str, str] = module.params["files"]
    secrets = texts(module.params["secrets"])
    final = layout.generations / name
    body = {key: value for key, value in contents.items() if key != gen.MANIFEST}
    document = json.loads(contents[gen.MANIFEST])
    # A generation that has served may be running, so it is repaired in place, even if its manifest is damaged.
    whole = is_there(module, layout, name, document.get("digest", "")) or gen.served(layout, name)
    edited = gen.edited(final, contents) if whole else []
    stale = credentials.stale(final, secrets) if whole else []
    links = {"release": f"../../releases/{module.params['release']}", "venv": f"../../venvs/{module.params['venv']}"}
    edited += [link for link, target in links.items() if whole and not gen.linked(final / link, target)]
    folders = persistent.folders(layout, module.params["release"], module.params["venv"], module.params["persistent"])
    try:
        unmounted = persistent.missing(folders)
    except persistent.PersistentError as error:
        module.fail_json(msg=f"generation {name} is refused: {error}. The running service was not changed")
        return
    current = layout.current_generation()
    serving = gen.manifest(layout, current) if current else None
    hidden = gen.secrets_difference(serving.secrets if serving else manifest.Secrets(), manifest.secrets(document))
    result = {
        "path": str(final),
        "changed": not whole or bool(edited or stale or unmounted),
        "mended": edited + stale,
        "encrypted": credentials.encrypted(final),
        "diff": {"prepared": gen.difference(layout, current, body) + hidden},
    }
    if module.check_mode or not result["changed"]:
        module.exit_json(**result)
    try:
        with reservation.exclusive_to(layout, module.params):
            persistent.make(unmounted)
            if whole:
                mend(module, layout, edited, links)
                if stale:
                    write_secrets(module, final, secrets)
            else:
                create(module, layout, links, secrets)
    except reservation.LockedError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(
            msg=f"generation {name} cannot be written: {error}. The running service was not changed; correct it there, "
            "and deploy again"
        )
    module.exit_json(**result | {"encrypted": credentials.encrypted(final)})


if __name__ == "__main__":
    main()
