"""Action: check gevent mode on the host, and keep the result. The module of this name documents it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.run.asking import AskingAction


class ActionModule(AskingAction):
    """Named as Ansible expects."""

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the result of the module, once it is written to the report, if one is asked for."""
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        report = arguments.pop("report", None)
        result = self.ask("flaskops.uwsgi.gevent_check", arguments, task_vars or {})
        if report and "check" in result and not self._task.check_mode:
            path = Path(report).expanduser().absolute()
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(result["check"], indent=2) + "\n")
            except OSError as error:
                why = f"{path} cannot be written on the controller: {error.strerror}"
                return {**result, "failed": True, "msg": f"{why}. Correct flask_uwsgi_gevent_check_dir"}
        return result
