"""Finds in a log where an application stood that did not end being loaded; ``process.py`` logs it, as faulthandler."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .journal import Said

_TIMEOUT = re.compile(r"Timeout(?: \([\d:.]+\))?!")
_THREAD = re.compile(r"(?:Thread 0x[0-9a-f]+|Current thread 0x[0-9a-f]+|Greenlet)\b.* \(most recent call first\):")
_FRAME = re.compile(r'  File "(?P<file>[^"]+)", line (?P<line>\d+|\?\?\?) in (?P<function>.+)')
_OURS = re.compile(r"/generations/[^/]+/[^/]+\.py$|^<|/importlib/|/site-packages/gevent/|^src/gevent/")
_LIBRARY = re.compile(r"/(?:site|dist)-packages/|^/usr/lib/python")
_ROOT = re.compile(r"^/\S*?/(?:releases/[^/]+|(?:site|dist)-packages)/|^/usr/lib/python[^/]*/")
# What serves until it is ended, in Python's own library and in the servers that applications start while they are
# developed.
_SERVES = re.compile(r"serve_forever|run_simple|run_forever|run_app|run_server|app_run")


@dataclass(frozen=True)
class Place:
    """A call that had not ended.

    Args:
        where: file and line, as people look them up.
        function: the function's name; empty for a module's own statements.
        library: whether it is not the application's own.
    """

    where: str
    function: str
    library: bool

    @property
    def told(self) -> str:
        """The place in words."""
        return f"{self.where} ({self.function})" if self.function else self.where


def split(lines: Sequence[Said]) -> tuple[list[Said], list[Place]]:
    """Return a log without the stacks of loads that lasted, and of the first such load its calls.

    Args:
        lines: what was logged.

    Returns:
        the other lines, and the calls of the thread that loaded, the innermost first; none where no load lasted.
    """
    rest: list[Said] = []
    stacks: dict[str, list[Place]] = {}
    for line in lines:
        if _TIMEOUT.fullmatch(line.text):
            stacks[line.pid] = []
        elif line.pid in stacks and _THREAD.fullmatch(line.text):
            # The thread that loads is the last one.
            stacks[line.pid] = []
        elif line.pid in stacks and (match := _FRAME.fullmatch(line.text)):
            if not _OURS.search(match["file"]):
                stacks[line.pid].append(_place(match))
        else:
            rest.append(line)
    return rest, next((stack for stack in stacks.values() if stack), [])


def _place(match: re.Match[str]) -> Place:
    function = "" if match["function"] == "<module>" else match["function"]
    where = f"{_ROOT.sub('', match['file'])}:{match['line']}"
    return Place(where, function, bool(_LIBRARY.search(match["file"])))


def told(stack: Sequence[Place], entry: str, seconds: float) -> str:
    """Return in words that an application did not end being loaded, where it stood, and what to do.

    Args:
        stack: its calls, the innermost first.
        entry: the variable that names the application, with its value.
        seconds: the value of ``flask_uwsgi_start_timeout``.
    """
    inner = stack[0]
    own = next((place for place in stack if not place.library), inner)
    server = next((place for place in stack if _SERVES.fullmatch(place.function)), None)
    if server:
        return (
            f"{entry} starts a server of its own while it is loaded, at {own.told}, and does not get beyond that. "
            'uWSGI is the server: put that call below `if __name__ == "__main__":`'
        )
    within = "" if own is inner else f", within {inner.told}"
    outer = next((place for place in reversed(stack) if not place.library), own)
    called = f", called from {outer.where}" if outer is not own else ""
    return (
        f"{entry} was not loaded within flask_uwsgi_start_timeout={seconds:g} seconds: it was still at "
        f"{own.told}{within}{called}. Raise flask_uwsgi_start_timeout, or move what takes long, or waits for what does "
        "not come, out of the import"
    )
