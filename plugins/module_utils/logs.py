"""What an application left in the journal, and which of it tells of an error."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

# Read before the window, so that a traceback which begins there is whole.
_CONTEXT = 100
# syslog's priorities.
_ERROR, _WARNING, _INFO = 3, 4, 6

# uWSGI's own line, the one this role has by default, and what web servers commonly write.
_REQUEST = re.compile(r'HTTP/\d(?:\.\d)?["\]]? (\d{3})\b')
_TRACEBACK = re.compile(r"\s*(?:\+ )?(?:Exception Group )?Traceback \(most recent call last\):")
_RAISED = re.compile(r"[A-Za-z_][\w.]*(?:: .*)?")
_CHAINED = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)
_FAILURE = re.compile(
    # Applications and Python.
    rf'{_TRACEBACK.pattern}|\b(?:ERROR|CRITICAL)\b|"level(?:name)?": ?"(?:error|critical)"|Fatal Python error'
    # uWSGI 2.0.31. A system call that failed is told with its place in the source; that a file to remove was not
    # there, or that a client has gone, is no failure.
    r"|DAMN ! worker|!!! uWSGI process \d+ got |HARAKIRI|listen queue of socket .* full|async queue is full"
    r"|no app loaded|no python application found|unable to (?:load|find|open)|failed to open python file"
    r"|\[strict-mode\]|invalid request block size"
    r"|^(?!unlink)\w+\(\): (?!Broken pipe|Connection reset).* \[\S+\.c line \d+\]"
)


class LogsError(Exception):
    """journalctl refused, and this is what it says."""


class Entry(NamedTuple):
    """A line of the journal.

    Args:
        at: when, in UTC.
        by: ``systemd``, or the process id.
        priority: syslog's: 3 is an error, 4 a warning, 6 what a program just prints.
        text: the line, made of printable characters.
    """

    at: str
    by: str
    priority: int
    text: str


def read(app: str, lines: int, since: str = "") -> list[Entry]:
    """Return what an application and its units logged last, and some of what was before.

    Args:
        app: the application's name.
        lines: how many lines are wanted; up to 100 more come before them.
        since: a time that journalctl understands, or nothing.

    Raises:
        LogsError: journalctl failed; it also judges ``since``.
    """
    unit = re.compile(rf"{re.escape(app)}(?:(?:-canary|-relief)?@.+\.(?:service|socket)|\.socket)")
    units = [name for name in _journalctl("--field=UNIT").splitlines() if unit.fullmatch(name)]
    matches = [f"SYSLOG_IDENTIFIER={app}"]
    if units:
        # Only root's word on a unit counts: any process may log with any UNIT.
        matches += ["+", "_UID=0", *(f"UNIT={name}" for name in units)]
        matches += ["+", *(f"_SYSTEMD_UNIT={name}" for name in units)]
    return parse(
        _journalctl(
            "--all",
            "--output=json",
            "--output-fields=MESSAGE,PRIORITY,SYSLOG_IDENTIFIER,_PID",
            # With a time to begin at, journalctl counts lines from there on, except backwards.
            "--reverse",
            f"--lines={lines + _CONTEXT}",
            *([f"--since={since}"] if since else []),
            *matches,
        )
    )


def _journalctl(*arguments: str) -> str:
    command = ("journalctl", "--no-pager", "--quiet", *arguments)
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LogsError(str(error)) from error
    if done.returncode:
        raise LogsError(done.stderr.strip())
    return done.stdout


def parse(output: str) -> list[Entry]:
    """Read what ``journalctl --output=json --reverse`` prints.

    Args:
        output: records, the newest first.

    Returns:
        the entries, the oldest first; a message of several lines is several entries.
    """
    # Messages may hold other line ends than this one.
    records = [json.loads(line) for line in output.split("\n") if line]
    return [entry for record in reversed(records) for entry in _entries(record)]


def _entries(record: dict[str, Any]) -> list[Entry]:
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(record["__REALTIME_TIMESTAMP"]) / 1_000_000))
    by = "systemd" if record.get("SYSLOG_IDENTIFIER") == "systemd" else str(record.get("_PID", "?"))
    # Any program can write what it likes here.
    priority = int(said) if (said := str(record.get("PRIORITY"))).isdecimal() else _INFO
    return [Entry(at, by, priority, printable(text)) for text in _message(record.get("MESSAGE")).splitlines()]


def _message(value: Any) -> str:
    """Return a message as text: journalctl prints the bytes of one that is not all text."""
    if not isinstance(value, list):
        return str(value or "")
    if all(isinstance(byte, int) for byte in value):
        return bytes(value).decode(errors="replace")
    return "\n".join(_message(part) for part in value)


def printable(text: str) -> str:
    """Return a line with what a terminal would obey spelled out, and without blanks at its end."""
    spelt = (char if char.isprintable() else ascii(char)[1:-1] for char in text.expandtabs().rstrip())
    return "".join(spelt)


def errors(entries: Sequence[Entry], window: int) -> list[list[Entry]]:
    """Return the errors among lines, each with the lines that belong to it.

    Args:
        entries: lines, the oldest first. Processes may have written at the same time.
        window: how many of the last ones are looked at; those before only complete a traceback.

    Returns:
        one list for each error: a traceback is one error, with the line that announced it.
    """
    found: list[list[Entry]] = []
    ends: list[int] = []
    latest: dict[str, int] = {}
    for position, entry in enumerate(entries):
        index = latest.pop(entry.by, None)
        if index is None or not _continues(found[index], entry.text):
            if not _tells_an_error(entry):
                continue
            index = len(found)
            found.append([])
            ends.append(position)
        found[index].append(entry)
        ends[index] = position
        latest[entry.by] = index
    return [error for error, end in zip(found, ends, strict=True) if end >= len(entries) - window]


def _tells_an_error(entry: Entry) -> bool:
    if entry.by == "systemd":
        return entry.priority <= _WARNING or "Main process exited" in entry.text
    # First of all, since clients choose what stands in a request line.
    if request := _REQUEST.search(entry.text):
        return request[1].startswith("5")
    return entry.priority <= _ERROR or bool(_FAILURE.search(entry.text))


def _continues(error: Sequence[Entry], text: str) -> bool:
    """Tell whether a line belongs to the error that the same process told of just before."""
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
    """Return a line of JSON with its texts of several lines (tracebacks) below it; another line as it is."""
    try:
        record = json.loads(text)
    except ValueError:
        return [text]
    if not isinstance(record, dict):
        return [text]
    long = {name: value for name, value in record.items() if isinstance(value, str) and "\n" in value}
    rest = {name: value for name, value in record.items() if name not in long}
    below = [printable(line) for value in long.values() for line in value.splitlines()]
    return [json.dumps(rest, ensure_ascii=False), *below] if long else [text]
