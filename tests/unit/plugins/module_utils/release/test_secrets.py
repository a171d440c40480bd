"""Permitted secrets, and the messages about invalid ones: none shows a value."""

import time
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import checksums
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release.manifest import Secrets
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release.secrets import identity, problems, texts, unknown

VALUE = "s3cr3t-v4lue"


def problem_with(given: Any, environment: dict[str, Any] | None = None, in_environment: bool = False) -> str:
    """Return the only problem, which never shows the value."""
    found = list(problems(given, environment or {}, in_environment))
    assert len(found) == 1, found
    assert VALUE not in found[0]
    assert found[0].startswith("flask_uwsgi_secrets") and ": " in found[0]
    return found[0]


@pytest.mark.parametrize("value", [VALUE, 8040, 0, 0.5, " ", "\n", "two\nlines\n", "Grüße 🙂", "\0", "x" * 800 * 1024])
def test_a_secret_is_any_text_or_number(value: Any) -> None:
    assert list(problems({"TOKEN": value}, {"A": "1"}, False)) == []


@pytest.mark.parametrize("name", ["", ".", ".hidden", "a b", "a/b", "a:b", "a%b", "É", "-a", "n" * 201, "a\n"])
def test_an_invalid_credential_name_is_reported(name: str) -> None:
    assert f"has {name!r}, which is not a valid credential name: rename it to at most 200 characters" in problem_with(
        {name: VALUE}
    )
    assert f"has {name!r}, which is not a valid credential name" in problem_with({name: VALUE}, in_environment=True)


@pytest.mark.parametrize("name", ["key.pem", "a-b", "1a"])
def test_an_invalid_variable_name_is_reported_if_the_secret_becomes_one(name: str) -> None:
    assert list(problems({name: VALUE}, {}, False)) == []
    problem = problem_with({name: VALUE}, in_environment=True)
    assert f"has {name!r}, which is not a valid environment variable name: rename it" in problem
    assert "or set flask_uwsgi_secrets_in_environment=false" in problem


@pytest.mark.parametrize("in_environment", [True, False])
def test_a_name_that_is_also_in_the_environment_is_reported(in_environment: bool) -> None:
    problem = problem_with({"TOKEN": VALUE}, {"TOKEN": "x"}, in_environment)
    assert "has 'TOKEN', which is also in flask_uwsgi_environment: remove it from one" in problem


@pytest.mark.parametrize("value", [None, ""])
def test_an_empty_value_is_reported(value: Any) -> None:
    assert "has 'TOKEN', whose value is empty: set it, or remove the entry" in problem_with({"TOKEN": value})


@pytest.mark.parametrize("value", [True, [VALUE], {"a": VALUE}])
def test_a_value_of_another_type_is_reported(value: Any) -> None:
    assert "has 'TOKEN', whose value is neither a string nor a number: put it in quotes" in problem_with(
        {"TOKEN": value}
    )


def test_bytes_that_are_not_text_are_reported() -> None:
    assert "whose value is not text: encode it" in problem_with({"TOKEN": f"{VALUE}\udcff"})


def test_a_null_byte_is_reported_if_the_secret_becomes_a_variable() -> None:
    assert "which no environment variable can" in problem_with({"TOKEN": f"{VALUE}\0"}, in_environment=True)


def test_more_than_systemd_accepts_is_reported() -> None:
    assert "need 804 kB, at least 4 each, and systemd can pass 800" in problem_with({"A": VALUE, "B": "x" * 800 * 1024})
    assert list(problems({f"N{number}": "x" for number in range(200)}, {}, True)) == []
    assert "need 804 kB" in problem_with({f"N{number}": "x" for number in range(201)})


@pytest.mark.parametrize("given", [VALUE, [VALUE], None])
def test_a_value_that_is_not_a_dictionary_is_reported_and_not_shown(given: Any) -> None:
    assert problem_with(given) == "flask_uwsgi_secrets, whose value is not shown, is not valid: set it to a dictionary"


def test_all_problems_are_reported() -> None:
    assert len(list(problems({"a b": VALUE, "TOKEN": "", "OK": VALUE}, {"OK": 1}, True))) == 3


def test_numbers_become_strings() -> None:
    assert texts({"PORT": 8040, "RATE": 0.5, "TEXT": "a\n"}) == {"PORT": "8040", "RATE": "0.5", "TEXT": "a\n"}


# Their identity.


def test_the_fingerprint_changes_with_every_name_and_value() -> None:
    found = [
        identity(given, "shop")
        for given in ({"A": "1"}, {"A": "2"}, {"B": "1"}, {"A": "1\n"}, {"A": "1", "B": "1"}, {"A": "1B1"})
    ] + [identity({"A": "1"}, "store")]
    assert len({entry.fingerprint for entry in found}) == len(found)


def test_the_fingerprint_depends_neither_on_order_nor_on_the_type_of_a_number() -> None:
    assert identity({"B": 2, "A": 1}, "shop") == identity({"A": "1", "B": "2"}, "shop")
    # Change this on purpose only: every host with secrets deploys anew.
    assert identity({"A": 1}, "shop") == Secrets(("A",), "2ff46d7b1725b5946ac86ecd0531dcf4")


def test_an_identity_contains_no_value_and_guessing_is_slow() -> None:
    checksums.slow.cache_clear()
    started = time.process_time()
    found = str(identity({"TOKEN": VALUE}, "shop"))
    # A plain hash takes a microsecond.
    assert time.process_time() - started > 0.005
    assert VALUE not in found and "TOKEN" in found


# Secrets that cannot be evaluated.


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        ("Error while resolving value for 'msg': 'vault_db' is undefined", "vault_db is not defined. Define it"),
        ("object of type 'dict' has no attribute 'db'", "db is not defined. Define it"),
        (
            "Decryption failed (no vault secrets were found that could decrypt).",
            "it cannot be decrypted. Provide its",
        ),
        ("The 'file' lookup failed: Unable to access the file", "its lookup or its expression fails. Correct it"),
    ],
)
def test_an_undefined_secret_is_reported_without_ansible_s_quotations(message: str, cause: str) -> None:
    entry = unknown("DB", f"{message}\n{VALUE}")
    assert entry.startswith(f"flask_uwsgi_secrets has 'DB', which cannot be evaluated: {cause}")
    assert unknown("", f"{VALUE} {message}").startswith(f"flask_uwsgi_secrets cannot be evaluated: {cause}")
    assert VALUE not in entry
