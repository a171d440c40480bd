import fcntl
import json
import os
import re
import stat
import threading
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic import reservation as lock
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic.reservation import LockedError
from ansible_collections.flaskops.uwsgi.plugins.modules import reservation
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.run import controller
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.run.reserved import problems as lock_problems
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.run.reserved import replaceable

from tests.support.fake_host import Clock, TemporaryLayout

CallModule = Callable[..., dict[str, Any]]

US = {"who": "us@here", "home": "here", "pid": 6, "start": "100", "since": "2026-11-24T03:12:00Z", "what": "deploy"}
# Each differs from this run in one of the properties that identify a run.
OTHERS = [US | {"home": "there"}, US | {"pid": 7}, US | {"start": "101"}]
THEM = US | {"who": "them@here", "pid": 7, "what": "rollback"}
REFUSAL = (
    "shop is being changed on this host: rollback by them@here, pid 7, since 2026-11-24T03:12:00Z. "
    "Wait for it to end, then try again"
)


@contextmanager
def module_at_work(layout: TemporaryLayout) -> Iterator[Any]:
    """Hold the file lock as another process does."""
    layout.lock.parent.mkdir(exist_ok=True)
    with layout.lock.open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield stream


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Let no time pass during a wait for a lock."""
    clock = Clock()
    monkeypatch.setattr(lock, "time", clock)
    return clock


# The reservation.


def test_an_unchanged_application_is_not_reserved(layout: TemporaryLayout) -> None:
    assert lock.owner(layout) is None
    assert lock.release(layout, US) is False
    assert not layout.lock.exists()


def test_a_reservation_is_new_once_and_names_its_owner(layout: TemporaryLayout) -> None:
    assert lock.reserve(layout, US) is True
    assert lock.owner(layout) == US
    assert lock.reserve(layout, US) is False
    assert lock.owner(layout) == US


def test_the_same_run_is_recognized_whatever_it_is_doing(layout: TemporaryLayout) -> None:
    lock.reserve(layout, US)
    later = US | {"since": "2026-11-24T04:00:00Z", "what": "restart", "who": "us@elsewhere"}
    assert lock.reserve(layout, later) is False
    assert lock.release(layout, later) is True


@pytest.mark.parametrize("other", OTHERS)
def test_another_run_is_refused_and_the_first_is_named(layout: TemporaryLayout, other: dict[str, Any]) -> None:
    lock.reserve(layout, other)
    with pytest.raises(LockedError, match=rf"changed on this host: deploy by us@here, pid {other['pid']}"):
        lock.reserve(layout, US)
    assert lock.owner(layout) == other


def test_the_refusal_says_who_and_since_when(layout: TemporaryLayout) -> None:
    lock.reserve(layout, THEM)
    with pytest.raises(LockedError) as caught:
        lock.reserve(layout, US)
    assert str(caught.value) == REFUSAL


def test_an_owner_that_is_replaced_must_be_the_expected_one(layout: TemporaryLayout) -> None:
    lock.reserve(layout, THEM)
    for wrong in ({}, US, THEM | {"start": "102"}, THEM | {"pid": 8}, THEM | {"home": "there"}):
        with pytest.raises(LockedError):
            lock.reserve(layout, US, replace=wrong)
    assert lock.owner(layout) == THEM
    assert lock.reserve(layout, US, replace=THEM) is True
    assert lock.owner(layout) == US


def aged(layout: TemporaryLayout, seconds: int) -> None:
    """Make the reservation that much older."""
    renewed = layout.lock.stat().st_mtime_ns - seconds * 10**9
    os.utime(layout.lock, ns=(renewed, renewed))


def test_the_age_of_a_reservation_is_known(layout: TemporaryLayout) -> None:
    assert lock.held(layout) is None
    lock.reserve(layout, THEM)
    aged(layout, 100)
    found = lock.held(layout)
    assert found is not None
    assert found == THEM | {"renewed": layout.lock.stat().st_mtime_ns, "idle_s": found["idle_s"]}
    assert 100 <= found["idle_s"] < 130


def test_each_step_of_the_owner_renews_its_reservation(layout: TemporaryLayout) -> None:
    lock.reserve(layout, US)
    for look_inside in (True, False):
        aged(layout, 100)
        with lock.exclusive(layout, US):
            if look_inside:
                assert (lock.held(layout) or {})["idle_s"] < 30
            else:
                aged(layout, 100)
        assert (lock.held(layout) or {})["idle_s"] < 30


def test_another_run_s_step_renews_nothing(layout: TemporaryLayout) -> None:
    lock.reserve(layout, THEM)
    aged(layout, 100)
    before = lock.held(layout)
    with pytest.raises(LockedError), lock.exclusive(layout, US):
        pass
    assert (lock.held(layout) or {})["renewed"] == (before or {})["renewed"]


def test_a_lease_renewed_meanwhile_is_neither_replaced_nor_released(layout: TemporaryLayout) -> None:
    lock.reserve(layout, THEM)
    aged(layout, 4000)
    seen = lock.held(layout)
    with lock.exclusive(layout, THEM):
        pass
    with pytest.raises(LockedError):
        lock.reserve(layout, US, replace=seen)
    assert lock.release(layout, seen or {}) is False
    assert lock.owner(layout) == THEM
    assert lock.reserve(layout, US, replace=lock.held(layout)) is True


@pytest.mark.parametrize("since", [{}, THEM])
def test_a_run_whose_reservation_is_gone_changes_nothing(layout: TemporaryLayout, since: dict[str, Any]) -> None:
    lock.reserve(layout, US)
    lock.release(layout, US)
    if since:
        lock.reserve(layout, since)
    refusal = "rollback by them@here" if since else "no longer reserved for this run .*Deploy again"
    with pytest.raises(LockedError, match=refusal), lock.exclusive(layout, US, reserved=True):
        raise AssertionError("it goes on")


def test_a_run_that_holds_its_reservation_continues(layout: TemporaryLayout) -> None:
    lock.reserve(layout, US)
    with lock.exclusive(layout, US, reserved=True):
        pass


def test_a_shorter_owner_replaces_a_longer_one_completely(layout: TemporaryLayout) -> None:
    lock.reserve(layout, THEM | {"who": "t" * 500})
    lock.reserve(layout, US, replace=THEM)
    assert json.loads(layout.lock.read_text()) == US


def test_a_released_reservation_is_free(layout: TemporaryLayout) -> None:
    lock.reserve(layout, US)
    assert lock.release(layout, US) is True
    assert lock.owner(layout) is None
    assert lock.release(layout, US) is False
    assert lock.reserve(layout, THEM) is True


def test_another_run_s_reservation_is_not_released(layout: TemporaryLayout) -> None:
    lock.reserve(layout, THEM)
    assert lock.release(layout, US) is False
    assert lock.owner(layout) == THEM


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", "{}"])
def test_a_request_without_an_owner_reserves_nothing(layout: TemporaryLayout, text: str) -> None:
    layout.lock.parent.mkdir()
    layout.lock.write_text(text)
    assert not lock.owner(layout)
    assert lock.reserve(layout, US) is True
    assert lock.owner(layout) == US


# The file lock.


def test_while_a_module_is_running_the_next_one_waits(layout: TemporaryLayout, clock: Clock) -> None:
    with module_at_work(layout) as stream:

        def end() -> None:
            if clock.now >= 10:
                fcntl.flock(stream, fcntl.LOCK_UN)

        clock.tick = end
        with lock.exclusive(layout, US):
            assert 10 <= clock.now < 11


def test_the_next_one_does_not_wait_forever(layout: TemporaryLayout, clock: Clock) -> None:
    with module_at_work(layout), pytest.raises(LockedError) as caught, lock.exclusive(layout, US):
        pass
    assert re.fullmatch(
        rf"shop is being changed on this host: process {os.getpid()} \(.+\) of user id {os.getuid()} is at work\. "
        r"Wait for it to end, then try again",
        str(caught.value),
    )
    assert 30 <= clock.now < 31


def test_the_wait_can_be_configured(layout: TemporaryLayout, clock: Clock) -> None:
    with module_at_work(layout), pytest.raises(LockedError), lock.exclusive(layout, US, patience=2):
        pass
    assert 2 <= clock.now < 3


def test_a_run_that_waits_in_vain_is_given_the_owner_of_the_module(layout: TemporaryLayout) -> None:
    lock.reserve(layout, THEM)
    with module_at_work(layout), pytest.raises(LockedError) as caught, lock.exclusive(layout, US, patience=0):
        pass
    assert str(caught.value) == REFUSAL


def test_a_run_is_not_said_to_block_itself(layout: TemporaryLayout) -> None:
    lock.reserve(layout, US)
    with (
        module_at_work(layout),
        pytest.raises(LockedError, match=rf": process {os.getpid()} \("),
        lock.exclusive(layout, US, patience=0),
    ):
        pass


# The file.


def mode(layout: TemporaryLayout) -> int:
    return stat.S_IMODE(layout.lock.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_only_root_can_open_the_lock(layout: TemporaryLayout, umask: int) -> None:
    before = os.umask(umask)
    try:
        lock.reserve(layout, US)
    finally:
        os.umask(before)
    assert mode(layout) == 0o600


def test_a_world_readable_lock_is_closed_by_the_next_run(layout: TemporaryLayout) -> None:
    layout.lock.parent.mkdir()
    layout.lock.touch(mode=0o644)
    layout.lock.chmod(0o644)
    lock.reserve(layout, US)
    assert mode(layout) == 0o600


def test_a_link_in_the_place_of_the_lock_is_not_followed(layout: TemporaryLayout, tmp_path: Path) -> None:
    layout.lock.parent.mkdir()
    (tmp_path / "victim").write_text("precious")
    layout.lock.symlink_to(tmp_path / "victim")
    with pytest.raises(LockedError, match=r"shop\.deploy cannot be opened"):
        lock.reserve(layout, US)
    assert lock.owner(layout) is None
    assert (tmp_path / "victim").read_text() == "precious"


def test_a_lock_that_was_removed_during_a_wait_is_not_the_lock(layout: TemporaryLayout, clock: Clock) -> None:
    with module_at_work(layout) as stream:

        def remove_and_let_another_in() -> None:
            if clock.now >= 1 and not clock.others:
                layout.lock.unlink()
                # A later process has the new file.
                clock.others.append(lock._locked(layout.lock))
                fcntl.flock(stream, fcntl.LOCK_UN)
            elif clock.now >= 2:
                clock.others[0].close()

        clock.others = []
        clock.tick = remove_and_let_another_in
        with lock.exclusive(layout, US):
            assert clock.now >= 2, "both had a lock"
            with pytest.raises(LockedError), lock.exclusive(layout, US, patience=0):
                pass


def test_concurrent_removals_and_changes_exclude_each_other(layout: TemporaryLayout) -> None:
    inside: list[int] = []
    problems: list[str] = []

    def work(number: int) -> None:
        for turn in range(25):
            try:
                with lock.exclusive(layout, patience=60):
                    inside.append(number)
                    if len(inside) > 1:
                        problems.append(f"{inside}")
                    time.sleep(0.0005)
                    inside.remove(number)
                    # As a removal does at the end.
                    if (turn + number) % 3 == 0:
                        layout.lock.unlink(missing_ok=True)
            except LockedError as error:
                problems.append(str(error))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    # Long enough for several collisions.
    sleep, lock_time = time.sleep, lock.time
    lock.time = types.SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: sleep(0.001))  # type: ignore[assignment]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
    finally:
        lock.time = lock_time
    assert problems == []


def test_two_modules_of_the_same_run_do_not_run_at_the_same_time(layout: TemporaryLayout) -> None:
    lock.reserve(layout, US)
    with lock.exclusive(layout, US), pytest.raises(LockedError), lock.exclusive(layout, US, patience=0):
        pass


@pytest.mark.parametrize("who", [None, US])
def test_a_run_that_was_not_checked_is_refused_what_another_has_reserved(
    layout: TemporaryLayout, who: dict[str, Any] | None
) -> None:
    lock.reserve(layout, THEM)
    with pytest.raises(LockedError, match="pid 7"), lock.exclusive(layout, who):
        pass
    # Unless that one has ended.
    with lock.exclusive(layout, who, replace=THEM):
        assert lock.owner(layout) == THEM


def test_a_person_without_a_run_may_change_what_is_not_reserved(layout: TemporaryLayout) -> None:
    with lock.exclusive(layout):
        assert lock.owner(layout) is None


def test_a_failed_change_does_not_block_the_next(layout: TemporaryLayout) -> None:
    with pytest.raises(ZeroDivisionError), lock.exclusive(layout, US):
        _ = 1 / 0
    with lock.exclusive(layout, THEM, patience=0):
        pass


def test_a_run_that_starts_during_a_reservation_sees_it(layout: TemporaryLayout) -> None:
    with lock.exclusive(layout, THEM), pytest.raises(LockedError), lock.exclusive(layout, US, patience=0):
        pass
    lock.reserve(layout, THEM)
    with pytest.raises(LockedError), lock.exclusive(layout, US, patience=0):
        pass


# The module.


def test_the_module_reserves_and_releases_and_is_never_changed(
    call_module: CallModule, layout: TemporaryLayout
) -> None:
    found = {"failed": False, "changed": False, "reserved_by": US | {"lease": 1800}}
    assert call_module(reservation, run=US) == found
    assert lock.owner(layout) == US | {"lease": 1800}
    assert call_module(reservation, run=THEM, state="absent") == {
        "failed": False, "changed": False, "reserved_by": US | {"lease": 1800}
    }  # fmt: skip
    assert lock.owner(layout) == US | {"lease": 1800}
    refused = call_module(reservation, run=THEM)
    assert refused["failed"] and "deploy by us@here, pid 6" in refused["msg"]
    assert not call_module(reservation, run=THEM, replace=US)["failed"]
    assert lock.owner(layout) == THEM | {"lease": 1800}
    call_module(reservation, run=THEM, state="absent")
    assert lock.owner(layout) is None


@pytest.mark.parametrize("state", ["present", "absent"])
def test_in_check_mode_the_module_does_nothing(call_module: CallModule, layout: TemporaryLayout, state: str) -> None:
    lock.reserve(layout, US)
    result = call_module(reservation, check=True, run=US, state=state)
    assert not result["failed"] and not result["changed"] and lock.same(result["reserved_by"], US)
    assert lock.owner(layout) == US


# The controller's decision about an owner.


@pytest.fixture
def lives(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Set whether every run is alive."""

    def say(answer: bool) -> None:
        monkeypatch.setattr(controller, "lives", lambda run: answer)

    say(True)
    return say


@pytest.mark.usefixtures("lives")
def test_a_running_owner_is_named_with_the_remedy() -> None:
    seen = THEM | {"renewed": 1, "idle_s": 5}
    assert lock_problems(seen, False) == [
        "the application is being changed on this host: rollback by them@here, pid 7, since 2026-11-24T03:12:00Z; "
        "its last step here was 5 s ago. Wait for it to end. Without another step the reservation ends in 1795 s "
        "(flask_uwsgi_lease). If you know that the run has ended, run again with -e flask_uwsgi_break_lock=true"
    ]
    assert replaceable(seen, False) == {}


def test_an_owner_that_has_ended_is_no_problem_and_may_be_replaced(lives: Callable[[bool], None]) -> None:
    lives(False)
    seen = THEM | {"renewed": 1, "idle_s": 5}
    assert lock_problems(seen, False) == []
    assert replaceable(seen, False) == THEM | {"idle_s": 5}


@pytest.mark.usefixtures("lives")
@pytest.mark.parametrize(("lease", "idle", "ended"), [({}, 1799, False), ({}, 1800, True), ({"lease": 60}, 60, True)])
def test_a_lease_ends_after_its_length(lease: dict[str, Any], idle: int, ended: bool) -> None:
    seen = THEM | lease | {"renewed": 1, "idle_s": idle}
    assert (lock_problems(seen, False) == []) is ended
    # With the time of its last renewal, so that the host can check whether it was renewed since.
    assert replaceable(seen, False) == (seen if ended else {})


@pytest.mark.usefixtures("lives")
@pytest.mark.parametrize("word", [True, "true", "yes", "1"])
def test_break_lock_breaks_a_lock(word: bool | str) -> None:
    assert lock_problems(THEM, word) == []
    assert replaceable(THEM, word) == THEM


@pytest.mark.usefixtures("lives")
@pytest.mark.parametrize("word", [False, "false", "no", "perhaps", ""])
def test_other_values_do_not_break_a_lock(word: bool | str) -> None:
    assert len(lock_problems(THEM, word)) == 1
    assert replaceable(THEM, word) == {}


@pytest.mark.parametrize("owner", [None, {}])
@pytest.mark.parametrize("word", [True, False])
def test_without_an_owner_nothing_is_replaced(owner: dict[str, Any] | None, word: bool) -> None:
    assert lock_problems(owner, word) == []
    assert replaceable(owner, word) == {}
