"""Finds where an application's own code uses the parts of ``multiprocessing`` that do not yield under gevent.

A pool's threads, pipes and semaphores are the operating system's own, which gevent does not replace. ``Process`` and
``concurrent.futures.ProcessPoolExecutor`` do yield.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BLOCKS = ("Manager", "Pipe", "Pool")
WAITS = (
    "Barrier", "BoundedSemaphore", "Condition", "Event", "JoinableQueue", "Lock", "Queue", "RLock", "Semaphore",
    "SimpleQueue",
)  # fmt: skip
_MODULE = "multiprocessing"
# The modules of their classes, beside the package itself.
_HOMES = {f"{_MODULE}.pool.Pool", f"{_MODULE}.queues.Queue", f"{_MODULE}.connection.Pipe"}
# The maximum bytes of a source file, and number of files, to read.
_MOST_BYTES = 1 << 20
_MOST_FILES = 2000


@dataclass(frozen=True, order=True)
class Use:
    """A use of ``multiprocessing``.

    Args:
        what: the name within ``multiprocessing``, such as ``Pool``.
        file: the source file.
        line: the line.
    """

    what: str
    file: str
    line: int


class _Finder(ast.NodeVisitor):
    """Gathers the uses in one file, and the modules that it imports."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        self.taken: list[tuple[str, int]] = []
        self.modules: set[str] = set()
        self._names: dict[str, str] = {}

    def visit_Import(self, node: ast.Import) -> None:
        """Record which name stands for which module."""
        for alias in node.names:
            self.modules.add(alias.name)
            self._names[alias.asname or alias.name.partition(".")[0]] = (
                alias.name if alias.asname else alias.name.partition(".")[0]
            )

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Record what is imported from ``multiprocessing``."""
        module = "." * node.level + (node.module or "")
        for alias in node.names:
            self.modules |= {module, f"{module.rstrip('.')}.{alias.name}" if node.module else f"{module}{alias.name}"}
            target = f"{module}.{alias.name}"
            self._names[alias.asname or alias.name] = target
            if what := _what(target):
                self.taken.append((what, node.lineno))

    def visit_Assign(self, node: ast.Assign) -> None:
        """Follow ``context = get_context("fork")``."""
        target = self._resolve(node.value)
        if target == _MODULE or target.startswith(f"{_MODULE}."):
            for one in node.targets:
                if isinstance(one, ast.Name):
                    self._names[one.id] = target
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        """Record a call of something that does not yield."""
        if what := _what(self._resolve(node.func)):
            self.calls.append((what, node.lineno))
        self.generic_visit(node)

    def _resolve(self, node: ast.expr) -> str:
        if isinstance(node, ast.Name):
            return self._names.get(node.id, "")
        if isinstance(node, ast.Attribute):
            inner = self._resolve(node.value)
            return f"{inner}.{node.attr}" if inner else ""
        if isinstance(node, ast.Call) and self._resolve(node.func) == f"{_MODULE}.get_context":
            return _MODULE
        return ""

    def uses(self) -> Iterator[tuple[str, int]]:
        """Yield the calls, and the import of anything that is never called by name."""
        yield from self.calls
        called = {what for what, _ in self.calls}
        yield from ((what, line) for what, line in self.taken if what not in called)


def _what(target: str) -> str:
    name = target.rpartition(".")[2]
    known = name in BLOCKS or name in WAITS
    return name if known and (target == f"{_MODULE}.{name}" or target in _HOMES) else ""


def _parsed(path: Path) -> _Finder | None:
    try:
        if path.stat().st_size > _MOST_BYTES:
            return None
        finder = _Finder()
        finder.visit(ast.parse(path.read_bytes()))
    # Whatever is in an application's file, it must not fail the check.
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return finder


def uses(modules: Iterable[str], folders: Sequence[Path], first: Iterable[Path] = (), only: str = "") -> list[Use]:
    """Return the uses in an application's own source files, without running anything.

    It reads the imported modules that are in the folders, and those that they import in turn, including imports within
    a function, at the first request.

    Args:
        modules: names of modules that are imported.
        folders: the folders of the application's own code, in which to look for modules.
        first: files to read in any case.
        only: the application's own package, if the folders also contain others.
    """
    found: list[Use] = []
    seen: set[Path] = set()
    waiting = [*first, *(path for name in modules for path in _files(name, folders, only))]
    while waiting and len(seen) < _MOST_FILES:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        if finder := _parsed(path):
            found += [Use(what, str(path), line) for what, line in finder.uses()]
            waiting += [file for name in finder.modules for file in _imported(name, path, folders, only)]
    return sorted(set(found))


def _files(name: str, folders: Iterable[Path], only: str) -> Iterator[Path]:
    parts = name.split(".")
    # A name from an application's document is not a path.
    if not all(part.isidentifier() for part in parts) or (only and parts[0] != only):
        return
    for folder in folders:
        base = folder.joinpath(*parts)
        yield from (path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file())


def _imported(name: str, path: Path, folders: Sequence[Path], only: str) -> Iterator[Path]:
    rest = name.lstrip(".")
    levels = len(name) - len(rest)
    if levels == 0:
        yield from _files(name, folders, only)
    # Never above the package's folder.
    elif rest and any(levels < len(path.relative_to(one).parts) for one in folders if path.is_relative_to(one)):
        yield from _files(rest, [path.parents[levels - 1]], "")


def watched(rows: Iterable[Mapping[str, Any]], folders: Collection[Path]) -> list[Use]:
    """Return the application's own uses that were recorded while it ran.

    Args:
        rows: ``kind`` and ``where`` (``file:line function``), as the hook records them.
        folders: the folders of the application's own code.
    """
    found = []
    for row in rows:
        place, _, _ = str(row.get("where")).partition(" ")
        file, _, line = place.rpartition(":")
        own = file.startswith("/") and any(Path(file).is_relative_to(folder) for folder in folders)
        if row.get("kind") in (*BLOCKS, *WAITS) and own and line.isdecimal():
            found.append(Use(str(row["kind"]), file, int(line)))
    return found


def of_application(
    loaded: Mapping[str, Any], folders: Sequence[Path], sites: Sequence[Path], module: str, wsgi_file: Path
) -> list[Use]:
    """Return the uses of an application that was loaded, from its source and from what was recorded.

    Args:
        loaded: what the hook recorded: ``modules`` and ``processes``.
        folders: the folders of the release in which to look for its modules.
        sites: the folders with installed packages.
        module: the value of ``flask_uwsgi_module``; the package may be an installed one.
        wsgi_file: the application's file, if there is no module.
    """
    modules = [name for name in _rows(loaded, "modules") if isinstance(name, str)]
    package = module.partition(":")[0].partition(".")[0]
    found = uses(modules, folders, () if module else [wsgi_file])
    own = list(folders)
    if package:
        found += uses(modules, sites, only=package)
        own += [site / package for site in sites]
    rows = [row for row in _rows(loaded, "processes") if isinstance(row, Mapping)]
    return sorted({*found, *watched(rows, own)})


def _rows(document: Mapping[str, Any], key: str) -> list[Any]:
    found = document.get(key)
    return found if isinstance(found, list) else []
