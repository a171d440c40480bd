import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.distributions import normalised
from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import canonicalize_name


@pytest.mark.parametrize(
    ("name", "normal"), [("Zope.Interface_x", "zope-interface-x"), ("A-_.b", "a-b"), ("_x.", "-x-"), ("", "")]
)
def test_a_name_is_normalised(name: str, normal: str) -> None:
    assert normalised(name) == normal


@given(st.text(alphabet="aZ9-_. ") | st.text())
def test_a_name_is_normalised_as_packaging_does(name: str) -> None:
    assert normalised(name) == canonicalize_name(name)
