"""The catalogue of real applications is consistent, and so is the page generated from the scenario's results."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest
import yaml

from tests.support import ROOT
from tests.support.real.catalogue import APPLICATIONS, APPS, Application

SPECS = ROOT / "roles" / "flask_uwsgi" / "meta" / "argument_specs.yml"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("real_apps", ROOT / "docs" / "real_apps.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_application_has_a_unique_name_and_port() -> None:
    assert len(APPLICATIONS) == 12
    assert len({app.name for app in APPLICATIONS}) == len({app.port for app in APPLICATIONS}) == 12
    assert sum(app.everyday for app in APPLICATIONS) == 1


def test_every_folder_of_an_application_is_deployed() -> None:
    assert {app.source for app in APPLICATIONS if "==" not in app.source} == {path.name for path in APPS.iterdir()}


@pytest.mark.parametrize("app", APPLICATIONS, ids=lambda app: app.name)
def test_every_variable_exists_and_a_variable_that_is_left_out_is_set(app: Application) -> None:
    known = set(yaml.safe_load(SPECS.read_text())["argument_specs"]["main"]["options"])
    for mode in ("gevent", "threads"):
        settings = set(app.settings(mode))
        assert settings <= known
        assert {f"flask_uwsgi_{missing.variable}" for missing in app.missing} <= settings


def test_the_page_has_a_row_for_each_mode_and_one_for_each_message(generator: ModuleType) -> None:
    row = {"mode": "gevent", "distribution": "Debian 12", "attempts": 1, "requests": 1234, "failed": 0, "seconds": 40}
    refusal = {"variable": "flask_uwsgi_files", "says": "a | b"}
    found = [
        {"title": "Second", "position": 1, "distribution": "12", "tried": [row], "refusals": []},
        {
            "title": "First",
            "position": 0,
            "distribution": "12",
            "tried": [row, row | {"mode": "threads"}],
            "refusals": [refusal],
        },
    ]
    page = generator.page(found, "2026-11-27")
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert rows[2:5] == [
        "| First | gevent | Debian 12 | 1 | 1,234 | 0 | 40 |",
        "| First | threads | Debian 12 | 1 | 1,234 | 0 | 40 |",
        "| Second | gevent | Debian 12 | 1 | 1,234 | 0 | 40 |",
    ]
    assert rows[-1] == "| First | `flask_uwsgi_files` | `a \\| b` |"
