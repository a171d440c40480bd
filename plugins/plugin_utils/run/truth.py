"""How a boolean is read that may have come from a command line."""

from __future__ import annotations

from typing import Any


def truth(value: Any) -> bool | None:
    """Read a boolean as Ansible's filter ``bool`` does, but take nothing else for false."""
    word = str(value).lower()
    return True if word in ("true", "yes", "on", "1") else False if word in ("false", "no", "off", "0") else None
