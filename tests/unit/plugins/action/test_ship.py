"""The action plugin ``ship``: what it copies to a host."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.action import ship
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan.plan import Plan
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan.request import sealed
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.run.asking import LostError
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source.artifact import Artifact, Request

from tests.support.planning import artifact

PLAN = Plan(
    "web1", work="deploy", app_name="shop", root="/srv/apps/shop", code=True, wheels=True,
    asked=sealed(Request("app", "", "", "", "", "/cache")),
)  # fmt: skip
ARCHIVES = {"code": "c1.tar.gz", "wheelhouse": "w1.tar"}
WHEELS = {"id": "w1", "digest": "w" * 64, "path": "/cache/w1.tar"}
Act = Callable[..., dict[str, Any]]


@pytest.fixture
def shipped() -> list[str]:
    """Return the files that were copied to the host."""
    return []


@pytest.fixture
def act(shipped: list[str], monkeypatch: pytest.MonkeyPatch) -> Act:
    """Run the action; the module ``release`` returns what it was given."""

    def run(plan: Plan, found: Artifact, check: bool = False, lost: bool = False) -> dict[str, Any]:
        def put(_: ship.ActionModule, file: Path, __: Any) -> str:
            if lost:
                raise LostError("ansible_host=web1 cannot be reached")
            shipped.append(str(file))
            return f"/tmp/task/{file.name}"

        def ask(_: ship.ActionModule, module: str, arguments: Mapping[str, Any], __: Any) -> dict[str, Any]:
            return {"module": module, **arguments}

        for name, work in {"ask": ask, "put": put, "directory": lambda *_: "/tmp/task/"}.items():
            monkeypatch.setattr(ship.ActionModule, name, work)
        for name in ("looked_up", "planned"):
            monkeypatch.setattr(ship, name, lambda _: found)
        monkeypatch.setattr("ansible.plugins.action.ActionBase.run", lambda *_: {})
        monkeypatch.setattr(ship.ActionModule, "_display", None, raising=False)
        task = SimpleNamespace(args={"plan": asdict(plan)}, delegate_to=None, async_val=0, check_mode=check, diff=False)
        return ship.ActionModule(task, SimpleNamespace(), None, None, SimpleNamespace(), None).run(None, {})

    return run


@pytest.mark.parametrize(
    ("code", "wheels", "copied"),
    [
        (True, True, ["/cache/c1.tar.gz", "/cache/w1.tar"]),
        (True, False, ["/cache/c1.tar.gz"]),
        (False, True, ["/cache/w1.tar"]),
    ],
)
def test_only_what_the_host_lacks_is_copied(
    act: Act, shipped: list[str], code: bool, wheels: bool, copied: list[str]
) -> None:
    found = act(replace(PLAN, code=code, wheels=wheels), artifact())
    assert shipped == copied
    assert (found["module"], found["incoming"]) == ("flaskops.uwsgi.release", "/tmp/task/")
    assert (found["app_name"], found["base_dir"]) == ("shop", "/srv/apps")
    assert found["artifact"] == {
        "id": "r1", "digest": "r" * 64, "code": {"id": "c1"}, "wheelhouse": {"id": "w1", "digest": "w" * 64},
    }  # fmt: skip


def test_a_small_archive_goes_with_the_module_and_costs_no_round_trip(
    act: Act, shipped: list[str], tmp_path: Path
) -> None:
    (tmp_path / "c1.tar.gz").write_bytes(b"code")
    (tmp_path / "w1.tar").write_bytes(b"\0" * (ship._SMALL + 1))
    paths = {name: {**asdict(artifact())[name], "path": str(tmp_path / file)} for name, file in ARCHIVES.items()}
    found = act(PLAN, artifact(**paths))
    assert found["inline"] == {"c1.tar.gz": base64.b64encode(b"code").decode()}
    assert (shipped, found["incoming"]) == ([str(tmp_path / "w1.tar")], "/tmp/task/")
    found = act(replace(PLAN, wheels=False), artifact(**paths))
    assert (len(shipped), found["incoming"]) == (1, "")


def test_check_mode_copies_nothing_and_asks_the_module(act: Act, shipped: list[str]) -> None:
    found = act(PLAN, artifact(wheelhouse={**WHEELS, "built": False}), check=True)
    assert found["module"] == "flaskops.uwsgi.release" and shipped == []


def test_wheels_that_were_not_built_are_not_waited_for(act: Act, shipped: list[str]) -> None:
    found = act(PLAN, artifact(wheelhouse={**WHEELS, "built": False}))
    assert found["failed"] and "its wheels were not built" in found["msg"] and shipped == []
    assert act(replace(PLAN, wheels=False), artifact(wheelhouse={**WHEELS, "built": False}))["module"]


def test_a_host_that_is_lost_is_a_failure(act: Act) -> None:
    found = act(PLAN, artifact(), lost=True)
    assert found["failed"] and found["lost"] and "cannot be reached" in found["msg"]


def test_the_plan_of_another_run_is_refused(act: Act, shipped: list[str]) -> None:
    found = act(replace(PLAN, asked=""), artifact())
    assert found["failed"] and "plan again in this run" in found["msg"] and shipped == []


def test_code_alone_is_shipped_without_reading_the_wheelhouse_again(
    act: Act, shipped: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    act(PLAN, artifact())
    asked: list[str] = []
    for name in ("looked_up", "planned"):
        monkeypatch.setattr(ship, name, lambda _, name=name: asked.append(name) or artifact())
    for wheels in (False, True):
        task = SimpleNamespace(
            args={"plan": asdict(replace(PLAN, wheels=wheels))}, delegate_to=None, async_val=0, check_mode=False
        )
        ship.ActionModule(task, SimpleNamespace(), None, None, SimpleNamespace(), None).run(None, {})
    assert asked == ["planned", "looked_up"]
