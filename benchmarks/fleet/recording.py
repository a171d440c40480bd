"""Answers of modules on a real host, with placeholders for what differs between hosts and between generations."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

ANSWERS = Path(__file__).with_name("answers.json")
# The module that every deploy runs first.
STATE = "flaskops.uwsgi.host_state"
# The one that moves the traffic of a host, which is the last that a deploy runs there.
SWAP = "flaskops.uwsgi.swap"
# The placeholders of what is on a host.
NAMES = ("generation", "digest", "release", "release_digest", "venv", "venv_digest")
# Ansible sends the host's Python a program that contains the module and its full name.
_NAME = re.compile(rb"^module_fqn='([\w.]+)',$", re.MULTILINE)


class RecordingError(Exception):
    """There is no answer."""


def module(program: bytes) -> str:
    """Return the name of the module that a program contains, such as ``flaskops.uwsgi.host_state``.

    Args:
        program: what Ansible writes to the standard input of a host's Python.

    Raises:
        RecordingError: it is not one of Ansible's Python modules.
    """
    found = _NAME.search(program)
    if not found:
        begun = program[:200].decode(errors="replace")
        raise RecordingError(f"a recording answers Python modules that arrive on standard input, and not {begun!r}")
    *folders, name = found[1].decode().split(".")
    # ansible_collections.NAMESPACE.COLLECTION.plugins.modules.NAME, or one of Ansible's own.
    return ".".join((*folders[1:3], name)) if folders[0] == "ansible_collections" else f"ansible.builtin.{name}"


def answer(answers: Mapping[str, Any], name: str, values: Mapping[str, str]) -> str:
    """Return a host's answer, as JSON.

    Args:
        answers: the recorded answers by module name.
        name: the module's name.
        values: the value of each placeholder.

    Raises:
        RecordingError: the module was not recorded, or a placeholder has no value.
    """
    if name not in answers:
        raise RecordingError(
            f"{name} was not recorded; {', '.join(sorted(answers)) or 'nothing'} was. If a deploy "
            "calls it, record again with `python -m benchmarks.fleet.record`"
        )
    quoted = {key: json.dumps(value)[1:-1] for key, value in values.items()}
    try:
        return Template(json.dumps(answers[name])).substitute(quoted)
    except KeyError as missing:
        raise RecordingError(f"{name} was recorded with the placeholder {missing}, which has no value") from None


def scrubbed(answers: Mapping[str, Any]) -> dict[str, Any]:
    """Return answers with placeholders for the names of the host and of what is on it, without who recorded them.

    Args:
        answers: the answers of one host, by module name; that of ``STATE`` is one of them.
    """
    state = answers[STATE]
    machine, node = state["host"]["machine"].split()
    # The digest comes first: the generation's id is its beginning.
    values = {state["app"]["digest"]: "$digest", state["app"]["current"]: "$generation", machine: "$machine"}
    for kind in ("release", "venv"):
        for name, digest in state["app"].get(f"{kind}s", {}).items():
            values |= {digest: f"${kind}_digest", name: f"${kind}"}
    values |= {address: "$address" for address in state["host"]["addresses"] if not address.startswith("127.")}
    text = json.dumps(answers).replace("$", "$$")
    text = re.sub(r'"(who|home)": "[^"]*"', r'"\1": "controller"', text)
    for value, placeholder in (*values.items(), (node, "$host")):
        text = re.sub(rf"(?<![\w.-]){re.escape(value)}(?![\w-]|\.\w)", placeholder, text)
    found: dict[str, Any] = json.loads(text)
    return found
