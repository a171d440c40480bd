"""Filters for addresses, for every role."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import address


class FilterModule:
    """Named as Ansible expects."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"bracketed": address.bracketed}
