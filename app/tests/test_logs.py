import contextlib
import io
import json
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask

import health
import logs

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines(root_logger: logging.Logger) -> Lines:
    # Not capsys: pytest gives a test another standard output than its fixtures.
    stdout = io.StringIO()
    with contextlib.redirect_stdout(stdout):
        logs.configure("INFO")
    return lambda: [json.loads(line) for line in stdout.getvalue().splitlines()]


def test_a_record_is_one_line_of_json(lines: Lines) -> None:
    logging.getLogger("shop").warning("sold %d\nof %s", 2, "café")

    (line,) = lines()
    assert {key: line[key] for key in ("level", "logger", "message")} == {
        "level": "WARNING",
        "logger": "shop",
        "message": "sold 2\nof café",
    }
    assert datetime.fromisoformat(line["time"]).utcoffset() == timedelta(0)
    assert "path" not in line


def test_extra_fields_are_kept(lines: Lines) -> None:
    logging.getLogger("shop").warning("sold", extra={"item": 7, "buyer": object})

    (line,) = lines()
    assert line["item"] == 7
    assert line["buyer"] == str(object)


def test_the_level_is_applied(lines: Lines) -> None:
    logging.getLogger("shop").debug("unseen")

    assert lines() == []


def test_a_call_stack_is_kept_in_the_line(lines: Lines) -> None:
    logging.getLogger("shop").warning("here", stack_info=True)

    (line,) = lines()
    assert "test_a_call_stack_is_kept_in_the_line" in line["stack"]


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/user_manage/user/login"), ("GET", "/healthz")], ids=["api", "outside"]
)
def test_an_unhandled_exception_is_one_line_and_a_json_500(
    app: Flask, monkeypatch: pytest.MonkeyPatch, lines: Lines, method: str, path: str
) -> None:
    monkeypatch.setitem(app.config, "WAIT_SECONDS", "a string, which nobody can sleep for")
    monkeypatch.setattr(health, "versions", lambda: 1 / 0)

    answer = app.test_client().open(path, method=method)

    assert answer.status_code == 500
    assert answer.is_json
    assert "Traceback" not in answer.text
    (line,) = lines()
    assert (line["level"], line["method"], line["path"]) == ("ERROR", method, path)
    assert line["exception"].startswith("Traceback")


def test_a_successful_request_is_not_logged(app: Flask, lines: Lines) -> None:
    app.test_client().post("/user_manage/user/login", json={})

    assert lines() == []
