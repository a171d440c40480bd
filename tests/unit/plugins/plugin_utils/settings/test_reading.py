"""How the settings are read from a task's variables."""

from typing import Any

import pytest
from ansible.errors import AnsibleError
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.settings.reading import plain, read
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.settings.specs import PREFIX

from tests.support.planning import values


class Templates:
    """Evaluates functions, each as often as requested, and nothing else."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self(item) for name, item in value.items()}
        if callable(value):
            self.calls += 1
            return value(self.calls)
        return value


def fail(_: int) -> str:
    raise AnsibleError("hidden")


def fail_once(call: int) -> str:
    return fail(call) if call == 1 else "known"


def given(**own: Any) -> dict[str, Any]:
    return {f"{PREFIX}{name}": value for name, value in values(**own).items()}


def test_every_setting_is_evaluated_once() -> None:
    template = Templates()
    found, problems = read(given(secrets={"A": str, "B": str}, port=int), template)
    assert problems == [] and template.calls == 3
    assert sorted(found["secrets"]) == ["A", "B"] and isinstance(found["port"], int)


@pytest.mark.parametrize(
    ("secrets", "named"),
    [({"A": str, "B": fail}, "flask_uwsgi_secrets has 'B'"), ({"A": fail_once}, "flask_uwsgi_secrets cannot be")],
)
def test_a_secret_that_cannot_be_evaluated_is_a_problem_without_its_value(secrets: dict[str, Any], named: str) -> None:
    found, (problem,) = read(given(secrets=secrets), Templates())
    assert problem.startswith(named) and "hidden" not in problem and "secrets" not in found


def test_ansible_s_tags_of_a_value_are_removed() -> None:
    class Tagged(str):
        def __str__(self) -> str:
            return self

    found = plain({Tagged("a"): [Tagged("b"), 1, None]})
    assert found == {"a": ["b", 1, None]}
    assert {type(text) for text in (*found, found["a"][0])} == {str}
