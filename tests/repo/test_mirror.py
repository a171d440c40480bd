"""The unit tests mirror the code: the path of a file gives the path of its tests."""

from pathlib import Path

import pytest

from tests.support import ROOT

UNIT = ROOT / "tests" / "unit"
# Named after what several files of the folder have in common.
TOGETHER = {
    "plugins/modules/test_damage.py": "what a loss of power or a full disk has spoiled, as every module meets it",
    "plugins/modules/test_leftovers.py": "what a module that was killed has left at work, for the next one to end",
}
# Folders without a counterpart in the code: random inputs of every room.
APART = {"fuzz"}
TESTS = sorted(path.relative_to(UNIT) for path in UNIT.rglob("test_*.py"))


def subjects(test: Path) -> list[Path]:
    """Return the files and rooms with the name of a test, in the place that the test's path names."""
    name = test.stem.removeprefix("test_")
    folder = (ROOT / "tests" if test.parts[0] == "support" else ROOT) / test.parent
    if folder.name == name and (folder / "__init__.py").exists():
        # What a package exports.
        return [folder / "__init__.py"]
    # A role has its files in folders by kind: files, templates.
    patterns = (f"*/{name}.*",) if test.parts[0] == "roles" else (f"{name}.py", f"{name}/")
    return [path for pattern in patterns for path in folder.glob(pattern)]


@pytest.mark.parametrize("test", TESTS, ids=str)
def test_the_subject_of_a_unit_test_exists(test: Path) -> None:
    if test.parts[0] not in APART and str(test) not in TOGETHER:
        assert subjects(test), f"tests/unit/{test} has no subject"


def test_the_exceptions_are_needed() -> None:
    assert [name for name in TOGETHER if Path(name) not in TESTS or subjects(Path(name))] == []
    assert [name for name in APART if (ROOT / name).exists() or not (UNIT / name).is_dir()] == []


def test_a_test_without_a_subject_is_found() -> None:
    assert subjects(Path("plugins/modules/test_swap.py")) and subjects(Path("plugins/module_utils/test_traffic.py"))
    assert not subjects(Path("plugins/modules/test_swaps.py")) and not subjects(Path("plugins/traffic/test_swap.py"))
