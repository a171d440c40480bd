"""What the files of a project say of how it is installed. Nothing of it runs."""

from pathlib import Path

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release.artifact import ArtifactError
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source.pyproject import Project, project_of, source_folders

BACKEND = '[build-system]\nrequires = ["setuptools"]\n'
SETUP = "from setuptools import setup\n\nsetup(\n    name='shop')\n"


def written(folder: Path, files: dict[str, str]) -> list[Path]:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return [Path(name) for name in files]


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"pyproject.toml": f'[project]\nname = "My.Shop"\n{BACKEND}'}, Project("pyproject.toml", "my-shop")),
        ({"pyproject.toml": f'[tool.poetry]\nname = "shop"\n{BACKEND}'}, Project("pyproject.toml", "shop")),
        ({"pyproject.toml": BACKEND, "setup.cfg": "[metadata]\nname = shop\n"}, Project("pyproject.toml", "shop")),
        ({"pyproject.toml": BACKEND}, Project("pyproject.toml", "")),
        ({"pyproject.toml": "[tool.ruff]\n", "setup.py": SETUP}, Project("setup.py", "")),
        ({"setup.py": SETUP, "setup.cfg": "[metadata]\nname = shop\n"}, Project("setup.py", "shop")),
        ({"setup.cfg": "[metadata]\nname = shop\nversion = attr: shop.version\n"}, Project("setup.cfg", "shop")),
        ({"pyproject.toml": "[tool.ruff]\n"}, None),
        ({"pyproject.toml": '[project]\nname = "shop"\n'}, None),
        ({"pyproject.toml": f"[tool.uv]\npackage = false\n{BACKEND}", "setup.py": SETUP}, None),
        ({"pyproject.toml": f"[tool.poetry]\npackage-mode = false\n{BACKEND}"}, None),
        ({"setup.py": "import app\n\napp.setup()\n"}, None),
        ({"setup.cfg": "[flake8]\nmax-line-length = 100\n"}, None),
        ({"setup.cfg": "no configuration\n"}, None),
        ({}, None),
    ],
)
def test_a_folder_is_a_project_where_its_files_name_a_build_backend(
    tmp_path: Path, files: dict[str, str], found: Project | None
) -> None:
    assert project_of(tmp_path, written(tmp_path, files)) == found


def test_what_is_not_deployed_makes_no_project(tmp_path: Path) -> None:
    written(tmp_path, {"pyproject.toml": BACKEND, "setup.py": SETUP, "setup.cfg": "[metadata]\nname = shop\n"})
    assert project_of(tmp_path, [Path("run.py")]) is None


def test_requirements_that_name_the_source_need_no_backend(tmp_path: Path) -> None:
    files = written(tmp_path, {"pyproject.toml": '[project]\nname = "shop"\n'})
    assert project_of(tmp_path, files, asked=True) == Project("pyproject.toml", "shop")
    files = written(tmp_path, {"pyproject.toml": "[tool.ruff]\n"})
    assert project_of(tmp_path, files, asked=True) is None


def test_a_project_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"pyproject\.toml is not valid TOML"):
        project_of(tmp_path, written(tmp_path, {"pyproject.toml": "[build-system\n"}))


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (["src/shop/__init__.py"], ["src"]),
        (["src/shop.py", "run.py"], ["src"]),
        (["src/shop/web.py"], []),
        (["src/__init__.py", "src/shop.py"], []),
        (["src/my-shop/__init__.py"], []),
        (["src/app.js", "source/shop.py", "run.py"], []),
        (["lib/src/shop.py"], []),
    ],
)
def test_a_src_folder_with_what_can_be_imported_is_on_the_path(files: list[str], found: list[str]) -> None:
    assert source_folders([Path(file) for file in files]) == found
