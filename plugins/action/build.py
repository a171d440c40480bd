"""Action: build what is missing of an artifact. The module of this name documents it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release.artifact import ArtifactError
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan.request import of_role, unsealed
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.run.asking import AskingAction, LostError
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.run.seal import SealError
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source import building
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source.artifact import Artifact, Request
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source.dependencies import Resolution, Unresolved
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source.planning import looked_up


class ActionModule(AskingAction):
    """Named as Ansible expects."""

    _VALID_ARGS = frozenset({"request", "wheels"})

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the artifact, and what was built of it."""
        super().run(tmp, task_vars)
        variables = task_vars or {}
        if self._task.check_mode:
            return {"skipped": True, "msg": "nothing is built in check mode"}
        try:
            text = self._task.args.get("request")
            request = unsealed(text) if text else of_role(variables, self._templar)
            return self._of(request, boolean(self._task.args.get("wheels", True)), variables)
        except SealError as error:
            return {"failed": True, "msg": f"there is nothing to build ({error}): plan again in this run"}
        except ArtifactError as error:
            return {"failed": True, "msg": str(error)}
        except LostError as error:
            return error.result

    def _of(self, request: Request, wheels: bool, variables: Mapping[str, Any]) -> dict[str, Any]:
        did = []
        try:
            artifact = looked_up(request)
        except Unresolved as unresolved:
            did.append(self._lock(request, unresolved.resolution, variables))
            artifact = looked_up(request)
        if wheels and not artifact.wheelhouse["built"]:
            did.append(self._wheelhouse(request, artifact, variables))
            artifact = looked_up(request)
        return {"changed": bool(did), "artifact": asdict(artifact), "text": did}

    def _lock(self, request: Request, resolution: Resolution, variables: Mapping[str, Any]) -> str:
        archive = building.archive_of(request, resolution)
        given = {
            **building.limits(request),
            **{name: getattr(resolution, name) for name in building.RESOLVED},
            "archive": self.put(archive, variables) if archive else "",
        }
        result = self._ask("resolution", given, request, resolution.project, variables)
        building.keep_lock(resolution, result["lock"])
        return f"lock of {resolution.made_from} in {resolution.path}"

    def _wheelhouse(self, request: Request, artifact: Artifact, variables: Mapping[str, Any]) -> str:
        house = artifact.wheelhouse
        distribution = house["distribution"]
        target = f"{self.directory(variables)}wheelhouse.tar"
        given = {
            **building.limits(request),
            "locks": list(house["requirements"].values()),
            "distribution": self.put(Path(distribution), variables) if distribution else "",
            "project": house["project"],
            "patches": house["patches"],
            "target": target,
        }
        result = self._ask("wheelhouse", given, request, artifact.project, variables)
        with building.fetched(artifact) as archive:
            self.get(target, archive, variables)
            building.keep_wheelhouse(artifact, archive, request, result["wheels"])
        built = sum(bool(wheel["built_from"]) for wheel in result["wheels"])
        return (
            f"wheelhouse {house['id']}: {len(result['wheels'])} wheels, {built} of them built, "
            f"{result['megabytes']} MB, in {result['seconds']} s on {self.where(variables)}"
        )

    def _ask(
        self, module: str, given: Mapping[str, Any], request: Request, project: str, variables: Mapping[str, Any]
    ) -> dict[str, Any]:
        result = self.ask(f"flaskops.uwsgi.{module}", given, variables)
        if result.get("why"):
            raise ArtifactError(building.problem(request, result, self.where(variables), project))
        if result.get("failed"):
            raise (LostError if result.get("lost") else ArtifactError)(str(result["msg"]))
        return result
