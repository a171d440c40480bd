"""The action plugin ``command_record``: what a deploy does if the keeper is silent, and if another run has claimed."""

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.action.command_record import ActionModule
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic import command_record as record
from ansible_collections.flaskops.uwsgi.plugins.modules import command_record as module
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.run import controller

from tests.support.fake_host import TemporaryLayout

US = controller.run("deploy")
THEM = US | {"home": "elsewhere", "who": "jane@elsewhere", "pid": 4711}
DEAD = US | {"pid": 4711, "start": "0"}
LOST = {"failed": True, "lost": True, "msg": "ansible_host=10.0.0.1 cannot be reached over SSH as root: timed out."}

Act = Callable[..., dict[str, Any]]


@pytest.fixture
def act(call_module: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> Act:
    """Run the action, delegated from web2 to web1, with the module in this process."""

    def run(state: str, lost: bool = False, break_lock: bool = False) -> dict[str, Any]:
        def ask(_: ActionModule, __: str, arguments: Mapping[str, Any], ___: Any) -> dict[str, Any]:
            return dict(LOST) if lost else call_module(module, **arguments)

        asked = {"app_name": "shop", "generations": ["g1"], "host": "web2", "run": US, "state": state}
        task = SimpleNamespace(args=asked, delegate_to="web1", async_val=0, check_mode=False, diff=False)
        templar = SimpleNamespace(template=lambda value: value)
        monkeypatch.setattr(ActionModule, "ask", ask)
        monkeypatch.setattr(ActionModule, "_display", None, raising=False)
        action = ActionModule(task, SimpleNamespace(), None, None, templar, None)
        variables = {"inventory_hostname": "web2", "flask_uwsgi_break_lock": break_lock}
        monkeypatch.setattr("ansible.plugins.action.ActionBase.run", lambda *_: {})
        return action.run(None, variables)

    return run


def test_a_deploy_claims_and_records_and_the_next_plan_says_so(act: Act) -> None:
    assert act("read")["text"] == (
        "shop: flask_uwsgi_pre_activate runs once for this generation, on web2 (recorded on web1)"
    )
    assert act("claimed")["claimed"] is True
    done = act("done")["record"]
    assert act("read")["text"] == (
        f"shop: flask_uwsgi_pre_activate ran for this generation on web2 at {done['at']}, and does not run again"
    )
    assert act("claimed")["claimed"] is False


@pytest.mark.parametrize(
    ("state", "end"), [("read", "break_lock=true. Nothing was changed."), ("claimed", "break_lock=true.")]
)
def test_commands_that_another_run_is_running_are_refused(
    act: Act, layout: TemporaryLayout, state: str, end: str
) -> None:
    record.claim(layout, ["g1"], "web3", THEM)
    found = act(state)
    assert found["failed"] and "is running on web3" in found["msg"] and "jane@elsewhere, pid 4711" in found["msg"]
    assert found["msg"].endswith(end)
    assert act(state, break_lock=True).get("failed", False) is False


def test_a_claim_of_a_run_that_has_ended_is_replaced(act: Act, layout: TemporaryLayout) -> None:
    record.claim(layout, ["g1"], "web3", DEAD)
    assert act("read")["text"].startswith(
        "shop: flask_uwsgi_pre_activate runs again, on web2: it was not recorded that"
    )
    assert act("claimed")["claimed"] is True
    found = record.read(layout)
    assert found and (found.on, found.by["pid"]) == ("web2", US["pid"])


@pytest.mark.parametrize(
    ("state", "end"),
    [
        ("read", "so the commands run again. Nothing was changed."),
        ("claimed", "so the commands run again."),
        ("done", "The commands have run, and that is not recorded: the next deploy runs them again."),
    ],
)
def test_a_keeper_that_does_not_answer_is_a_failure_with_a_remedy(act: Act, state: str, end: str) -> None:
    said = act(state, lost=True)
    assert said["failed"] and said["msg"].endswith(end)
    assert said["msg"].startswith(
        "web1 has the record of flask_uwsgi_pre_activate for shop, and cannot be asked: ansible_host=10.0.0.1 cannot "
        "be reached over SSH as root: timed out. Or set flask_uwsgi_keeper to another host of the inventory"
    )


def test_a_claim_that_cannot_be_given_back_does_not_hide_why_the_deploy_failed(act: Act) -> None:
    found = act("absent", lost=True)
    assert not found.get("failed") and "web1 has the record" in found["warnings"][0]


def test_a_claim_that_was_lost_meanwhile_is_not_recorded(act: Act, layout: TemporaryLayout) -> None:
    act("claimed")
    record.claim(layout, ["g1"], "web3", THEM, US)
    said = act("done")["msg"]
    assert said.startswith(
        "shop: the claim of this run has ended, and another run may have run the commands since. Dep"
    )
