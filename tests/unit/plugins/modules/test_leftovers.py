"""Units left running by a killed module: the status names them, and the next run ends them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import kinds
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release import generation as gen
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic import removal, reservation, service
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic.stopping import end_leftovers
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic.swap import Swap
from ansible_collections.flaskops.uwsgi.plugins.modules import serving, status

from tests.support.fake_host import FakeHost, TemporaryLayout, write_generation

CallModule = Callable[..., dict[str, Any]]


def leave(layout: TemporaryLayout, host: FakeHost, kind: kinds.Kind, name: str, then: str = "runs") -> str:
    """Start a unit as a module does, and abandon it as a killed module does."""
    unit = layout.unit(kind, name)
    stored = layout.generations / name / "units"
    (layout.units / layout.unit(kind, "")).write_text((stored / "app-canary@.service").read_text())
    settings = layout.dropin(unit)
    settings.parent.mkdir(exist_ok=True)
    settings.write_text((stored / "generation.conf").read_text())
    host.systemctl("daemon-reload")
    host.systemctl("start", unit)
    if then == "failed":
        host.crash(unit)
    elif then == "ended":
        host.systemctl("stop", unit)
    return unit


@pytest.fixture
def serves(layout: TemporaryLayout, host: FakeHost) -> FakeHost:
    host.serve("current")
    write_generation(layout, "killed")
    return host


each = pytest.mark.parametrize(
    ("kind", "then"),
    [
        pytest.param(kind, then, id=f"{kind.name}-{then}")
        for kind in kinds.TEMPORARY
        for then in ("runs", "failed", "ended")
        # A canary that has ended leaves nothing that does not belong there.
        if (kind, then) != (kinds.CANARY, "ended")
    ],
)


@each
def test_leftovers_are_named(
    call_module: CallModule, layout: TemporaryLayout, serves: FakeHost, kind: kinds.Kind, then: str
) -> None:
    unit = leave(layout, serves, kind, "killed", then)
    drift = call_module(status)["status"]["drift"]
    left = layout.units / layout.unit(kind, "") if then == "ended" else unit
    assert f"{left} was left by a run that was killed" in drift


def test_leftovers_of_a_first_deploy_are_named(
    call_module: CallModule, layout: TemporaryLayout, host: FakeHost
) -> None:
    write_generation(layout, "killed")
    unit = leave(layout, host, kinds.CANARY, "killed")
    assert call_module(status)["status"]["drift"] == [
        "no generation serves",
        f"{unit} was left by a run that was killed",
    ]


@each
def test_units_of_a_running_module_are_not_leftovers(
    layout: TemporaryLayout, serves: FakeHost, kind: kinds.Kind, then: str
) -> None:
    leave(layout, serves, kind, "killed", then)
    with reservation.exclusive(layout):
        assert [text for text in service.drift(layout) if "is left" in text] == []


@each
@pytest.mark.parametrize("state", ["started", "restarted", "stopped"])
def test_leftovers_are_ended_by_the_next_run(
    call_module: CallModule, layout: TemporaryLayout, serves: FakeHost, kind: kinds.Kind, then: str, state: str
) -> None:
    unit = leave(layout, serves, kind, "killed", then)
    result = call_module(serving, state=state)
    assert not result["failed"] and result["changed"]
    assert unit not in {*serves.active, *serves.failed}
    assert serves.answering() == (set() if state == "stopped" else {"current"})
    if kind is not kinds.CANARY:
        assert list(layout.units.glob(layout.unit(kind, "*") + "*")) == []
    if state != "stopped":
        assert service.drift(layout) == []


@each
def test_check_mode_reports_leftovers(
    call_module: CallModule, layout: TemporaryLayout, serves: FakeHost, kind: kinds.Kind, then: str
) -> None:
    leave(layout, serves, kind, "killed", then)
    assert call_module(serving, check=True, state="started")["changed"]
    call_module(serving, state="stopped")
    assert not call_module(serving, check=True, state="stopped")["changed"]
    leave(layout, serves, kind, "killed", then)
    assert call_module(serving, check=True, state="stopped")["changed"]


@each
def test_leftovers_are_removed_with_the_application(
    layout: TemporaryLayout, serves: FakeHost, kind: kinds.Kind, then: str
) -> None:
    leave(layout, serves, kind, "killed", then)
    removal.remove(layout, data=False)
    assert not serves.active and not serves.failed and serves.unit_files() == {}


def test_commands_of_the_deployed_generation_are_not_interrupted(layout: TemporaryLayout, serves: FakeHost) -> None:
    own, other = (leave(layout, serves, kinds.POST, name) for name in ("current", "killed"))
    Swap(layout, "current").run()
    assert own in serves.active and other not in serves.active
    assert list(layout.units.glob("shop-post@*")), "running commands keep their files"


@pytest.mark.parametrize("then", ["failed", "ended"])
def test_ended_commands_of_the_deployed_generation_leave_nothing(
    layout: TemporaryLayout, serves: FakeHost, then: str
) -> None:
    leave(layout, serves, kinds.POST, "current", then)
    assert Swap(layout, "current").run()
    assert not serves.failed and not list(layout.units.glob("shop-post@*"))
    assert service.drift(layout) == []


def test_without_leftovers_nothing_is_ended(layout: TemporaryLayout, serves: FakeHost) -> None:
    assert end_leftovers(layout) is False
    assert serves.actions == []


def test_a_generation_of_a_killed_run_beside_the_current_one_is_named_and_ended(
    call_module: CallModule, layout: TemporaryLayout, serves: FakeHost
) -> None:
    gen.mark_served(layout, "killed")
    for target, stored in gen.unit_targets(layout, "killed").items():
        target.parent.mkdir(exist_ok=True)
        target.write_text(stored.read_text())
    serves.systemctl("daemon-reload")
    serves.systemctl("start", layout.service("killed"))
    assert "generation killed runs beside the current one" in service.drift(layout)
    assert call_module(serving, state="started")["changed"]
    assert serves.answering() == {"current"}
    assert service.drift(layout) == []
