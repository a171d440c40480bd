"""Action: where an application answers on a host. The module of this name documents it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.balancer.endpoint import endpoint
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.settings import preflight
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.settings.reading import read
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.settings.settings import typed


class ActionModule(ActionBase):  # type: ignore[misc]
    """Named as Ansible expects."""

    _VALID_ARGS = frozenset({"listen"})
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the endpoint, or fail with every problem of the role's variables."""
        super().run(tmp, task_vars)
        variables = task_vars or {}
        values, problems = read(variables, self._templar.template)
        if problems := problems or preflight.settings_problems(values):
            return {"failed": True, "msg": "\n".join([*problems, "Nothing was changed."])}
        address = str(self._templar.template(variables.get("ansible_host") or variables["inventory_hostname"]))
        listen = str(self._task.args.get("listen", ""))
        return {"changed": False, "endpoint": asdict(endpoint(typed(values), address, listen))}
