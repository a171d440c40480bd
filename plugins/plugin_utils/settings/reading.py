"""Reads the role's settings from the variables of a task, so that what cannot be read is a problem like any other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ansible.errors import AnsibleError

from ...module_utils.release.secrets import texts, unknown
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
        if name == "secrets":
            problems += _unknown_secrets(value, template)
        try:
            found[name] = plain(template(value))
        except AnsibleError as error:
            if name != "secrets":
                problems.append(_unreadable(name, str(error)))
    return found, problems


def plain(value: Any) -> Any:
    """Return a value without what Ansible attaches to it, such as where it was written."""
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, str):
        return str.__str__(value) if type(value) is str else "".join(value)
    return value


def _unreadable(name: str, said: str) -> str:
    if found := _UNDEFINED.search(said):
        return f"{PREFIX}{name} cannot be evaluated: {found[1]} is not defined. Define it, or correct what names it"
    why = "" if name in _CONFIDENTIAL else f": {' '.join(said.split())}"
    return f"{PREFIX}{name} cannot be evaluated{why}. Correct its lookup or its expression"


def _unknown_secrets(given: Any, template: Template) -> Iterator[str]:
    # A dictionary one by one, so that each is named; an expression that makes one, as a whole.
    for name, value in given.items() if isinstance(given, Mapping) else [("", given)]:
        try:
            known = template(value)
            # Ansible decrypts what is in it when it is looked at.
            texts(known if isinstance(known, Mapping) else {name: known})
        except AnsibleError as error:
            yield unknown(name, str(error))
