"""What runs on hosts runs with the oldest Python that a host may have."""

from __future__ import annotations

import ast
import builtins
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.interpreter import OLDEST
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan import generation
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan.choice import choose

from tests.support import ROOT
from tests.support.planning import artifact, settings

FOLDERS = ("plugins/module_utils", "plugins/modules")
TYPES = {name for name, value in vars(builtins).items() if isinstance(value, type)}


@pytest.fixture
def programs(tmp_path: Path) -> list[Path]:
    """Return every Python file that a host gets: the modules, those of a generation, and the sample application."""
    own = settings()
    contents = generation.rendered(own, artifact(), choose(own, {}))
    for name in (name for name in contents if name.endswith(".py")):
        (tmp_path / name).write_text(contents[name])
    made = sorted(tmp_path.glob("*.py"))
    assert len(made) > 8
    application = sorted((ROOT / "app").glob("*.py"))
    return [*made, *application, *(path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py")))]


def too_new(files: list[Path]) -> str:
    """Return what vermin finds that the oldest Python lacks."""
    oldest = ".".join(map(str, OLDEST))
    vermin = [sys.executable, "-c", "import vermin; vermin.main()", f"-t={oldest}-", "--violations", "--no-tips"]
    done = subprocess.run([*vermin, *map(str, files)], capture_output=True, text=True, check=False)
    return "" if not done.returncode else done.stdout + done.stderr


def unions(source: str) -> Iterator[int]:
    """Yield the lines on which ``X | Y`` joins types when it runs; annotations do not, if the future says so."""
    tree = ast.parse(source)
    later = "from __future__ import annotations" in source
    annotations = [getattr(node, name, None) for node in ast.walk(tree) for name in ("annotation", "returns")]
    unevaluated = {id(inner) for node in annotations if later and isinstance(node, ast.AST) for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr) and id(node) not in unevaluated:
            sides = [ast.unparse(side) for side in (node.left, node.right)]
            if any(side == "None" or side in TYPES or side.endswith("Error") for side in sides):
                yield node.lineno


def test_nothing_on_a_host_needs_a_newer_python(programs: list[Path]) -> None:
    assert too_new(programs) == ""
    assert [f"{path}:{line}" for path in programs for line in unions(path.read_text())] == []


@pytest.mark.parametrize(
    "source",
    ["import tomllib", "zip([], [], strict=True)", "match 1:\n    case 1: pass", "import itertools as i; i.pairwise"],
)
def test_what_is_too_new_is_found(tmp_path: Path, source: str) -> None:
    program = tmp_path / "new.py"
    program.write_text(f"{source}\n")
    assert "requires !2, 3.1" in too_new([program])


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("isinstance(1, int | str)", True),
        ("isinstance(1, OwnError | OSError)", True),
        ("def f(a: int | None) -> str: ...", True),
        ("Rule = tuple[int, str | None]", True),
        ("from __future__ import annotations\ndef f(a: int | None) -> str | int: ...\nx: int | None = 1 | 2", False),
    ],
)
def test_a_union_that_is_evaluated_is_found(source: str, found: bool) -> None:
    assert bool(list(unions(source))) is found
