import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils import service, systemd
from ansible_collections.flaskops.uwsgi.plugins.module_utils.systemd import SystemdError

from tests.unit.deploy.fake_host import FakeHost, TemporaryLayout


@pytest.fixture
def serving(layout: TemporaryLayout, host: FakeHost) -> FakeHost:
    """Serve a generation."""
    host.serve("g1")
    return host


# Drift.


def test_a_host_without_a_deploy_serves_nothing(layout: TemporaryLayout, host: FakeHost) -> None:
    assert service.drift(layout) == ["no generation serves"]


def test_a_generation_that_serves_as_it_was_deployed_does_not_drift(layout: TemporaryLayout, serving: FakeHost) -> None:
    assert service.drift(layout) == []


def change_ini(layout: TemporaryLayout, host: FakeHost) -> None:
    (layout.generations / "g1" / "uwsgi.ini").write_text("[uwsgi]\n")


def change_unit(layout: TemporaryLayout, host: FakeHost) -> None:
    (layout.units / "shop@.service").write_text("[Service]\n")
    host._systemctl("daemon-reload")


def remove_dropin(layout: TemporaryLayout, host: FakeHost) -> None:
    layout.service_dropin("g1").unlink()
    host._systemctl("daemon-reload")


def forget_to_load(layout: TemporaryLayout, host: FakeHost) -> None:
    stored = layout.generations / "g1" / "units" / "app@.service"
    (layout.units / "shop@.service").write_text("[Service]\n")
    host._systemctl("daemon-reload")
    (layout.units / "shop@.service").write_text(stored.read_text())


def crash(layout: TemporaryLayout, host: FakeHost) -> None:
    host.crash("g1")


def disable(layout: TemporaryLayout, host: FakeHost) -> None:
    host._systemctl("disable", "shop@g1.service")


def disable_socket(layout: TemporaryLayout, host: FakeHost) -> None:
    host._systemctl("disable", "shop.socket")


def stray(layout: TemporaryLayout, host: FakeHost) -> None:
    host._systemctl("start", "shop@g0.service")


def lie(layout: TemporaryLayout, host: FakeHost) -> None:
    (layout.runtime / "g1.pid").write_text("1\n")


def no_pidfile(layout: TemporaryLayout, host: FakeHost) -> None:
    layout.pidfile.unlink()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (change_ini, "uwsgi.ini was changed by hand"),
        (change_unit, "/shop@.service is not what the generation wants"),
        (remove_dropin, "/shop@g1.service.d/generation.conf is not what the generation wants"),
        (forget_to_load, "shop@g1.service was changed and not loaded"),
        (crash, "shop@g1.service is inactive"),
        (disable, "shop@g1.service does not start at boot"),
        (disable_socket, "shop.socket is active and disabled"),
        (stray, "generation g0 runs beside the current one"),
        (lie, "/run/shop/shop.pid does not name the serving master"),
        (no_pidfile, "/run/shop/shop.pid does not name the serving master"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_whatever_differs_from_the_deploy_is_told(
    layout: TemporaryLayout, serving: FakeHost, spoil: Callable[[TemporaryLayout, FakeHost], None], words: str
) -> None:
    spoil(layout, serving)
    found = service.drift(layout)
    assert len(found) == 1 and found[0].endswith(words), found


def test_a_socket_on_another_address_is_told(layout: TemporaryLayout, serving: FakeHost) -> None:
    stored = layout.generations / "g1" / "units" / "app.socket"
    for path in (stored, layout.units / "shop.socket"):
        path.write_text("[Socket]\nListenStream=0.0.0.0:1\n")
    serving._systemctl("daemon-reload")
    manifest = layout.generations / "g1" / "manifest.json"
    document = json.loads(manifest.read_text())
    del document["checksums"]["units/app.socket"]
    manifest.write_text(json.dumps(document))
    assert service.drift(layout) == ["shop.socket listens on 0.0.0.0:1 (Stream), not on 0.0.0.0:8040"]


# Status.


def stats(pid: int, workers: int, cores: int) -> dict[str, Any]:
    """Return what uWSGI's stats server tells, less what nobody reads."""
    return {
        "listen_queue": 3,
        "sockets": [{"name": ":8040", "max_queue": 0}, {"name": "/run/x.sock", "max_queue": 4096}],
        "workers": [
            {
                "pid": pid,
                "requests": 10,
                "exceptions": 1,
                "cores": [{"in_request": int(core == 0)} for core in range(cores)],
            }
            for _ in range(workers)
        ],
    }


def observe(layout: TemporaryLayout, monkeypatch: pytest.MonkeyPatch, document: dict[str, Any]) -> dict[str, Any]:
    asked: list[Path] = []
    monkeypatch.setattr(service, "read_stats", lambda path: asked.append(path) or document)
    found = service.status(layout)
    assert asked == [layout.runtime / "g1.stats"]
    return found


def test_the_status_is_what_systemd_the_stats_and_the_kernel_tell(
    layout: TemporaryLayout, serving: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = observe(layout, monkeypatch, stats(os.getpid(), workers=2, cores=500))
    pid = serving.active["shop@g1.service"]
    wanted = {
        "generation": "g1",
        "state": "active",
        "restarts": 0,
        "main_pid": pid,
        "pidfile_pid": pid,
        "pidfile_true": True,
        "configured": {"mode": "gevent", "processes": 4, "cores": 3000},
        "kept": ["g1"],
        "mode": "gevent",
        "workers": 2,
        "busy": 2,
        "cores_per_worker": 500,
        "requests": 20,
        "exceptions": 2,
        "listen_queue": 3,
    }
    assert {name: found[name] for name in wanted} == wanted
    assert found["threads_per_worker"] >= 1
    assert found["rss_mb"] > 1


@pytest.mark.parametrize(("threads", "mode"), [(8, "threads"), (11, "threads"), (7, "gevent"), (1, "gevent")])
def test_as_many_threads_as_cores_are_threads_mode(
    layout: TemporaryLayout, serving: FakeHost, monkeypatch: pytest.MonkeyPatch, threads: int, mode: str
) -> None:
    monkeypatch.setattr(service, "_threads", lambda pid: threads)
    found = observe(layout, monkeypatch, stats(os.getpid(), workers=1, cores=8))
    assert (found["mode"], found["threads_per_worker"]) == (mode, threads)


def test_a_worker_that_just_ended_is_no_error(
    layout: TemporaryLayout, serving: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert observe(layout, monkeypatch, stats(gone.pid, workers=1, cores=8))["rss_mb"] == 0


def test_a_service_that_is_down_is_told_without_asking_it(
    layout: TemporaryLayout, serving: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving._systemctl("stop", "shop@g1.service")
    monkeypatch.setattr(service, "read_stats", lambda path: pytest.fail("nobody is there to be asked"))
    found = service.status(layout)
    assert (found["state"], found["mode"], found["main_pid"], found["pidfile_pid"]) == ("inactive", None, 0, None)
    assert found["pidfile_true"]


def test_before_the_first_deploy_there_is_a_status_too(layout: TemporaryLayout, host: FakeHost) -> None:
    found = service.status(layout)
    assert (found["generation"], found["state"], found["kept"]) == (None, "inactive", [])


# systemd's command line.


def test_a_refusal_of_systemctl_is_told_with_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        systemd.subprocess,
        "run",
        lambda command, **_: subprocess.CompletedProcess(command, 5, "", "Unit x not found.\n"),
    )
    with pytest.raises(SystemdError, match=r"^`systemctl start x` failed: Unit x not found\.$"):
        systemd.systemctl("start", "x")


def test_a_systemctl_that_takes_too_long_is_told() -> None:
    with pytest.raises(SystemdError, match=r"`sleep 5` did not end within 0 s"):
        systemd._run("sleep", "5", timeout=0.05)


def test_units_and_properties_are_read_as_systemctl_prints_them(
    layout: TemporaryLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    # From systemd 252.
    printed = {
        "list-units": (
            "shop@3f2a90c1d5e7.service loaded    active   running shop: generation 3f2a90c1d5e7\n"
            "shop@79ef0d3abb03.service not-found failed   failed  shop@79ef0d3abb03.service\n"
        ),
        "show": "Listen=0.0.0.0:8040 (Stream)\nActiveState=active\nUnitFileState=\n",
    }
    monkeypatch.setattr(
        systemd.subprocess,
        "run",
        lambda command, **_: subprocess.CompletedProcess(command, 0, printed[command[1]], ""),
    )
    assert systemd.instances(layout) == {"3f2a90c1d5e7": "active", "79ef0d3abb03": "failed"}
    assert systemd.show("shop.socket", "ActiveState", "Listen") == {
        "Listen": "0.0.0.0:8040 (Stream)",
        "ActiveState": "active",
        "UnitFileState": "",
    }
