"""Action: render the generation of a plan, and write it on the host. The module of this name documents it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan import generation
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan.choice import choose
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan.following import FollowingAction
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan.plan import Plan
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source.planning import planned

# Ansible imports this before it forks a process for each host, and each would compile them again.
generation.compile_templates()


class ActionModule(FollowingAction):
    """Named as Ansible expects."""

    def follow(self, plan: Plan, task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """Return the result of the module ``generation``."""
        settings, artifact = plan.settings, planned(plan.request)
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
            task_vars,
        )
