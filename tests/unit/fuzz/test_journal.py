"""Logs of applications and output of builds: read without a traceback and in linear time."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.failure import explain
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import foreign, journal, logs
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release.manifest import Health, Manifest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.wheelhouse import failure
from hypothesis import example, given
from hypothesis import strategies as st

BOUND_S = 5.0
MANIFEST = Manifest(
    release="r", venv="v", mode="gevent", processes=4, cores=100, listen="0.0.0.0:8040", wsgi_file="run.py",
    callable="app", health=Health("/healthz", 200, 4), start_timeout=15, stop_timeout=60, keep=3, checksums={},
)  # fmt: skip
# Strings that the readers look for, so that input comes close to them.
WORDS = st.sampled_from(
    ["Traceback (most recent call last):", "ImportError: x", "  File", "ERROR", "HTTP/1.1\" 500", "DAMN ! worker",
     "During handling of the above exception, another exception occurred:", "EntryError: flask_uwsgi_module={x}",
     "[strict-mode] unknown config directive: {0}", "a.b.c.", "Exit", "\x1b[31m", "\x00", "\u202e", "\u2028", "\n",
     "TypeError: 'list' object is not callable", '{"a": "b\\nc"}', "%s", "{detail}",
     "unable to load app 0", '  File "/a/releases/b/c.py", line 1, in f', "ValueError: x", "SHOP_KEY is not set",
     "\ufffd", " ", "\t", "pg_config"]
)  # fmt: skip
TEXT = st.lists(WORDS | st.text(max_size=6), max_size=8).map("".join)
# journalctl prints a message as text, as bytes, as null if it is too long, and several as a list of these.
ONE = TEXT | st.binary(max_size=20).map(list) | st.none()
RECORD = st.fixed_dictionaries(
    {"__REALTIME_TIMESTAMP": st.integers(0, 2**60).map(str)},
    optional={
        "MESSAGE": ONE | st.lists(ONE, max_size=3),
        "PRIORITY": st.integers(0, 7).map(str) | st.text(max_size=3) | st.lists(st.text(max_size=2), max_size=2),
        "SYSLOG_IDENTIFIER": TEXT | st.just("systemd") | st.none(),
        "_PID": st.integers(1, 2**22).map(str),
    },
)


def read(output: str) -> list[logs.Entry]:
    return [entry for record in journal.parse(output) for entry in logs._entries(record)]


@given(st.lists(RECORD, max_size=12), st.integers(0, 20))
@example([{"__REALTIME_TIMESTAMP": "0", "PRIORITY": "²", "MESSAGE": [255, 254]}], 1)
def test_the_journal_is_read_whatever_was_logged(records: list[dict[str, Any]], window: int) -> None:
    entries = read("\n".join(map(json.dumps, records)))
    for error in logs.errors(entries, window):
        assert error
    for entry in entries:
        assert all(char.isprintable() for char in entry.text)
        for line in logs.unfold(entry.text):
            assert "\n" not in line


@given(st.lists(TEXT, max_size=12))
def test_a_failed_start_is_explained_or_not(lines: list[str]) -> None:
    cause = explain.explain(lines, MANIFEST)
    assert isinstance(cause, str)
    shown = explain.relevant_lines(lines)
    # In a traceback, paths are shortened, and omissions are marked.
    known = [line.replace("/a/releases/b/", "") for line in lines]
    assert len(shown) <= explain.MOST
    assert all(line.replace("/a/releases/b/", "") in known or line.startswith("  …") for line in shown)


@given(TEXT | st.text(max_size=200))
def test_a_failed_build_is_read_whatever_it_printed(output: str) -> None:
    failure.missing_packages(output)
    assert len(failure.relevant_lines(output)) <= 12


# 64 kB that make a regular expression backtrack.
PIECES = [
    "a", "a.", "Error", "a.Error", "_", " ", "x" * 50 + " ", "unable to find ", "TypeError: '", "Traceback ", "ERROR ",
    "HTTP/1.1 ", '"level": ', "(): ", "[a.c line ", "worker ", "cmake ", "pkg-config ", "cargo ", "gcc ", "error:", "-",
    "rustc", "Started ", "a@", "a@a.service ", "a.service: ", "\x1b[", "\u202e", "\t", "uWSGI process 1 got ", "{", "[",
]  # fmt: skip


@pytest.mark.parametrize("piece", PIECES)
def test_a_long_line_is_read_within_the_limit(piece: str, within: Any) -> None:
    line = piece * (65_536 // len(piece)) + "!"
    record = json.dumps({"__REALTIME_TIMESTAMP": "0", "MESSAGE": line})
    with within(BOUND_S):
        entries = read(f"{record}\n{record}")
        logs.errors(entries, 2)
        logs.unfold(line)
    with within(BOUND_S):
        foreign.printable(line)
        explain.explain([line, line], MANIFEST)
        explain.relevant_lines([line])
    with within(BOUND_S):
        failure.missing_packages(line)
        failure.relevant_lines(line)


@pytest.mark.parametrize(
    "piece", ["x", " ", "WARNING: Retrying", "error: not found", "Traceback (most recent call last):"]
)
def test_many_lines_are_read_within_the_limit(piece: str, within: Any) -> None:
    lines = [piece] * 20_000
    records = "\n".join(json.dumps({"__REALTIME_TIMESTAMP": "0", "MESSAGE": line}) for line in lines)
    with within(BOUND_S):
        logs.errors(read(records), 10)
        explain.explain(lines, MANIFEST)
        failure.relevant_lines("\n".join(lines))
