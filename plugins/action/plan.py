"""Action: what a deploy will do on a host. The module of this name documents it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from ansible_collections.flaskops.uwsgi.plugins.module_utils.release.artifact import ArtifactError
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan import folders, naming, plan
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan.choice import GEVENT, choose, threads_instead
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan.request import requested
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.run import controller, reserved
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.run.asking import AskingAction
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.settings import preflight
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.settings.reading import plain, read
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.settings.settings import Settings, typed
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source.dependencies import Unresolved
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source.planning import planned

# Those in which every host has finished a task before any begins the next one.
_IN_STEP = {"linear", "ansible.builtin.linear", "debug", "ansible.builtin.debug"}


class ActionModule(AskingAction):
    """Named as Ansible expects."""

    _VALID_ARGS = frozenset({"decision", "limits", "verdict", "what"})

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the plan. A problem is part of it: those of all hosts are reported together."""
        super().run(tmp, task_vars)
        # One host would compare the plans before the others have theirs.
        if problems := self._strategy_problems(task_vars or {}):
            return {"failed": True, "msg": "\n".join([*problems, "Nothing was changed."])}
        found = self._plan(task_vars or {})
        # After a verdict nobody compares the plans.
        late = bool(self._task.args.get("verdict"))
        failure = {"failed": True, "msg": "\n".join(found.problems)} if found.problems and late else {}
        run = controller.run(self._task.args.get("what", "deploy"))
        return {"changed": False, **asdict(replace(found, run=run)), **failure}

    def _plan(self, variables: Mapping[str, Any]) -> plan.Plan:
        host = str(variables["inventory_hostname"])
        values, problems = read(variables, self._templar.template)
        if problems := problems or self._value_problems(values, variables):
            return plan.Plan(host, problems)
        settings = typed(values)
        # With a problem, too: what this run has prepared before has to be taken back.
        return replace(self._of_host(host, settings, values, variables), app_name=settings.app_name, root=settings.root)

    def _of_host(
        self, host: str, settings: Settings, values: dict[str, Any], variables: Mapping[str, Any]
    ) -> plan.Plan:
        wanted = ("app_name", "base_dir", "bind", "port", "user", "group", "socket_group", "packages", "python")
        arguments = {name: getattr(settings, name) for name in wanted}
        state = self.ask("flaskops.uwsgi.host_state", arguments, variables)
        if state.get("failed"):
            return plan.Plan(host, [self.unusable(state, variables)])
        problems = [
            *reserved.problems(state["app"]["lock"], settings.break_lock),
            *preflight.preflight_problems(state, values),
        ]
        return plan.Plan(host, problems) if problems else self._of_artifact(host, settings, state, variables)

    def _of_artifact(
        self, host: str, settings: Settings, state: Mapping[str, Any], variables: Mapping[str, Any]
    ) -> plan.Plan:
        try:
            request = requested(settings, state["host"], variables, self._templar)
            artifact = planned(request)
        except ArtifactError as error:
            return plan.Plan(host, str(error).splitlines())
        except Unresolved as unresolved:
            return plan.unresolved(host, settings, state, request, unresolved.resolution)
        if problems := list(folders.problems(settings, artifact)):
            return plan.Plan(host, problems)
        choice = choose(settings, self._decision(settings) or state["app"]["decision"].get(artifact.digest) or {})
        generation = naming.once_a_run(settings, artifact, choice, request.cache)
        return plan.of(host, settings, state, request, artifact, choice, generation)

    def _decision(self, settings: Settings) -> dict[str, Any]:
        asked = plain(self._task.args)
        if verdict := asked.get("verdict"):
            return GEVENT if verdict["verdict"] == "ok" else threads_instead(verdict, settings, asked["limits"])
        return asked.get("decision") or {}

    def _value_problems(self, values: dict[str, Any], variables: Mapping[str, Any]) -> list[str]:
        keeper = values["keeper"]
        unknown = keeper != "" and keeper not in variables["groups"]["all"]
        return [
            *preflight.settings_problems(values),
            *([f"flask_uwsgi_keeper={keeper} is no host of the inventory: name one, or empty it"] if unknown else []),
        ]

    def _strategy_problems(self, variables: Mapping[str, Any]) -> list[str]:
        strategy, hosts = self._task.get_play().strategy, variables["ansible_play_hosts_all"]
        if strategy in _IN_STEP or len(hosts) == 1:
            return []
        return [
            f"strategy={strategy} lets hosts overtake each other, and {len(hosts)} hosts are deployed together: leave "
            "the strategy out of the play, or use playbooks/deploy.yml"
        ]
