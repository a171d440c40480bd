"""The names of Python distributions, for hosts that may lack the library ``packaging``."""

from __future__ import annotations

import re


def normalised(name: str) -> str:
    """Return a distribution's name as registries compare it (PEP 503), like ``canonicalize_name`` of packaging."""
    return re.sub(r"[-_.]+", "-", name).lower()
