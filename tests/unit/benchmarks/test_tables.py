"""The figures as texts."""

from typing import Any

from benchmarks import figures, tables
from tests.unit.benchmarks.conftest import DEPLOYS


def test_a_server_that_did_not_run_has_its_reason_and_no_number(document: dict[str, Any]) -> None:
    found = document["servers"]["cases"]["wait"]["servers"]
    one = found["gunicorn-gevent"]
    assert one["reasons"] == ["Connection refused"] and "requests_per_second" not in one
    row = next(row for row in tables.server_rows(found) if row["server"] == "gunicorn-gevent")
    assert (row["req/s"], row["cores busy"], row["KB/request"], row["failed"]) == ("–", "–", "–", "0 of 0")


def test_the_fastest_server_is_first(document: dict[str, Any]) -> None:
    rows = tables.server_rows(document["servers"]["cases"]["wait"]["servers"])
    assert [row["server"] for row in rows][:2] == ["uwsgi-bare", "uwsgi-gevent"]
    assert [row["threads each"] for row in rows if row["server"] == "granian"] == ["500"]


def test_the_candidates_show_which_was_chosen_and_which_failed(document: dict[str, Any]) -> None:
    cases = document["servers"]["cases"]
    cases["wait"]["candidates"]["granian"]["224"]["failed"] = 7
    assert tables.candidate_rows(cases) == [
        {"case": "wait", "server": "granian", "224": "1,900, 400 ms, 7 failed", "500": "2,100, 400 ms ✓"},
        {"case": "crowd", "server": "uwsgi-threads", "224": "3,500, 1,000 ms ✓", "500": "3,100, 1,000 ms"},
    ]
    del cases["crowd"]["candidates"]["uwsgi-threads"]["500"]["requests_per_second"]
    assert tables.candidate_rows(cases)[1]["500"] == "not finished"


def test_readme_compares_both_crowds(document: dict[str, Any]) -> None:
    rows = {row["Server"]: row for row in tables.readme_rows(document["servers"]["cases"])}
    assert rows["granian"] == {
        "Server": "granian", "c = 1,000": "0.50", "c = 4,000": "0.15", "no wait, c = 100": "–",
        "CPU ms/request at 4,000": "0.50", "p99 ms at 4,000": "1,000",
    }  # fmt: skip
    assert rows["this deployment, `gevent`"]["c = 4,000"] == "1.00"


def test_a_table_has_a_column_for_every_value() -> None:
    rows = tables.deploy_rows(figures.deploys(DEPLOYS))
    assert [row["hosts"] for row in rows] == ["1", "2", "4", "8"]
    assert rows[0]["nothing to do"] == "4.1 (4.0–4.2) s, 5 trips"
    assert tables.markdown(rows).splitlines()[1] == "| --- | ---: | ---: | ---: |"
    assert tables.markdown(rows, words=2).splitlines()[1] == "| --- | --- | ---: | ---: |"
