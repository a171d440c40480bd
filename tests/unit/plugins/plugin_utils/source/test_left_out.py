"""What an application imports of its source although artifact_exclude leaves it out of the release."""

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release import artifact
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan import folders
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source.left_out import left_out

from tests.support.planning import artifact as planned
from tests.support.planning import settings as of

EXCLUDE = ["tests", "reports", ".venv", "*.pyc", "local_*"]
SETTINGS: dict[str, Any] = {"module": "", "wsgi_file": "run.py", "python_path": []}


def notes(folder: Path, files: dict[str, str], settings: dict[str, Any] | None = None, **plan: Any) -> list[str]:
    source = folder / "source"
    for name, text in files.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text)
    kept = artifact.source_files(source, EXCLUDE)
    archive = folder / "code.tar.gz"
    artifact.pack_code(source, kept, {}, archive)
    found = {
        "code": {"path": str(archive)},
        "left_out": left_out(source, EXCLUDE, kept),
        "python_path": [],
        "project": "",
        **plan,
    }
    return folders.notes(of(**{**SETTINGS, **(settings or {})}), planned(**found))


REPORTS = {"shop/__init__.py": "", "shop/reports/__init__.py": "", "tests/__init__.py": "", "tests/helpers.py": ""}


@pytest.mark.parametrize(
    ("run", "place"),
    [
        ("import shop.reports", "shop/reports"),
        ("from shop import reports", "shop/reports"),
        ("from shop.reports import monthly as m", "shop/reports"),
        ("import shop.reports.monthly", "shop/reports"),
        ("def create_app():\n    from tests.helpers import x", "tests"),
        ("import importlib\nimportlib.import_module('shop.reports')", "shop/reports"),
        ("INSTALLED_APPS = ['django.contrib.admin', 'shop.reports']", "shop/reports"),
        ("try:\n    import json\nexcept ImportError:\n    json = None\nelse:\n    import tests", "tests"),
        ("if True:\n    import tests\nelse:\n    x = 1", "tests"),
        ("class Views:\n    from tests import helpers", "tests"),
    ],
)
def test_a_package_that_is_imported_and_left_out_is_reported(tmp_path: Path, run: str, place: str) -> None:
    (note,) = notes(tmp_path, {**REPORTS, "run.py": run})
    assert note.startswith(f"artifact_exclude has '{Path(place).name}', which leaves out {place}, and line ")
    assert " of run.py imports " in note and note.endswith("Set artifact_exclude without that pattern, or rename it")


@pytest.mark.parametrize(
    "run",
    [
        "import flask",
        "import unittest\nunittest.TestLoader().discover('tests')",
        "try:\n    import tests\nexcept ImportError:\n    tests = None",
        "try:\n    import tests\nexcept (KeyError, builtins.ModuleNotFoundError):\n    pass",
        "with contextlib.suppress(ImportError):\n    import tests",
        "if typing.TYPE_CHECKING:\n    import tests",
        "if __name__ == '__main__':\n    import tests",
        "if app.config['TESTING']:\n    import tests",
        "@app.cli.command('check')\ndef check():\n    import tests",
        "def test_all():\n    import tests",
        "class TestAll:\n    import tests",
        "import other",
        "from . import tests",
        "from shop import testing",
        "this is no Python",
        "x = '\0'",
        "x = " + "(" * 5000,
        "x = " + "-" * 50_000 + "1",
        "@" + ".".join(["a"] * 900) + "\ndef x():\n    import tests",
    ],
)
def test_what_a_service_does_not_import_is_not_reported(tmp_path: Path, run: str) -> None:
    # Nothing leads to the last two.
    more = {"test_run.py": "import tests", "bench/run.py": "import shop.reports"}
    assert notes(tmp_path, {**REPORTS, **more, "run.py": run}) == []


def test_imports_are_followed_from_the_entry_and_each_package_is_reported_once(tmp_path: Path) -> None:
    files = {
        **REPORTS,
        "run.py": "from shop import app",
        "shop/__init__.py": "from . import views, reports\nfrom .views import x\n",
        "shop/views.py": "from .reports import monthly\nfrom .. import tests\nimport local_settings\n",
        "local_settings.py": "",
    }
    assert notes(tmp_path, files) == [
        "artifact_exclude has 'reports', which leaves out shop/reports, and line 1 of shop/__init__.py imports "
        "shop.reports: the release will not have it. Set artifact_exclude without that pattern, or rename it",
        "artifact_exclude has 'local_*', which leaves out local_settings.py, and line 3 of shop/views.py imports "
        "local_settings: the release will not have it. Set artifact_exclude without that pattern, or rename it",
    ]


@pytest.mark.parametrize(
    ("settings", "plan"),
    [
        ({"module": "shop.wsgi:make()"}, {"python_path": ["src"]}),
        ({"module": "shop.wsgi:make()"}, {"project": "shop"}),
        ({"module": "shop.wsgi:make()", "python_path": ["src/"]}, {}),
        ({"wsgi_file": "./src/shop/wsgi.py", "python_path": ["./src"]}, {}),
    ],
)
def test_they_are_found_wherever_python_looks(tmp_path: Path, settings: dict[str, Any], plan: dict[str, Any]) -> None:
    files = {"src/shop/__init__.py": "", "src/shop/wsgi.py": "import shop.reports", "src/shop/reports/a.py": ""}
    (note,) = notes(tmp_path, files, settings, **plan)
    assert "leaves out src/shop/reports, and line 1 of src/shop/wsgi.py imports shop.reports" in note


@pytest.mark.parametrize(
    "files",
    [
        # Another of the name is there, the folder holds no code, the package has something else of that name.
        {"run.py": "import reports", "reports/a.py": "", "lib/reports.py": ""},
        {"run.py": "import reports", "reports/a.txt": ""},
        {"run.py": "from shop import reports", "shop/__init__.py": "def reports(): ...", "shop/reports/a.py": ""},
        {"run.py": "from shop import reports", "shop/__init__.py": "reports = []", "shop/reports/a.py": ""},
        {"run.py": "from shop import reports", "shop/__init__.py": "from x import reports", "shop/reports/a.py": ""},
    ],
)
def test_what_is_there_after_all_is_not_reported(tmp_path: Path, files: dict[str, str]) -> None:
    assert notes(tmp_path, files, {"python_path": ["lib"]}) == []


def test_a_module_of_the_standard_library_is_its_own(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "email").mkdir(parents=True)
    (source / "email/a.py").touch()
    (source / "run.py").write_text("import email.message")
    kept = artifact.source_files(source, ["email"])
    artifact.pack_code(source, kept, {}, tmp_path / "code.tar.gz")
    plan = {"code": {"path": str(tmp_path / "code.tar.gz")}, "left_out": left_out(source, ["email"], kept)}
    assert plan["left_out"] == {"email": "email"}
    assert folders.notes(of(**SETTINGS), planned(**plan)) == []


def test_links_and_what_is_no_name_of_python_are_not_taken_for_packages(tmp_path: Path) -> None:
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/a.py").touch()
    (tmp_path / "run.py").touch()
    (tmp_path / "tests").symlink_to(tmp_path)
    (tmp_path / "reports").symlink_to("nowhere")
    assert left_out(tmp_path, EXCLUDE, [Path("run.py")]) == {}
