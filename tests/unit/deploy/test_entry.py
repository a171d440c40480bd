"""The file that uWSGI loads where a module or a mount point is asked for."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import jinja2
import pytest

from tests.unit.loadtest.conftest import ROOT

TEMPLATE = ROOT / "roles/flask_uwsgi/templates/entry.py.j2"
# What lies beside it in a generation.
FILES = ROOT / "roles/flask_uwsgi/files"


@pytest.fixture(autouse=True)
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the folder of an application, which Python finds and is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "uwsgi", ModuleType("uwsgi"))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def load(module: str = "", wsgi_file: str = "run.py", callable_name: str = "app", mount: str = "") -> Any:
    """Return the application that uWSGI would be given."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    environment.filters |= {"to_json": json.dumps, "bool": bool}
    code = environment.from_string(TEMPLATE.read_text()).render(
        flask_uwsgi_module=module,
        flask_uwsgi_wsgi_file=wsgi_file,
        flask_uwsgi_callable=callable_name,
        flask_uwsgi_mount=mount,
        flask_uwsgi_preload=False,
        flask_uwsgi_stop_timeout=60,
    )
    namespace: dict[str, Any] = {"__name__": "uwsgi_file_entry", "__file__": str(FILES / "entry.py")}
    exec(compile(code, "entry.py", "exec"), namespace)
    return namespace["application"]


def ask(application: Any, path: str) -> tuple[str, str]:
    """Return the status and the body."""
    said: list[str] = []
    body = application({"PATH_INFO": path, "SCRIPT_NAME": ""}, lambda status, _headers: said.append(status))
    return said[0], b"".join(body).decode()


APP = """
def app(environ, start_response):
    start_response("200 OK", [])
    return [f"{environ['SCRIPT_NAME']}|{environ['PATH_INFO']}".encode()]

def create_app():
    return app

def needs(settings):
    return app

def breaks():
    return needs()

class Factory:
    pass

number = 3

def nothing():
    pass
"""


@pytest.mark.parametrize("module", ["shop.web:app", "shop.web:create_app()"])
def test_a_module_and_a_factory_are_found(source: Path, module: str) -> None:
    (source / "shop").mkdir()
    (source / "shop/web.py").write_text(APP)
    assert ask(load(module), "/x") == ("200 OK", "|/x")


@pytest.mark.parametrize(
    ("module", "told"),
    [
        ("web:nowhere", "flask_uwsgi_module=web:nowhere: web has no nowhere. Name one that it has"),
        ("web:make()", "flask_uwsgi_module=web:make(): web has no make. Name one that it has"),
        ("web:number", "flask_uwsgi_module=web:number is int, which cannot be called. Name the WSGI application"),
        ("web:number()", "flask_uwsgi_module=web:number(): 'int' object is not callable. Name a factory that needs no"),
        ("web:nothing()", "flask_uwsgi_module=web:nothing() is NoneType, which cannot be called."),
        (
            "web:needs()",
            "flask_uwsgi_module=web:needs(): needs() missing 1 required positional argument: 'settings'. "
            "Name a factory that needs no arguments",
        ),
    ],
)
def test_what_is_no_application_is_told_with_variable_value_and_remedy(source: Path, module: str, told: str) -> None:
    (source / "web.py").write_text(APP)
    with pytest.raises(Exception, match="flask_uwsgi_module") as raised:
        load(module)
    assert type(raised.value).__name__ == "EntryError"
    assert str(raised.value).startswith(told)


def test_an_error_inside_a_factory_is_its_own(source: Path) -> None:
    (source / "web.py").write_text(APP)
    with pytest.raises(TypeError, match=r"^needs\(\) missing"):
        load("web:breaks()")


@pytest.mark.parametrize(
    ("code", "told"), [("'no key'", "sys.exit('no key')"), ("3", "sys.exit(3)"), ("", "sys.exit()")]
)
def test_an_application_that_ends_its_process_is_refused_instead(source: Path, code: str, told: str) -> None:
    for name in ("run.py", "web.py"):
        (source / name).write_text(f"import sys\nsys.exit({code})\n")
    with pytest.raises(Exception, match="flask_uwsgi_") as raised:
        load()
    assert type(raised.value).__name__ == "EntryError"
    assert str(raised.value) == f"flask_uwsgi_wsgi_file=run.py ended itself with {told} while it was loaded"
    with pytest.raises(Exception, match=r"^flask_uwsgi_module=web:app ended itself with sys\.exit"):
        load("web:app")


def test_below_a_mount_point_the_application_finds_it_and_nobody_finds_it_elsewhere(source: Path) -> None:
    (source / "run.py").write_text(APP)
    application = load(mount="/shop")
    assert ask(application, "/shop/x") == ("200 OK", "/shop|/x")
    assert ask(application, "/shop") == ("200 OK", "/shop|")
    assert ask(application, "/shops")[0] == "404 Not Found"
    assert ask(application, "/")[0] == "404 Not Found"


def test_a_file_without_the_callable_is_told(source: Path) -> None:
    (source / "run.py").write_text(APP)
    with pytest.raises(Exception, match=r"flask_uwsgi_callable=api: no such name in flask_uwsgi_wsgi_file=run\.py"):
        load(callable_name="api", mount="/shop")
