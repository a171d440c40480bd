"""The settings of the role, as ``meta/argument_specs.yml`` defines them: the one source of names, types and choices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

PREFIX = "flask_uwsgi_"
ROLES = Path(__file__).resolve().parents[3] / "roles"
ROLE = ROLES / "flask_uwsgi"


@dataclass(frozen=True)
class Option:
    """One setting.

    Args:
        name: the variable's name without the prefix.
        type: one of ``str``, ``int``, ``float``, ``bool``, ``path``, ``list`` and ``dict``.
        elements: the type of a list's items; empty for other types.
        choices: the values that it can have; empty for no such limit.
    """

    name: str
    type: str
    elements: str = ""
    choices: tuple[str, ...] = ()


def _options(spec: Mapping[str, Any]) -> dict[str, Option]:
    return {
        (name := full.removeprefix(PREFIX)): Option(
            name, option["type"], option.get("elements", ""), tuple(option.get("choices", ()))
        )
        for full, option in spec.items()
    }


def _load(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return document


# When this is imported: Ansible does so once, before it forks a process for each host.
OPTIONS = _options(_load(ROLE / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"])


def of_type(*types: str) -> list[str]:
    """Return the settings that have one of the types."""
    return [option.name for option in OPTIONS.values() if option.type in types]
