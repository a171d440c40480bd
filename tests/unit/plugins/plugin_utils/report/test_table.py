import pytest
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.report.table import Table, cut

TABLE = Table(("host", "served", "pid"), right=("served",))
ROWS = [TABLE.columns, ("app1", "1,000,000", "true"), ("application2", "7", "FALSE")]


def test_each_column_is_as_wide_as_its_longest_text() -> None:
    assert TABLE.sizes(ROWS) == [12, 9, 5]


def test_numbers_are_aligned_to_the_right() -> None:
    assert [TABLE.line(row, TABLE.sizes(ROWS)) for row in ROWS] == [
        "host             served  pid  ",
        "app1          1,000,000  true ",
        "application2          7  FALSE",
    ]


def test_the_head_is_underlined() -> None:
    assert TABLE.head([4, 6, 3], " ") == ["host served pid", "---- ------ ---"]


def test_a_row_that_ends_early_leaves_room_for_a_sentence() -> None:
    assert TABLE.sizes([("application2",), ("app1", "7", "true")]) == [12, 1, 4]
    assert TABLE.line(("app1",), [12, 9, 5]) == "app1        "


def test_a_text_that_is_too_long_is_cut() -> None:
    assert TABLE.line(("application2", "7", "true"), [8, 6, 4]) == "applica~       7  true"


@pytest.mark.parametrize(("size", "text"), [(4, "host"), (3, "ho~"), (9, "host")])
def test_a_cut_is_marked(size: int, text: str) -> None:
    assert cut("host", size) == text


def test_a_table_without_rows_has_no_width() -> None:
    assert TABLE.sizes([]) == [0, 0, 0]
