"""The names of Python distributions, on hosts that need not have the library ``packaging``."""

from __future__ import annotations

import re


def normalised(name: str) -> str:
    """Return a distribution's name as registries compare it (PEP 503): what ``canonicalize_name`` of packaging does."""
    return re.sub(r"[-_.]+", "-", name).lower()
