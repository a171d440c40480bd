"""Action: ship the release of a plan, and unpack it on the host. The module of this name documents it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan.plan import Plan
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.run.asking import AskingAction, LostError
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.run.seal import SealError
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.settings.reading import plain
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source.planning import looked_up


class ActionModule(AskingAction):
    """Named as Ansible expects."""

    _VALID_ARGS = frozenset({"plan"})

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the result of the module ``release``."""
        super().run(tmp, task_vars)
        variables = task_vars or {}
        plan = Plan.read(plain(self._task.args["plan"]))
        try:
            artifact = looked_up(plan.request)
        except SealError as error:
            return {"failed": True, "msg": f"the plan has no release to ship ({error}): plan again in this run"}
        archives = [*([artifact.code] if plan.code else []), *([artifact.wheelhouse] if plan.wheels else [])]
        incoming = ""
        if not self._task.check_mode:
            if plan.wheels and not artifact.wheelhouse["built"]:
                return {"failed": True, "msg": "its wheels were not built"}
            try:
                incoming = self.directory(variables)
                for archive in archives:
                    self.put(Path(archive["path"]), variables)
            except LostError as error:
                return {"failed": True, "lost": True, "msg": str(error)}
        return self.ask(
            "flaskops.uwsgi.release",
            {
                "app_name": plan.app_name,
                "base_dir": str(Path(plan.root).parent),
                "artifact": asdict(artifact),
                "incoming": incoming,
            },
            variables,
        )
