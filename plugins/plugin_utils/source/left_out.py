"""Finds packages of its source that an application imports but its release lacks, without running anything."""

from __future__ import annotations

import ast
import fnmatch
import os
import re
import sys
import tarfile
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

# Limits on names, files, bytes of one file and of all: anything beyond is not examined.
_NAMES, _FILES, _BYTES, _ALL_BYTES = 1000, 2000, 2**20, 2**25
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
# Conditions of imports that do not hold in a service.
_UNSERVED = re.compile(r"TYPE_CHECKING|__name__|test|debug|\bdev", re.IGNORECASE)
_COMMANDS = re.compile(r"\b(command|cli|click)\b")
_CAUGHT = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}
# Calls and settings that import a module named in a string.
_IMPORTERS = {"import_module", "import_string", "include", "__import__"}
_IMPORTED = {"INSTALLED_APPS", "MIDDLEWARE", "ROOT_URLCONF"}


def left_out(folder: Path, exclude: Iterable[str], files: Iterable[Path]) -> dict[str, str]:
    """Return the Python packages and modules of a source that are not deployed, each with the pattern that excludes it.

    Args:
        folder: the application's folder.
        exclude: shell patterns of names.
        files: the deployed files of the folder, relative to it.
    """
    patterns = list(exclude)
    found: dict[str, str] = {}
    # A folder without deployed files can still contain an excluded one.
    for place in sorted({Path(), *(parent for file in files for parent in file.parents)}):
        with os.scandir(folder / place) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                pattern = next((one for one in patterns if fnmatch.fnmatch(entry.name, one)), None)
                if pattern is not None and _importable(entry):
                    found[str(place / entry.name)] = pattern
                if len(found) == _NAMES:
                    return found
    return found


def _importable(entry: os.DirEntry[str]) -> bool:
    if entry.is_symlink() or not entry.name.removesuffix(".py").isidentifier():
        return False
    if entry.is_dir():
        try:
            return any(path.suffix == ".py" for path in Path(entry.path).iterdir())
        except OSError:
            return False
    return entry.name.endswith(".py")


@dataclass
class _Code:
    """The modules of an archive by dotted name: their files and, once requested, their texts."""

    modules: dict[str, str] = field(default_factory=dict)
    texts: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class _Import:
    """A module that is imported, and the number of the line; ``sure`` if it is not an attribute of its parent."""

    name: str
    line: int
    sure: bool = True


def imported(archive: str, names: Mapping[str, str], entry: str, roots: Sequence[str]) -> list[str]:
    """Return a sentence for each left-out package or module that an application imports.

    An import counts if it is reached from the entry by ``import`` statements. Imports whose failure is caught, or that
    are only reached by tests, type checkers and debugging, do not count.

    Args:
        archive: the path of the archive of its code.
        names: the left-out names, as :func:`left_out` returns it.
        entry: its file, relative to the source, or the dotted name of its module.
        roots: the folders of the source, relative to it, from which modules are imported; the source itself is "".
    """
    absent = {name: file for root in roots for file in names if (name := _dotted(file, root))}
    absent = {name: file for name, file in absent.items() if name not in sys.stdlib_module_names}
    if not absent:
        return []
    code = _read(archive, roots)
    absent = {name: file for name, file in absent.items() if name not in code.modules}
    start = {name for name, file in code.modules.items() if file == entry} or ({entry} & code.modules.keys())
    notes: dict[str, str] = {}
    left, seen = sorted(start), set(start)
    while left:
        module = left.pop()
        file = code.modules[module]
        for one in _imports(module, file, code.texts.get(file, b"")):
            steps = one.name.split(".")
            for name in (".".join(steps[: count + 1]) for count in range(len(steps))):
                if name in code.modules and name not in seen:
                    seen.add(name)
                    left.append(name)
                if name in absent and (one.sure or name != one.name or not _binds(code, name)):
                    place = absent[name]
                    notes.setdefault(
                        place,
                        f"artifact_exclude has {names[place]!r}, which leaves out {place}, and line {one.line} of "
                        f"{file} imports {name}: the release will not have it. Set artifact_exclude without that "
                        "pattern, or rename it",
                    )
    return list(notes.values())


def _dotted(file: str, root: str) -> str:
    """Return the name by which a file or folder is imported from a root; empty where it is not below it."""
    path = PurePosixPath(file)
    if root and not path.is_relative_to(root):
        return ""
    parts = list(path.relative_to(root).parts) if root else list(path.parts)
    parts[-1:] = [parts[-1].removesuffix(".py")] if parts else []
    parts = parts[:-1] if parts and parts[-1] == "__init__" else parts
    return ".".join(parts) if parts and all(part.isidentifier() for part in parts) else ""


def _read(archive: str, roots: Sequence[str]) -> _Code:
    code, rest = _Code(), _ALL_BYTES
    with tarfile.open(archive) as tar:
        for member in tar:
            name = PurePosixPath(member.name)
            dotted = [found for root in roots if (found := _dotted(member.name, root))]
            if name.suffix != ".py" or not dotted or not member.isreg() or len(code.texts) == _FILES:
                continue
            if member.size > min(_BYTES, rest) or not (stream := tar.extractfile(member)):
                continue
            code.modules |= {one: member.name for one in dotted if one not in code.modules}
            code.texts[member.name] = stream.read()
            rest -= member.size
    return code


def _tree(text: bytes) -> ast.Module | None:
    """Return a parsed file; None if Python cannot parse it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _imports(module: str, file: str, text: bytes) -> list[_Import]:
    """Return what a module imports, in code that a service runs; nothing if it is nested too deeply."""
    try:
        return list(_found(module, file, _tree(text)))
    except RecursionError:
        return []


def _found(module: str, file: str, tree: ast.Module | None) -> Iterator[_Import]:
    package = module if PurePosixPath(file).name == "__init__.py" else module.rpartition(".")[0]
    # Last in, first out: the file's own order.
    left: list[ast.AST] = [tree] if tree else []
    while left:
        node = left.pop()
        match node:
            case ast.Import(names=aliases):
                yield from (_Import(alias.name, node.lineno) for alias in aliases)
            case ast.ImportFrom(names=aliases, level=level):
                steps = package.split(".") if package else []
                kept = steps[: len(steps) - level + 1] if level else []
                if level > len(steps):
                    continue
                base = ".".join([*kept, *([node.module] if node.module else [])])
                if base:
                    yield _Import(base, node.lineno)
                yield from (_Import(f"{base}.{a.name}".lstrip("."), node.lineno, sure=False) for a in aliases)
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=[ast.Constant(value=str(given)), *_]):
                if name in _IMPORTERS and _DOTTED.fullmatch(given):
                    yield _Import(given, node.lineno)
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name in _IMPORTED:
                yield from _listed(value)
        left.extend(reversed(list(_inner(node))))


def _listed(value: ast.expr) -> Iterator[_Import]:
    for one in ast.walk(value):
        if isinstance(one, ast.Constant) and isinstance(one.value, str) and _DOTTED.fullmatch(one.value):
            yield _Import(one.value, one.lineno)


def _inner(node: ast.AST) -> Iterable[ast.AST]:
    """Return the parts of a node, without code that no service runs or whose failure is caught."""
    match node:
        case ast.If(test=test) if _UNSERVED.search(ast.unparse(test)):
            return node.orelse
        case ast.Try(handlers=handlers) if any(_catches(handler) for handler in handlers):
            return [*node.orelse, *node.finalbody]
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            commands = (ast.unparse(decorator).partition("(")[0] for decorator in node.decorator_list)
            if node.name.lower().startswith("test") or any(map(_COMMANDS.search, commands)):
                return []
        case ast.With(items=items) if any("suppress" in ast.unparse(item.context_expr) for item in items):
            return []
    return ast.iter_child_nodes(node)


def _catches(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    return any(isinstance(one, ast.Name | ast.Attribute) and _last(one) in _CAUGHT for one in ast.walk(handler.type))


def _last(node: ast.Name | ast.Attribute) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr


def _binds(code: _Code, name: str) -> bool:
    """Return whether a package defines a name that would otherwise be a module in it."""
    package, _, last = name.rpartition(".")
    tree = _tree(code.texts.get(code.modules.get(package, ""), b""))
    for node in ast.walk(tree) if tree else ():
        match node:
            case ast.Name(id=bound, ctx=ast.Store()) if bound == last:
                return True
            case ast.FunctionDef(name=bound) | ast.AsyncFunctionDef(name=bound) | ast.ClassDef(name=bound):
                if bound == last:
                    return True
            case ast.ImportFrom(names=aliases, module=str()):
                if last in [alias.asname or alias.name for alias in aliases]:
                    return True
    return False
