"""What action plugins share: work on the host, where a lost connection is a failure like any other."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase

_WRAPPING = re.compile(r"^(Task failed: |Module failed: )+")


class LostError(Exception):
    """The host could not be asked; the message is for the operator."""

    @property
    def result(self) -> dict[str, Any]:
        """The result of a task that ends with it."""
        return {"failed": True, "lost": True, "msg": str(self)}


class AskingAction(ActionBase):  # type: ignore[misc]
    """An action that runs a module on its host.

    Ansible skips ``rescue`` and ``always`` for a host that it cannot reach, and forgets it. A deploy has to give back
    what such a host's neighbours have reserved, so it needs a failure.
    """

    _supports_check_mode = True
    _supports_async = False
    _supports_diff = True

    def ask(self, module: str, arguments: Mapping[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """Run a module on the host, and return its result; it has failed if the host could not be asked.

        Args:
            module: its full name.
            arguments: its arguments.
            task_vars: the variables of the task.
        """
        try:
            result: dict[str, Any] = self._reach(
                lambda: self._execute_module(module_name=module, module_args=dict(arguments), task_vars=task_vars),
                task_vars,
            )
        except LostError as error:
            return error.result
        if result.pop("unreachable", False):
            return LostError(self._unreachable(str(result.get("msg")), task_vars)).result
        return result

    def put(self, file: Path, task_vars: Mapping[str, Any]) -> str:
        """Copy a file to the temporary directory of the task on the host, and return its path there.

        Args:
            file: a file of the controller.
            task_vars: the variables of the task.

        Raises:
            LostError: it could not be copied.
        """
        target = f"{self.directory(task_vars)}{file.name}"

        def uncopied(said: str, task_vars: Mapping[str, Any]) -> str:
            where, _ = self._host(task_vars)
            folder = Path(target).parent.parent
            return f"{file.name} cannot be copied to {where}: {_brief(said)}. Check the free space of {folder} there"

        self._reach(lambda: self._transfer_file(str(file), target), task_vars, uncopied)
        return target

    def get(self, path: str, file: Path, task_vars: Mapping[str, Any]) -> None:
        """Copy a file of the host that its connecting account can read.

        Args:
            path: the file on the host.
            file: where to put it on the controller.
            task_vars: the variables of the task.

        Raises:
            LostError: it could not be copied.
        """
        self._reach(lambda: self._connection.fetch_file(path, str(file)), task_vars)

    def directory(self, task_vars: Mapping[str, Any]) -> str:
        """Return the temporary directory of the task on the host, with a slash. Ansible removes it with the task.

        Args:
            task_vars: the variables of the task.

        Raises:
            LostError: it could not be created.
        """
        path = self._connection._shell.tmpdir or self._reach(self._make_tmp_path, task_vars)
        return f"{path.rstrip('/')}/"

    def where(self, task_vars: Mapping[str, Any]) -> str:
        """Return the name of the host that the task runs on."""
        return str(self._task.delegate_to or task_vars["inventory_hostname"])

    def unusable(self, result: Mapping[str, Any], task_vars: Mapping[str, Any]) -> str:
        """Return why a module could not answer, with the remedy."""
        return str(result["msg"]) if result.get("lost") else self._unusable(str(result.get("msg")), task_vars)

    def _reach(
        self,
        work: Callable[[], Any],
        task_vars: Mapping[str, Any],
        explain: Callable[[str, Mapping[str, Any]], str] | None = None,
    ) -> Any:
        try:
            return work()
        except AnsibleConnectionFailure as error:
            raise LostError(self._unreachable(str(error), task_vars)) from error
        except AnsibleError as error:
            raise LostError((explain or self._unusable)(str(error), task_vars)) from error

    def _unreachable(self, said: str, task_vars: Mapping[str, Any]) -> str:
        where, who = self._host(task_vars)
        return (
            f"{where} cannot be reached over SSH as {who}: {_brief(said)}. Check that the host is up and that you can "
            "log in there from here with ssh."
        )

    def _unusable(self, said: str, task_vars: Mapping[str, Any]) -> str:
        where, who = self._host(task_vars)
        if re.search(r"sudo|become|password|escalation", said, re.IGNORECASE):
            return (
                f"{who} on {where} cannot become root: {_brief(said)}. Let the account use sudo, or run with "
                "--ask-become-pass."
            )
        return f"{where} cannot be examined: {_brief(said)}"

    def _host(self, task_vars: Mapping[str, Any]) -> tuple[str, str]:
        of_host = (task_vars.get("ansible_delegated_vars") or {}).get(self._task.delegate_to, task_vars)
        where = self._templar.template(of_host.get("ansible_host") or self.where(task_vars))
        user = self._templar.template(of_host.get("ansible_user") or "(the default)")
        return f"ansible_host={where}", f"ansible_user={user}"


def _brief(said: str) -> str:
    return _WRAPPING.sub("", said).strip().rstrip(".")
