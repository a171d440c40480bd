"""Reads what an application left in the journal, and finds the errors in it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from typing import NamedTuple

from . import journal, kinds, systemd
from .foreign import printable
from .layout import Layout

# Read before the window, so that a traceback that begins there is complete.
_CONTEXT = 100
# syslog priorities.
_ERROR, _WARNING = 3, 4

# uWSGI's own format, this role's default, and what web servers commonly write.
_REQUEST = re.compile(r'HTTP/\d(?:\.\d)?["\]]? (\d{3})\b')
_TRACEBACK = re.compile(r"\s*(?:\+ )?(?:Exception Group )?Traceback \(most recent call last\):")
_RAISED = re.compile(r"[A-Za-z_][\w.]*(?:: .*)?")
_CHAINED = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)
_FAILURE = re.compile(
    # Applications and Python.
    r'Traceback \(most recent call last\):|\b(?:ERROR|CRITICAL)\b|"level(?:name)?": ?"(?:error|critical)"'
    r"|Fatal Python error"
    # uWSGI 2.0.31. A failed system call is reported with its place in the source. It is no error if a file to remove
    # was missing or a client has gone.
    r"|DAMN ! worker|!!! uWSGI process \d+ got |HARAKIRI|listen queue of socket .{0,200} full|async queue is full"
    r"|no app loaded|no python application found|unable to (?:load|find|open)|failed to open python file"
    r"|\[strict-mode\]|invalid request block size"
    r"|^(?!unlink)\w+\(\): (?!Broken pipe|Connection reset).* \[\S+\.c line \d+\]"
)


class Entry(NamedTuple):
    """A line of the journal.

    Args:
        at: when, in UTC.
        by: ``systemd``, or the process id.
        priority: syslog's: 3 is an error, 4 a warning, 6 what a program simply prints.
        text: the line, in printable characters.
    """

    at: str
    by: str
    priority: int
    text: str


def read(layout: Layout, lines: int, since: str = "") -> list[Entry]:
    """Return what an application and its units logged last, and some lines before that.

    Args:
        layout: the application's paths.
        lines: number of lines; up to 100 more come before them.
        since: a time that journalctl understands, or an empty string.

    Raises:
        SystemdError: journalctl failed, for instance because ``since`` is not valid.
    """
    names = units(layout)
    # Anyone may log with any SYSLOG_IDENTIFIER and any UNIT; only journald sets fields that begin with an underscore.
    matches = [*(f"_SYSTEMD_UNIT={name}" for name in names), "+", "_UID=0", *(f"UNIT={name}" for name in names)]
    # Given a start time, journalctl counts lines from there, unless it prints backwards.
    options = [*journal.OPTIONS, f"--lines={lines + _CONTEXT}", *([f"--since={since}"] if since else [])]
    found = journal.parse(systemd.journalctl(*options, *matches)) if names else []
    return [entry for record in found for entry in _entries(record)]


def units(layout: Layout) -> list[str]:
    """Return the application's units: those that ever logged, those of the host's generations, and the sockets."""
    pattern = re.compile(rf"{re.escape(layout.app)}(?:{'|'.join(kinds.SUFFIXES)})@.+\.(?:service|socket)")
    logged = systemd.journalctl("--field=_SYSTEMD_UNIT").splitlines()
    # If a unit's processes never logged, systemd may have said why.
    there = [path.name for path in layout.generations.glob("[!.]*")]
    installed = [layout.unit(kind, name) for kind in kinds.KINDS for name in there]
    sockets = [path.name.removesuffix(".d") for path in layout.units.glob(f"{layout.socket('*')}.d")]
    return sorted({*filter(pattern.fullmatch, logged), *installed, *sockets})


def _entries(record: journal.Record) -> list[Entry]:
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.at / 1_000_000))
    by = "systemd" if record.pid == "1" else record.pid
    return [Entry(at, by, record.priority, printable(text)) for text in record.lines]


def errors(entries: Sequence[Entry], window: int) -> list[list[Entry]]:
    """Return the errors in a list of lines, each with the lines that belong to it.

    Args:
        entries: lines, oldest first. Several processes may have written at the same time.
        window: how many of the last lines are examined; those before only complete a traceback.

    Returns:
        one list for each error: a traceback is one error, with the line that introduced it.
    """
    found: list[list[Entry]] = []
    ends: list[int] = []
    latest: dict[str, int] = {}
    for position, entry in enumerate(entries):
        index = latest.pop(entry.by, None)
        if index is None or not _continues(found[index], entry.text):
            if not _is_error(entry):
                continue
            index = len(found)
            found.append([])
            ends.append(position)
        found[index].append(entry)
        ends[index] = position
        latest[entry.by] = index
    return [error for error, end in zip(found, ends) if end >= len(entries) - window]


def _is_error(entry: Entry) -> bool:
    if entry.by == "systemd":
        return entry.priority <= _WARNING or "Main process exited" in entry.text
    # This comes first, since clients choose the text of a request line.
    if request := _REQUEST.search(entry.text):
        return request[1].startswith("5")
    return entry.priority <= _ERROR or bool(_FAILURE.search(entry.text))


def _continues(error: Sequence[Entry], text: str) -> bool:
    """Return whether a line belongs to the error that the same process reported just before."""
    if _REQUEST.search(error[0].text):
        return False
    previous = error[-1].text
    printed = any(_TRACEBACK.match(entry.text) for entry in error)
    if _TRACEBACK.match(text):
        return not printed or previous in _CHAINED
    if text in _CHAINED:
        return printed
    if text.startswith(" "):
        return True
    inside = previous.startswith(" ") or _TRACEBACK.match(previous)
    return bool(printed and inside and _RAISED.fullmatch(text))


def unfold(text: str) -> list[str]:
    """Return a line of JSON with its multi-line texts (tracebacks) below it, and any other line unchanged."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return [text]
    if not isinstance(record, dict):
        return [text]
    long = {name: value for name, value in record.items() if isinstance(value, str) and "\n" in value}
    rest = {name: value for name, value in record.items() if name not in long}
    below = [printable(line) for value in long.values() for line in value.splitlines()]
    return [json.dumps(rest, ensure_ascii=False), *below] if long else [text]
