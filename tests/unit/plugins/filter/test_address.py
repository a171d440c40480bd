import pytest
from ansible_collections.flaskops.uwsgi.plugins.filter.address import FilterModule


@pytest.mark.parametrize(
    ("host", "shown"), [("fd00::5", "[fd00::5]"), ("10.0.0.5", "10.0.0.5"), ("app1.example.org", "app1.example.org")]
)
def test_a_host_of_a_url_is_in_brackets_if_it_is_ipv6(host: str, shown: str) -> None:
    assert FilterModule().filters()["bracketed"](host) == shown
