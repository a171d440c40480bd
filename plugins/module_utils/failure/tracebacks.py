"""Finds Python tracebacks in the mixed log of several processes, and shortens them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ..host.journal import Said

_HEADER = re.compile(r"\s*(?:\+ )?(?:Exception Group )?Traceback \(most recent call last\):")
# A frame without a function is a file that Python cannot compile, which has no header.
_FRAME = re.compile(r'  File "(?P<file>[^"]+)", line (?P<line>\d+)(?:, in (?P<function>.+))?')
_RAISED = re.compile(r"(?P<name>[A-Za-z_][\w.]*)(?:: (?P<text>.*))?")
_ERROR = re.compile(r"[A-Za-z_][\w.]*(?:Error|Exception|Exit)\b")
_OF_GROUP = re.compile(r"[ |+-]*(?P<name>[A-Za-z_][\w.]*(?:Error|Exception|Group|Exit)): (?P<text>.*)")
_CONTEXT = "During handling of the above exception, another exception occurred:"
_CAUSE = "The above exception was the direct cause of the following exception:"
_UNDERLINES = re.compile(r"\s+[~^]+\s*")
# What uWSGI logs after an exception that prevented an application from loading.
_NOT_LOADED = ("unable to load app ", "failed to compile ")
# These do not stop loading: those of a thread, and those that Python cannot pass to anyone.
_ASIDE = re.compile(r"Exception in thread |Exception ignored in|.* failed with \w+$")
# How loggers introduce an exception.
_ANNOUNCES = re.compile(r"Exception |.{0,80}\b(?:ERROR|CRITICAL)\b|Internal Server Error: ")
# The callers of the application, which say nothing about it.
_CALLERS = re.compile(r"<frozen importlib|<frozen runpy|/importlib/__init__\.py$|(?:^|/)entry\.py$|gevent_hook\.py$")
_LIBRARY = re.compile(r"/(?:site|dist)-packages/|^/usr/lib/python|^<|^src/gevent/")
_ROOT = re.compile(r'(?<=File ")/\S*?/(?:releases/[^/"]+|(?:site|dist)-packages)/')
# The most lines of a traceback that is shown with all of its frames.
_SHORT = 10
# The most lines by which a message continues without indentation.
_MOST_MESSAGE = 6


@dataclass(frozen=True)
class Frame:
    """A call in a traceback.

    Args:
        file: its file, as Python prints it.
        function: the function's name; empty for a place that does not compile.
        lines: what Python prints for it.
    """

    file: str
    function: str
    lines: tuple[str, ...]

    @property
    def library(self) -> bool:
        """Whether it is not the application's own."""
        return bool(_LIBRARY.search(self.file))


@dataclass(frozen=True)
class Raised:
    """An exception.

    Args:
        name: its class, with the module, as Python prints it.
        text: its message, on one line.
        frames: where it was raised, innermost last.
        lines: the end of its traceback: name and message, as logged.
        header: the line that begins its traceback; empty if there is none.
        context: whether the next one was raised while handling this one, rather than because of it.
    """

    name: str
    text: str
    frames: tuple[Frame, ...]
    lines: tuple[str, ...]
    header: str = ""
    context: bool = False

    @property
    def said(self) -> str:
        """Name and message; of a multi-line message the first line, if it is meaningful on its own."""
        first = self.lines[0].rstrip() if self.lines else ""
        whole = first.endswith(":") or self.kind == "ValidationError" or "Group" in self.header
        return f"{self.name}: {self.text}" if whole else first

    @property
    def kind(self) -> str:
        """The class without its module."""
        return self.name.rpartition(".")[2]


@dataclass(frozen=True)
class Traceback:
    """A traceback, with the exceptions that led to it.

    Args:
        pid: the id of the process that it belongs to.
        chain: its exceptions in the order in which they were raised; the last one was not handled.
        loading: whether it occurred before the application was loaded in that process.
        fatal: whether uWSGI reports right after it that the application cannot be loaded.
        aside: whether it was raised in a thread, or ignored.
        before: the line that introduces it in a log; empty if there is none.
    """

    pid: str
    chain: tuple[Raised, ...]
    loading: bool
    fatal: bool
    aside: bool
    before: str = ""

    @property
    def last(self) -> Raised:
        """The exception that was not handled."""
        return self.chain[-1]

    @property
    def interrupted(self) -> bool:
        """Whether it only shows where a process was when it was asked to end."""
        return self.last.kind in ("KeyboardInterrupt", "GreenletExit")

    @property
    def cut(self) -> bool:
        """Whether its beginning or its end is missing from the lines that were read."""
        first = self.chain[0]
        return not self.last.name or (not first.header and any(frame.function for frame in first.frames))

    @property
    def key(self) -> tuple[object, ...]:
        """A key that is the same for the same failure in another process."""
        return tuple((raised.said, raised.frames) for raised in self.chain)

    def whole(self) -> Iterator[str]:
        """Yield its lines as they were logged."""
        for raised in self.chain:
            if raised.header:
                yield raised.header
            for frame in raised.frames:
                yield from frame.lines
            yield from raised.lines
            if raised is not self.last:
                yield _CONTEXT if raised.context else _CAUSE

    def show(self, most: int) -> list[str]:
        """Return it in a few lines: the application's own frames, and the complete first and last exceptions.

        Args:
            most: lines that it may take, at least 6.
        """
        # An exception raised by entry.py is reported as the cause, not as the log.
        own = [raised for raised in self.chain if raised.kind != "EntryError"]
        if not own:
            return []
        chain = own[:1] if own[0].said == own[-1].said else [own[0], own[-1]]
        for keep, room in ((_but_callers, _SHORT), (_but_libraries, most), (_innermost, most)):
            shown = [line for raised in chain for line in self._shown(raised, keep(raised.frames), raised is chain[-1])]
            shown = [self.before, *shown] if self.before else shown
            if len(shown) <= room:
                return shown
        return [*shown[: most // 3], "  …", *shown[most // 3 + 1 - most :]]

    def _shown(self, raised: Raised, frames: Sequence[Frame], last: bool) -> Iterator[str]:
        if raised.header:
            yield raised.header
        left = 0
        for frame in raised.frames:
            if frame in frames:
                if left:
                    yield f"  … {left} more"
                left = 0
                for line in frame.lines:
                    if not frame.function or not _UNDERLINES.fullmatch(line):
                        yield _ROOT.sub("", line)
            elif not _CALLERS.search(frame.file):
                left += 1
        if left:
            yield f"  … {left} more"
        yield from raised.lines
        if not last:
            yield _CONTEXT if raised.context else _CAUSE


def _but_callers(frames: Sequence[Frame]) -> list[Frame]:
    return [frame for frame in frames if not _CALLERS.search(frame.file)]


def _but_libraries(frames: Sequence[Frame]) -> list[Frame]:
    shown = _but_callers(frames)
    return [frame for frame in shown if not frame.library or frame is shown[-1]]


def _innermost(frames: Sequence[Frame]) -> list[Frame]:
    own = [frame for frame in _but_callers(frames) if not frame.library]
    return own[-1:] or _but_callers(frames)[-1:]


def parse(lines: Iterable[Said], *, serves: bool = False) -> list[Said | Traceback]:
    """Return lines with those of each traceback combined, at the place where it begins.

    Args:
        lines: what was logged, oldest first. Several processes may have written at the same time.
        serves: whether the application is known to have answered: if no line says that a process has loaded it, that
            line came before those that were read.
    """
    lines = list(lines)
    loaded = _loaded(lines)
    own: dict[str, list[int]] = {}
    for number, line in enumerate(lines):
        own.setdefault(line.pid, []).append(number)
    found: dict[int, Said | Traceback] = {}
    for pid, numbers in own.items():
        texts = [lines[number].text for number in numbers]
        at = 0
        while at < len(texts):
            chain, end = _chain(texts, at)
            if chain:
                fatal = end < len(texts) and texts[end].startswith(_NOT_LOADED)
                unsaid = 0 if serves and not fatal else len(lines)
                before = texts[at - 1] if at and _ANNOUNCES.match(texts[at - 1]) else ""
                if before:
                    found.pop(numbers[at - 1], None)
                found[numbers[at]] = Traceback(
                    pid,
                    tuple(chain),
                    loading=numbers[at] < loaded.get(pid, unsaid),
                    fatal=fatal,
                    aside=at > 0 and bool(_ASIDE.match(texts[at - 1])),
                    before=before,
                )
            else:
                found[numbers[at]] = lines[numbers[at]]
            at = end
    return [found[number] for number in sorted(found)]


def _loaded(lines: Sequence[Said]) -> dict[str, int]:
    """Return the number of the line from which each process has the application loaded."""
    ready = {line.pid: number for number, line in reversed(list(enumerate(lines))) if line.text.startswith("WSGI app ")}
    master = {line.pid for line in lines if line.text.startswith("spawned uWSGI master process")}
    # Its workers are copies of it, and do not load the application themselves.
    common = min((number for pid, number in ready.items() if pid in master), default=None)
    return ready if common is None else {line.pid: ready.get(line.pid, common) for line in lines}


def _chain(texts: Sequence[str], at: int) -> tuple[list[Raised], int]:
    """Return the exceptions of a traceback that begins at a line, and the number of the line after it."""
    chain: list[Raised] = []
    while at < len(texts):
        raised, end = _one(texts, at)
        if raised is None:
            break
        chain.append(raised)
        at = end
        if at + 1 < len(texts) and texts[at] in (_CAUSE, _CONTEXT) and _HEADER.match(texts[at + 1]):
            if texts[at] == _CONTEXT:
                chain[-1] = replace(raised, context=True)
            at += 1
        else:
            break
    return chain, at if chain else at + 1


def _one(texts: Sequence[str], at: int) -> tuple[Raised | None, int]:
    header = texts[at] if _HEADER.match(texts[at]) else ""
    # An error outside all frames has only the last line.
    bare = at + 1 < len(texts) and texts[at + 1].startswith(_NOT_LOADED) and _ERROR.match(texts[at])
    if not header and not bare and not _FRAME.fullmatch(texts[at]):
        return None, at
    end = at + bool(header)
    while end < len(texts) and texts[end].startswith(" ") and not (header and _HEADER.fullmatch(texts[end])):
        end += 1
    body = texts[at + bool(header) : end]
    frames = tuple(_frames(body))
    match = _RAISED.fullmatch(texts[end]) if end < len(texts) else None
    if not match:
        grouped = next((found for line in body if (found := _OF_GROUP.fullmatch(line))), None)
        if not grouped:
            # Its end has not been logged yet, or was not read.
            return Raised("", "", frames, (), header), end
        return Raised(grouped["name"], grouped["text"], (), tuple(body), header), end
    said = [texts[end], *_continued(texts, end + 1)]
    text = " ".join([match["text"] or "", *(line.strip() for line in said[1:])]).strip()
    return Raised(match["name"], text, frames, tuple(said), header), end + len(said)


def _frames(body: Sequence[str]) -> Iterator[Frame]:
    matches = [(number, match) for number, line in enumerate(body) if (match := _FRAME.fullmatch(line))]
    ends = [*(number for number, _ in matches[1:]), len(body)]
    for (begin, match), end in zip(matches, ends):
        yield Frame(match["file"], match["function"] or "", tuple(body[begin:end]))


def _continued(texts: Sequence[str], at: int) -> list[str]:
    """Return the remaining lines of a multi-line message."""
    end = at
    while end < len(texts) and end - at < _MOST_MESSAGE and texts[end][:1] in (" ", "\t"):
        end += 1
    # Other lines count only if uWSGI's next line shows that nothing else was logged in between.
    reach = texts[end : end + _MOST_MESSAGE]
    until = next((number for number, line in enumerate(reach) if line.startswith(_NOT_LOADED)), 0)
    further = reach[:until]
    if any(line in (_CAUSE, _CONTEXT) or _HEADER.match(line) or _FRAME.fullmatch(line) for line in further):
        further = []
    return [*texts[at:end], *further]
