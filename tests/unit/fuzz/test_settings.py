"""What operators write into inventories: checked, all of it together, and never with a traceback."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible_collections.flaskops.uwsgi.plugins.module_utils.load import result
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release import secrets
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.report import compare
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.settings import preflight
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support import ROOT

BOUND_S = 5.0
PREFIX = "flask_uwsgi_"
DEFAULTS: dict[str, Any] = {
    name.removeprefix(PREFIX): value
    for name, value in yaml.safe_load((ROOT / "roles/flask_uwsgi/defaults/main.yml").read_text()).items()
}
# What YAML and the command line make of a mistyped value.
SCALAR = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12), st.dates(),
    st.sampled_from(["", " ", "1e3", "0x10", "1_000", "²", "½", "\x00", "~", "~nobody-of-this-name/x", "../x", "/",
                     "-1", "nan", "inf", "a" * 5000, "{{ x }}", "on", "yes", "\n", "git+", "x==", "9" * 21, "%i"]),
)  # fmt: skip
VALUE = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SCALAR, inner, max_size=3), max_leaves=4
)


@given(name=st.sampled_from(sorted(DEFAULTS)), value=VALUE)
@example(name="mode", value=["gevent"])
@example(name="wsgi_file", value=None)
@example(name="requirements", value="~nobody-of-this-name/x")
@example(name="source", value="~nobody-of-this-name/x")
@example(name="wsgi_file", value="a" * 5000)
def test_a_mistyped_variable_is_checked(name: str, value: Any) -> None:
    chosen = {"mode": "gevent", "source": str(ROOT / "app")}
    problems = preflight.settings_problems(DEFAULTS | chosen | {name: value})
    assert all(isinstance(problem, str) for problem in problems)
    # Each problem names a variable.
    assert all("_" in problem for problem in problems)


@given(st.dictionaries(st.sampled_from(sorted(DEFAULTS)), VALUE, max_size=8))
def test_an_inventory_of_mistyped_variables_is_checked(values: dict[str, Any]) -> None:
    preflight.settings_problems(DEFAULTS | {"mode": "gevent", "source": str(ROOT / "app")} | values)


@pytest.mark.parametrize(
    "piece", ["a", "a-", "/", "/a", "a.", ".", "1.", "a:", "~", " ", "a[", "-canary", "%2f", "x=="]
)
@pytest.mark.parametrize("name", ["app_name", "module", "mount", "bind", "health_path", "source", "wsgi_file", "user"])
def test_a_long_value_is_checked_within_the_limit(name: str, piece: str, within: Any) -> None:
    value = piece * (65_536 // len(piece)) + "!"
    with within(BOUND_S):
        preflight.settings_problems(DEFAULTS | {"mode": "gevent", "source": str(ROOT / "app"), name: value})


@given(VALUE, st.dictionaries(st.text(max_size=5), SCALAR, max_size=3), st.booleans())
def test_secrets_are_checked_and_never_shown(value: Any, environment: dict[str, Any], in_environment: bool) -> None:
    for problem in secrets.problems(value, environment, in_environment):
        assert "flask_uwsgi_" in problem


COMPARE = (
    "rounds",
    "requests_per_client",
    "requests_max",
    "time_limit_s",
    "health_timeout_s",
    "concurrency",
    "variants",
)
VARIANT = st.dictionaries(st.sampled_from(["name", "mode", "cores", "x"]), VALUE, max_size=4)


@given(st.fixed_dictionaries({name: VALUE | st.lists(VARIANT, max_size=3) for name in COMPARE}))
def test_settings_of_a_comparison_are_checked(settings: dict[str, Any]) -> None:
    compare.problems(settings, ["host"])


@given(
    st.text(max_size=40)
    | st.sampled_from(["http://[", "http://h:99999/", "https://", "//h/", "http://\x00/", "http://h"])
)
def test_an_address_of_a_load_test_is_checked(url: str) -> None:
    result.target_mistakes(url, None)
