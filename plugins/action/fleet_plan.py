"""Action: compare the plans of hosts, and refuse all for a problem of one. The module of this name documents it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan import fleet
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan.plan import Plan
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.settings.reading import plain


class ActionModule(ActionBase):  # type: ignore[misc]
    """Named as Ansible expects."""

    _VALID_ARGS = frozenset({"plans"})
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what the hosts have in common, or fail with every problem."""
        super().run(tmp, task_vars)
        plans = [Plan.read(plain(plan)) for plan in self._task.args["plans"]]
        if problems := fleet.problems(plans):
            return {"failed": True, "msg": "\n".join([*problems, "Nothing was changed."])}
        return {"changed": False, **asdict(fleet.compared(plans))}
