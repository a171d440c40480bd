import time
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

LOGIN = "/user_manage/user/login"
ARTICLE_BODY = b'{"a": "1", "b": "2", "c": 200}'


def test_login_answers_an_empty_object(client: FlaskClient) -> None:
    answer = client.post(LOGIN, data=ARTICLE_BODY, content_type="application/json")

    assert answer.status_code == 200
    assert answer.mimetype == "application/json"
    assert answer.json == {}


def test_data_for_ab_is_the_articles_body() -> None:
    assert (Path(__file__).parents[1] / "data.txt").read_bytes() == ARTICLE_BODY


def test_login_waits_as_long_as_set(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(app.config, "WAIT_SECONDS", 0.05)
    start = time.monotonic()

    app.test_client().post(LOGIN, json={})

    assert time.monotonic() - start >= 0.05


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"a=1", "application/x-www-form-urlencoded"),
        (b"plain", "text/plain"),
        (b"{broken", "application/json"),
        (b"", None),
    ],
)
def test_the_empty_parser_accepts_every_body(client: FlaskClient, body: bytes, content_type: str | None) -> None:
    assert client.post(LOGIN, data=body, content_type=content_type).status_code == 200


@pytest.mark.parametrize("accept", ["*/*", "text/html", "application/xml"])
def test_login_answers_json_whatever_the_client_accepts(client: FlaskClient, accept: str) -> None:
    assert client.post(LOGIN, json={}, headers={"Accept": accept}).mimetype == "application/json"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_login_accepts_post_only(client: FlaskClient, method: str) -> None:
    answer = client.open(LOGIN, method=method)

    assert answer.status_code == 405
    assert "POST" in answer.headers["Allow"]
    assert answer.is_json
