"""How hosts are named in a line of text."""

import pytest
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.report.hosts import named


@pytest.mark.parametrize(
    ("hosts", "most", "text"),
    [(1, 8, "h0"), (3, 3, "h0, h1, h2"), (4, 3, "h0, h1, h2 and 1 more"), (1003, 3, "h0, h1, h2 and 1,000 more")],
)
def test_many_hosts_are_counted(hosts: int, most: int, text: str) -> None:
    assert named([f"h{number}" for number in range(hosts)], most) == text
