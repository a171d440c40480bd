"""Action: the record of the commands of a deploy, and whether its owner still lives. The module documents it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic.command_record import Record
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan import commands
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.run import reserved
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.run.asking import AskingAction
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.settings.reading import plain

_UNRECORDED = " The commands have run, and that is not recorded: the next deploy runs them again."


class ActionModule(AskingAction):
    """Named as Ansible expects."""

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the record. Fail if another run that lives is running the commands, or the keeper does not answer."""
        super().run(tmp, task_vars)
        variables, asked = task_vars or {}, plain(self._task.args)
        app, state = asked["app_name"], asked.get("state", "read")
        break_lock = self._templar.template(variables.get("flask_uwsgi_break_lock", False))
        after = {"read": " Nothing was changed.", "done": _UNRECORDED}.get(state, "")
        result, record = self._asked(asked, variables)
        if state in ("read", "claimed") and (problem := commands.problem(app, record, break_lock)):
            return {"failed": True, "msg": f"{problem}{after}"}
        if record and result.get("failed") and state == "claimed":
            replaced = reserved.replaceable(record.by, break_lock)
            result, record = self._asked({**asked, "replace": replaced}, variables)
        if result.get("failed") and state == "absent":
            # The deploy has failed before, and its message counts.
            warning = self._silent(app, result, variables)
            return {"changed": False, "record": None, "claimed": False, "warnings": [warning]}
        if result.get("failed"):
            taken = f"{app}: {result['msg']}. Deploy again, so that the plan is made anew."
            why = taken if "record" in result else self._silent(app, result, variables)
            return {**result, "msg": f"{why}{after}"}
        if state == "read":
            host, run = asked["host"], asked["run"]
            result["text"] = commands.summary(app, record, asked["generations"][0], run, host, self.where(variables))
        return result

    def _asked(self, asked: Mapping[str, Any], variables: Mapping[str, Any]) -> tuple[dict[str, Any], Record | None]:
        result = self.ask("flaskops.uwsgi.command_record", asked, variables)
        return result, Record(**result["record"]) if result.get("record") else None

    def _silent(self, app: str, result: Mapping[str, Any], variables: Mapping[str, Any]) -> str:
        return (
            f"{self.where(variables)} has the record of flask_uwsgi_pre_activate for {app}, and cannot be asked: "
            f"{str(self.unusable(result, variables)).rstrip('.')}. Or set flask_uwsgi_keeper to another host of the "
            "inventory: it has no record, so the commands run again."
        )
