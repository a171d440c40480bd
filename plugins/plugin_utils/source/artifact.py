"""An artifact, and what is asked for to get one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Request:
    """What is asked for: the options of the lookup ``artifact``, where each is documented."""

    source: str
    server_lock: str
    build_lock: str
    patches: str
    platform: str
    cache: str
    requirements: str = ""
    install: bool = True
    wsgi_file: str = ""
    limits: Mapping[str, Any] = field(default_factory=dict)
    build_packages: Sequence[str] = ()
    exclude: Sequence[str] = ()


@dataclass(frozen=True)
class Artifact:
    """An artifact; its fields are documented as what the lookup ``artifact`` returns."""

    id: str
    digest: str
    platform: str
    source: dict[str, str]
    locked: dict[str, Any]
    ignored: list[str]
    notes: list[str]
    project: str
    python_path: list[str]
    left_out: dict[str, str]
    code: dict[str, Any]
    wheelhouse: dict[str, Any]
