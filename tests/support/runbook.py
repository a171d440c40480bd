"""Runs a runbook as a program, and checks that its commands do what it says.

A ``console`` block contains commands and, below each, its output; a block of ``yaml`` whose first line is a
comment with a path belongs in that file of the inventory. Everything else is only for people.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeVar

PAGE = "docs/RUNBOOK.md"
BALANCER_PAGE = "docs/BALANCER_RUNBOOK.md"
CONTROLLER, HOST = "$ ", "# "
OMITTED = "[…]"

_HEADING = re.compile(r"(#{1,6}) (.+)")
_FENCE = re.compile(r"\s*```(.*)")
_CODE = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\]\(([^)\s]*)\)")
_DECLARATION = re.compile(r"\| `([A-Z]+)` \|")
# Words in capitals: neither part of a name like ANSIBLE_INVENTORY nor a shell variable.
_PLACEHOLDER = re.compile(r"(?<![\w$])[A-Z]{2,}(?!\w)")
_FAILS = re.compile(r" # fails\b")
_VARIES = re.compile(r"\b(?=\w*\d)[0-9a-f]{12}\b|\d+|\s*(?:\[…\]|…)\s*")
# The exit statuses of a shell for a program that does not exist or cannot be executed.
_NOT_RUN = (126, 127)

# Runs a command and returns its exit status and all of its output.
Shell = Callable[[str], tuple[int, str]]
# Causes a fault of somebody's site.
Fault = TypeVar("Fault", bound=Callable[[Any], Mapping[str, str] | None])


class Faults(dict[str, Callable[[Any], Mapping[str, str] | None]]):
    """What causes the symptom of each section, by the section's title, in the order of the page."""

    def of(self, title: str) -> Callable[[Fault], Fault]:
        """Register a function that causes it; the function may return values for the section's placeholders."""

        def register(injector: Fault) -> Fault:
            self[title] = injector
            return injector

        return register


class PageError(ValueError):
    """The page cannot be read as a program, or one of its commands did not do what the page says."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line} of the page: {problem}")


@dataclass(frozen=True)
class Command:
    """A command of the page, and the output that the page shows for it."""

    line: int
    prompt: str
    text: str
    shown: tuple[str, ...] = ()

    @property
    def fails(self) -> bool:
        """Whether the page says that it fails."""
        return bool(_FAILS.search(self.text))


@dataclass(frozen=True)
class Setting:
    """A setting of the page for a file of the inventory."""

    line: int
    file: str
    text: str


Step = Command | Setting


@dataclass
class Section:
    """A heading, and the steps between it and the next one."""

    title: str
    level: int
    line: int
    steps: list[Step] = field(default_factory=list)


@dataclass(frozen=True)
class Page:
    """The whole page."""

    sections: tuple[Section, ...]
    placeholders: frozenset[str]
    links: tuple[tuple[int, str], ...]

    @property
    def steps(self) -> list[Step]:
        """All steps in the order of the page."""
        return [step for section in self.sections for step in section.steps]


def parse(text: str) -> Page:
    """Read the page.

    Raises:
        PageError: it is incomplete, or has a command that no test would see.
    """
    sections: list[Section] = []
    prose: list[tuple[int, str]] = []
    lines = enumerate(text.splitlines(), 1)
    for number, line in lines:
        if fence := _FENCE.match(line):
            if not sections:
                raise PageError(number, "this block is in no section")
            sections[-1].steps += _block(number, fence[1], list(_inside(number, lines)))
        elif heading := _HEADING.match(line):
            if heading[2] in {section.title for section in sections}:
                raise PageError(number, f"there are two sections {heading[2]!r}")
            sections.append(Section(heading[2], len(heading[1]), number))
        else:
            prose.append((number, line))
    page = Page(
        tuple(sections),
        frozenset(match[1] for _, line in prose if (match := _DECLARATION.match(line))),
        tuple((number, link) for number, line in prose for link in _LINK.findall(line)),
    )
    _check(page, prose)
    return page


def _inside(opened: int, lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    for number, line in lines:
        if fence := _FENCE.match(line):
            if fence[1]:
                break
            return
        yield number, line
    raise PageError(opened, "this block is not closed")


def _block(opened: int, language: str, lines: list[tuple[int, str]]) -> list[Step]:
    if language == "console":
        return list(_commands(opened, lines))
    if language == "yaml":
        first = lines[0][1] if lines else ""
        if not (file := re.fullmatch(r"# (inventory/\S+)", first)):
            raise PageError(opened, "the first line of this block must be a comment with the file that it belongs in")
        return [Setting(opened, file[1], "\n".join(line for _, line in lines[1:]) + "\n")]
    raise PageError(opened, f"a block of {language or 'no language'} is neither console nor yaml, so nothing tests it")


def _commands(opened: int, lines: list[tuple[int, str]]) -> Iterator[Command]:
    starts = [at for at, (_, line) in enumerate(lines) if line.startswith((CONTROLLER, HOST))]
    if starts[:1] != [0]:
        raise PageError(opened, "the first line of this block must be a command")
    for start, end in pairwise([*starts, len(lines)]):
        number, line = lines[start]
        shown = (text for _, text in lines[start + 1 : end] if text.strip() and text.strip() != OMITTED)
        yield Command(number, line[:2], line[2:], tuple(shown))


def _check(page: Page, prose: list[tuple[int, str]]) -> None:
    for step in page.steps:
        if unknown := set(_PLACEHOLDER.findall(step.text)) - page.placeholders:
            raise PageError(step.line, f"no table of the page says what to write for {', '.join(sorted(unknown))}")
    chapters = [section for section in page.sections if section.level == 2]
    ends = [*(chapter.line for chapter in chapters[1:]), float("inf")]
    for chapter, end in zip(chapters, ends, strict=True):
        if not any(section.steps for section in page.sections if chapter.line <= section.line < end):
            raise PageError(chapter.line, f"the section {chapter.title!r} has no command to run")
    programs = {step.text.split()[0] for step in page.steps if isinstance(step, Command)}
    for number, line in prose:
        for code in _CODE.findall(line):
            if " " in code and code.split()[0] in programs:
                raise PageError(number, f"`{code}` is a command outside a block: no test would run it")
    anchors = {f"#{anchor(section.title)}" for section in page.sections}
    for number, link in page.links:
        if link.startswith("#") and link not in anchors:
            raise PageError(number, f"there is no section {link}")


def anchor(title: str) -> str:
    """Return the link target of a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def put(text: str, values: Mapping[str, str]) -> str:
    """Replace the placeholders in a text with values."""
    return _PLACEHOLDER.sub(lambda found: values.get(found[0], found[0]), text)


def unseen(shown: Collection[str], output: str) -> list[str]:
    """Return the lines of the page that are missing from an output.

    Numbers and generation ids differ each time, the terminal's width breaks lines elsewhere, and ``…``
    stands for anything.
    """
    said = " ".join(output.split())

    def pattern(line: str) -> str:
        words, at = [], 0
        text = " ".join(line.split())
        for found in _VARIES.finditer(text):
            varying = ".*?" if "…" in found[0] else "[0-9a-f]{12}" if len(found[0]) == 12 else r"\d+"
            words += [re.escape(text[at : found.start()]), varying]
            at = found.end()
        return "".join([*words, re.escape(text[at:])])

    return [line for line in shown if not re.search(pattern(line), said)]


def run(
    section: Section,
    values: Mapping[str, str],
    shells: Mapping[str, Shell],
    write: Callable[[str, str], None],
) -> Iterator[Step]:
    """Run the steps of a section in order, and yield each one that did what the page says.

    Args:
        section: the section.
        values: the values of the placeholders.
        shells: the shell for the commands of each prompt.
        write: puts a setting, given as YAML, into a file.

    Raises:
        PageError: a command ended differently from the page, or did not print what the page shows.
    """
    for step in section.steps:
        text = put(step.text, values)
        if missing := set(_PLACEHOLDER.findall(step.text)) - values.keys():
            raise PageError(step.line, f"the test has no value for {', '.join(sorted(missing))}")
        if isinstance(step, Setting):
            write(put(step.file, values), text)
        else:
            status, output = shells[step.prompt](text)
            shown = textwrap.indent(output, "    ")
            if status in _NOT_RUN or (status != 0) != step.fails:
                expected = "another status" if step.fails else "0"
                raise PageError(
                    step.line, f"`{text}` ended with {status}, the page says {expected}. It printed:\n{shown}"
                )
            if lacking := unseen([put(line, values) for line in step.shown], output):
                raise PageError(step.line, f"`{text}` did not print {lacking!r}. It printed:\n{shown}")
        yield step
