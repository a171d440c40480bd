"""An instance under the gevent check: its unit, what is read from it, and its removal."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.gevent import instance as gevent_instance
from ansible_collections.flaskops.uwsgi.plugins.module_utils.gevent.instance import Instance, running
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import systemd

from tests.support.fake_host import TemporaryLayout, write_generation

UNIT = "shop-check@g.service"
HUB = ["/v/lib/python3.11/site-packages/gevent/hub.py:647 run"]
# Writes the stack of a signal as the hook does.
HANGS = """
import faulthandler, signal, sys, time
faulthandler.register(signal.SIGURG, file=open(sys.argv[1], "w"), all_threads=True)
def load():
    open(sys.argv[2], "w").close()
    while True:
        time.sleep(60)
load()
"""


class Systemd:
    """Records its calls, and reports the unit's state that a test sets."""

    def __init__(self, layout: TemporaryLayout, monkeypatch: pytest.MonkeyPatch) -> None:
        self.layout = layout
        self.asked: list[str] = []
        self.units: list[dict[str, str]] = []
        self.says = {"ActiveState": "active", "Result": "success", "Job": "", "MainPID": str(os.getpid())}
        monkeypatch.setattr(systemd, "systemctl", self.systemctl)
        monkeypatch.setattr(systemd, "show", lambda *_: self.says)
        monkeypatch.setattr(systemd, "cursor", lambda: None)

    def systemctl(self, *arguments: str, timeout: float = 90) -> str:
        self.asked.append(" ".join(arguments))
        files = (path for path in self.layout.units.rglob("*") if path.is_file())
        self.units.append({str(path.relative_to(self.layout.units)): path.read_text() for path in files})
        return ""


@pytest.fixture
def fake(layout: TemporaryLayout, monkeypatch: pytest.MonkeyPatch) -> Systemd:
    write_generation(layout, "g")
    return Systemd(layout, monkeypatch)


@pytest.fixture
def instance(layout: TemporaryLayout, fake: Systemd) -> Instance:
    layout.check_runtime.mkdir()
    return Instance(layout, "g")


def leave(layout: TemporaryLayout, name: str, document: object) -> None:
    (layout.check_runtime / name).write_text(json.dumps(document))


def test_the_limits_of_the_check_are_read_after_those_of_the_service(layout: TemporaryLayout, fake: Systemd) -> None:
    with running(layout, "g", timeout=20, memory_mb=512):
        installed = fake.units[fake.asked.index("daemon-reload")]
    assert installed.keys() == {"shop-check@.service", f"{UNIT}.d/generation.conf", f"{UNIT}.d/limits.conf"}
    assert "limits.conf" > "generation.conf", "systemd reads them in this order"
    assert "MemoryMax=512M\n" in installed[f"{UNIT}.d/limits.conf"]
    assert "RuntimeMaxSec=35\n" in installed[f"{UNIT}.d/limits.conf"]


def test_nothing_is_left_whatever_happens(layout: TemporaryLayout, fake: Systemd) -> None:
    # Left by a check that was killed.
    layout.check_runtime.mkdir()
    leave(layout, "loaded.json", {"pid": 1})
    with pytest.raises(KeyboardInterrupt), running(layout, "g", timeout=20, memory_mb=512) as instance:
        assert instance.loaded() == {}
        layout.check_runtime.mkdir()
        raise KeyboardInterrupt
    assert list(layout.units.iterdir()) == []
    assert not layout.check_runtime.exists()
    assert fake.asked[-3:] == ["stop shop-check@*.service", "daemon-reload", "reset-failed shop-check@*.service"]


def test_it_is_ready_when_its_worker_has_reported(layout: TemporaryLayout, fake: Systemd, instance: Instance) -> None:
    assert instance.start(time.monotonic() + 0.3) == "hangs"
    leave(layout, "loaded.json", {"pid": 1})
    assert instance.start(time.monotonic() + 10) is None
    assert fake.asked == [f"start --no-block {UNIT}"] * 2


@pytest.mark.parametrize(
    ("state", "result", "reason"),
    [("failed", "exit-code", "ended"), ("failed", "oom-kill", "memory"), ("inactive", "success", "ended")],
)
def test_the_reason_why_it_is_not_ready_is_reported(
    fake: Systemd, instance: Instance, state: str, result: str, reason: str
) -> None:
    fake.says |= {"ActiveState": state, "Result": result}
    assert instance.start(time.monotonic() + 10) == reason


def test_links_planted_by_the_service_are_not_followed(
    layout: TemporaryLayout, instance: Instance, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text('{"root": "only"}')
    (layout.check_runtime / "loaded.json").symlink_to(tmp_path / "secret")
    assert instance.loaded() == {}
    (layout.check_runtime / "loaded.json").unlink()
    os.mkfifo(layout.check_runtime / "loaded.json")
    assert instance.loaded() == {}


def test_only_a_child_of_the_master_counts_as_a_worker(layout: TemporaryLayout, instance: Instance) -> None:
    leave(layout, "loaded.json", {"pid": os.getppid()})
    assert instance.worker is None
    leave(layout, "loaded.json", {"pid": "1; reboot"})
    assert instance.worker is None
    with subprocess.Popen(["sleep", "60"]) as child:
        leave(layout, "loaded.json", {"pid": child.pid})
        assert instance.worker == child.pid
        child.kill()


def test_the_process_is_asked_where_an_import_hangs(
    layout: TemporaryLayout, fake: Systemd, instance: Instance, tmp_path: Path
) -> None:
    stacks, ready = layout.check_runtime / "stacks", tmp_path / "ready"
    with subprocess.Popen([sys.executable, "-c", HANGS, str(stacks), str(ready)]) as process:
        deadline = time.monotonic() + 30
        while not ready.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        fake.says["MainPID"] = str(process.pid)
        # Others may wait meanwhile, but none of them loads the application.
        leave(layout, "activity.json", {"waiting": [{"stack": ["run.py:3 serve"], "count": 1}]})
        assert instance.hanging() == ["<string>:7 load", "<string>:8 <module>"]
        process.kill()


def test_the_greenlet_that_waits_for_the_hub_is_reported(
    layout: TemporaryLayout, instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Instance, "stack", lambda *_: HUB)
    document = {"waiting": [{"stack": ["run.py:3 <module>"], "count": 1}]}
    late = threading.Timer(0.5, leave, (layout, "activity.json", document))
    late.start()
    assert instance.hanging() == ["run.py:3 <module>"]
    late.join()


def test_the_hub_is_reported_when_no_greenlet_waits_for_it(
    layout: TemporaryLayout, instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Instance, "stack", lambda *_: HUB)
    monkeypatch.setattr(gevent_instance, "_REPORT_S", 0.1)
    assert instance.hanging() == HUB
    leave(layout, "activity.json", {"waiting": []})
    assert instance.hanging() == HUB


def test_the_place_of_a_worker_s_crash_is_read_from_its_file(layout: TemporaryLayout, instance: Instance) -> None:
    assert instance.crash() == []
    (layout.check_runtime / "stacks").write_text(
        'Current thread 0x1 (most recent call first):\n  File "asked.py", line 1 in f\n\n'
        "Fatal Python error: Segmentation fault\n\nThread 0x2 (most recent call first):\n  <no Python frame>\n\n"
        'Stack (most recent call first):\n  File "run.py", line 9 in index\n  ...\n\nExtension modules: x'
    )
    assert instance.crash() == ["run.py:9 index"]


def test_a_blocked_interpreter_is_asked_by_signal(
    layout: TemporaryLayout, instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gevent_instance, "_REPORT_S", 0.1)
    sent: list[tuple[int, int]] = []
    with subprocess.Popen(["sleep", "60"]) as child:
        leave(layout, "loaded.json", {"pid": child.pid})
        monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
        assert instance.activity() == {}
        monkeypatch.undo()
        child.kill()
    assert sent == [(child.pid, signal.SIGURG)]


@pytest.mark.parametrize(
    ("stack", "activity"),
    [
        (["run.py:1 wait"], {"blocked": [{"stack": ["run.py:1 wait"], "count": 1}]}),
        (HUB, {}),
        ([], {}),
    ],
)
def test_a_hub_that_waits_for_events_is_not_blocked(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, stack: list[str], activity: dict[str, object]
) -> None:
    monkeypatch.setattr(gevent_instance, "_REPORT_S", 0.1)
    monkeypatch.setattr(Instance, "worker", 4711)
    monkeypatch.setattr(Instance, "stack", lambda _self, _pid: stack)
    assert instance.activity() == activity


@pytest.mark.parametrize(
    "content",
    [{"waiting": {}}, {"waiting": 5}, {"waiting": [5]}, {"waiting": [{"stack": 5}]}, {"waiting": [{}]}, [], 5, None],
)
def test_a_report_about_a_hanging_import_may_have_any_content(
    layout: TemporaryLayout, instance: Instance, monkeypatch: pytest.MonkeyPatch, content: object
) -> None:
    monkeypatch.setattr(Instance, "stack", lambda *_: HUB)
    monkeypatch.setattr(gevent_instance, "_REPORT_S", 0.1)
    leave(layout, "activity.json", content)
    assert instance.hanging() == HUB


@pytest.mark.parametrize("pid", [0, -1, 1 << 23])
def test_no_process_group_gets_a_signal(instance: Instance, monkeypatch: pytest.MonkeyPatch, pid: int) -> None:
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("a signal was sent"))
    assert instance.stack(pid) == []


@pytest.mark.parametrize("pid", [True, 1e400, "1", None, [1], {}, -1, 10**30])
def test_a_worker_must_be_a_process_id(layout: TemporaryLayout, instance: Instance, pid: object) -> None:
    (layout.check_runtime / "loaded.json").write_text(json.dumps({"pid": pid}))
    assert instance.worker is None


def test_obstacles_at_the_hook_s_paths_are_no_error(
    layout: TemporaryLayout, instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gevent_instance, "_REPORT_S", 0.1)
    (layout.check_runtime / "activity.json").mkdir()
    (layout.check_runtime / "ask").mkdir()
    os.mkfifo(layout.check_runtime / "stacks")
    assert instance.activity() == {}
    assert instance.crash() == []
