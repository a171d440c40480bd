"""Action: compare the plans of hosts, and refuse all for a problem of one. The module of this name documents it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import lookup_loader
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan import commands, fleet
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan.plan import Plan
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.settings.reading import plain
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.settings.specs import PREFIX, ROLE


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
        return {"changed": False, **asdict(fleet.compared(plans, lambda app: self._keeper(app, task_vars or {})))}

    def _keeper(self, app: str, variables: Mapping[str, Any]) -> str:
        name = f"{PREFIX}app_name"
        default = self._loader.load_from_file(str(ROLE / "defaults" / "main.yml")).get(name)

        def name_of(host: str) -> str:
            try:
                return str(variables["hostvars"][host].get(name, default))
            except AnsibleError:
                # The plan of such a host shows why, if it is in the run.
                return ""

        lookup = lookup_loader.get("ansible.builtin.inventory_hostnames", loader=self._loader, templar=self._templar)
        found = lookup.run(self._task.get_play().hosts, variables=variables)
        play = [str(host) for host in found or variables["ansible_play_hosts_all"]]
        return str(commands.keeper(app, variables["groups"].get("flask", []), play, name_of))
