"""The journal's records, as ``journalctl --output=json --reverse`` prints them: anyone may have written their text."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

# syslog's priority of what a program simply prints.
INFO = 6
# What journalctl is asked for. journald itself sets the fields that begin with an underscore
# (systemd.journal-fields(7)).
OPTIONS = ("--all", "--output=json", "--output-fields=MESSAGE,PRIORITY,_PID", "--reverse")


class Said(NamedTuple):
    """A line.

    Args:
        pid: the process that logged it; ``1`` is systemd.
        text: the line.
    """

    pid: str
    text: str


@dataclass(frozen=True)
class Record:
    """A message.

    Args:
        at: microseconds since 1970.
        pid: the id of the process that logged it, or ``?``.
        priority: syslog's: 3 is an error, 4 a warning, 6 what a program simply prints.
        lines: its text, as it is.
        cursor: its place in the journal.
    """

    at: int
    pid: str
    priority: int
    lines: tuple[str, ...]
    cursor: str


def parse(output: str) -> list[Record]:
    """Return the records of an output, oldest first.

    Args:
        output: records, newest first; one that is truncated at the end is left out.
    """
    # Messages may contain other line endings.
    found = [_parsed(line) for line in output.split("\n") if line]
    return [record for record in reversed(found) if record]


def _parsed(line: str) -> Record | None:
    try:
        fields = json.loads(line)
        at = int(fields["__REALTIME_TIMESTAMP"])
        text = _text(fields.get("MESSAGE"))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    said = str(fields.get("PRIORITY"))
    priority = int(said) if said in set("01234567") else INFO
    return Record(at, str(fields.get("_PID", "?")), priority, tuple(text.splitlines()), str(fields.get("__CURSOR")))


def _text(value: Any) -> str:
    """Return a message as text; journalctl prints one that is not all text as bytes."""
    if not isinstance(value, list):
        return str(value or "")
    if all(isinstance(byte, int) for byte in value):
        return bytes(value).decode(errors="replace")
    return "\n".join(_text(part) for part in value)


def later(record: Record, cursor: str) -> bool:
    """Return whether a record was logged after the record of a cursor.

    The sequence number decides; if journald has begun a new sequence, the clock of the same boot does.
    """
    one, other = _places(record.cursor), _places(cursor)
    try:
        if one["s"] == other["s"]:
            return int(one["i"], 16) > int(other["i"], 16)
        return one["b"] != other["b"] or int(one["m"], 16) > int(other["m"], 16)
    except (KeyError, ValueError):
        return True


def _places(cursor: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in cursor.split(";"))
    return {name: value for name, _, value in pairs}
