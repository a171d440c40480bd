"""The molecule scenarios repeat neither each other nor the shared configuration."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import ROOT

SHARED = yaml.safe_load((ROOT / ".config/molecule/config.yml").read_text())
SCENARIOS = sorted(ROOT.glob("molecule/*/molecule.yml"))
HELPERS = sorted([*ROOT.glob("molecule/*.py"), *ROOT.glob("molecule/*/tests/*.py"), *ROOT.glob("tests/support/*.py")])
# Characters of code: more than two short lines.
WORTH = 150


def repeated(shared: Any, own: Any, where: str = "") -> Iterator[str]:
    """Yield the settings of a scenario that every scenario has already."""
    if isinstance(shared, dict) and isinstance(own, dict):
        for name in shared.keys() & own.keys():
            yield from repeated(shared[name], own[name], f"{where}.{name}")
    elif shared == own:
        yield where.removeprefix(".")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: path.parent.name)
def test_a_scenario_sets_only_what_differs(scenario: Path) -> None:
    assert list(repeated(SHARED, yaml.safe_load(scenario.read_text()))) == []


def helpers(source: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the code of each function, method and constant of a file that should exist only once."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            name, code = node.name, "\n".join(map(ast.unparse, body))
        elif isinstance(node, ast.Assign):
            name, code = ast.unparse(node.targets[0]), ast.unparse(node.value)
        else:
            continue
        if len(code) > WORTH:
            yield name, code


def test_no_two_scenarios_have_the_same_helper() -> None:
    found: dict[str, dict[str, str]] = {}
    for file in HELPERS:
        for name, code in helpers(file.read_text()):
            found.setdefault(code, {})[file.relative_to(ROOT).parts[1]] = f"{file.relative_to(ROOT)}: {name}"
    assert [list(places.values()) for places in found.values() if len(places) > 1] == []


def test_a_repetition_is_found() -> None:
    assert list(repeated({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}, "d": 4})) == ["a.b"]
    assert [name for name, _ in helpers(HELPERS[0].read_text())]
