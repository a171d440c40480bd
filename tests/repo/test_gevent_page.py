import importlib.util
import subprocess
import sys
from types import ModuleType

import pytest
import yaml

from tests.support import ROOT

CATALOGUE = {
    "version": "1",
    "libraries": [
        {
            "name": "fine",
            "verdict": "ok",
            "symptom": "a|b",
            "remedy": "None is needed",
            "reference": "https://x.example",
        },
        {
            "name": "slow",
            "since": "1.0",
            "until": "2.0",
            "verdict": "blocks",
            "remedied_by": "quick",
            "symptom": "it waits",
            "remedy": "Install quick",
            "reference": "https://y.example",
        },
    ],
}


@pytest.fixture
def generator() -> ModuleType:
    """Load the generator, which is a script and not a package."""
    spec = importlib.util.spec_from_file_location("gevent_libraries", ROOT / "docs" / "gevent_libraries.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_of_libraries_is_current() -> None:
    done = subprocess.run([sys.executable, "docs/gevent_libraries.py", "--check"], cwd=ROOT, check=False)
    assert done.returncode == 0, "docs/GEVENT.md is stale: run `python docs/gevent_libraries.py`"


def test_the_table_has_every_library_once(generator: ModuleType) -> None:
    entries = yaml.safe_load((ROOT / "roles/flask_uwsgi/files/gevent_libraries.yml").read_text())["libraries"]
    text = (ROOT / "docs/GEVENT.md").read_text()
    assert len(entries) > 20
    assert all(f"| [{entry['name']}]({entry['reference']})" in text for entry in entries)


def test_libraries_that_fail_come_first_with_their_versions_and_the_remedy(generator: ModuleType) -> None:
    lines = [line for line in generator.table(CATALOGUE).splitlines() if line.startswith("| [")]
    assert lines == [
        "| [slow](https://y.example) from 1.0 before 2.0 | blocks | it waits | Install quick. With quick it is ok. |",
        "| [fine](https://x.example) | ok | a\\|b | None is needed |",
    ]


def test_a_stale_page_is_reported(generator: ModuleType) -> None:
    page = "# X\n\n<!-- begin -->\nold\n<!-- end -->\nrest\n"
    written = generator.page(page, CATALOGUE)
    assert "old" not in written and written.endswith("<!-- end -->\nrest\n")
    assert generator.page(written, CATALOGUE) == written
