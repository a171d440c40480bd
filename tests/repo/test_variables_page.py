import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from tests.support import ROOT


@pytest.fixture
def variables() -> ModuleType:
    """Load the generator, which is a script and not a package."""
    spec = importlib.util.spec_from_file_location("docs_variables", ROOT / "docs" / "variables.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_page_of_variables_is_current() -> None:
    done = subprocess.run(
        [sys.executable, "docs/variables.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_stale_page_is_reported_with_the_remedy_and_then_written(
    variables: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(variables, "PAGE", tmp_path / "VARIABLES.md")
    monkeypatch.setattr(variables, "ROOT", tmp_path)
    (tmp_path / "roles").symlink_to(ROOT / "roles")
    assert variables.main(["--check"]) == 1
    assert capsys.readouterr().err == "VARIABLES.md is stale: run `python docs/variables.py`\n"
    assert variables.main([]) == 0
    assert variables.main(["--check"]) == 0
    variables.PAGE.write_text(variables.PAGE.read_text().replace("4096", "100", 1))
    assert variables.main(["--check"]) == 1


def test_every_variable_has_its_row(variables: ModuleType) -> None:
    page = variables.page()
    for path in ROOT.glob("roles/*/meta/argument_specs.yml"):
        for spec in yaml.safe_load(path.read_text())["argument_specs"].values():
            for name in spec.get("options") or {}:
                assert page.count(f"\n| `{name}` |") == 1, name


def test_every_row_has_four_cells(variables: ModuleType) -> None:
    rows = [line for line in variables.page().splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {5}


@pytest.mark.parametrize(
    ("default", "shown"),
    [
        (8040, "`8040`"),
        (0.2, "`0.2`"),
        (True, "`true`"),
        (None, "`null`"),
        ("", '`""`'),
        ("/opt", "`/opt`"),
        ({}, "`{}`"),
        (["a", "*.pyc"], "`[a, '*.pyc']`"),
        ({"a": 1}, "`{a: 1}`"),
        ("{{ flask_uwsgi_user }}", "as `flask_uwsgi_user`"),
        ("{{ a | default('b') }}", "`{{ a | default('b') }}`"),
        ("{{ a }}\n  {{ b }}\n", "`{{ a }} {{ b }}`"),
        ("a `quoted` b", "`` a `quoted` b ``"),
    ],
)
def test_a_default_is_shown_as_in_an_inventory(variables: ModuleType, default: object, shown: str) -> None:
    assert variables.value(default) == shown


def test_a_description_becomes_markdown(variables: ModuleType) -> None:
    text = ["C(a|b), O(mode) and V(1) of M(x.y.z),\n P(x.y.w#lookup); B(never) artifact_lock.", "Second."]
    first = "`a\\|b`, `mode` and `1` of `x.y.z`, `x.y.w`; **never** `artifact_lock`."
    assert variables.meaning(text) == f"{first}<br>Second."


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a bracket C(f(g(1), 2)", None),
        ("a factory C(shop:create_app()).", "a factory `shop:create_app()`."),
        ("C(f(g(1), h(2)) + 3) (in C(x))", "`f(g(1), h(2)) + 3` (in `x`)"),
        ("with C(#subdirectory=DIR) at its end", "with `#subdirectory=DIR` at its end"),
        ("C({{ a | default([]) }}) and C([[a], [b]])", "`{{ a \\| default([]) }}` and `[[a], [b]]`"),
        ("C({a: {b: [1, {c: 2}]}})", "`{a: {b: [1, {c: 2}]}}`"),
        ("a PC(1) and ABC(2)", "a PC(1) and ABC(2)"),
    ],
)
def test_nested_brackets_are_kept_together(variables: ModuleType, text: str, shown: str | None) -> None:
    if shown is None:
        with pytest.raises(ValueError, match="a bracket is not closed"):
            variables.meaning(text)
    else:
        assert variables.meaning(text) == shown


def test_a_default_with_nested_brackets_is_kept_together(variables: ModuleType) -> None:
    assert variables.value({"a": {"b": [[1], [{"c": "{{ d }}"}]]}}) == "`{a: {b: [[1], [{c: '{{ d }}'}]]}}`"
    assert variables.value("{{ {'a': [[1]]} | combine(b) }}") == "`{{ {'a': [[1]]} | combine(b) }}`"
