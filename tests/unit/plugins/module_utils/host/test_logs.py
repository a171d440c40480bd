"""The lines are from real journals of uWSGI 2.0.31, Python 3.11 and systemd 252."""

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import journal as journal_module
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import logs, systemd
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.logs import Entry

from tests.support.fake_host import TemporaryLayout, write_generation

RunModule = Callable[..., dict[str, Any]]

# The lines of each process in order of arrival: two tracebacks are interleaved.
PRINTED = r"""
712 *** Operational MODE: preforking+async ***
712 spawned uWSGI worker 1 (pid: 716, cores: 3000)
719 Traceback (most recent call last):
719   File "run.py", line 51, in plain
717   + Exception Group Traceback (most recent call last):
719     {}["user"]
717   |   File "run.py", line 61, in group
719     ~~^^^^^^^^
719 KeyError: 'user'
719 The above exception was the direct cause of the following exception:
717   | ExceptionGroup: two (2 sub-exceptions)
719 Traceback (most recent call last):
719   File "run.py", line 53, in plain
717   +-+---------------- 1 ----------------
717     | ValueError: a
719     raise RuntimeError("lookup failed") from error
719 RuntimeError: lookup failed
717     +------------------------------------
719 10.213.41.1 "GET /plain HTTP/1.1" 200 1B 6ms worker=4
718 10.213.41.1 "GET /boom?why=ERROR HTTP/1.1" 500 169B 13ms worker=2
718 10.213.41.1 "GET /?q=ERROR HTTP/1.1" 404 20B 1ms worker=2
718 [2026-11-24 09:23:47,407] ERROR in app: Exception on /boom [GET]
718 Traceback (most recent call last):
718   File "run.py", line 45, in boom
718 ValueError: no such user
718 done: all of it
712 DAMN ! worker 3 (pid: 718) died :( trying respawn ...
712 Respawned uWSGI worker 3 (new pid: 749)
""".strip().splitlines()


def entry(text: str, by: str = "700", priority: int = 6) -> Entry:
    return Entry("2026-11-24T09:23:47Z", by, priority, text)


def texts(found: list[list[Entry]]) -> list[list[str]]:
    return [[line.text for line in error] for error in found]


@pytest.fixture
def printed() -> list[Entry]:
    return [entry(text, by) for by, _, text in (line.partition(" ") for line in PRINTED)]


def test_an_interleaved_traceback_is_one_complete_error(printed: list[Entry]) -> None:
    found = logs.errors(printed, len(printed))
    assert [(error[0].by, len(error)) for error in found] == [
        ("719", 10), ("717", 6), ("718", 1), ("718", 4), ("712", 1),
    ]  # fmt: skip
    chained, group, request, logged, worker = texts(found)
    assert (chained[0], chained[-1]) == ("Traceback (most recent call last):", "RuntimeError: lookup failed")
    assert group[-1].strip() == "+------------------------------------"
    assert request[0].endswith("500 169B 13ms worker=2")
    assert (logged[0][26:38], logged[-1]) == ("ERROR in app", "ValueError: no such user")
    assert worker[0].startswith("DAMN ! worker 3")


def test_errors_before_the_window_are_left_out_and_one_that_reaches_into_it_is_complete(printed: list[Entry]) -> None:
    found = logs.errors(printed, len(PRINTED) - PRINTED.index("719 RuntimeError: lookup failed"))
    assert [(error[0].by, len(error)) for error in found][:2] == [("719", 10), ("717", 6)]
    assert [error[0].by for error in logs.errors(printed, 2)] == ["712"]
    assert logs.errors(printed, 1) == []


def test_two_tracebacks_in_a_row_are_two_errors() -> None:
    lines = ["Traceback (most recent call last):", '  File "run.py", line 1', "ValueError: x"] * 2
    assert [len(error) for error in logs.errors([entry(line) for line in lines], 6)] == [3, 3]


@pytest.mark.parametrize(
    "line",
    [
        # From the application.
        "CRITICAL: disk full",
        '{"time": "2026-11-24T09:23:47.407+00:00", "level": "ERROR", "logger": "x", "message": "y"}',
        '{"event": "y", "level": "error"}',
        # From uWSGI.
        "DAMN ! worker 1 (pid: 716) died, killed by signal 9 :( trying respawn ...",
        "!!! uWSGI process 718 got Segmentation Fault !!!",
        "Tue Nov 24 09:23:47 2026 - *** HARAKIRI ON WORKER 1 (pid: 716, try: 1) ***",
        'Tue Nov 24 09:23:47 2026 - *** uWSGI listen queue of socket ":8040" (fd: 3) full !!! (4097/4096) ***',
        "unable to load app 0 (mountpoint='') (callable not found or import error)",
        "*** no app loaded. GAME OVER ***",
        "failed to open python file nowhere.py",
        "[strict-mode] unknown config directive: proceses",
        "bind(): Address already in use [core/socket.c line 230]",
        # Request lines in the formats of uWSGI, of web servers, and of this role.
        "[pid: 7|app: 0|req: 1/1] 10.0.0.1 () {28 vars in 300 bytes} [Tue Nov 24 09:23:47 2026] GET / => generated 0 "
        "bytes in 1 msecs (HTTP/1.1 503) 0 headers in 0 bytes (1 switches on core 0)",
        '10.0.0.1 - - [24/Nov/2026:09:23:47 +0000] "GET / HTTP/1.1" 502 0 "-" "curl/7.88.1"',
        '10.213.41.1 "GET /bare HTTP/1.1" 500 0B 1ms worker=4',
    ],
)
def test_an_error_is_recognized_by_its_line(line: str) -> None:
    assert texts(logs.errors([entry(line)], 1)) == [[line]]


@pytest.mark.parametrize(
    "line",
    [
        '10.213.41.1 "GET /500 HTTP/1.1" 200 142B 9ms worker=1',
        '10.213.41.1 "GET /?CRITICAL=1 HTTP/1.0" 404 500B 500ms worker=1',
        "no error here",
        "unlink(): No such file or directory [core/uwsgi.c line 1687]",
        "uwsgi_response_write_body_do(): Broken pipe [core/writer.c line 341] during GET / (10.213.41.1)",
        # Printed by every canary that is stopped.
        "Tue Nov 24 09:23:44 2026 - uWSGI worker 4 error: the master disconnected from this worker. Shutting down "
        "the worker.",
        "!!! no internal routing support, rebuild with pcre support !!!",
    ],
)
def test_lines_that_resemble_an_error_are_not_one(line: str) -> None:
    assert logs.errors([entry(line)], 1) == []


@pytest.mark.parametrize(
    ("priority", "line", "is_error"),
    [
        (4, "shop@g1.service: Main process exited, code=killed, status=9/KILL", True),
        (5, "shop@g1.service: Main process exited, code=exited, status=22/n/a", True),
        (4, "shop@g1.service: Failed with result 'exit-code'.", True),
        (3, "Failed to start shop@g1.service - shop: generation g1.", True),
        (5, "shop-canary@g1.service: Killing process 685 (uwsgi) with signal SIGKILL.", False),
        (6, "shop@g1.service: Scheduled restart job, restart counter is at 1.", False),
    ],
)
def test_systemd_s_messages_are_errors_by_their_priority(priority: int, line: str, is_error: bool) -> None:
    assert bool(logs.errors([entry(line, "systemd", priority)], 1)) is is_error


def test_a_line_with_the_priority_of_an_error_is_one() -> None:
    assert logs.errors([entry("a stray message", priority=3)], 1)
    assert not logs.errors([entry("a stray message", priority=4)], 1)


# The journal.


def record(message: Any, **more: Any) -> dict[str, Any]:
    return {
        "__REALTIME_TIMESTAMP": "1795512227450314",
        "_PID": "718",
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "shop",
        "MESSAGE": message,
        **more,
    }


def printed_by_journalctl(*records: dict[str, Any]) -> str:
    return "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in records)


def parsed(*records: dict[str, Any]) -> list[Entry]:
    found = journal_module.parse(printed_by_journalctl(*records))
    return [entry for one in found for entry in logs._entries(one)]


def test_a_record_has_its_time_in_utc_its_process_and_its_priority() -> None:
    assert parsed(record("hello")) == [Entry("2026-11-24T09:23:47Z", "718", 6, "hello")]
    assert parsed(record("x", _PID="1", PRIORITY="4")) == [Entry("2026-11-24T09:23:47Z", "systemd", 4, "x")]


def test_a_program_named_systemd_is_not_systemd() -> None:
    assert parsed(record("x", SYSLOG_IDENTIFIER="systemd"))[0].by == "718"


@pytest.mark.parametrize("priority", ["9", "-1", "9" * 5000, "٣", "", ["3"], None, 3.5, "3\n"])
def test_an_invalid_priority_counts_as_that_of_printed_text(priority: object) -> None:
    assert parsed(record("x", PRIORITY=priority))[0].priority == 6


@pytest.mark.parametrize(
    "broken", ["{", "[]", "3", "null", "{}", '{"__REALTIME_TIMESTAMP": "x"}', "[" * 100_000, "\ufffd"]
)
def test_a_truncated_record_does_not_affect_others(broken: str) -> None:
    output = printed_by_journalctl(record("fine")) + broken
    assert [one.lines for one in journal_module.parse(output)] == [("fine",)]


def test_records_are_read_newest_first_and_lines_returned_oldest_first() -> None:
    found = parsed(record("third\u2028and fourth"), record("first\nsecond"))
    assert [one.text for one in found] == ["first", "second", "third", "and fourth"]


@pytest.mark.parametrize(
    ("message", "text"),
    [
        # As journalctl prints data that is not text.
        ([99, 97, 102, 233, 32, 27, 91, 51, 49, 109, 114, 101, 100, 9, 124], "caf� \\x1b[31mred   |"),
        ("bell\a and no blank  ", "bell\\x07 and no blank"),
        ("Grüße 🙂", "Grüße 🙂"),
        (["twice", "twice"], "twice"),
    ],
)
def test_a_message_is_made_printable(message: Any, text: str) -> None:
    assert parsed(record(message))[0].text == text


def test_a_malformed_record_does_not_affect_others() -> None:
    odd = {"__REALTIME_TIMESTAMP": "0", "MESSAGE": "x", "PRIORITY": ["3", "4"]}
    assert parsed(record(None), odd, record("fine"))[-1] == Entry("1970-01-01T00:00:00Z", "?", 6, "x")
    assert len(parsed(record(None), odd, record("fine"))) == 2


def test_a_json_line_is_shown_with_its_traceback_below() -> None:
    line = json.dumps({"level": "ERROR", "exception": 'Traceback:\n  File "run.py"\nValueError: \x1b', "message": "ö"})
    assert logs.unfold(line) == [
        '{"level": "ERROR", "message": "ö"}',
        "Traceback:",
        '  File "run.py"',
        "ValueError: \\x1b",
    ]
    for other in ('{"level": "ERROR"}', "[1]", "{broken", "ERROR"):
        assert logs.unfold(other) == [other]


@pytest.mark.parametrize("line", ["[" * 60_000, '{"a":' * 60_000, '{"a": ' + "1" * 60_000 + "}"])
def test_a_line_that_is_almost_json_is_shown_unchanged(line: str) -> None:
    assert logs.unfold(line) == [line]


@pytest.mark.parametrize(
    "piece",
    [" ", "a", "a.", ".", "Error", "AError.", "[", " [", "x(): [", "@", "Started @", "listen queue of socket ",
     "level", "Traceback ", "\t", "é", "\u202e"],
)  # fmt: skip
def test_a_long_line_is_read_quickly(piece: str) -> None:
    line = (piece * 65536)[:65536]
    started = time.monotonic()
    logs.errors([entry(line), entry(line)], 2)
    parsed(record(line))
    assert time.monotonic() - started < 15


# The module.


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Answer in place of journalctl: the content of `records`, and for `--since=nonsense` its real message."""
    records = tmp_path / "records"
    records.write_text(json.dumps(record("last")) + "\n" + json.dumps(record("CRITICAL: first")) + "\n")
    program = tmp_path / "bin" / "journalctl"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\n"
        f'echo "$*" >> {tmp_path}/asked\n'
        'case "$*" in\n'
        "*--field=_SYSTEMD_UNIT*) echo shop@g1.service shop-pre@g0.service shop2@g1.service x-shop@g1.service"
        " | tr ' ' '\\n';;\n"
        "*--since=nonsense*) echo 'Failed to parse timestamp: nonsense' >&2; exit 1;;\n"
        "*--since=*) echo 'Failed to open system journal: Permission denied' >&2; exit 1;;\n"
        f"*) cat {records};;\n"
        "esac\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return records


def test_the_module_returns_errors_and_last_lines(run_module: RunModule, journal: Path, tmp_path: Path) -> None:
    result = run_module("logs", check=True, app_name="shop", base_dir=str(tmp_path), lines=200)
    assert not result["changed"]
    assert [line["text"] for line in result["lines"]] == ["CRITICAL: first", "last"]
    assert result["errors"] == [{"at": "2026-11-24T09:23:47Z", "by": "718", "lines": ["CRITICAL: first"]}]
    assert result["deployed"] is False
    asked = (tmp_path / "asked").read_text().splitlines()[-1]
    assert asked.endswith(
        "_SYSTEMD_UNIT=shop-pre@g0.service _SYSTEMD_UNIT=shop@g1.service "
        "+ _UID=0 UNIT=shop-pre@g0.service UNIT=shop@g1.service"
    )


def test_fields_that_any_process_can_set_are_not_used_as_filters(
    layout: TemporaryLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(systemd, "journalctl", lambda *arguments: asked.extend(arguments) or "")
    for name in ("g1", "g2"):
        write_generation(layout, name)
    layout.socket_dropin("0.0.0.0:8040").parent.mkdir()
    logs.read(layout, 10)
    fields = [word for word in asked if re.match(r"[A-Z_]+=", word)]
    assert "_SYSTEMD_UNIT=shop-canary@g2.service" in fields and "_SYSTEMD_UNIT=shop@0.0.0.0:8040.socket" in fields
    assert {name for _, _, name in (word.partition("=") for word in fields) if name.endswith("@g1.service")} == {
        f"shop{kind}@g1.service" for kind in ("", "-relief", "-canary", "-check", "-pre", "-post", "-validate")
    }
    # journald itself sets the first; for the second, only root's value counts.
    before, after = fields[: fields.index("_UID=0")], fields[fields.index("_UID=0") + 1 :]
    assert {word.partition("=")[0] for word in before} == {"_SYSTEMD_UNIT"}
    assert {word.partition("=")[0] for word in after} == {"UNIT"}
    assert asked[asked.index("_UID=0") - 1] == "+" and asked.count("+") == 1


def test_nothing_is_read_of_an_application_that_never_ran(
    layout: TemporaryLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systemd, "journalctl", lambda *arguments: "other.service\nshop2@g.service\n")
    assert logs.read(layout, 10) == []


def test_more_is_read_than_is_shown(run_module: RunModule, journal: Path, tmp_path: Path) -> None:
    result = run_module("logs", app_name="shop", base_dir=str(tmp_path), lines=1)
    assert ([line["text"] for line in result["lines"]], result["errors"]) == (["last"], [])
    assert " --lines=101 " in (tmp_path / "asked").read_text()


def test_an_invalid_time_is_reported_with_the_remedy(run_module: RunModule, journal: Path, tmp_path: Path) -> None:
    result = run_module("logs", app_name="shop", base_dir=str(tmp_path), since="nonsense")
    assert result["failed"]
    assert result["msg"].startswith(
        "flask_uwsgi_log_since=nonsense is not valid (Failed to parse timestamp: nonsense): set it to a time"
    )
    result = run_module("logs", app_name="shop", base_dir=str(tmp_path), since="-1h")
    assert result["msg"] == "the journal of shop cannot be read: Failed to open system journal: Permission denied"
