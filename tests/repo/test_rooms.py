"""The rooms of plugins/module_utils and plugins/plugin_utils: which may import which."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.support import ROOT

PLUGINS = ROOT / "plugins"
COLLECTION = "ansible_collections.flaskops.uwsgi.plugins."
FILES = sorted(path.relative_to(PLUGINS) for path in PLUGINS.rglob("*.py"))


def imported(file: Path, source: str) -> Iterator[tuple[str, ...]]:
    """Yield the parts of the name, below plugins/, of each module of the collection that a file imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            folder = file.parts[:-1]
            above = COLLECTION + ".".join(folder[: len(folder) + 1 - node.level]) if node.level else ""
            names = [".".join(filter(None, (above.rstrip("."), node.module, alias.name))) for alias in node.names]
        else:
            continue
        yield from (tuple(name.removeprefix(COLLECTION).split(".")) for name in names if name.startswith(COLLECTION))


def room(parts: tuple[str, ...]) -> str:
    return "/".join(parts[:2])


NEEDS = {file: set(imported(file, (PLUGINS / file).read_text())) for file in FILES}
ROOMS: dict[str, set[str]] = {}
for file, needs in NEEDS.items():
    if file.parts[0].endswith("_utils"):
        ROOMS.setdefault(room(file.parts), set()).update(set(map(room, needs)) - {room(file.parts)})


def test_every_module_is_in_a_room() -> None:
    assert {str(file) for file in FILES if len(file.parts) == 2 and file.parts[0].endswith("_utils")} == set()


@pytest.mark.parametrize("name", [name for name in ROOMS if name.startswith("module_utils/")])
def test_code_for_hosts_imports_nothing_of_the_controllers(name: str) -> None:
    assert {need for need in ROOMS[name] if not need.startswith("module_utils/")} == set()


def test_modules_import_nothing_of_the_controllers() -> None:
    for file, needs in NEEDS.items():
        if file.parts[0] == "modules":
            assert not [parts for parts in needs if parts[0] == "plugin_utils"], file


def test_rooms_do_not_import_each_other_in_a_circle() -> None:
    TopologicalSorter(ROOMS).prepare()


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("from . import swap", ("module_utils", "traffic", "swap")),
        ("from ..host.layout import Layout", ("module_utils", "host", "layout", "Layout")),
        ("from ...plugin_utils.report import charts", ("plugin_utils", "report", "charts")),
        (f"from {COLLECTION}plugin_utils.source import git", ("plugin_utils", "source", "git")),
        (f"import {COLLECTION}plugin_utils.source", ("plugin_utils", "source")),
        ("from pathlib import Path", None),
    ],
)
def test_imports_are_found(line: str, found: tuple[str, ...] | None) -> None:
    assert list(imported(Path("module_utils/traffic/trial.py"), line)) == ([found] if found else [])
