import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

import pytest
from flask import Flask
from flask.testing import FlaskClient

import health


class FakeModule(ModuleType):
    def __init__(self, name: str, **attributes: object) -> None:
        super().__init__(name)
        vars(self).update(attributes)


@pytest.fixture(autouse=True)
def fresh_versions() -> Iterator[None]:
    health.versions.cache_clear()
    yield
    health.versions.cache_clear()


def serve(monkeypatch: pytest.MonkeyPatch, loop: bytes | None, patched: set[str]) -> None:
    monkeypatch.setitem(sys.modules, "uwsgi", FakeModule("uwsgi", version=b"2.0.31", loop=loop))
    monkeypatch.setitem(
        sys.modules, "gevent.monkey", FakeModule("gevent.monkey", is_module_patched=patched.__contains__)
    )


def test_healthz_outside_uwsgi(client: FlaskClient) -> None:
    answer = client.get("/healthz")

    assert answer.status_code == 200
    body = answer.get_json()
    assert body["status"] == "ok"
    assert body["mode"] == "development"
    assert body["generation"] is None
    assert body["versions"]["python"] == platform.python_version()
    assert body["versions"]["flask"] == version("flask")
    assert body["versions"]["uwsgi"] is None


def test_healthz_names_the_generation(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(app.config, "GENERATION", "4f1c09")

    assert app.test_client().get("/healthz").get_json()["generation"] == "4f1c09"


def test_healthz_does_not_wait(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail("waited"))

    assert app.test_client().get("/healthz").status_code == 200


@pytest.mark.parametrize(("path", "status"), [("/healthz", 200), ("/user_manage/user/login", 405), ("/nowhere", 404)])
def test_every_answer_has_the_headers(app: Flask, monkeypatch: pytest.MonkeyPatch, path: str, status: int) -> None:
    monkeypatch.setitem(app.config, "GENERATION", "4f1c09")
    serve(monkeypatch, loop=b"gevent", patched={"socket", "threading"})

    answer = app.test_client().get(path)

    assert answer.status_code == status
    assert (answer.headers["X-Generation"], answer.headers["X-Mode"]) == ("4f1c09", "gevent")


def test_an_error_answer_has_the_headers(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    # Not a number of seconds: the login fails.
    monkeypatch.setitem(app.config, "WAIT_SECONDS", None)
    monkeypatch.setitem(app.config, "PROPAGATE_EXCEPTIONS", False)

    answer = app.test_client().post("/user_manage/user/login", json={})

    assert answer.status_code == 500
    assert answer.headers["X-Mode"] == "development"


def test_without_a_generation_the_header_is_left_out(client: FlaskClient) -> None:
    headers = client.get("/healthz").headers

    assert "X-Generation" not in headers
    assert headers["X-Mode"] == "development"


def test_healthz_names_uwsgis_version(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, loop=None, patched=set())

    assert client.get("/healthz").get_json()["versions"]["uwsgi"] == "2.0.31"


def test_versions_are_none_for_packages_that_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_installed(distribution: str) -> str:
        raise PackageNotFoundError(distribution)

    monkeypatch.setattr(health, "version", not_installed)

    assert health.versions()["gevent"] is None


@pytest.mark.parametrize(
    ("loop", "patched", "mode"),
    [
        (b"gevent", {"socket", "threading"}, "gevent"),
        (None, set(), "threads"),
        (b"gevent", set(), "gevent, unpatched"),
        (b"gevent", {"socket"}, "gevent, unpatched"),
        (None, {"socket", "threading"}, "threads, patched"),
    ],
)
def test_mode_is_the_observed_one(
    monkeypatch: pytest.MonkeyPatch, loop: bytes | None, patched: set[str], mode: str
) -> None:
    serve(monkeypatch, loop, patched)

    assert health.mode() == mode


def test_threads_mode_needs_no_gevent(monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, loop=None, patched=set())
    monkeypatch.delitem(sys.modules, "gevent.monkey")

    assert health.mode() == "threads"
