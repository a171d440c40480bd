"""The action plugin ``gevent_check``: where the result is kept."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.action.gevent_check import ActionModule

CHECK = {"verdict": "ok", "generation": "g1"}
Act = Callable[..., dict[str, Any]]


@pytest.fixture
def act(monkeypatch: pytest.MonkeyPatch) -> Act:
    """Run the action with a report; the module returns what it is told to."""

    def run(report: Path, answer: dict[str, Any], check: bool = False) -> dict[str, Any]:
        def ask(_: ActionModule, module: str, arguments: dict[str, Any], __: Any) -> dict[str, Any]:
            assert (module, arguments) == ("flaskops.uwsgi.gevent_check", {"generation": "g1"})
            return dict(answer)

        monkeypatch.setattr(ActionModule, "ask", ask)
        monkeypatch.setattr("ansible.plugins.action.ActionBase.run", lambda *_: {})
        monkeypatch.setattr(ActionModule, "_display", None, raising=False)
        asked = {"generation": "g1", "report": str(report)}
        task = SimpleNamespace(args=asked, delegate_to=None, async_val=0, check_mode=check, diff=False)
        return ActionModule(task, SimpleNamespace(), None, None, SimpleNamespace(), None).run(None, {})

    return run


def test_the_result_is_written_on_the_controller(act: Act, tmp_path: Path) -> None:
    report = tmp_path / "reports/gevent/app1.json"
    assert act(report, {"changed": True, "check": CHECK}) == {"changed": True, "check": CHECK}
    assert json.loads(report.read_text()) == CHECK


@pytest.mark.parametrize(
    ("answer", "check"), [({"changed": False}, True), ({"failed": True, "msg": "lost"}, False)], ids=["check", "lost"]
)
def test_without_a_result_nothing_is_written(act: Act, tmp_path: Path, answer: dict[str, Any], check: bool) -> None:
    assert act(tmp_path / "reports/app1.json", answer, check) == answer
    assert list(tmp_path.iterdir()) == []


def test_a_report_that_cannot_be_written_is_a_failure_that_names_the_variable(act: Act, tmp_path: Path) -> None:
    (tmp_path / "reports").touch()
    found = act(tmp_path / "reports/app1.json", {"changed": True, "check": CHECK})
    assert found["failed"] and found["msg"].endswith("Correct flask_uwsgi_gevent_check_dir")
