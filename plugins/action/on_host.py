"""Action: run a module on its host. ``meta/runtime.yml`` has it run those of a deploy."""

from __future__ import annotations

from typing import Any

from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.run.asking import AskingAction


class ActionModule(AskingAction):
    """Named as Ansible expects."""

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what the module returns; if the connection is lost, that is a failure of it."""
        super().run(tmp, task_vars)
        return self.ask(self._task.action, self._task.args, task_vars or {})
