import importlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from flask import Flask
from flask.testing import FlaskClient

APP = Path(__file__).parents[1]
# The application's modules import each other from its own folder, as they do under uWSGI's `chdir`.
sys.path.insert(0, str(APP))


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def run(root_logger: logging.Logger) -> ModuleType:
    return importlib.import_module("run")


@pytest.fixture
def app(run: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Flask:
    app: Flask = run.app
    monkeypatch.setitem(app.config, "WAIT_SECONDS", 0)
    return app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()
