"""Faults on a host while clients use the service: what clients notice, what the operator sees, how it recovers.

The scenario must_fail tests a full disk, because it has a small one.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support import console
from tests.support.playbook import Playbook, variables
from tests.support.service import APP, UNNEEDED, Service, sample_application, wait
from tests.support.witness import Report, Window, Witness
from tests.support.witness.samples import Sample

HOST = "mol-faults-1"
# Measured with as many as in docs/OPERATIONS.md; other runs use fewer, because other scenarios need the cores.
CLIENTS = 100 if os.environ.get("FLASKOPS_FULL") else 20
HANG_S = 3
THREADS = 8
MEMORY_MB = 300
# Without this file the application does not start.
NEEDED = f"/etc/{APP}-needed"
# What a client sees when the process with its request is gone.
IN_FLIGHT = {"reset", "empty", "other"}
# Far above what is measured: the service must recover by itself, and soon.
SOON_S = 60

gevent = pytest.mark.parametrize("served", ["gevent"], indirect=True)
in_threads = pytest.param("threads", marks=pytest.mark.full)
both = pytest.mark.parametrize("served", ["gevent", in_threads], indirect=True)
threads = pytest.mark.parametrize("served", [in_threads], indirect=True)
pytestmark = pytest.mark.timeout(180)


def pause(seconds: float) -> None:
    """Wait for as long as something could still happen."""
    time.sleep(seconds)


class Run(Playbook):
    """A playbook that runs against the host meanwhile."""

    host = HOST


class Scene:
    """A fault that happens while clients send requests."""

    def __init__(self, fault: str, witness: Witness, window: Window) -> None:
        self.fault = fault
        self._witness = witness
        self._window = window
        self.since = window.start
        self._mended = window.start

    def begins(self) -> None:
        """Mark the time of the fault; for one that lasts, the end of its cause or the start of its repair."""
        self.since = time.monotonic()

    def mends(self, condition: Callable[[], Any], what: str, seconds: float = SOON_S) -> None:
        wait(condition, what, seconds)
        self._mended = time.monotonic()

    def report(self) -> Report:
        return self._window.report()

    def samples(self) -> list[Sample]:
        """Return the results of the requests that ended since the window began."""
        return [one for one in self._witness.samples_before(time.monotonic()) if one.ended > self._window.start]

    def recovery_s(self) -> float:
        """Return the seconds to recovery: for systemd and uWSGI, and for the clients."""
        samples = self.samples()
        assert self._window.end
        failed = [one.ended for one in samples if one.failure and self.since <= one.ended <= self._window.end + 1]
        answered = min(one.ended for one in samples if not one.failure and one.begun >= self.since)
        return max(self._mended, answered, *failed, self.since) - self.since


class Site(Service):
    """The host, its service and its operator."""

    def __init__(self, host: Any, folder: Path) -> None:
        super().__init__(host)
        self.folder = folder
        self.mode = "gevent"
        self._copies = itertools.count()
        self.source = self.code()

    # The application.

    def code(self, more: str = "") -> str:
        """Return a new release of the application, with more code."""
        number = next(self._copies)
        code = f"\nimport faults\n\napp.register_blueprint(faults.blueprint)\n# release {number}\n{more}"
        copy = sample_application(self.folder / str(number), code)
        shutil.copy(Path(__file__).with_name("app_faults.py"), copy / "faults.py")
        return str(copy)

    def values(self, **values: Any) -> list[str]:
        # Most clients wait for an answer at any time, and the machine is not saturated.
        environment = {"APP_WAIT_SECONDS": 0.5, "FAULT_NEEDS": NEEDED} | values.pop("environment", {})
        chosen = {
            "mode": self.mode,
            "flask_uwsgi_source": self.source,
            "flask_uwsgi_environment": environment,
            "flask_uwsgi_hang_timeout": HANG_S,
            "flask_uwsgi_worker_memory_mb": MEMORY_MB,
            "flask_uwsgi_threads": THREADS,
            "flask_uwsgi_canary_seconds": 0.5,
            "flask_uwsgi_stop_timeout": 10,
        }
        return variables(**(chosen | values))

    def deploy(self, *arguments: str, **values: Any) -> Run:
        return Run("deploy", *self.values(**values), *arguments)

    def drift(self) -> list[str]:
        """Return what the status playbook reports."""
        folder = str(self.folder / "status")
        Run("status", *variables(flask_uwsgi_status_output="json", flask_uwsgi_status_dir=folder)).succeeded()
        found: list[str] = json.loads((self.folder / "status/status.json").read_text())[HOST]["drift"]
        return found

    # The host.

    def workers(self) -> list[int]:
        """Return the process ids of the workers, sorted; an empty list while the stats do not answer."""
        try:
            found = self.stats["workers"]
        except AssertionError:
            return []
        return sorted(worker["pid"] for worker in found if worker["pid"] > 0)

    def replaced(self, pids: list[int], number: int = 4) -> bool:
        """Return whether all workers run and none of these is left."""
        now = self.workers()
        return len(now) == number and not set(now) & set(pids)

    def cursor(self) -> str:
        return self.run("journalctl --lines=1 --show-cursor --quiet | tail -n 1").removeprefix("-- cursor: ")

    def logged(self, cursor: str, pattern: str) -> str:
        """Return the first matching log line since then, once it appears."""

        def found() -> str | None:
            lines = self.run(f"journalctl --unit='{APP}*' --output=cat --after-cursor='{cursor}'").splitlines()
            return next((line for line in lines if re.search(pattern, line)), None)

        return str(wait(found, f"{pattern!r} in the journal")).strip()

    def answer(self, path: str = "/healthz", timeout: float = 60) -> requests.Response:
        return requests.get(self.url + path, timeout=timeout)

    def stuck(self, pool: ThreadPoolExecutor, path: str, over: threading.Event | None = None) -> Future[str]:
        """Send requests until one hangs, and return the failure that ends it; empty if none hung."""

        def ask() -> str:
            while not (over and over.is_set()):
                try:
                    self.answer(path).raise_for_status()
                except requests.RequestException as error:
                    return type(error).__name__
            return ""

        return pool.submit(ask)

    def reserved(self) -> str:
        """Return who has the application reserved."""
        return self.run(f"cat /run/{APP}.deploy")

    def left_over(self) -> str:
        """Return leftovers that a deploy must not leave behind."""
        return self.run(
            f"cd /opt/{APP};"
            " ls -d */.*.partial */*/.*.partial */.*.wheels 2>/dev/null;"
            f"{UNNEEDED}"
            f" systemctl list-units --plain --no-legend '{APP}*' | awk '{{print $1, $3}}'"
            f"  | grep -vxE '{APP}@({self.generation}.service|0.0.0.0:8040.socket) active|system-{APP}.*.slice active';"
            " true"
        )


@pytest.fixture(scope="module")
def site(host: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The host with an application that misbehaves on request; restored afterwards."""
    site = Site(host, tmp_path_factory.mktemp("faults"))
    before = site.generation
    site.run(f"touch {NEEDED}")
    yield site
    Run("deploy").succeeded()
    assert site.generation == before
    site.run(f"rm {NEEDED}")


@pytest.fixture(scope="module")
def witness(site: Site) -> Iterator[Witness]:
    # Connections wait in the queue however long a recovery takes on a busy machine.
    with Witness(site.url, clients=CLIENTS, timeout_s=60) as witness:
        yield witness


@pytest.fixture(scope="module")
def rows(publish: Any) -> Iterator[list[dict[str, Any]]]:
    """The result of each fault, written at the end for the documentation."""
    rows: list[dict[str, Any]] = []
    yield rows
    publish("faults", clients=CLIENTS, faults=rows)


@pytest.fixture(scope="module")
def served(site: Site, request: pytest.FixtureRequest) -> str:
    """The mode that is deployed."""
    site.mode = request.param
    site.deploy().succeeded()
    return str(request.param)


class Faults:
    """Causes faults under load, and records what they cost."""

    def __init__(self, site: Site, witness: Witness, rows: list[dict[str, Any]]) -> None:
        self._site = site
        self._witness = witness
        self._rows = rows

    @contextlib.contextmanager
    def __call__(self, fault: str) -> Iterator[Scene]:
        with self._witness.window(f"{fault} ({self._site.mode})", steady=1.0) as window:
            scene = Scene(fault, self._witness, window)
            yield scene

    def note(self, scene: Scene, operator_sees: str) -> Report:
        report, recovery_s = scene.report(), scene.recovery_s()
        print(f"{report.describe()}; mended after {recovery_s:.1f} s; {operator_sees}")
        self._rows.append(
            {
                "fault": scene.fault,
                "mode": self._site.mode,
                "operator_sees": operator_sees,
                "requests": report.requests,
                "failed": sum(report.failures.values()),
                "failures": report.failures,
                "recovery_s": round(recovery_s, 2),
                "longest_gap_s": round(report.longest_gap_s, 2),
            }
        )
        assert report.requests > 0
        assert recovery_s < SOON_S
        return report

    def none_failed(self, scene: Scene, operator_sees: str) -> Report:
        report = self.note(scene, operator_sees)
        assert report.failures == {}, report.examples
        return report

    def in_flight_lost(self, scene: Scene, operator_sees: str) -> Report:
        """Assert that at most the requests of the killed process failed: one of each client."""
        report = self.note(scene, operator_sees)
        assert set(report.failures) <= IN_FLIGHT, report.examples
        assert sum(report.failures.values()) <= CLIENTS, report.describe()
        return report


@pytest.fixture
def fault(site: Site, witness: Witness, rows: list[dict[str, Any]], served: str) -> Faults:
    # The mode is deployed first.
    return Faults(site, witness, rows)


# Processes that die.


@both
def test_a_killed_worker_loses_only_its_requests_in_flight(site: Site, fault: Faults, served: str) -> None:
    workers, cursor = site.workers(), site.cursor()
    with fault("kill -9 of a worker") as scene:
        site.run(f"kill -9 {workers[0]}")
        scene.mends(lambda: site.replaced(workers[:1]), "a new worker")
    fault.in_flight_lost(scene, "journal: " + site.logged(cursor, "worker .* died"))
    assert set(workers[1:]) < set(site.workers()), "the other processes continued"


@both
def test_a_killed_master_loses_only_requests_in_flight(site: Site, fault: Faults, served: str) -> None:
    generation, master, cursor = site.generation, site.master, site.cursor()
    with fault("kill -9 of the master") as scene:
        site.run(f"kill -9 {master}")
        scene.mends(lambda: site.master not in (0, master) and len(site.workers()) == 4, "a new master")
    fault.in_flight_lost(scene, "journal: " + site.logged(cursor, "Main process exited|Scheduled restart"))
    assert site.generation == generation
    assert site.run(f"cat /run/{APP}/{APP}.pid") == str(site.master)


@pytest.mark.full
@both
def test_killing_all_processes_loses_only_requests_in_flight(site: Site, fault: Faults, served: str) -> None:
    master, cursor = site.master, site.cursor()
    with fault("kill -9 of every process") as scene:
        site.run(f"systemctl kill --signal=KILL {site.unit}")
        scene.mends(lambda: site.master not in (0, master) and len(site.workers()) == 4, "new processes")
    fault.in_flight_lost(scene, "journal: " + site.logged(cursor, "Scheduled restart"))
    assert site.drift() == []


# The last worker, of the service and not of its canary, loads while the first one serves.
LAST = """
import os, time, uwsgi
if uwsgi.worker_id() == 4 and "canary" not in os.environ["RUNTIME_DIRECTORY"]:
    time.sleep(2)
"""


@both
@pytest.mark.parametrize(
    ("end", "why"),
    [
        ("os._exit(3)", "DAMN ! worker 4 .* before it served"),
        pytest.param("time.sleep(90)", "start operation timed out", marks=pytest.mark.full),
    ],
    ids=["dies", "hangs"],
)
def test_an_instance_that_ends_while_it_starts_finishes_its_requests(
    site: Site, fault: Faults, served: str, end: str, why: str
) -> None:
    before, cursor, source = site.generation, site.cursor(), site.source
    site.source = site.code(f"{LAST}    {end}\n")
    with fault(f"the last worker of a new release {'dies' if 'exit' in end else 'hangs'} while it loads") as scene:
        done = site.deploy(flask_uwsgi_start_timeout=10).end()
    site.source = source
    assert done.process.returncode == 2 and "does not serve" in done.said, done.output
    report = fault.none_failed(scene, "journal: " + site.logged(cursor, why))
    assert len({name.split()[0] for name in report.answered}) == 2, "both generations served"
    assert site.generation == before and site.left_over() == site.reserved() == ""
    assert site.drift() == []


# Workers that hang or grow.


@gevent
def test_a_worker_that_loops_forever_is_replaced(site: Site, fault: Faults, served: str) -> None:
    workers, cursor = site.workers(), site.cursor()
    with ThreadPoolExecutor() as pool, fault("endless loop in a request") as scene:
        looping = site.stuck(pool, "/fault/cpu")
        scene.mends(lambda: looping.done() and site.workers() != workers and len(site.workers()) == 4, "a new worker")
    report = fault.in_flight_lost(scene, "journal: " + site.logged(cursor, "guard: .* is killed"))
    assert report.longest_gap_s < 1, "the other workers continue"
    assert len(set(workers) & set(site.workers())) == 3, "and are alive"


@threads
def test_blocked_threads_lose_their_requests_and_a_worker_is_replaced_when_all_its_threads_block(
    site: Site, fault: Faults, served: str
) -> None:
    workers, cursor = site.workers(), site.cursor()
    over, note = threading.Event(), f"/var/lib/{APP}/blocked"
    site.run(f"rm -f {note}")
    with ThreadPoolExecutor(32) as pool:
        with fault("a thread that blocks for ever") as scene:
            blocked = [site.stuck(pool, "/fault/block", over)]
            try:
                victim = int(wait(lambda: site.run(f"cat {note} 2>/dev/null || true"), "a request that hangs"))
                # Twice the hang timeout of a worker.
                pause(2 * HANG_S)
            except BaseException:
                over.set()
                raise
        fault.none_failed(scene, "nothing: a request that takes its time")
        assert not blocked[0].done() and site.workers() == workers
        with fault("all threads of a worker block for ever") as scene:
            blocked += [site.stuck(pool, f"/fault/block?pid={victim}", over) for _ in range(24)]
            try:
                scene.mends(lambda: site.replaced([victim]), "a new worker")
            finally:
                over.set()
    assert sum(bool(one.result()) for one in blocked) == THREADS
    report = fault.in_flight_lost(scene, "journal: " + site.logged(cursor, "guard: .* is killed"))
    assert report.longest_gap_s < 1, "the other workers continue"
    assert set(workers) - {victim} < set(site.workers()), "and are alive"


@both
@pytest.mark.full
def test_a_worker_that_grows_with_each_request_is_replaced(site: Site, fault: Faults, served: str) -> None:
    workers, cursor = site.workers(), site.cursor()
    with fault("memory grows with each request") as scene:
        seen = set(workers)
        # Until a new worker answers. A step is less than a fifth of a worker's memory limit.
        while len(seen) == len(workers):
            seen.add(site.answer(f"/fault/keep?mb={MEMORY_MB // 8}").json()["pid"])
        scene.mends(lambda: site.workers() != workers and len(site.workers()) == 4, "a new worker")
    fault.none_failed(scene, "journal: " + site.logged(cursor, "The work of process .* is done|Respawned"))


@both
def test_a_worker_that_grows_within_a_request_is_killed(site: Site, fault: Faults, served: str) -> None:
    workers, cursor = site.workers(), site.cursor()
    with ThreadPoolExecutor() as pool, fault("memory grows within one request") as scene:
        growing = site.stuck(pool, "/fault/grow")
        scene.mends(lambda: growing.done() and site.workers() != workers and len(site.workers()) == 4, "a new worker")
    fault.in_flight_lost(scene, "journal: " + site.logged(cursor, r"guard: .* uses \d+ MB"))
    assert len(set(workers) & set(site.workers())) == 3, "the other processes continued"


# The service and its host.


# The runbook has one, too.
@pytest.mark.full
@gevent
def test_a_crash_loop_ends_when_its_cause_is_removed(site: Site, fault: Faults, served: str) -> None:
    generation, cursor = site.generation, site.cursor()
    restarts = int(site.show(site.unit, "NRestarts"))
    with ThreadPoolExecutor() as pool, fault("crash loop (mended: after its cause went)") as scene:
        site.run(f"mv {NEEDED} {NEEDED}.away && kill -9 {site.master}")
        try:
            wait(lambda: int(site.show(site.unit, "NRestarts")) > restarts, "a restart")
            # Workers continue for a moment without their master, until systemd notices.
            killed = time.monotonic()
            # More than systemd's default limit of 5 starts in 10 s.
            wait(lambda: int(site.show(site.unit, "NRestarts")) > restarts + 6, "a crash loop")
            late = [pool.submit(site.answer) for _ in range(20)]
            drift = site.drift()
            assert not any(one.done() for one in late), "connections wait"
        finally:
            site.run(f"mv {NEEDED}.away {NEEDED}")
        scene.begins()
        assert all(one.result().json()["generation"] == generation for one in late)
        scene.mends(lambda: site.drift() == [], "a service as deployed")
    assert any(re.search(rf"{APP}@{generation}.service is (activating|deactivating|failed|inactive)", text)
               for text in drift), drift  # fmt: skip
    report = fault.in_flight_lost(scene, f"status.yml: {drift[0]}; journal: {site.logged(cursor, 'FileNotFoundError')}")
    lost = [one.begun for one in scene.samples() if one.failure]
    assert all(begun < killed for begun in lost), "only requests from before the kill"
    assert report.answered


@gevent
def test_a_rebooted_host_serves_the_same_generation(site: Site, fault: Faults, served: str) -> None:
    generation, socket = site.generation, f"{APP}@0.0.0.0:8040.socket"
    # Reading a FIFO blocks until it is written to: the service is not ready before clients wait for it.
    site.run(f"mv {NEEDED} {NEEDED}.away && mkfifo -m 644 {NEEDED}")
    with ThreadPoolExecutor() as pool, fault("host reboot") as scene:
        try:
            console.power("reboot", HOST)
            wait(lambda: site.show(socket, "ActiveState") == "active", "the socket")
            early = [pool.submit(site.answer) for _ in range(20)]
            connected = "ss -Htn state established sport = :8040 | wc -l"
            wait(lambda: int(site.run(connected)) >= len(early), "clients that wait")
            assert not any(one.done() for one in early), "connections wait"
        finally:
            site.run(f"mv {NEEDED} {NEEDED}.pipe && mv {NEEDED}.away {NEEDED} && : <>{NEEDED}.pipe && rm {NEEDED}.pipe")
        assert all(one.result().json()["generation"] == generation for one in early)
        scene.mends(lambda: site.answer().json()["generation"] == generation, "the generation")
        scene.mends(lambda: site.drift() == [], "a service as deployed")
    opened, ready = (int(site.show(unit, "ActiveEnterTimestampMonotonic")) / 1e6 for unit in (socket, site.unit))
    fault.note(
        scene,
        f"journal: connections wait from {ready - opened:.1f} s before the service is ready; status.yml: no drift",
    )
    assert opened < ready
    # Containers share the machine's clock.
    waited = [one for one in scene.samples() if opened + 0.1 < one.begun < ready]
    assert not [one for one in waited if one.failure], waited
    assert site.run("ss -Hltn sport = :8040 | awk '{print $3}'") == "16384"


# Manual changes.


@pytest.mark.full
@gevent
def test_a_foreign_pidfile_misleads_no_operation(site: Site, fault: Faults, served: str) -> None:
    generation, master = site.generation, site.master
    site.run("systemd-run --unit=innocent sleep infinity")
    innocent = site.show("innocent", "MainPID")
    lie = f"echo {innocent} > /run/{APP}/{generation}.pid"
    try:
        with fault("pidfile names another process") as scene:
            site.run(lie)
            drift = site.drift()
            scene.begins()
            site.deploy().succeeded()
            scene.mends(lambda: site.run(f"cat /run/{APP}/{APP}.pid") == str(master), "a true pidfile")
            site.run(lie)
            Run("restart").succeeded()
        fault.none_failed(scene, f"status.yml: {drift[0]}")
        assert drift == [f"/run/{APP}/{APP}.pid does not name the serving master"]
        assert site.master != master
        site.run(lie)
        Run("stop").succeeded()
        assert "Permission denied" in site.run(f"runuser -u {APP} -- sh -c '{lie}' 2>&1 || true")
        Run("start").succeeded()
        assert site.drift() == []
        assert site.show("innocent", "MainPID") == innocent
        assert site.show("innocent", "ActiveState") == "active"
    finally:
        site.run("systemctl stop innocent")


@pytest.mark.full
@gevent
def test_a_deleted_runtime_directory_is_repaired_gracefully(site: Site, fault: Faults, served: str) -> None:
    generation, master = site.generation, site.master
    with fault(f"/run/{APP} deleted") as scene:
        site.run(f"rm -rf /run/{APP}")
        drift = site.drift()
        planned = site.deploy("--check").succeeded().said
        scene.begins()
        site.deploy().succeeded()
        scene.mends(lambda: site.master != master and len(site.workers()) == 4, "new processes")
    for text in (
        f"{site.unit} has lost its sockets in /run/{APP}/{generation}",
        f"/run/{APP}/{APP}.pid does not name the serving master",
    ):
        assert text in drift and text in planned
    fault.none_failed(scene, f"status.yml: {'; '.join(drift)}")
    assert site.generation == generation and site.drift() == []


@pytest.mark.full
@gevent
def test_a_unit_stopped_by_hand_is_started_by_the_next_connection(site: Site, fault: Faults, served: str) -> None:
    master, cursor = site.master, site.cursor()
    with fault("systemctl stop of the unit alone") as scene:
        site.run(f"systemctl stop {site.unit}")
        scene.mends(lambda: site.master not in (0, master) and len(site.workers()) == 4, "new processes")
    fault.none_failed(scene, "journal: " + site.logged(cursor, "Stopped"))
    assert site.drift() == []


@pytest.mark.full
@gevent
def test_a_service_stopped_by_hand_is_repaired_by_a_deploy(site: Site, fault: Faults, served: str) -> None:
    generation, socket = site.generation, f"{APP}@0.0.0.0:8040.socket"
    with fault("systemctl stop of socket and unit") as scene:
        site.run(f"systemctl stop {socket} {site.unit}")
        drift = site.drift()
        scene.begins()
        site.deploy().succeeded()
        scene.mends(lambda: len(site.workers()) == 4, "four workers")
    report = fault.note(scene, f"status.yml: {'; '.join(drift)}")
    assert f"{APP}@{generation}.service is inactive" in drift
    assert f"{socket} is inactive and enabled" in drift
    assert set(report.failures) <= IN_FLIGHT | {"refused"}, report.examples
    assert site.generation == generation


@pytest.mark.full
@gevent
def test_hand_edited_configuration_is_repaired_including_the_running_processes(
    site: Site, fault: Faults, served: str
) -> None:
    template = f"/etc/systemd/system/{APP}@.service"
    site.run(f"sed -i s/KillMode=mixed/KillMode=process/ {template} && systemctl daemon-reload")
    site.run(f"sed -i 's/^processes = .*/processes = 2/' /opt/{APP}/current/uwsgi.ini")
    site.run(f"systemctl restart {site.unit}")
    wait(lambda: len(site.workers()) == 2, "what was edited")
    with fault("unit and uwsgi.ini edited and restarted") as scene:
        drift = site.drift()
        planned = site.deploy("--check").succeeded().said
        scene.begins()
        site.deploy().succeeded()
        scene.mends(lambda: len(site.workers()) == 4, "four workers")
    assert {"uwsgi.ini was changed by hand", f"{template} does not match the generation"} <= set(drift)
    assert all(text in planned for text in drift)
    fault.none_failed(scene, f"status.yml: {'; '.join(drift)}")
    assert site.show(site.unit, "KillMode") == "mixed"
    assert site.drift() == []


# A deploy that is killed, and two at once.

_MODULE = f'for fd in /proc/[0-9]*/fd/*; do test "$(readlink $fd)" = /run/{APP}.deploy && echo $fd; done | cut -d/ -f3'


@gevent
@pytest.mark.parametrize(
    ("task", "unit", "module_too"),
    [
        ("Swap traffic to the generation", f"{APP}@*", True),
        *(
            pytest.param(*stage, marks=pytest.mark.full)
            for stage in (
                ("Reserve the application", "", False),
                ("Ship and unpack the release", "", False),
                ("Write the generation", "", False),
                ("Swap traffic to the generation", f"{APP}-canary@*", False),
                ("Swap traffic to the generation", f"{APP}-canary@*", True),
                ("Swap traffic to the generation", f"{APP}@*", False),
            )
        ),
    ],
)
def test_a_deploy_that_was_killed_is_completed_by_the_next(
    site: Site, fault: Faults, served: str, task: str, unit: str, module_too: bool
) -> None:
    before, own = site.generation, site.unit
    # The operator's configuration from now on.
    site.source = site.code()
    where = {"": "", f"{APP}-canary@*": ", canary", f"{APP}@*": ", start"}[unit]
    with fault(f"kill -9 of {'Ansible and its module' if module_too else 'Ansible'} at {task!r}{where}") as scene:
        first = site.deploy()
        wait(lambda: first.reached(task), task)
        if unit:
            # Polls on the host itself: a step can be over before another command gets there.
            kill = f"kill -9 $({_MODULE})" if module_too else "true"
            found = f"systemctl list-units --plain --no-legend '{unit}.service' | grep -v ^{own}"
            site.run(f'timeout {SOON_S} sh -c "until {found}; do sleep 0.02; done" && {kill}')
        scene.begins()
        first.kill()
        after = site.answer().json()["generation"]
        again = site.deploy().succeeded()
        first.bury()
    report = fault.none_failed(scene, "the next deploy: " + plan_of(again))
    new_generation = site.generation
    assert new_generation != before and after in (before, new_generation)
    assert {name.split()[0] for name in report.answered} <= {before, new_generation}
    assert site.left_over() == ""
    assert site.reserved() == ""
    assert site.drift() == []


def plan_of(deploy: Run) -> str:
    """Return the plan in a deploy's output."""
    found = re.search(r"Show the plan\] \*+ ok: \[\S+\] => msg: (?:\|-? )?(.*?) (?:TASK|PLAY) \[", deploy.said)
    assert found, deploy.output
    return found[1].strip("'")


@pytest.mark.full
@gevent
def test_a_second_deploy_is_refused_and_names_the_owner_of_the_first(site: Site, fault: Faults, served: str) -> None:
    before = site.generation
    with fault("two deploys at the same time") as scene:
        first = site.deploy(flask_uwsgi_canary_seconds=5)
        wait(lambda: first.reached("Write the generation"), "the first deploy at work")
        began = time.monotonic()
        second = site.deploy(flask_uwsgi_stop_timeout=11).end()
        took = time.monotonic() - began
        assert first.process.poll() is None, "the second one waited for the first"
        first.succeeded()
    said = re.search(r"the application is being changed on this host: deploy by \S+, pid (\d+), since [\dT:-]+Z",
                     second.said)  # fmt: skip
    assert second.process.returncode != 0 and said, second.output
    assert int(said[1]) == first.process.pid
    # 12.8 s were measured on a busy machine.
    assert took < 60
    fault.none_failed(scene, f"the second deploy: {said[0]}")
    assert site.generation != before and site.left_over() == site.reserved() == ""
    site.deploy().succeeded()
    assert site.generation == before


# Comparisons.


def comparison(site: Site, folder: Path, **more: Any) -> list[str]:
    """Return the arguments of a small comparison."""
    chosen: dict[str, Any] = json.loads(site.values()[1])
    # The variants set these.
    del chosen["mode"], chosen["flask_uwsgi_threads"]
    small = {
        "compare_variants": [
            {"name": "gevent", "mode": "gevent", "cores": 500},
            {"name": "threads", "mode": "threads", "cores": THREADS},
            {"name": "stock", "mode": "threads", "cores": THREADS, "stock": True},
        ],
        "compare_concurrency": [1, 20],
        "compare_rounds": 1,
        "compare_requests_per_client": 5,
        "compare_requests_max": 40,
        "compare_time_limit_s": 10,
        "compare_health_timeout_s": 10,
        "compare_report_dir": str(folder),
    }
    return variables(**(chosen | small | more))


@pytest.fixture
def as_it_was(site: Site, served: str) -> Iterator[None]:
    """Assert that the host serves the same generation afterwards, with an unchanged history."""

    def seen() -> tuple[str, str]:
        return site.generation, site.run(f"cat /opt/{APP}/generations/*/.served")

    before = seen()
    yield
    assert seen() == before
    assert site.left_over() == site.reserved() == "" and site.drift() == []


@pytest.mark.full
@pytest.mark.timeout(420)
@pytest.mark.usefixtures("as_it_was")
@gevent
def test_a_comparison_measures_and_restores_the_host(site: Site, fault: Faults, served: str, tmp_path: Path) -> None:
    # Else the load would go to what has the port.
    refused = Run("compare", *comparison(site, tmp_path, compare_stock_port=22)).end(120)
    assert refused.process.returncode == 2, refused.output
    assert "compare_stock_port=22" in refused.said and "is used by" in refused.said, refused.output
    with fault("comparison of ways to serve") as scene:
        Run("compare", *comparison(site, tmp_path)).succeeded()
    fault.none_failed(scene, "playbooks/compare.yml: the figures of each")
    document = json.loads((tmp_path / "compare.json").read_text())
    assert [run["outcome"] for run in document["runs"]] == ["measured"] * 6
    assert {run["answered"] for run in document["runs"]} == {5, 40}
    threads = {run["variant"]: run["threads"] for run in document["runs"]}
    assert threads["threads"] >= 4 * THREADS > threads["gevent"]
    assert threads["stock"] is None, "it serves beside the application"
    assert (tmp_path / "index.html").read_text().count("<svg") >= 4
    assert len(list((tmp_path / "raw").iterdir())) == 6 * 3


@pytest.mark.full
@pytest.mark.timeout(420)
@pytest.mark.usefixtures("as_it_was")
@gevent
def test_the_host_ends_a_comparison_that_was_killed(site: Site, fault: Faults, served: str, tmp_path: Path) -> None:
    found = site.generation

    def answers() -> str:
        return str(site.answer("/healthz").json()["generation"])

    with fault("kill -9 of Ansible in a comparison") as scene:
        run = Run("compare", *comparison(site, tmp_path))
        try:
            # A trial changes the traffic and nothing that survives a reboot. A whole deploy precedes it.
            wait(lambda: answers() != found, "what is compared", 4 * SOON_S)
            scene.begins()
        finally:
            run.kill()
        # Its deadline is 50 s after the last step: 10 s for a run, 10 s until it is healthy, and half a minute.
        scene.mends(
            lambda: not site.left_over() and not site.reserved() and answers() == found, "what was found", 2 * SOON_S
        )
        run.bury()
    fault.none_failed(scene, "nothing: the host restores itself")


# Clocks that jump.


@pytest.fixture(scope="module")
def faketime(site: Site) -> str:
    """The library that fakes the time."""
    site.run("dpkg --status faketime >/dev/null 2>&1 || (apt-get update && apt-get install --yes faketime)")
    return site.run("dpkg --listfiles libfaketime | grep /libfaketime.so.1$")


@pytest.mark.full
@gevent
def test_a_clock_that_jumps_has_no_effect(site: Site, fault: Faults, served: str, faketime: str) -> None:
    jump = "/etc/faketime"
    site.run(f"echo +0 > {jump}")
    lying = {
        "LD_PRELOAD": faketime,
        "FAKETIME_TIMESTAMP_FILE": jump,
        "FAKETIME_NO_CACHE": "1",
        # Setting the host's clock does not change this one.
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    site.deploy(environment=lying).succeeded()
    workers = site.workers()

    def is_off_by(seconds: float) -> Callable[[], bool]:
        return lambda: abs(site.answer("/fault/clock").json()["time"] - time.time() - seconds) < 60

    for offset, seconds in (("+1h", 3600), ("-1h", -3600)):
        with fault(f"clock jumps to {offset}") as scene:
            site.run(f"echo {offset} > {jump}")
            scene.mends(is_off_by(seconds), "another time")
            # Somewhat longer than the hang timeout of a worker.
            pause(HANG_S + 1)
        fault.none_failed(scene, "nothing")
    assert site.workers() == workers
    site.deploy().succeeded()


@pytest.mark.full
@gevent
def test_a_wrong_clock_misleads_no_deploy_rollback_or_restart(
    site: Site, fault: Faults, served: str, faketime: str
) -> None:
    first = site.generation
    inventory = site.folder / "clock.yml"

    def clock(offset: str) -> list[str]:
        # An inventory for this host alone.
        python = f"/usr/local/bin/python{offset}"
        site.run(
            f"printf '#!/bin/sh\\nexec faketime -f {offset} /usr/bin/python3 \"$@\"\\n' > {python}; chmod +x {python}"
        )
        inventory.write_text(json.dumps({"all": {"hosts": {HOST: {"ansible_python_interpreter": python}}}}))
        return ["--inventory", str(inventory)]

    with fault("deploy, rollback and restart with a wrong clock") as scene:
        site.deploy(*clock("-2d"), flask_uwsgi_stop_timeout=11).succeeded()
        second = site.generation
        site.deploy(*clock("-4d"), flask_uwsgi_stop_timeout=12).succeeded()
        third = site.generation
        rollback = Run("rollback", *clock("+2d")).succeeded()
        assert site.generation == second
        Run("restart", *clock("-6d")).succeeded()
        assert site.generation == second
    assert len({first, second, third}) == 3
    assert f"{third} -> {second}" in rollback.said
    fault.none_failed(scene, f"rollback.yml: {third} -> {second}, the generation before the last deploy")
    assert site.drift() == []
    site.deploy().succeeded()
    assert site.generation == first
