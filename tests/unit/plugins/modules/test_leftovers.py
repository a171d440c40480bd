"""What a module that was killed has left at work: named by the status, ended by the next run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import kinds, systemd
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release import generation as gen
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic import removal, reservation, service
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic.swap import Swap, end_leftovers
from ansible_collections.flaskops.uwsgi.plugins.modules import serving, status

from tests.support.fake_host import FakeHost, TemporaryLayout, write_generation

CallModule = Callable[..., dict[str, Any]]


def leave(layout: TemporaryLayout, host: FakeHost, kind: kinds.Kind, name: str) -> str:
    """Start a unit as a module does, and forget it as a killed module does."""
    unit = layout.unit(kind, name)
    stored = layout.generations / name / "units"
    (layout.units / layout.unit(kind, "")).write_text((stored / "app-canary@.service").read_text())
    settings = layout.dropin(unit)
    settings.parent.mkdir(exist_ok=True)
    settings.write_text((stored / "generation.conf").read_text())
    host.systemctl("daemon-reload")
    host.systemctl("start", unit)
    return unit


@pytest.fixture
def serves(layout: TemporaryLayout, host: FakeHost) -> FakeHost:
    host.serve("current")
    write_generation(layout, "killed")
    return host


each = pytest.mark.parametrize("kind", kinds.TEMPORARY, ids=lambda kind: kind.name)


@each
def test_what_is_left_is_named(
    call_module: CallModule, layout: TemporaryLayout, serves: FakeHost, kind: kinds.Kind
) -> None:
    unit = leave(layout, serves, kind, "killed")
    drift = call_module(status)["status"]["drift"]
    assert f"{unit} is left of a run that was killed" in drift


@each
def test_what_belongs_to_a_module_at_work_is_not_left(
    layout: TemporaryLayout, serves: FakeHost, kind: kinds.Kind
) -> None:
    leave(layout, serves, kind, "killed")
    with reservation.exclusive(layout):
        assert [text for text in service.drift(layout) if "is left" in text] == []


@each
@pytest.mark.parametrize("state", ["started", "restarted", "stopped"])
def test_what_is_left_is_ended_by_the_next_run(
    call_module: CallModule, layout: TemporaryLayout, serves: FakeHost, kind: kinds.Kind, state: str
) -> None:
    unit = leave(layout, serves, kind, "killed")
    result = call_module(serving, state=state)
    assert not result["failed"] and result["changed"]
    assert unit not in serves.active and systemd.leftovers(layout) == []
    assert serves.answering() == (set() if state == "stopped" else {"current"})
    if kind is not kinds.CANARY:
        assert list(layout.units.glob(layout.unit(kind, "*") + "*")) == []
    if state != "stopped":
        assert service.drift(layout) == []


@each
def test_check_mode_tells_that_something_is_left(
    call_module: CallModule, layout: TemporaryLayout, serves: FakeHost, kind: kinds.Kind
) -> None:
    leave(layout, serves, kind, "killed")
    assert call_module(serving, check=True, state="started")["changed"]
    call_module(serving, state="stopped")
    assert not call_module(serving, check=True, state="stopped")["changed"]
    leave(layout, serves, kind, "killed")
    assert call_module(serving, check=True, state="stopped")["changed"]


@each
def test_what_is_left_is_gone_with_the_application(layout: TemporaryLayout, serves: FakeHost, kind: kinds.Kind) -> None:
    leave(layout, serves, kind, "killed")
    removal.remove(layout, data=False)
    assert not serves.active and serves.unit_files() == {}


def test_the_commands_of_what_is_deployed_are_left_to_end(layout: TemporaryLayout, serves: FakeHost) -> None:
    own, other = (leave(layout, serves, kinds.POST, name) for name in ("current", "killed"))
    Swap(layout, "current").run()
    assert own in serves.active and other not in serves.active
    assert list(layout.units.glob("shop-post@*")), "what runs keeps its files"


def test_where_nothing_is_left_nothing_is_ended(layout: TemporaryLayout, serves: FakeHost) -> None:
    assert end_leftovers(layout) is False
    assert serves.actions == []


def test_a_killed_generation_that_runs_beside_the_current_one_is_named_and_ended(
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
