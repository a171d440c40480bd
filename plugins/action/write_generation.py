"""Action: render the generation of a plan, and write it on the host. The module of this name documents it."""

from __future__ import annotations

from typing import Any

from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan import generation
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan.choice import choose
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan.plan import Plan
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.run.asking import AskingAction
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.run.seal import SealError
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.settings.reading import plain
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source.planning import planned


class ActionModule(AskingAction):
    """Named as Ansible expects."""

    _VALID_ARGS = frozenset({"plan"})

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the result of the module ``generation``."""
        super().run(tmp, task_vars)
        variables = task_vars or {}
        plan = Plan.read(plain(self._task.args["plan"]))
        try:
            settings = plan.settings
        except SealError as error:
            return {"failed": True, "msg": f"the plan has no settings to write ({error}): plan again in this run"}
        artifact = planned(plan.request)
        files = generation.files(settings, artifact, choose(settings, plan.decision))
        return self.ask(
            "flaskops.uwsgi.generation",
            {
                "app_name": settings.app_name,
                "base_dir": settings.base_dir,
                "generation": plan.generation,
                "release": artifact.id,
                "venv": artifact.wheelhouse["id"],
                "group": settings.group,
                "persistent": settings.persistent,
                "files": files,
                "secrets": settings.secrets,
                "run": plan.run,
                "replace": plan.replace,
            },
            variables,
        )
