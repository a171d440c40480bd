"""What the action plugins share that do a part of a plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..run.asking import AskingAction, LostError
from ..run.seal import SealError
from ..settings.reading import plain
from .plan import Plan


class FollowingAction(AskingAction):
    """An action whose only option is the plan of its host."""

    _VALID_ARGS = frozenset({"plan"})

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the result of the part, or a failure if the host was lost or the plan is of another run."""
        super().run(tmp, task_vars)
        try:
            return self.follow(Plan.read(plain(self._task.args["plan"])), task_vars or {})
        except SealError as error:
            return {"failed": True, "msg": f"the plan cannot be followed ({error}): plan again in this run"}
        except LostError as error:
            return error.result

    def follow(self, plan: Plan, task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """Do the part.

        Args:
            plan: that of the host.
            task_vars: the variables of the task.

        Raises:
            LostError: the host was lost.
            SealError: the plan is of another run, or there is nothing to do.
        """
        raise NotImplementedError
