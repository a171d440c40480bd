import datetime
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release.values import (
    application_files,
    entry_problems,
    environment_problems,
    expanded,
    file_problems,
)
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan.generation import environment_file


def given(**settings: Any) -> dict[str, Any]:
    return {"environment": {}, "secrets": {}, "files": {}, "extra_ini": {}, "unit_overrides": {}, **settings}


def one(problems: Iterator[str]) -> str:
    (problem,) = problems
    return problem


def test_booleans_are_written_as_in_yaml() -> None:
    variables = {"DEBUG": False, "TESTING": True, "PORT": 8080, "RATE": 0.5, "NAME": "True"}
    assert environment_file(variables) == (
        'DEBUG="false"\nNAME="True"\nPORT="8080"\nRATE="0.5"\nTESTING="true"\n'
    )  # fmt: skip


@pytest.mark.parametrize("value", ["", "a\nb", "ä", 1, 1.5, True, False, "$HOME", "a${STATE_DIRECTORY}/b"])
def test_a_variable_is_a_text_a_number_or_a_boolean(value: Any) -> None:
    assert list(environment_problems(given(environment={"A": value}))) == []


@pytest.mark.parametrize(
    ("value", "what", "remedy"),
    [
        (None, "null", "set it, or remove the entry"),
        (["hidden"], "a list", "such as a,b"),
        ({"hidden": 1}, "a dictionary", "JSON"),
        (datetime.date(2026, 1, 1), "a date", "put it in quotes"),
        # As Ansible passes one.
        (type("_AnsibleTaggedDate", (datetime.date,), {})(2026, 1, 1), "a date", "put it in quotes"),
    ],
)
def test_a_value_that_is_not_text_is_refused_with_its_kind_and_without_its_value(
    value: Any, what: str, remedy: str
) -> None:
    problem = one(environment_problems(given(environment={"HOSTS": value})))
    assert problem.startswith(f"flask_uwsgi_environment has 'HOSTS', whose value is {what}, ")
    assert remedy in problem and "hidden" not in problem


def test_a_null_byte_is_refused() -> None:
    assert "'A', whose value contains a null byte" in one(environment_problems(given(environment={"A": "x\0hidden"})))


@pytest.mark.parametrize("name", ["RUNTIME_DIRECTORY", "FLASK_UWSGI_FILES", "CREDENTIALS_DIRECTORY"])
def test_variables_that_systemd_sets_are_refused(name: str) -> None:
    assert f"has {name!r}, which systemd sets" in one(environment_problems(given(environment={name: "/x"})))


@pytest.mark.parametrize(
    "value", ["$FLASK_UWSGI_FILES/a.ini", "x=${FLASK_UWSGI_FILES}/a.ini;y", "$FLASK_UWSGI_FILES/b/"]
)
def test_a_named_file_must_exist(value: str) -> None:
    environment = {"CONFIG": value}
    assert list(environment_problems(given(environment=environment, files={"a.ini": "", "b/c": ""}))) == []
    assert "which is not in flask_uwsgi_files" in one(environment_problems(given(environment=environment)))


def test_a_folder_of_secrets_requires_secrets() -> None:
    environment = {"TOKEN_FILE": "$CREDENTIALS_DIRECTORY/token"}
    assert list(environment_problems(given(environment=environment, secrets={"token": "x"}))) == []
    assert "but flask_uwsgi_secrets is empty" in one(environment_problems(given(environment=environment)))


def test_only_folders_named_by_systemd_are_replaced() -> None:
    environment = {"B": "$STATE_DIRECTORY/a:${CACHE_DIRECTORY}/b", "A": "$STATE_DIRECTORY", "C": "$HOME", "D": 5}
    assert expanded(environment) == {"A": ["STATE_DIRECTORY"], "B": ["CACHE_DIRECTORY", "STATE_DIRECTORY"]}


@pytest.mark.parametrize("value", [None, {"a": 1}, [["a"]], ["a", None], "a\nb = c", ["a\0"]])
@pytest.mark.parametrize("name", ["extra_ini", "unit_overrides"])
def test_a_key_has_one_line_or_a_list_of_lines(name: str, value: Any) -> None:
    assert one(entry_problems(given(**{name: {"max-requests": value}}))).startswith(f"flask_uwsgi_{name} has ")


@pytest.mark.parametrize("value", ["", "a", 1, 1.5, True, ["a", 1, False], []])
def test_other_values_of_keys_are_accepted(value: Any) -> None:
    assert list(entry_problems(given(extra_ini={"a": value}, unit_overrides={"B": value}))) == []


@pytest.mark.parametrize("name", ["../a", "/etc/a", "a/../b", ".a", "a/.b", "", "a//b", "a b", "a\nb", "x" * 300, "a/"])
def test_a_file_s_name_stays_in_its_folder(name: str) -> None:
    assert "which is not a valid file name" in one(file_problems({name: ""}))


def test_a_path_is_not_both_a_file_and_a_folder() -> None:
    assert "cannot be both a file and a folder" in one(file_problems({"a": "", "a/b": ""}))


@pytest.mark.parametrize("text", [None, ["hidden"], {"hidden": 1}, True, "hidden\0"])
def test_a_file_is_a_text(text: Any) -> None:
    problem = one(file_problems({"a.ini": text}))
    assert problem.startswith("flask_uwsgi_files has 'a.ini', whose ") and "hidden" not in problem


def test_files_have_limits() -> None:
    assert "32 are allowed" in one(file_problems({f"f{number}": "" for number in range(33)}))
    assert "1025 kB, but only 1024 are allowed" in one(file_problems({"a": "x" * 1024 * 1024, "b": "y"}))
    assert "set it to a dictionary" in one(file_problems("hidden"))


def test_files_are_part_of_a_generation() -> None:
    assert application_files({"conf.d/a.ini": "a = 1\n", "b": 5}) == {"files/conf.d/a.ini": "a = 1\n", "files/b": "5"}
