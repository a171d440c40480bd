"""What an application receives: the operator's values, folders and files, and a health request with its Host."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.application import Application, Deploy, Release
from tests.support.wire import request

pytestmark = pytest.mark.timeout(400)

CONFIG = "[shop]\ncolour = blue  # ä\n"


@pytest.fixture(scope="module")
def shop(deployed: Deploy, release: Release, mode: str) -> Application:
    """An application whose health page answers only to the Host that it knows."""
    return deployed(
        release("app_settings.py"),
        mode,
        flask_uwsgi_callable="create_shop('production', debug=True).server",
        flask_uwsgi_health_host="shop.example.org",
        flask_uwsgi_environment={
            "DEBUG": False,
            "ONE": 1,
            "CONFIG": "$FLASK_UWSGI_FILES/conf.d/shop.ini",
            "DATABASE_URL": "sqlite:///${STATE_DIRECTORY}/shop.db",
            "TOKEN_FILE": "$CREDENTIALS_DIRECTORY/token",
            # Python reads it before anything runs.
            "PYTHONUTF8": 1,
        },
        flask_uwsgi_files={"conf.d/shop.ini": CONFIG},
        flask_uwsgi_secrets={"token": "s3cr3t"},
        # Like Django's collectstatic.
        flask_uwsgi_pre_activate=[
            'mkdir -p "$STATE_DIRECTORY/static"',
            'cp "$CONFIG" "$STATE_DIRECTORY/static/shop.css"',
        ],
        flask_uwsgi_static={"/static": "$STATE_DIRECTORY/static"},
    )


def report(app: Application) -> dict[str, Any]:
    """Return the application's report about itself."""
    answer = app.ask(b"GET / HTTP/1.1\r\nHost: shop.example.org\r\nConnection: close\r\n\r\n")
    assert answer.status == 200
    document: dict[str, Any] = json.loads(answer.body)
    return document


def test_values_folders_and_files_reach_the_application(shop: Application) -> None:
    files = f"/opt/{shop.name}/generations/{shop.generation}/files"
    assert report(shop) == {
        "DEBUG": "false",
        "ONE": "1",
        "CONFIG": f"{files}/conf.d/shop.ini",
        "DATABASE_URL": f"sqlite:////var/lib/{shop.name}/shop.db",
        "TOKEN_FILE": f"/run/credentials/{shop.unit}/token",
        "FLASK_UWSGI_FILES": files,
        "FLASK_UWSGI_ROLE": "service",
        "kind": "production",
        "debug": True,
        "config": CONFIG,
        "utf8": 1,
        "token": "s3cr3t",
    }


def test_files_belong_to_the_generation_and_are_read_only(shop: Application) -> None:
    path = f"/opt/{shop.name}/generations/{shop.generation}/files/conf.d/shop.ini"
    assert shop.run(f"stat --format '%A %U %G' {path}") == f"-rw-r----- root {shop.name}"


def test_files_created_by_a_command_are_served_as_static_files(shop: Application) -> None:
    answer = shop.get("/static/shop.css")
    assert (answer.status, answer.body) == (200, CONFIG.encode())
    assert shop.get("/static/../shop.db").status in (400, 403, 404)


def test_an_unknown_host_is_still_refused(shop: Application) -> None:
    assert shop.get("/").status == 400


@pytest.fixture(scope="module")
def asgi(deployed: Deploy, release: Release, mode: str) -> Application:
    """An ASGI application behind a2wsgi."""
    return deployed(release("app_asgi.py"), mode, flask_uwsgi_health_path="")


@pytest.mark.full
def test_a2wsgi_serves_an_asgi_application_under_load(asgi: Application) -> None:
    def ask(number: int) -> tuple[int, bytes]:
        body = b"x" * (number % 7 * 1000)
        head = request(f"Content-Length: {len(body)}", line=f"POST /{number} HTTP/1.1")
        answer = asgi.ask(head + body)
        return answer.status, answer.body

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(ask, range(200)))
    assert answers == [(200, f"/{number} {number % 7 * 1000}".encode()) for number in range(200)]
