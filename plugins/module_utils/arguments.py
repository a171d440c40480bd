"""The arguments that several modules have in common; doc_fragments documents them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .layout import Layout

APPLICATION: dict[str, Any] = {
    "app_name": {"type": "str", "required": True},
    "base_dir": {"type": "path", "default": "/opt"},
}
BUILD: dict[str, Any] = {
    "build_lock": {"type": "str", "required": True},
    "timeout": {"type": "int", "required": True},
    "memory_mb": {"type": "int", "required": True},
    "disk_mb": {"type": "int", "required": True},
    "tasks": {"type": "int", "required": True},
}
RESERVED: dict[str, Any] = {"run": {"type": "dict"}, "replace": {"type": "dict"}}


def layout(arguments: Mapping[str, Any]) -> Layout:
    """Return where the application that a module was asked about lives."""
    return Layout(arguments["app_name"], Path(arguments["base_dir"]))
