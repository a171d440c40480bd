"""What an operator reads if a file cannot be copied to a host."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.run.asking import AskingAction, LostError


class Action(AskingAction):
    """An action whose host has a temporary directory."""

    def __init__(self, error: Exception, delegate_to: str = "") -> None:
        task = SimpleNamespace(async_val=0, delegate_to=delegate_to)
        connection = SimpleNamespace(_shell=SimpleNamespace(tmpdir="/srv/jane/.ansible/tmp/ansible-tmp-1"))
        super().__init__(task, connection, None, None, SimpleNamespace(template=lambda value: value), None)
        self._error = error

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        raise NotImplementedError

    def _transfer_file(self, local_path: str, remote_path: str) -> None:
        raise self._error


VARIABLES: dict[str, Any] = {
    "inventory_hostname": "web1", "ansible_user": "jane", "ansible_delegated_vars": {"build1": {}},
}  # fmt: skip


@pytest.mark.parametrize(
    ("error", "delegate_to", "message"),
    [
        (
            AnsibleError("failed to transfer file to w1.tar: Failure."),
            "",
            "w1.tar cannot be copied to ansible_host=web1: failed to transfer file to w1.tar: Failure. Check the free "
            "space of /srv/jane/.ansible/tmp there",
        ),
        (
            AnsibleConnectionFailure("timed out"),
            "build1",
            "ansible_host=build1 cannot be reached over SSH as ansible_user=(the default): timed out. Check that the "
            "host is up and that you can log in there from here with ssh.",
        ),
    ],
)
def test_a_file_that_cannot_be_copied_is_named_with_the_remedy(
    error: Exception, delegate_to: str, message: str
) -> None:
    with pytest.raises(LostError) as lost:
        Action(error, delegate_to).put(Path("/cache/w1.tar"), VARIABLES)
    assert str(lost.value) == message
    assert lost.value.result == {"failed": True, "lost": True, "msg": message}
