"""The parts of the hook that need no uWSGI; the zoo tests the rest (molecule/zoo)."""

import importlib.util
import json
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.support import ROOT

FILE = ROOT / "roles/flask_uwsgi/files/gevent_hook.py"


@pytest.fixture
def hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    spec = importlib.util.spec_from_file_location("gevent_hook", FILE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("file", "foreign"),
    [
        ("run.py", True),
        ("/opt/shop/releases/r1/client.py", True),
        ("/opt/shop/venvs/v1/lib/python3.11/site-packages/flask/app.py", True),
        ("/opt/shop/venvs/v1/lib/python3.11/site-packages/gevent/hub.py", False),
        ("/opt/shop/venvs/v1/lib/python3.11/site-packages/uwsgidecorators.py", False),
        (threading.__file__, False),
        ("/etc/python3.11/sitecustomize.py", False),
        ("<frozen importlib._bootstrap>", False),
        (str(FILE), False),
        (None, False),
    ],
)
def test_a_file_of_the_application_or_a_package_is_distinguished_from_python_s_own(
    hook: ModuleType, file: str | None, foreign: bool
) -> None:
    assert hook.foreign(file) == foreign


def test_a_stack_begins_with_the_innermost_frame(hook: ModuleType) -> None:
    places = hook.stack(sys._getframe())
    assert places[0].startswith(f"{__file__}:") and places[0].endswith(f" {sys._getframe().f_code.co_name}")
    assert hook.innermost((f"{threading.__file__}:1 wait", *places)) == places[0]
    assert hook.innermost([f"{threading.__file__}:1 wait"]) == ""


@pytest.mark.parametrize(("name", "line"), [("socket", 1), ("lock", 3), ("pool", 4), ("never", None), ("ock", None)])
def test_the_line_that_created_a_name_is_found(hook: ModuleType, tmp_path: Path, name: str, line: int | None) -> None:
    file = tmp_path / "early.py"
    file.write_text("from socket import socket\nif lock == pool: pass\nlock = 1\npool: object = 2\n")
    assert hook.line_of(str(file), name) == (f"{file}:{line}" if line else str(file))
    assert hook.line_of("/nonexistent.py", name) == "/nonexistent.py"


def test_objects_kept_by_an_early_module_are_found_with_their_line(hook: ModuleType, tmp_path: Path) -> None:
    module = ModuleType("early")
    module.__file__ = str(tmp_path / "early.py")
    source = "import threading\nfrom time import sleep\nlock = threading.Lock()\nclass Box: pass\nbox = Box()\n"
    Path(module.__file__).write_text(source)
    exec(source, vars(module))
    vars(module)["box"].inner = threading.Lock()
    saved = {"time": {"sleep": vars(module)["sleep"]}, "_thread": {"allocate_lock": threading.Lock}}
    found = hook.Early(saved).look("early", module)
    assert found["originals"] == [{"what": "time.sleep", "where": f"{module.__file__}:2"}]
    assert [row["where"].rpartition(":")[2] for row in found["locks"]] == ["3", "5"]
    assert found["pools"] == []


def test_the_most_frequent_places_come_first(hook: ModuleType) -> None:
    counter = hook.Counter()
    for place in ("a", "b", "b"):
        counter.add(("greenlet", place))
    assert counter.rows("kind", "where") == [
        {"kind": "greenlet", "where": "b", "count": 2},
        {"kind": "greenlet", "where": "a", "count": 1},
    ]


def test_a_document_is_written_completely(hook: ModuleType, tmp_path: Path) -> None:
    hook.write("activity.json", {"blocked": []})
    assert json.loads((tmp_path / "activity.json").read_text()) == {"blocked": []}
    assert [path.name for path in tmp_path.iterdir()] == ["activity.json"]


class Hub:
    """A hub that calls back later."""

    def __init__(self) -> None:
        self.loop = self
        self.called: list[object] = []

    def run_callback_threadsafe(self, callback: object) -> None:
        self.called.append(callback)


@pytest.fixture
def watch(hook: ModuleType, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr(hook, "waiting_stacks", lambda: iter([("run.py:1 index",)]))
    return hook.Watch()


def test_waiting_greenlets_are_examined_in_their_own_thread(hook: ModuleType, watch: Any, tmp_path: Path) -> None:
    hub = Hub()
    watch._report_when_asked(hub)
    assert hub.called == []
    (tmp_path / "ask").touch()
    watch._report_when_asked(hub)
    # The monitor is another thread: reading the frames of running greenlets has crashed the process.
    assert (hub.called, sorted(tmp_path.iterdir())) == ([watch.report_activity], [])
    watch.report_activity()
    assert json.loads((tmp_path / "activity.json").read_text())["waiting"] == [
        {"stack": ["run.py:1 index"], "count": 1}
    ]


def test_a_blocked_hub_is_still_reported_with_what_blocks_it(
    hook: ModuleType, watch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(hook.time, "monotonic", lambda: now[0])
    watch.blocked.add((("run.py:2 wait",),))
    (tmp_path / "ask").touch()
    for now[0], written in ((100.0, False), (100.4, False), (100.6, True)):
        watch._report_when_asked(Hub())
        assert (tmp_path / "activity.json").exists() is written
    document = json.loads((tmp_path / "activity.json").read_text())
    assert (document["blocked"][0]["stack"], document["waiting"]) == (["run.py:2 wait"], [])


# In a separate process, because gevent patches it. The monitor has already looked before the hub runs.
BLOCKED = """
import importlib.util, sys, time
from pathlib import Path

spec = importlib.util.spec_from_file_location("gevent_hook", sys.argv[1])
hook = importlib.util.module_from_spec(spec)
spec.loader.exec_module(hook)
import gevent, gevent.monkey
blocks = time.sleep
gevent.monkey.patch_time()
watch, answer = hook.Watch(), Path(sys.argv[2], "activity.json")
watch._monitor()
blocks(0.5)

def wait_in_c():
    blocks(1)

gevent.spawn(wait_in_c).join()
Path(sys.argv[2], "ask").touch()
deadline = time.monotonic() + 30
while not answer.exists() and time.monotonic() < deadline:
    gevent.sleep(0.05)
"""


def test_a_greenlet_that_blocks_the_hub_later_is_found_too(tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text(BLOCKED)
    done = subprocess.run(
        [sys.executable, tmp_path / "run.py", FILE, tmp_path],
        capture_output=True, text=True, check=False, env={"RUNTIME_DIRECTORY": str(tmp_path)}, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads((tmp_path / "activity.json").read_text())
    assert document["blocked"][0]["stack"][0].endswith(" wait_in_c"), document["blocked"]
