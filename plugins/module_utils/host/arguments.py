"""The arguments that several modules share; doc_fragments documents them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import names, ownership
from .layout import Layout

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

APPLICATION: dict[str, Any] = {
    "app_name": {"type": "str", "required": True},
    "base_dir": {"type": "path", "default": "/opt"},
}
BUILD: dict[str, Any] = {
    "build_lock": {"type": "str", "required": True},
    "python": {"type": "str", "default": ""},
    "timeout": {"type": "int", "required": True},
    "memory_mb": {"type": "int", "required": True},
    "disk_mb": {"type": "int", "required": True},
    "tasks": {"type": "int", "required": True},
}
RESERVED: dict[str, Any] = {
    "run": {"type": "dict"},
    "replace": {"type": "dict"},
    "reserved": {"type": "bool", "default": False},
}


def layout(module: AnsibleModule) -> Layout:
    """Return the paths of the application that a module was called for; fail the module if its name is not valid.

    The check does not rely on the playbook's: a name such as ``..`` or ``*`` would reach the paths of others.
    """
    name, base = str(module.params["app_name"]), str(module.params.get("base_dir") or "/opt")
    problems = [problem for problem in (names.app_problem(name), names.base_problem(base)) if problem]
    if problems:
        module.fail_json(msg="\n".join([*problems, "Nothing was changed."]))
    return Layout(name, Path(base))


def owned(module: AnsibleModule) -> Layout:
    """Return the same for a module that changes something; fail it if something else on this host has the name."""
    found = layout(module)
    if strange := ownership.foreign(found):
        module.fail_json(msg=ownership.refusal(found, strange))
    return found
