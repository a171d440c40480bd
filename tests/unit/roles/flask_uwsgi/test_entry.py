"""The file that uWSGI loads for a module or a mount point."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan import generation
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan.choice import choose

from tests.support import ROOT
from tests.support.planning import artifact, settings

# The file beside it in a generation.
FILES = ROOT / "roles/flask_uwsgi/files"


@pytest.fixture(autouse=True)
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the folder of an application on Python's path, and remove its modules afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "uwsgi", ModuleType("uwsgi"))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def load(module: str = "", wsgi_file: str = "run.py", callable_name: str = "app", **others: Any) -> Any:
    """Return the application that uWSGI would get."""
    own = settings(module=module, wsgi_file=wsgi_file, callable=callable_name, **others)
    code = generation.rendered(own, artifact(), choose(own, {}))["entry.py"]
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
    ("module", "message"),
    [
        ("web:nowhere", "flask_uwsgi_module=web:nowhere: it has no nowhere. Name one that it has"),
        ("web:make()", "flask_uwsgi_module=web:make(): it has no make. Name one that it has"),
        ("web:number", "flask_uwsgi_module=web:number is int, which cannot be called. Name the WSGI application"),
        ("web:number()", "flask_uwsgi_module=web:number(): 'int' object is not callable. Name a factory, and its"),
        ("web:nothing()", "flask_uwsgi_module=web:nothing() is NoneType, which cannot be called."),
        (
            "web:needs()",
            "flask_uwsgi_module=web:needs(): needs() missing 1 required positional argument: 'settings'. "
            "Name a factory, and its arguments as literals where it needs any",
        ),
    ],
)
def test_a_wrong_application_is_reported_with_variable_value_and_remedy(
    source: Path, module: str, message: str
) -> None:
    (source / "web.py").write_text(APP)
    with pytest.raises(Exception, match="flask_uwsgi_module") as raised:
        load(module)
    assert type(raised.value).__name__ == "EntryError"
    assert str(raised.value).startswith(message)


SERVERS = """
class Server:
    def __init__(self, name="", debug=False):
        self.name, self.debug = name, debug
    def __call__(self, environ, start_response):
        start_response("200 OK", [])
        return [f"{self.name} {self.debug}".encode()]

class Dash:
    def __init__(self):
        self.server = Server("dash")

class Answer:
    def __init__(self, environ, start_response):
        start_response("200 OK", [])
    def __iter__(self):
        yield b"answer"

app = Dash()

def create_app(name="", *, debug=False):
    return Server(name, debug)

def create_dash():
    return Dash()

def wrapper(*arguments):
    return Server("wrapped")(*arguments)
"""


@pytest.mark.parametrize(
    ("expression", "answer"),
    [
        ("app.server", "dash False"),
        ("create_app('production')", "production False"),
        ('create_app("a:b", debug=True)', "a:b True"),
        ("create_dash().server", "dash False"),
        ("Answer", "answer"),
        ("wrapper", "wrapped False"),
    ],
)
def test_dotted_names_and_factories_with_literals_are_found(source: Path, expression: str, answer: str) -> None:
    for name in ("web.py", "run.py"):
        (source / name).write_text(SERVERS)
    assert ask(load(f"web:{expression}"), "/") == ("200 OK", answer)
    assert ask(load(callable_name=expression), "/") == ("200 OK", answer)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("app.nothing", ": Dash has no nothing. Name one that it has"),
        ("app", " is Dash, which cannot be called. Name the WSGI application"),
        ("Server", " is a class. Name an instance of it, such as app of `app = Server(…)`"),
        ("create_app", " is a function that makes one, it seems. Call it: create_app()"),
        ("create_app(1, 2)", ": create_app() takes from 0 to 1 positional arguments but 2 were given. Name a factory"),
    ],
)
def test_an_object_that_is_almost_an_application_is_reported_with_the_name_to_set(
    source: Path, expression: str, message: str
) -> None:
    (source / "run.py").write_text(SERVERS)
    with pytest.raises(Exception, match="flask_uwsgi_callable") as raised:
        load(callable_name=expression)
    assert str(raised.value).startswith(f"flask_uwsgi_callable={expression} of flask_uwsgi_wsgi_file=run.py{message}")


ASGI = """
import functools

async def app(scope, receive, send):
    pass

class Framework:
    async def __call__(self, scope, receive, send):
        pass

class Wrapper:
    def __init__(self):
        self.app = app
    def __call__(self, scope, receive, send):
        return self.app(scope, receive, send)

class Asgi2:
    def __init__(self, scope):
        pass
    async def __call__(self, receive, send):
        pass

def asgi2(scope):
    return app

def request_only(request):
    pass

framework, wrapper, partial = Framework(), Wrapper(), functools.partial(app)

@functools.wraps(request_only)
def wsgi(*arguments):
    return "wsgi"
"""


@pytest.mark.parametrize("name", ["app", "framework", "wrapper", "partial", "Asgi2", "asgi2"])
def test_an_asgi_application_is_refused_with_the_alternative(source: Path, name: str) -> None:
    (source / "main.py").write_text(ASGI)
    with pytest.raises(Exception, match=rf"^flask_uwsgi_module=main:{name} is an ASGI application.*a2wsgi") as raised:
        load(f"main:{name}")
    assert ("(main.Framework)" in str(raised.value)) == (name == "framework")


def test_a_decorated_application_is_accepted(source: Path) -> None:
    (source / "main.py").write_text(ASGI)
    assert load("main:wsgi")({}, None) == "wsgi"
    with pytest.raises(Exception, match=r"takes other arguments than WSGI's .*: request_only\(request\)"):
        load("main:request_only")


def test_an_error_inside_a_factory_is_not_replaced(source: Path) -> None:
    (source / "web.py").write_text(APP)
    with pytest.raises(TypeError, match=r"^needs\(\) missing"):
        load("web:breaks()")


@pytest.mark.parametrize(
    ("code", "message"), [("'no key'", "sys.exit('no key')"), ("3", "sys.exit(3)"), ("", "sys.exit()")]
)
def test_an_application_that_exits_is_refused_instead(source: Path, code: str, message: str) -> None:
    for name in ("run.py", "web.py"):
        (source / name).write_text(f"import sys\nsys.exit({code})\n")
    with pytest.raises(Exception, match="flask_uwsgi_") as raised:
        load()
    assert type(raised.value).__name__ == "EntryError"
    assert str(raised.value) == f"flask_uwsgi_wsgi_file=run.py ended itself with {message} while it was loaded"
    with pytest.raises(Exception, match=r"^flask_uwsgi_module=web:app ended itself with sys\.exit"):
        load("web:app")


def test_the_application_answers_below_its_mount_point_only(source: Path) -> None:
    (source / "run.py").write_text(APP)
    application = load(mount="/shop")
    assert ask(application, "/shop/x") == ("200 OK", "/shop|/x")
    assert ask(application, "/shop") == ("200 OK", "/shop|")
    assert ask(application, "/shops")[0] == "404 Not Found"
    assert ask(application, "/")[0] == "404 Not Found"


def test_an_application_behind_trusted_proxies_gets_what_they_state(source: Path) -> None:
    (source / "run.py").write_text(APP)
    stated = {"REMOTE_ADDR": "10.0.0.5", "HTTP_X_FORWARDED_PREFIX": "/shop", "SCRIPT_NAME": "", "PATH_INFO": "/mount/x"}
    for trusted, name in ([], "/mount"), (["10.0.0.5"], "/shop/mount"), (["10.0.0.6"], "/mount"):
        application = load(mount="/mount", trusted_proxies=trusted)
        assert b"".join(application(dict(stated), lambda *_: None)).decode() == f"{name}|/x"


def test_a_file_without_the_callable_is_reported(source: Path) -> None:
    (source / "run.py").write_text(APP)
    with pytest.raises(Exception, match=r"flask_uwsgi_callable=api of flask_uwsgi_wsgi_file=run\.py: it has no api"):
        load(callable_name="api", mount="/shop")
