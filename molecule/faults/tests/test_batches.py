"""Deploys and rollbacks of two hosts: a bad release stops at the first, and all hosts are treated alike.

The tests run in this order and build on each other.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.run import controller

from tests.support.two_hosts import APP, FIRST, INVENTORY, NOBODY, RESERVATION, SECOND, Fleet, variables_of
from tests.support.witness import Witness

RECORD = f"/var/lib/flaskops/{APP}.commands.json"
STATE = f"/var/lib/{APP}"
CANARIES = f"journalctl --quiet --no-pager --unit '{APP}-canary@*' | wc -l"
ELSEWHERE = {"what": "deploy", "who": "jane@elsewhere", "home": "elsewhere", "pid": 4711, "start": "1",
             "since": "2026-11-24T03:12:00Z"}  # fmt: skip

pytestmark = pytest.mark.timeout(180)


# Before the first test and after the last one, so that any selection of tests can run.
@pytest.fixture(scope="module", autouse=True)
def found(fleet: Fleet, play: Any) -> Iterator[str]:
    """The generation that the scenario has deployed on both."""
    (generation,) = set(fleet.serving.values())
    yield generation
    assert play("deploy").returncode == 0
    assert fleet.serving == {FIRST: generation, SECOND: generation}


@pytest.fixture(scope="module")
def new(application: Any) -> list[str]:
    """A new release that works."""
    return list(application("new"))


def changes(said: str) -> dict[str, int]:
    """Return the number of changes on each host, from the recap."""
    return {name: int(changed) for name, changed in re.findall(r"(\S+) : ok=\d+ changed=(\d+)", said)}


@pytest.mark.usefixtures("unchanged")
def test_a_bad_release_stops_at_the_canary_host_and_the_other_is_not_changed(
    fleet: Fleet, run: Any, application: Any
) -> None:
    canaries = fleet.ask(CANARIES)
    said = run("deploy", *application("bad", 'raise RuntimeError("the data base is away")'), code=2)
    assert "flask_uwsgi_wsgi_file=run.py raised while it was loaded: RuntimeError: the data base is away" in said
    assert f"Not changed: {SECOND}." in said
    now = fleet.ask(CANARIES)
    assert now[FIRST] != canaries[FIRST]
    assert now[SECOND] == canaries[SECOND]


@pytest.mark.usefixtures("unchanged")
def test_a_host_that_cannot_get_the_release_ends_the_deploy_before_any_is_swapped(
    fleet: Fleet, run: Any, new: list[str]
) -> None:
    canaries = fleet.ask(CANARIES)
    releases = f"/opt/{APP}/releases"
    fleet.hosts[SECOND].check_output(f"mount --bind {releases} {releases} && mount -o remount,bind,ro {releases}")
    try:
        said = run("deploy", *new, code=2)
    finally:
        fleet.hosts[SECOND].check_output(f"umount {releases}")
    assert re.search(rf"fatal: \[{SECOND}\]: FAILED! .*Read-only file system.* while unpacking release", said)
    assert "What serves was not changed, on any host." in said
    assert changes(said)[FIRST] > 0
    assert fleet.ask(CANARIES) == canaries


@pytest.mark.usefixtures("unchanged")
def test_a_host_that_is_down_is_reported_before_any_other_is_changed(run: Any, new: list[str], tmp_path: Path) -> None:
    inventory = tmp_path / "more.yml"
    inventory.write_text("flask: {hosts: {mol-faults-down: {ansible_host: 127.0.0.1, ansible_port: 1}}}\n")
    said = run("deploy", *new, "--inventory", str(inventory), code=2)
    assert "mol-faults-down: ansible_host=127.0.0.1 cannot be reached over SSH as " in said
    # The others answered.
    assert "cannot be examined" not in said and f"{FIRST}: " not in said.partition("PLAY RECAP")[0]
    assert "Nothing was changed." in said
    assert "TASK [flaskops.uwsgi.flask_uwsgi : Reserve the application]" not in said


@pytest.mark.full
def test_a_reservation_on_one_host_refuses_a_deploy_until_it_is_broken(
    fleet: Fleet, run: Any, new: list[str], found: str
) -> None:
    before = fleet.traces
    fleet.reserve(SECOND, ELSEWHERE)
    said = run("deploy", *new, code=2)
    assert "being changed on this host: deploy by jane@elsewhere, pid 4711, since 2026-11-24T03:12:00Z" in said
    assert re.search(r"the reservation ends in 1(800|7\d\d) s \(flask_uwsgi_lease\)", said)
    assert "run again with -e flask_uwsgi_break_lock=true Nothing was changed." in said
    assert f"{SECOND}: the application is being changed" in said and f"{FIRST}: the" not in said
    assert fleet.traces ^ before == set()
    reserved = fleet.reservations
    assert reserved[FIRST] == "" and json.loads(reserved[SECOND]) == ELSEWHERE
    said = run("deploy", *new, "-e", "flask_uwsgi_break_lock=true", "--limit", SECOND)
    assert FIRST not in changes(said)
    now = fleet.serving
    assert now[FIRST] == found != now[SECOND]
    assert fleet.reservations == NOBODY


@pytest.mark.full
def test_batches_of_one_reach_one_host_after_the_other(fleet: Fleet, run: Any, application: Any, found: str) -> None:
    run("deploy", *application("newer"), "-e", '{"batches": [1, 1]}')
    (newer,) = set(fleet.serving.values())
    assert newer != found
    begun = fleet.ask(f"systemctl show {APP}@{newer}.service --property=ActiveEnterTimestampMonotonic --value")
    tried = fleet.ask(
        f"journalctl --quiet --no-pager --unit {APP}-canary@{newer}.service --output=short-monotonic"
        " | sed -En 's/^\\[ *([0-9]+)\\.([0-9]+)\\].*/\\1\\2/p' | head -n 1"
    )
    assert int(tried[FIRST]) < int(begun[FIRST]) < int(tried[SECOND]) < int(begun[SECOND])
    assert fleet.reservations == NOBODY


@pytest.mark.full
def test_a_rollback_to_different_generations_is_refused_until_one_is_named(fleet: Fleet, run: Any, found: str) -> None:
    before, serving = fleet.traces, fleet.serving
    said = run("rollback", code=2)
    other = re.search(rf"not the same on every host \({FIRST}: {found}, {SECOND}: ([0-9a-f]{{12}})\)", said)
    assert other and other[1] != found, said
    assert fleet.traces ^ before == set()
    run("rollback", "-e", f"to={found}", "--limit", FIRST)
    assert fleet.serving == {FIRST: found, SECOND: serving[SECOND]}
    assert changes(run("rollback", "-e", f"to={found}")) == {FIRST: 0, SECOND: 1}
    assert fleet.serving == {FIRST: found, SECOND: found}
    assert fleet.reservations == NOBODY


@pytest.mark.full
def test_a_reservation_whose_run_or_lease_has_ended_is_taken_over_and_a_rollback_reverts_both(
    fleet: Fleet, run: Any, new: list[str], found: str
) -> None:
    before = fleet.serving
    ended = subprocess.Popen(["true"])
    ended.wait()
    fleet.reserve(FIRST, {**ELSEWHERE, **controller.identity(), "pid": ended.pid, "start": "1"})
    # As a CI runner leaves it that was shut down.
    fleet.reserve(SECOND, ELSEWHERE | {"lease": 60})
    fleet.hosts[SECOND].check_output(f"touch --date='-61 seconds' {RESERVATION}")
    run("deploy", *new)
    assert len(set(fleet.serving.values())) == 1 and fleet.serving != before
    assert fleet.reservations == NOBODY
    # A rollback reverts both hosts; a second one changes nothing.
    assert changes(run("rollback")) == {FIRST: 1, SECOND: 1}
    assert fleet.serving == before
    assert changes(run("rollback")) == {FIRST: 0, SECOND: 0}
    # By name, a rollback goes back as far as one likes.
    run("rollback", "-e", f"to={found}")
    assert fleet.serving == {FIRST: found, SECOND: found}


@pytest.mark.usefixtures("unchanged")
def test_the_status_document_has_both_hosts(fleet: Fleet, run: Any, tmp_path: Path) -> None:
    run("status", "-e", "flask_uwsgi_status_output=json", "-e", f"flask_uwsgi_status_dir={tmp_path}")
    document = json.loads((tmp_path / "status.json").read_text())
    assert {name: status["generation"] for name, status in document.items()} == fleet.serving
    assert [status["drift"] for status in document.values()] == [[], []]


@pytest.mark.full
def test_a_failed_deploy_removes_files_of_its_own_application_only(
    fleet: Fleet, run: Any, application: Any, tmp_path: Path
) -> None:
    # Two applications on one machine: the second one waits for its batch when the first one fails.
    machine = yaml.safe_load(Path(INVENTORY).read_text())["all"]["children"]["flask"]["hosts"][FIRST]
    inventory = tmp_path / "two.yml"

    def deploy(code: int, **codes: str) -> str:
        hosts = {}
        for name, port in (("first", 8051), ("second", 8052)):
            release = variables_of(application(name, codes.get(name, "")))
            hosts[f"{name}@one"] = machine | release | {"flask_uwsgi_app_name": name, "flask_uwsgi_port": port}
        inventory.write_text(yaml.safe_dump({"flask": {"hosts": hosts}}))
        return str(run("deploy", "--inventory", str(inventory), "--limit", "first@one,second@one", code=code))

    def traces(name: str) -> str:
        looked = f"ls /opt/{name}/releases /opt/{name}/generations; cat /run/{name}.deploy"
        return str(fleet.hosts[FIRST].check_output(looked))

    deploy(0)
    before = traces("first"), traces("second")
    said = deploy(2, first='raise RuntimeError("the data base is away")')
    assert "Not changed: second@one." in said
    assert (traces("first"), traces("second")) == before
    for name in ("first", "second"):
        run("remove", "--inventory", str(inventory), "--limit", f"{name}@one", "-e", "flask_uwsgi_remove_data=true")


# Alone in its batch, and in one batch with the host that changes.
@pytest.mark.parametrize("batches", [[1, 1], ["100%"]], ids=str)
def test_a_host_with_nothing_to_do_is_left_alone_while_another_is_swapped(
    fleet: Fleet, run: Any, application: Any, batches: list[int | str]
) -> None:
    deploy = [*application("half"), "-e", json.dumps({"batches": batches})]
    run("deploy", *deploy, "--limit", FIRST)
    before, serving = fleet.traces, fleet.serving
    said = run("deploy", *deploy)
    assert f"{FIRST}: nothing to do: generation {serving[FIRST]} (gevent) serves as wanted" in said
    assert f"{SECOND}: {serving[SECOND]} (gevent) -> {serving[FIRST]} (gevent)" in said
    assert f"{FIRST}: {serving[FIRST]}" not in said
    assert fleet.serving == dict.fromkeys(serving, serving[FIRST])
    assert {line for line in fleet.traces ^ before if line.startswith(FIRST)} == set()
    assert changes(said)[FIRST] == 0 < changes(said)[SECOND]
    assert fleet.reservations == NOBODY


def test_a_host_with_nothing_to_do_is_no_failure_of_its_batch(fleet: Fleet, run: Any, application: Any) -> None:
    away = f'import socket\nif socket.gethostname() == "{SECOND}":\n    raise RuntimeError("the data base is away")'
    deploy = [*application("half", away), "-e", '{"batches": ["100%"]}']
    run("deploy", *deploy, "--limit", FIRST)
    before = fleet.traces
    said = run("deploy", *deploy, code=2)
    assert "RuntimeError: the data base is away" in said
    assert f"The deploy ends with the failure above, of {SECOND}. Serve the new generation: none." in said
    assert f"{FIRST} : ok=" in said and changes(said)[FIRST] == 0
    assert fleet.traces ^ before == set()
    assert fleet.reservations == NOBODY


# The role in a play of another project, as in the README.


# The scenario collection does the same with the built collection, every day.
@pytest.mark.full
@pytest.mark.parametrize("serial", [1, "100%"])
def test_the_role_in_a_play_of_its_own_reaches_all_hosts(
    fleet: Fleet, own_play: Any, application: Any, serial: int | str
) -> None:
    before = fleet.serving
    with contextlib.ExitStack() as stack:
        witnesses = [stack.enter_context(Witness(url, clients=20, timeout_s=60)) for url in fleet.urls.values()]
        with contextlib.ExitStack() as during:
            windows = [during.enter_context(witness.window("role", steady=0.5)) for witness in witnesses]
            done = own_play(variables_of(application(f"role-{serial}")), serial=serial)
        assert done.returncode == 0, done.stdout + done.stderr
        assert [window.report().failures for window in windows] == [{}, {}]
    (generation,) = set(fleet.serving.values())
    assert generation not in before.values()
    assert fleet.reservations == NOBODY


@pytest.mark.usefixtures("unchanged")
def test_no_other_host_becomes_the_leader_when_a_migration_fails(fleet: Fleet, own_play: Any, application: Any) -> None:
    canaries = fleet.ask(CANARIES)
    new = variables_of(application("migration")) | {"flask_uwsgi_pre_activate": ["echo migrating; false"]}
    done = own_play(new)
    said = " ".join(done.stdout.split())
    assert done.returncode == 2, done.stdout + done.stderr
    assert said.count("flask_uwsgi_pre_activate failed: it exited with status 1") == 1
    assert f"The deploy ends with the failure above, of {FIRST}. What serves was not changed, on any host." in said
    assert fleet.ask(CANARIES) == canaries
    # The commands run again the next time.
    assert fleet.ask(f"test ! -e {RECORD}") == NOBODY


# Commands that run once for a generation.


class Migrations:
    """Commands of a deploy that leave a line on the host that ran them."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet

    def arguments(self, *more: str) -> list[str]:
        """Return the arguments with which a deploy runs them, followed by others."""
        return ["-e", json.dumps({"flask_uwsgi_pre_activate": [f"echo >> {STATE}/migrated", *more]})]

    @property
    def done(self) -> dict[str, int]:
        """Return how many times each host has run them."""
        return {name: int(lines) for name, lines in self.fleet.ask(f"cat {STATE}/migrated | wc -l").items()}


@pytest.fixture
def migrations(fleet: Fleet) -> Iterator[Migrations]:
    """Commands that have not run yet; their traces are removed afterwards."""
    clear = f"rm -f {STATE}/migrated {STATE}/spoiled {STATE}/go {RECORD}"
    fleet.ask(f"{clear}; touch {STATE}/migrated; chown {APP}: {STATE}/migrated")
    yield Migrations(fleet)
    fleet.ask(clear)


@pytest.mark.full
def test_a_deploy_that_is_repeated_after_a_failed_batch_does_not_migrate_again(
    fleet: Fleet, run: Any, application: Any, migrations: Migrations
) -> None:
    spoiled = f'import os\nif os.path.exists("{STATE}/spoiled"):\n    raise RuntimeError("spoiled")'
    deploy = [*application("spoiled", spoiled), *migrations.arguments()]
    before = fleet.serving
    fleet.hosts[SECOND].check_output(f"touch {STATE}/spoiled")
    said = run("deploy", *deploy, code=2)
    assert f"flask_uwsgi_pre_activate runs once for this generation, on {FIRST} (recorded on {FIRST})" in said
    now = fleet.serving
    assert now[FIRST] != before[FIRST] and now[SECOND] == before[SECOND]
    fleet.hosts[SECOND].check_output(f"rm {STATE}/spoiled")
    said = run("deploy", *deploy)
    assert re.search(rf"pre_activate ran for this generation on {FIRST} at \S+Z, and does not run again", said)
    assert set(fleet.serving.values()) == {now[FIRST]}
    assert migrations.done == {FIRST: 1, SECOND: 0}


@pytest.mark.full
def test_deploys_limited_to_one_host_after_the_other_migrate_once(
    fleet: Fleet, run: Any, application: Any, migrations: Migrations
) -> None:
    deploy = [*application("limited"), *migrations.arguments()]
    # The record is on the first host, whichever host runs the commands.
    assert f"on {SECOND} (recorded on {FIRST})" in run("deploy", *deploy, "--limit", SECOND)
    assert "does not run again" in run("deploy", *deploy)
    assert len(set(fleet.serving.values())) == 1
    assert migrations.done == {FIRST: 0, SECOND: 1}


def test_of_two_deploys_at_once_one_migrates_and_the_other_is_refused(
    fleet: Fleet, play: Any, run: Any, application: Any, migrations: Migrations
) -> None:
    deploy = [*application("at-once"), *migrations.arguments(f"until test -e {STATE}/go; do sleep 0.1; done")]
    with ThreadPoolExecutor() as pool:
        first = pool.submit(play, "deploy", *deploy, "--limit", FIRST)
        while not migrations.done[FIRST] and not first.done():
            time.sleep(0.2)
        before = fleet.serving
        said = run("deploy", *deploy, "--limit", SECOND, code=2)
        assert f"flask_uwsgi_pre_activate is running on {FIRST}, since 20" in said
        assert "Wait for that run to end, then deploy again." in said and "Nothing was changed." in said
        assert fleet.serving == before and fleet.reservations[SECOND] == ""
        fleet.hosts[FIRST].check_output(f"touch {STATE}/go")
        done = first.result()
    assert done.returncode == 0, done.stdout + done.stderr
    run("deploy", *deploy, "--limit", SECOND)
    assert len(set(fleet.serving.values())) == 1
    assert migrations.done == {FIRST: 1, SECOND: 0}


@pytest.mark.full
def test_batches_of_another_projects_play_migrate_once(
    fleet: Fleet, own_play: Any, application: Any, migrations: Migrations
) -> None:
    commands = json.loads(migrations.arguments()[1])
    done = own_play(variables_of(application("serial-once")) | commands, serial=1)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(set(fleet.serving.values())) == 1
    assert migrations.done == {FIRST: 1, SECOND: 0}


@pytest.mark.full
def test_without_the_host_that_records_commands_a_deploy_is_refused_and_another_one_can_be_set(
    fleet: Fleet, run: Any, application: Any, migrations: Migrations, tmp_path: Path
) -> None:
    inventory = tmp_path / "keeper.yml"
    inventory.write_text("loadgen: {hosts: {mol-faults-down: {ansible_host: 127.0.0.1, ansible_port: 1}}}\n")
    deploy = [*application("keeper"), *migrations.arguments(), "--inventory", str(inventory), "-e"]
    before = fleet.traces
    said = run("deploy", *deploy, "flask_uwsgi_keeper=mol-faults-down", code=2)
    assert "mol-faults-down has the record of flask_uwsgi_pre_activate" in said
    assert "ansible_host=127.0.0.1 cannot be reached over SSH" in said
    assert "Or set flask_uwsgi_keeper to another host of the inventory" in said and "Nothing was changed." in said
    assert fleet.traces ^ before == set() and fleet.reservations == NOBODY
    said = run("deploy", *deploy, f"flask_uwsgi_keeper={SECOND}")
    assert f"on {FIRST} (recorded on {SECOND})" in said
    assert fleet.ask(f"test -e {RECORD} && echo kept || true") == {FIRST: "", SECOND: "kept"}
    assert migrations.done == {FIRST: 1, SECOND: 0}


# Seven deploys.
@pytest.mark.full
@pytest.mark.timeout(400)
def test_the_role_twice_in_one_play_deploys_two_applications(
    fleet: Fleet, own_play: Any, run: Any, application: Any
) -> None:
    before = fleet.serving
    one = variables_of(application("one"))
    other = variables_of(application("other")) | {"flask_uwsgi_app_name": "twin", "flask_uwsgi_port": 8041}
    done = own_play(one, other)
    assert done.returncode == 0, done.stdout + done.stderr
    twins = [requests.get(f"{url[:-4]}8041/healthz", timeout=10).json()["generation"] for url in fleet.urls.values()]
    assert twins[0] == twins[1]
    assert set(fleet.serving.values()).isdisjoint(before.values())
    # The first application's changes are not reported for the second one.
    done = own_play(variables_of(application("next")), other)
    settled = f"{FIRST}, {SECOND}: nothing to do: generation {twins[0]} (gevent) serves as wanted"
    assert done.returncode == 0 and settled in " ".join(done.stdout.split()), done.stdout
    run("remove", "-e", "flask_uwsgi_app_name=twin", "-e", "flask_uwsgi_remove_data=true")
    assert fleet.reservations == NOBODY
