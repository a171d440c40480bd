import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.health_answer import advice, gist

WERKZEUG = "<!doctype html>\n<html lang=en>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n<p>The requested URL"
DEBUG = "<!DOCTYPE html>\n<html>\n<head>\n<style>h1 {color: red}</style>\n</head><body>\n<h1>No &amp; no</h1><p>more"


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ("", ""),
        (" \n no database \nand more", "no database"),
        (WERKZEUG, "404 Not Found"),
        (DEBUG, "No & no"),
        ("<title></title>\n<p>Busy</p>", "Busy"),
        ('{\n  "status": "down",\n  "db": false\n}', '{ "status": "down", "db": false }'),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a < b", "a < b"),
    ],
)
def test_the_first_line_with_text_is_shown(body: str, shown: str) -> None:
    assert gist(body) == shown


def test_a_long_line_is_cut() -> None:
    assert len(gist("x" * 2000)) < 250


@pytest.mark.parametrize("body", ["<" * 2000, "<title" * 300, "<!--" * 500, "<script" * 280])
def test_text_that_resembles_html_is_read_quickly(body: str) -> None:
    assert len(gist(body)) < 250


@pytest.mark.parametrize(
    ("answered", "location", "words"),
    [
        (400, "", ["flask_uwsgi_health_host=localhost", "ALLOWED_HOSTS", "TRUSTED_HOSTS", "flask_uwsgi_health_path"]),
        (421, "", ["flask_uwsgi_health_host=localhost"]),
        (401, "", ["flask_uwsgi_health_path=/healthz requires a login", "flask_uwsgi_health_status=401"]),
        (403, "", ["flask_uwsgi_health_host", "flask_uwsgi_health_status=403", "Set flask_uwsgi_health_path"]),
        (404, "", ["has no such path", "flask_uwsgi_health_host=localhost", '"" if it has none']),
        (405, "", ["does not accept GET there", "Set flask_uwsgi_health_path"]),
        (301, "https://localhost/healthz", ["HTTPS", "X-Forwarded-Proto", "flask_uwsgi_health_status=301"]),
        (302, "/login?next=/healthz", ["/healthz requires a login", "flask_uwsgi_health_status=302"]),
        (308, "/healthz/", ["Set flask_uwsgi_health_path to a path that answers 200", "flask_uwsgi_health_status=308"]),
        (204, "", ["flask_uwsgi_health_status=204"]),
    ],
)
def test_each_answer_is_reported_with_its_likely_cause_and_the_variable_to_set(
    answered: int, location: str, words: list[str]
) -> None:
    message = advice(answered, 200, "/healthz", "localhost", location)
    assert [word for word in words if word not in message] == []
    assert not message.endswith(".") and ".." not in message


@pytest.mark.parametrize("answered", [500, 503])
def test_an_error_of_the_application_is_not_blamed_on_settings(answered: int) -> None:
    assert advice(answered, 200, "/healthz", "localhost") == ""
