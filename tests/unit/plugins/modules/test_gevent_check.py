"""The module: what it does with an instance, and what it leaves behind."""

import json
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.filter.deploy import gevent_refusal
from ansible_collections.flaskops.uwsgi.plugins.module_utils.gevent.probe import Answer, Measured
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic import reservation
from ansible_collections.flaskops.uwsgi.plugins.modules import gevent_check
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan.choice import threads_instead
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.report.gevent_show import gevent_table

from tests.support.fake_host import TemporaryLayout, write_generation
from tests.support.planning import settings

Call = Callable[..., dict[str, Any]]
CATALOGUE = {"version": "2026.11.1", "libraries": []}
RESULT = "gevent_check.json"


class FakeInstance:
    """Starts in the way that a test sets."""

    failure: str | None = None

    def __init__(self, layout: TemporaryLayout) -> None:
        self.layout = layout
        self.socket = layout.check_runtime / "g.sock"
        self.worker = 7
        self.asked = 0

    def start(self, deadline: float) -> str | None:
        return self.failure

    def loaded(self) -> dict[str, Any]:
        return {"gevent": "26.9.0", "python": "3.11.2", "path": ["/etc"], "extensions": [{"module": "x", "file": "/x"}]}

    def activity(self) -> dict[str, Any]:
        self.asked += 1
        return {}

    def crash(self) -> list[str]:
        return ["run.py:9 index"]

    def hanging(self) -> list[str]:
        return ["run.py:3 <module>"]

    def log(self) -> list[str]:
        return ["RuntimeError: no such tenant"]

    def state(self) -> dict[str, str]:
        return {"Result": "exit-code"}


@pytest.fixture
def instance(layout: TemporaryLayout, monkeypatch: pytest.MonkeyPatch) -> FakeInstance:
    found = FakeInstance(layout)

    @contextmanager
    def running(*_: Any, **__: Any) -> Iterator[FakeInstance]:
        yield found

    def measure(*_: Any, when_late: Callable[[], None], **__: Any) -> Measured:
        alone = [Answer(200, 0.2, "")] * 4
        return Measured("/healthz", 10, 200, alone, 200.0, 220.0, 0.98, 0.1, 0.1, {"200": 10})

    monkeypatch.setattr(gevent_check, "running", running)
    monkeypatch.setattr(gevent_check, "measure", measure)
    monkeypatch.setattr(reservation, "_PATIENCE", 0)
    layout.lock.parent.mkdir(exist_ok=True)
    write_generation(layout, "g")
    return found


def kept(layout: TemporaryLayout) -> Path:
    return layout.generations / "g" / RESULT


def test_the_result_is_returned_and_stored_with_the_generation_s_files(
    call_module: Call, layout: TemporaryLayout, instance: FakeInstance
) -> None:
    result = call_module(gevent_check, generation="g", path="/healthz", catalogue=CATALOGUE)
    found = result["check"]
    assert (result["changed"], found["verdict"], found["release"]) == (False, "ok", "r1")
    assert (found["overlap"], found["catalogue"], found["gevent"]) == (0.98, "2026.11.1", "26.9.0")
    assert json.loads(kept(layout).read_text()) == found
    assert stat.S_IMODE(kept(layout).stat().st_mode) == 0o640


@pytest.mark.parametrize(("failure", "evidence"), [("hangs", "run.py:3"), ("ended", "no such tenant")])
def test_an_application_that_does_not_load_is_a_verdict_and_no_failure(
    call_module: Call, instance: FakeInstance, failure: str, evidence: str
) -> None:
    instance.failure = failure
    result = call_module(gevent_check, generation="g", catalogue=CATALOGUE)
    assert (result["failed"], result["check"]["verdict"], result["check"]["failure"]) == (False, "blocks", failure)
    (finding,) = result["check"]["checks"]["imports"]["findings"]
    assert any(evidence in line for line in finding["evidence"])


TRACE = """Traceback (most recent call last):
  File "/opt/shop/releases/r1/run.py", line 3, in <module>
    {code}
{raised}
unable to load app 0 (mountpoint='') (callable not found or import error)"""


@pytest.mark.parametrize(
    ("raised", "common"),
    [
        ("ModuleNotFoundError: No module named 'numpy'", True),
        ("EntryError: flask_uwsgi_module=main:app is an ASGI application: no", True),
        ("NameError: name 'x' is not defined", True),
        ("ImportError: cannot import name 'Flusk' from 'flask' (flask.py)", True),
        ("ImportError: cannot import name 'EpollSelector' from 'selectors' (selectors.py)", False),
        ("OSError: [Errno 30] Read-only file system: 'instance'", True),
        ("PermissionError: [Errno 13] Permission denied: '/etc/shop'", True),
        ("RuntimeError: SECRET_KEY is not set", True),
        ("RuntimeError: this application needs real threads", False),
        ("RecursionError: maximum recursion depth exceeded", False),
        ("  [Previous line repeated 991 more times]\nRecursionError: maximum recursion depth exceeded", True),
        ("AttributeError: module 'select' has no attribute 'epoll'", False),
    ],
)
def test_failures_in_either_mode_are_distinguished_from_possible_gevent_failures(
    call_module: Call, instance: FakeInstance, monkeypatch: pytest.MonkeyPatch, raised: str, common: bool
) -> None:
    instance.failure = "ended"
    monkeypatch.setattr(instance, "log", lambda: TRACE.format(code="app = make()", raised=raised).splitlines())
    check = call_module(gevent_check, generation="g", catalogue=CATALOGUE)["check"]
    assert (check["common"], check["verdict"]) == (common, "blocks")
    assert raised.rpartition("\n")[2].partition(":")[2].strip()[:20] in check["cause"]


def test_an_application_that_exits_would_do_so_in_either_mode(
    call_module: Call, instance: FakeInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance.failure = "ended"
    log = ["no licence", "DAMN ! worker 1 (pid: 7) died, with exit status 3, before it served"]
    monkeypatch.setattr(instance, "log", lambda: log)
    check = call_module(gevent_check, generation="g", catalogue=CATALOGUE)["check"]
    assert check["common"] and "ended itself with exit status 3" in check["cause"]


@pytest.mark.parametrize(
    ("stack", "common"),
    [
        (["/usr/lib/python3.13/socketserver.py:235 serve_forever", "/opt/shop/releases/r1/run.py:8 <module>"], True),
        (["/usr/lib/python3.13/queue.py:171 get", "/opt/shop/releases/r1/run.py:8 <module>"], False),
    ],
)
def test_a_load_that_does_not_end_need_not_be_due_to_gevent(
    call_module: Call, instance: FakeInstance, monkeypatch: pytest.MonkeyPatch, stack: list[str], common: bool
) -> None:
    instance.failure = "hangs"
    monkeypatch.setattr(instance, "hanging", lambda: stack)
    check = call_module(gevent_check, generation="g", catalogue=CATALOGUE)["check"]
    assert (check["common"], check["verdict"], bool(check["cause"])) == (common, "blocks", common)
    said = gevent_refusal(check)
    assert "breaks this application" not in said
    assert ("starts its own server while loading, at run.py:8" in said) == common
    host = {"nofile": 9999, "file_max": 99999, "tasks": 9999}
    reasons = threads_instead(check, settings(threads=8, processes=2), host)["because"]
    assert "no result" not in reasons


@pytest.mark.parametrize(
    ("answer", "path", "common"),
    [
        (Answer(404, 0.1, "<title>Not Found</title>"), "/healthz", "404 instead of 200: Not Fo"),
        (Answer(302, 0.1, "", "/login"), "/healthz", "requires a login"),
        (Answer(500, 0.1, "broken"), "/healthz", ""),
        (Answer(0, 0.1, "timed out"), "/healthz", ""),
        (Answer(404, 0.1, ""), "/report", ""),
    ],
)
def test_an_answer_unrelated_to_gevent_is_a_failure_in_either_mode(
    call_module: Call,
    instance: FakeInstance,
    monkeypatch: pytest.MonkeyPatch,
    answer: Answer,
    path: str,
    common: str,
) -> None:
    found = Measured(path, 10, 200, [answer])
    monkeypatch.setattr(gevent_check, "measure", lambda *_, **__: found)
    check = call_module(gevent_check, generation="g", path=path, catalogue=CATALOGUE)["check"]
    assert (check["common"], check["verdict"]) == (bool(common), "warning")
    assert common in check["cause"]


def test_a_request_s_error_in_either_mode_is_reported_with_its_cause(
    call_module: Call, instance: FakeInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Measured("/healthz", 10, 200, [Answer(500, 0.1, "")])
    log = ["WSGI app 0 (mountpoint='') ready in 1 seconds", *TRACE.splitlines()[:-1]]
    logged = [line.format(code="open('x')", raised="OSError: [Errno 30] Read-only file system: 'x/y'") for line in log]
    monkeypatch.setattr(instance, "log", lambda: logged)
    monkeypatch.setattr(gevent_check, "measure", lambda *_, **__: found)
    check = call_module(gevent_check, generation="g", path="/healthz", catalogue=CATALOGUE)["check"]
    assert check["common"] and "flask_uwsgi_persistent: [x]" in check["cause"]


def test_a_worker_that_is_replaced_meanwhile_has_died(
    call_module: Call, instance: FakeInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(*_: Any, **__: Any) -> Measured:
        instance.worker = 8
        return Measured("/", 10, 200, [Answer(0, 0.1, "closed")])

    monkeypatch.setattr(gevent_check, "measure", measure)
    result = call_module(gevent_check, generation="g", catalogue=CATALOGUE)
    (finding,) = result["check"]["checks"]["cooperation"]["findings"]
    assert (finding["level"], finding["evidence"]) == ("blocks", ["run.py:9 index"])


ODD: list[Any] = [
    None, 5, -1, True, 1.5, "text", "\0", "../../etc", [], [None], [5], ["\0"], [[]], [{}], {}, {"a": {}},
    [{"file": "\0"}], [{"file": 5}], [{"file": "/opt/../etc/passwd"}], [{"stack": 5}], [{"stack": [None]}],
    [{"where": []}], [{"message": {}, "originals": 5, "locks": [5], "pools": [{}]}], [{"kind": "native"}],
]  # fmt: skip
KEYS = [
    "pid", "python", "gevent", "path", "warnings", "patches", "unpatched", "locks", "threads", "threads_before",
    "modules", "extensions", "early", "blocked", "waiting", "loops",
]  # fmt: skip


@pytest.mark.parametrize("key", KEYS)
def test_any_report_written_by_the_application_leads_to_a_verdict(
    call_module: Call, instance: FakeInstance, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    for value in ODD:
        monkeypatch.setattr(instance, "loaded", lambda value=value: {key: value})
        monkeypatch.setattr(instance, "activity", lambda value=value: {key: value})
        result = call_module(gevent_check, generation="g", catalogue=CATALOGUE)
        assert (result["failed"], result["check"]["generation"]) == (False, "g"), value


def test_a_report_written_by_the_application_is_made_printable(
    call_module: Call, layout: TemporaryLayout, instance: FakeInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"message": "\x1b[2Jcleared", "where": "run.py:1 \u202egnp"}]
    monkeypatch.setattr(instance, "loaded", lambda: {"warnings": rows, "unpatched": ["time.sleep\x1b]0;owned\x07"]})
    result = call_module(gevent_check, generation="g", catalogue=CATALOGUE)
    assert json.dumps(result["check"], ensure_ascii=False).isprintable()
    table = gevent_table(result["check"], "app1")
    assert table.replace("\n", "").isprintable() and "\\x1b[2Jcleared" in table
    assert json.loads(kept(layout).read_text()) == result["check"]


def test_in_check_mode_nothing_is_done(call_module: Call, layout: TemporaryLayout, instance: FakeInstance) -> None:
    assert call_module(gevent_check, check=True, generation="g", catalogue=CATALOGUE) == {
        "failed": False,
        "changed": False,
    }
    assert not kept(layout).exists()


def test_a_missing_generation_or_one_of_threads_mode_is_refused(
    call_module: Call, layout: TemporaryLayout, instance: FakeInstance
) -> None:
    assert (
        "generation other is not on this host"
        in call_module(gevent_check, generation="other", catalogue=CATALOGUE)["msg"]
    )
    write_generation(layout, "threads", mode="threads")
    result = call_module(gevent_check, generation="threads", catalogue=CATALOGUE)
    assert "set flask_uwsgi_mode=gevent" in result["msg"]


def test_an_application_that_another_run_has_reserved_is_not_checked(
    call_module: Call, layout: TemporaryLayout, instance: FakeInstance
) -> None:
    other = {"home": "h", "pid": 1, "start": 2, "what": "deploy", "who": "root@other", "since": "now"}
    reservation.reserve(layout, other)
    result = call_module(gevent_check, generation="g", catalogue=CATALOGUE)
    assert result["failed"] and "is being changed on this host: deploy by root@other" in result["msg"]
