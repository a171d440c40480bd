"""Filters of the role artifact."""

from __future__ import annotations

from typing import Any

from ansible_collections.flaskops.uwsgi.plugins.module_utils.release.artifact import masked
from ansible_collections.flaskops.uwsgi.plugins.module_utils.wheelhouse.failure import build_problem


class FilterModule:
    """Named as Ansible expects."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"masked": masked, "build_problem": build_problem}
