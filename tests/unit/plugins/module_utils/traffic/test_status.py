import contextlib
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.uwsgi import parse_stats
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release import credentials
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic import reservation, status
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic.status import Secrets, Status

from tests.support.fake_host import ADDRESS, FakeHost, TemporaryLayout
from tests.support.status import SERVING, unobserved

SOCKET = f"shop@{ADDRESS}.socket"


@pytest.fixture
def serving(layout: TemporaryLayout, host: FakeHost) -> FakeHost:
    """Serve a generation."""
    host.serve("g1")
    return host


@pytest.mark.parametrize(
    "document", [SERVING, unobserved(), unobserved(stats_error="x", lock={"pid": 7}, drift=["x"]), unobserved(state="")]
)
def test_a_status_is_read_as_it_was_returned(document: dict[str, Any]) -> None:
    found = Status.read(document).to_dict()
    assert found == document
    assert list(found)[-1] == "drift"


def test_a_status_without_a_part_is_refused() -> None:
    with pytest.raises(KeyError, match="rollback"):
        Status.read({name: value for name, value in SERVING.items() if name != "rollback"})


def test_secrets_are_named_and_their_values_are_not(layout: TemporaryLayout, host: FakeHost) -> None:
    assert status.of(layout).secrets == Secrets([], None)
    host.serve("g1", secrets={"TOKEN": "s3cr3t"})
    assert status.of(layout).secrets == Secrets(["TOKEN"], credentials.encrypted(layout.generations / "g1"))


def stats(pid: int, workers: int, cores: int) -> dict[str, Any]:
    """Return a document of uWSGI's stats server, without the fields that are not read."""
    return {
        "listen_queue": 3,
        "sockets": [{"name": ":8040", "max_queue": 0}, {"name": "/run/x.sock", "max_queue": 4096}],
        "workers": [
            {
                "pid": pid,
                "requests": 10,
                "exceptions": 1,
                "respawn_count": 1,
                "cores": [{"in_request": int(core == 0)} for core in range(cores)],
            }
            for _ in range(workers)
        ],
    }


def observe(layout: TemporaryLayout, monkeypatch: pytest.MonkeyPatch, document: dict[str, Any]) -> Status:
    asked: list[Path] = []
    monkeypatch.setattr(status, "read_stats", lambda path: asked.append(path) or parse_stats(document))
    found = status.of(layout)
    assert asked == [layout.runtime / "g1" / "g1.stats"]
    return found


def test_the_status_agrees_with_systemd_the_stats_and_the_kernel(
    layout: TemporaryLayout, serving: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = observe(layout, monkeypatch, stats(os.getpid(), workers=2, cores=500)).to_dict()
    pid = serving.active["shop@g1.service"]
    wanted = {
        "generation": "g1",
        "state": "active",
        "restarts": 0,
        "main_pid": pid,
        "pidfile_pid": pid,
        "pidfile_true": True,
        "configured": {"mode": "gevent", "processes": 4, "cores": 3000},
        "since": "Tue 2026-11-24 06:40:46 UTC",
        "kept": ["g1"],
        "rollback": None,
        "secrets": {"names": [], "encrypted": None},
        "lock": None,
        "mode": "gevent",
        "workers": 2,
        "workers_busy": 2,
        "busy": 2,
        "cores_per_worker": 500,
        "requests": 20,
        "exceptions": 2,
        "listen_queue": 3,
        "backlog": 4096,
        "capacity": 5096,
    }
    assert {name: document[name] for name in wanted} == wanted
    assert document["threads_per_worker"] >= 1
    assert document["rss_mb"] > 1


@pytest.mark.parametrize(("threads", "mode"), [(8, "threads"), (11, "threads"), (7, "gevent"), (1, "gevent")])
def test_as_many_threads_as_cores_is_threads_mode(
    layout: TemporaryLayout, serving: FakeHost, monkeypatch: pytest.MonkeyPatch, threads: int, mode: str
) -> None:
    monkeypatch.setattr(status, "_threads", lambda pid: threads)
    found = observe(layout, monkeypatch, stats(os.getpid(), workers=1, cores=8))
    assert found.observed
    assert (found.mode, found.observed.threads_per_worker) == (mode, threads)


def test_a_worker_that_has_just_ended_is_no_error(
    layout: TemporaryLayout, serving: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    found = observe(layout, monkeypatch, stats(gone.pid, workers=1, cores=8))
    assert found.observed
    assert found.observed.rss_mb == 0


def test_a_service_that_is_down_is_reported_without_a_request_to_it(
    layout: TemporaryLayout, serving: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving.systemctl("stop", "shop@g1.service")
    monkeypatch.setattr(status, "read_stats", lambda path: pytest.fail("nobody is there to be asked"))
    found = status.of(layout)
    assert (found.state, found.mode, found.main_pid, found.pidfile_pid) == ("inactive", None, 0, None)
    assert found.pidfile_true


def test_there_is_a_status_before_the_first_deploy(layout: TemporaryLayout, host: FakeHost) -> None:
    found = status.of(layout)
    assert (found.generation, found.state, found.kept) == (None, "inactive", [])
    assert (found.rollback, found.lock) == (None, None)


def test_the_status_shows_the_current_run_and_the_rollback_target(layout: TemporaryLayout, serving: FakeHost) -> None:
    run = {"who": "root@controller", "home": "controller", "pid": 7, "start": "1", "since": "now", "what": "deploy"}
    serving.serve("g2")
    serving.systemctl("stop", SOCKET, "shop@g2.service")
    reservation.reserve(layout, run)
    found = status.of(layout)
    assert (found.rollback, found.lock, found.kept) == ("g1", reservation.held(layout), ["g2", "g1"])
    assert found.lock
    assert found.lock == run | {"renewed": found.lock["renewed"], "idle_s": found.lock["idle_s"]}


def test_a_worker_with_any_number_of_requests_is_busy(
    layout: TemporaryLayout, serving: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = stats(os.getpid(), workers=3, cores=4)
    for core in document["workers"][0]["cores"]:
        core["in_request"] = 1
    for core in document["workers"][1]["cores"]:
        core["in_request"] = 0
    found = observe(layout, monkeypatch, document)
    assert found.observed
    assert (found.observed.workers_busy, found.observed.busy) == (2, 5)


# Stats that do not answer.


def test_stats_without_a_server_do_not_hide_the_data_from_systemd(layout: TemporaryLayout, serving: FakeHost) -> None:
    found = status.of(layout)
    assert (found.state, found.main_pid) == ("active", serving.active["shop@g1.service"])
    assert (found.mode, found.observed, found.configured.mode) == (None, None, "gevent")
    # The fake's socket has no server.
    path = layout.runtime / "g1" / "g1.stats"
    assert found.stats_error == f"uWSGI's stats do not respond: Connection refused ({path})"


@contextlib.contextmanager
def listening(short_path: Path, monkeypatch: pytest.MonkeyPatch, timeout: float) -> Iterator[socket.socket]:
    """Listen in the place of the stats, which are then read within so many seconds."""
    read = status.read_stats
    monkeypatch.setattr(status, "read_stats", lambda path: read(short_path / path.name, timeout=timeout))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(short_path / "g1.stats"))
        server.listen()
        yield server


def test_stats_without_an_answer_do_not_block_forever(
    layout: TemporaryLayout, serving: FakeHost, monkeypatch: pytest.MonkeyPatch, short_path: Path
) -> None:
    with listening(short_path, monkeypatch, timeout=0.1):
        found = status.of(layout)
    assert found.state == "active"
    assert found.stats_error.startswith("uWSGI's stats do not respond: timed out after 0.1 s (")


def test_truncated_stats_are_reported(
    layout: TemporaryLayout, serving: FakeHost, monkeypatch: pytest.MonkeyPatch, short_path: Path
) -> None:
    with listening(short_path, monkeypatch, timeout=5) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b'{"workers": [')

        thread = threading.Thread(target=answer)
        thread.start()
        found = status.of(layout)
        thread.join()
    assert found.stats_error.startswith("uWSGI's stats do not respond: not JSON: Expecting value")
