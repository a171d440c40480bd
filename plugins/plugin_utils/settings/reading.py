"""Reads the role's settings from the variables of a task, so that what cannot be read is a problem like any other."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleError

from ...module_utils.release.secrets import unknown
from .specs import OPTIONS, PREFIX

# Their values may be secrets, and Ansible's own message quotes them.
_CONFIDENTIAL = {"environment", "files"}
_UNDEFINED = re.compile(r"'(\w+)' is undefined")

Template = Callable[[Any], Any]


def read(variables: Mapping[str, Any], template: Template) -> tuple[dict[str, Any], list[str]]:
    """Return the settings without their prefix, and why some of them cannot be read.

    Args:
        variables: the variables of a task of the role.
        template: evaluates a value.

    Returns:
        what could be read, in types of Python alone, and one problem for each that could not.
    """
    found: dict[str, Any] = {}
    problems: list[str] = []
    for name in OPTIONS:
        # What has no default is a problem of its own, with what to set.
        value = variables.get(f"{PREFIX}{name}", "")
        try:
            found[name] = plain(template(value))
        except AnsibleError as error:
            problems += _unknown_secrets(value, template) if name == "secrets" else [_unreadable(name, str(error))]
    return found, problems


def plain(value: Any) -> Any:
    """Return a value without what Ansible attaches to it, such as where it was written."""
    if isinstance(value, Mapping):
        # As in JSON.
        return {plain(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    # str() would keep what is attached.
    return "".join(value) if isinstance(value, str) else value


def _unreadable(name: str, said: str) -> str:
    if found := _UNDEFINED.search(said):
        return f"{PREFIX}{name} cannot be evaluated: {found[1]} is not defined. Define it, or correct what names it"
    why = "" if name in _CONFIDENTIAL else f": {' '.join(said.split())}"
    return f"{PREFIX}{name} cannot be evaluated{why}. Correct its lookup or its expression"


def _unknown_secrets(given: Any, template: Template) -> list[str]:
    """Return why secrets cannot be evaluated: which of a dictionary, or the expression that makes one, as a whole."""
    found = []
    for name, value in given.items() if isinstance(given, Mapping) else [("", given)]:
        try:
            plain(template(value))
        except AnsibleError as error:
            found.append(unknown(name, str(error)))
    # A lookup can fail once and succeed when it is asked again.
    return found or [unknown("", "")]
