import json
import shutil
from pathlib import Path

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release import generation as gen
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release.retention import orphans
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic import reservation, service, trial
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic.swap import Swap, SwapError

from tests.support.fake_host import ADDRESS, FakeHost, TemporaryLayout, write_generation

ME = {"home": "here", "pid": 1, "start": "1", "what": "compare", "who": "me@here", "since": "now"}
OTHER = {**ME, "pid": 2, "who": "you@here"}


@pytest.fixture
def tried(layout: TemporaryLayout, host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    """Serve a generation on trial, on a host where ``found`` came after ``old``."""
    monkeypatch.setattr(trial, "time", host.clock)
    for name in ("old", "found"):
        write_generation(layout, name)
        Swap(layout, name).run()
    reservation.reserve(layout, ME)
    assert trial.begin(layout, ME, 60) == "found"
    write_generation(layout, "tried")
    Swap(layout, "tried", trial=True).run()
    assert host.answering() == {"tried"}
    return host


def test_a_trial_is_not_in_the_history(layout: TemporaryLayout, tried: FakeHost) -> None:
    assert gen.kept(layout) == ["found", "old"]
    assert gen.rollback_target(layout) == "old"
    assert trial.end(layout, ME) is True
    assert gen.kept(layout) == ["found", "old"]
    assert gen.rollback_target(layout) == "old"


def test_after_a_trial_the_host_is_as_before(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("found")
    before = host.unit_files(), host.enabled(), set(host.active), dict(host.open)
    assert trial.begin(layout, ME, 60) == "found"
    for name in ("one", "two"):
        write_generation(layout, name)
        Swap(layout, name, trial=True).run()
    trial.end(layout, ME)
    assert host.answering() == {"found"}
    # Its process is a new one.
    assert (host.unit_files(), host.enabled(), set(host.active), dict(host.open)) == before
    assert host.pidfile_pid() == host.active["shop@found.service"]


def reboot(layout: TemporaryLayout, host: FakeHost) -> None:
    """Lose power: the content of /run is gone, and systemd starts the enabled units."""
    host.active.clear()
    host.open.clear()
    host.inherited.clear()
    shutil.rmtree(layout.runtime.parent)
    layout.volatile_units.mkdir(parents=True)
    host.systemctl("daemon-reload")
    for unit in sorted(host.enabled(), key=lambda unit: not unit.endswith(".socket")):
        host.systemctl("start", unit)


def test_a_reboot_ends_a_trial(layout: TemporaryLayout, tried: FakeHost) -> None:
    before = tried.enabled()
    reboot(layout, tried)
    assert tried.answering() == {"found"} and tried.enabled() == before
    assert layout.current_generation() == "found"
    assert service.drift(layout) == []
    assert gen.kept(layout) == ["found", "old"]
    assert trial.watch(layout, ME) is False
    assert [path.name for path in orphans(layout)] == ["tried"]
    # A connection starts nothing else.
    tried.clients.add(ADDRESS)
    tried.systemctl("stop", "shop@found.service")
    assert tried.answering() == {"found"}
    write_generation(layout, "new")
    Swap(layout, "new").run()
    assert gen.kept(layout) == ["new", "found", "old"]
    assert not (layout.generations / "tried").exists()


def test_a_trial_makes_no_lasting_change(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("found")

    def lasting() -> tuple[object, ...]:
        files = {path: path.read_text() for path in layout.units.rglob("*") if path.is_file()}
        return files, host.enabled(), layout.deployed_generation(), gen.kept(layout)

    before = lasting()
    trial.begin(layout, ME, 60)
    for name in ("one", "two"):
        write_generation(layout, name)
        Swap(layout, name, trial=True).run()
        assert lasting() == before
        assert host.answering() == {name} and layout.current_generation() == name
        assert host.pidfile_pid() == host.active[f"shop@{name}.service"]
        assert service.drift(layout) == []
    trial.end(layout, ME)
    assert lasting() == before
    assert list(layout.volatile_units.iterdir()) == []
    assert not layout.trial.exists() and not layout.tried.is_symlink()


def test_an_instance_accepts_connections_at_every_moment_of_a_trial(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("found")
    host.clients.add(ADDRESS)
    trial.begin(layout, ME, 60)
    for name in ("one", "two"):
        write_generation(layout, name)
        Swap(layout, name, trial=True).run()
    trial.end(layout, ME)
    assert host.waited == []
    assert host.answering() == {"found"}


def test_the_original_generation_can_be_tried_like_others(layout: TemporaryLayout, tried: FakeHost) -> None:
    Swap(layout, "found", trial=True).run()
    assert tried.answering() == {"found"} and layout.current_generation() == "found"
    assert layout.trial.exists(), "the trial continues"
    Swap(layout, "tried", trial=True).run()
    assert tried.answering() == {"tried"}
    trial.end(layout, ME)
    assert tried.answering() == {"found"}


def test_a_trial_keeps_the_address(layout: TemporaryLayout, tried: FakeHost) -> None:
    write_generation(layout, "elsewhere", listen="127.0.0.1:9000")
    with pytest.raises(SwapError, match="a trial cannot change the address"):
        Swap(layout, "elsewhere", trial=True)


@pytest.mark.usefixtures("umask")
def test_the_record_of_a_trial_is_for_root_alone_and_written_through_no_link(
    layout: TemporaryLayout, tried: FakeHost, tmp_path: Path
) -> None:
    assert layout.trial.stat().st_mode & 0o777 == 0o600
    (tmp_path / "precious").write_text("precious")
    layout.trial.unlink()
    layout.trial.symlink_to(tmp_path / "precious")
    with pytest.raises(reservation.LockedError):
        trial.extend(layout, OTHER, 60)
    trial.begin(layout, ME, 60)
    assert (tmp_path / "precious").read_text() == "precious"
    assert not layout.trial.is_symlink()


def test_an_expired_trial_is_ended_without_its_owner(layout: TemporaryLayout, tried: FakeHost) -> None:
    assert trial.watch(layout, ME) is True
    assert 60 <= tried.clock.now < 62
    assert tried.answering() == {"found"}
    assert not (layout.generations / "tried").exists()
    assert reservation.owner(layout) is None, "and its reservation needs no breaking"


def test_an_extended_trial_continues(layout: TemporaryLayout, tried: FakeHost) -> None:
    def extend() -> None:
        if tried.clock.now == 50:
            trial.extend(layout, ME, 60)

    tried.clock.tick = extend
    assert trial.watch(layout, ME) is True
    assert 110 <= tried.clock.now < 112


def test_the_timer_is_removed_when_the_trial_has_ended(layout: TemporaryLayout, tried: FakeHost) -> None:
    tried.clock.tick = lambda: trial.end(layout, ME)
    assert trial.watch(layout, ME) is False
    assert tried.clock.now == 1


def test_a_deploy_ends_a_trial_that_was_interrupted(layout: TemporaryLayout, tried: FakeHost) -> None:
    write_generation(layout, "new")
    Swap(layout, "new").run()
    assert tried.answering() == {"new"}
    assert not (layout.generations / "tried").exists()
    assert gen.kept(layout) == ["new", "found", "old"]
    assert trial.watch(layout, ME) is False
    assert trial.end(layout, ME) is False
    assert tried.answering() == {"new"}


def test_a_generation_that_fails_its_trial_affects_nothing(layout: TemporaryLayout, tried: FakeHost) -> None:
    write_generation(layout, "bad")
    tried.sick["bad"] = "GET /healthz answered 500 instead of 200: no"
    with pytest.raises(SwapError):
        Swap(layout, "bad", trial=True).run()
    assert tried.answering() == {"tried"}
    assert gen.kept(layout) == ["found", "old"]
    trial.end(layout, ME)
    assert tried.answering() == {"found"}
    assert sorted(path.name for path in layout.generations.iterdir()) == ["found", "old"]


def test_two_runs_cannot_try_at_the_same_time(layout: TemporaryLayout, tried: FakeHost) -> None:
    with pytest.raises(trial.TrialError, match="is being tried by another run: compare by me@here"):
        trial.extend(layout, OTHER, 60)
    with pytest.raises(reservation.LockedError):
        trial.end(layout, OTHER)
    assert json.loads(layout.trial.read_text())["who"] == ME


def test_without_a_deploy_nothing_can_be_tried(layout: TemporaryLayout, host: FakeHost) -> None:
    with pytest.raises(trial.TrialError, match="deploy it first"):
        trial.begin(layout, ME, 60)


def test_the_timer_waits_for_a_running_step(
    layout: TemporaryLayout, tried: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    exclusive = reservation.exclusive
    held = exclusive(layout, ME)
    held.__enter__()

    def let_go() -> None:
        if tried.clock.now == 100:
            held.__exit__(None, None, None)

    tried.clock.tick = let_go
    monkeypatch.setattr(reservation, "exclusive", lambda *who: exclusive(*who, patience=0))
    assert trial.watch(layout, ME) is True
    assert 100 <= tried.clock.now < 102


def test_an_expired_trial_is_not_restarted_without_a_timer(layout: TemporaryLayout, tried: FakeHost) -> None:
    trial.end(layout, ME)
    with pytest.raises(trial.TrialError, match="the trial of shop has ended: its time ran out, or somebody deployed"):
        trial.extend(layout, ME, 60)
    assert not layout.trial.exists()
