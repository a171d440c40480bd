"""Finds in faulthandler's log where an application was when it did not finish loading, or crashed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..host.journal import Said

_TIMEOUT = re.compile(r"Timeout(?: \([\d:.]+\))?!")
_FATAL = re.compile(r"Fatal Python error: .*")
# Other lines of faulthandler's.
_BESIDES = re.compile(r"Extension modules: .*|  <no Python frame>|  \.\.\.")
_THREAD = re.compile(r"(?:(?:Current thread|Thread) 0x[0-9a-f]+\b.*|Greenlet|Stack) \(most recent call first\):")
_FRAME = re.compile(r'  File "(?P<file>[^"]+)", line (?P<line>\d+|\?\?\?) in (?P<function>.+)')
_OURS = re.compile(r"/generations/[^/]+/+[^/]+\.py$|^<|/importlib/|/site-packages/gevent/|^src/gevent/")
_LIBRARY = re.compile(r"/(?:site|dist)-packages/|^/usr/lib/python")
_ROOT = re.compile(r"^/\S*?/(?:releases/[^/]+|(?:site|dist)-packages)/|^/usr/lib/python[^/]*/")
# Functions that serve until they are ended, in Python's own library and in development servers.
_SERVES = re.compile(r"serve_forever|run_simple|run_forever|run_app|run_server|app_run")


@dataclass(frozen=True)
class Place:
    """A call in progress.

    Args:
        where: file and line, as shown to people.
        function: the function's name; empty for a module's own statements.
        library: whether it is not the application's own.
    """

    where: str
    function: str
    library: bool

    @property
    def phrase(self) -> str:
        """The place as a phrase."""
        return f"{self.where} ({self.function})" if self.function else self.where


@dataclass(frozen=True)
class Stacks:
    """What faulthandler has logged, each stack innermost call first.

    Args:
        rest: the rest of the log.
        hanging: the calls of the first load that did not finish; empty if all did.
        crashed: the calls of the last crash; empty if there was none.
    """

    rest: list[Said]
    hanging: list[Place]
    crashed: list[Place]


def split(lines: Sequence[Said]) -> Stacks:
    """Separate a log from the stacks in it."""
    rest: list[Said] = []
    hanging: dict[str, list[Place]] = {}
    crashed: list[Place] = []
    stacks: dict[str, list[Place]] = {}
    for line in lines:
        if _TIMEOUT.fullmatch(line.text):
            stacks[line.pid] = hanging[line.pid] = []
        elif _FATAL.fullmatch(line.text):
            stacks[line.pid] = crashed = []
        elif line.pid in stacks and _THREAD.fullmatch(line.text):
            # The thread that loads is the last one.
            stacks[line.pid].clear()
        elif line.pid in stacks and (match := _FRAME.fullmatch(line.text)):
            if not _OURS.search(match["file"]):
                stacks[line.pid].append(_place(match))
        elif line.pid not in stacks or not _BESIDES.fullmatch(line.text):
            rest.append(line)
    return Stacks(rest, next((stack for stack in hanging.values() if stack), []), crashed)


def of(places: Sequence[str]) -> list[Place]:
    """Return the calls of a stack whose places are written as ``file:line function``, as by the gevent check."""
    found = []
    for place in places:
        file, _, rest = place.rpartition(":")
        line, _, function = rest.partition(" ")
        frame = _FRAME.fullmatch(f'  File "{file}", line {line} in {function}')
        if frame and not _OURS.search(file):
            found.append(_place(frame))
    return found


def within(stack: Sequence[Place]) -> str:
    """Return a description of where a stack is: the application's own line, and the library call that it is in."""
    own = next((place for place in stack if not place.library), stack[0])
    return own.phrase if own is stack[0] else f"{own.phrase}, within {stack[0].phrase}"


def _place(match: re.Match[str]) -> Place:
    function = "" if match["function"] == "<module>" else match["function"]
    where = f"{_ROOT.sub('', match['file'])}:{match['line']}"
    return Place(where, function, bool(_LIBRARY.search(match["file"])))


def server(stack: Sequence[Place], entry: str) -> str:
    """Return the problem of an application that serves by itself while loading; an empty string if it does not.

    Args:
        stack: its calls, innermost first.
        entry: the variable that names the application, with its value.
    """
    if not any(_SERVES.fullmatch(place.function) for place in stack):
        return ""
    own = next((place for place in stack if not place.library), stack[0])
    return (
        f"{entry} starts its own server while loading, at {own.phrase}, and does not get past it. "
        'uWSGI is the server: put that call below `if __name__ == "__main__":`'
    )


def unfinished(stack: Sequence[Place], entry: str, seconds: float) -> str:
    """Return the problem of an application that did not finish loading, where it was, and what to do.

    Args:
        stack: see :func:`server`.
        entry: see :func:`server`.
        seconds: the value of ``flask_uwsgi_start_timeout``.
    """
    if serves := server(stack, entry):
        return serves
    own = next((place for place in stack if not place.library), stack[0])
    outer = next((place for place in reversed(stack) if not place.library), own)
    called = f", called from {outer.where}" if outer is not own else ""
    return (
        f"{entry} was not loaded within flask_uwsgi_start_timeout={seconds:g} seconds: it was still at "
        f"{within(stack)}{called}. Raise flask_uwsgi_start_timeout, or move what takes long, or waits for something "
        "that does not happen, out of the import"
    )
