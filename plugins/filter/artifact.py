"""Filters of the role artifact."""

from __future__ import annotations

from typing import Any

from ansible_collections.flaskops.uwsgi.plugins.module_utils.artifact import masked
from ansible_collections.flaskops.uwsgi.plugins.module_utils.build_failure import missing_packages, telling_lines


class FilterModule:
    """Named as Ansible expects."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"masked": masked, "missing_packages": missing_packages, "telling_lines": telling_lines}
