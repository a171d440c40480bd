"""The parts of the results, and what is written from them."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks import figures, results, tables
from tests.unit.benchmarks.conftest import DEPLOYS, MEASURED, RUNS

COMMITTED: dict[str, Any] = json.loads(results.RESULTS.read_text())
LATER = "2026-11-26T00:00:00+00:00"


def run(kind: str, hosts: int, seconds: float) -> dict[str, Any]:
    """Return the measurement of a deploy to recorded hosts."""
    return {"kind": kind, "hosts": hosts, "seconds": seconds, "cpu_s": 3.0, "main_mb": 60.0, "tree_mb": 1400.0}


def test_a_part_that_was_not_measured_keeps_its_figures_and_its_date(document: dict[str, Any]) -> None:
    fleet = {"date": LATER, "forks": 0, "runs": [run("new code", 10, 2.0)]}
    assert results.combined(document, {"servers": {}, "fleet": fleet}) == {**document, "fleet": fleet}


def test_a_run_of_many_hosts_is_kept_until_it_is_measured_again(document: dict[str, Any]) -> None:
    earlier = [run("nothing to do", 1000, 90.0), run("new code", 100, 70.0), run("new code", 1000, 457.0)]
    again = [run("new code", 1000, 400.0), run("nothing to do", 10, 3.0)]
    fleet = {"date": "2026-11-25T00:00:00+00:00", "forks": 0, "runs": earlier}
    found = results.combined({**document, "fleet": fleet}, {"fleet": {"date": LATER, "forks": 0, "runs": again}})
    assert found["fleet"] == {"date": LATER, "forks": 0, "runs": [again[1], earlier[0], earlier[1], again[0]]}


def test_runs_with_another_number_of_forks_begin_a_new_table(document: dict[str, Any]) -> None:
    fleet = {"date": "2026-11-25T00:00:00+00:00", "forks": 0, "runs": [run("new code", 1000, 457.0)]}
    again = {"date": LATER, "forks": 50, "runs": [run("new code", 10, 2.0)]}
    assert results.combined({**document, "fleet": fleet}, {"fleet": again})["fleet"] == again


def test_a_newer_measurement_replaces_its_part_alone(document: dict[str, Any]) -> None:
    found = results.combined(document, {"deploys": {"date": LATER, "runs": DEPLOYS[:3]}})
    assert found["servers"] == document["servers"]
    assert found["deploys"]["date"] == LATER
    assert found["deploys"]["kinds"]["first"].keys() == {"1"}


@pytest.mark.parametrize(
    "measured",
    [
        pytest.param({**MEASURED, "date": "2026-11-23T00:00:00+00:00", "runs": RUNS[:8]}, id="older"),
        pytest.param({**MEASURED, "runs": RUNS[:8]}, id="the same"),
        pytest.param({**MEASURED, "date": LATER, "runs": RUNS[:4]}, id="cut before the first round"),
        pytest.param({"date": LATER, "runs": []}, id="without a run"),
    ],
)
def test_what_is_older_or_holds_no_round_is_left_out(document: dict[str, Any], measured: dict[str, Any]) -> None:
    assert results.combined(document, {"servers": measured}) == document


def test_results_of_an_earlier_format_are_not_taken_over() -> None:
    assert results.combined({"format": 1, "servers": {}, "deploys": {}}, {}) == {"format": results.FORMAT}


def test_the_page_of_results_has_every_part_with_its_date(document: dict[str, Any]) -> None:
    text = results.report(document, {})
    assert "Measured on 2026-11-24. 4 processes each; 3 rounds" in text
    assert "Measured on 2026-11-25. Seconds of" in text
    assert "## Many hosts" not in text
    assert "- gunicorn-gevent: Connection refused" in text
    assert "- granian: `granian --workers 4 --threads THREADS run:app`" in text
    for case in ("wait", "crowd"):
        assert tables.markdown(tables.server_rows(document["servers"]["cases"][case]["servers"])) in text
    # A measurement that was cut has one part only.
    del document["deploys"]
    assert "## Deploys" not in results.report(document, {})


def test_each_case_has_its_own_text() -> None:
    settings = yaml.safe_load((results.ROOT / "benchmarks" / "servers_vars.yml").read_text())
    assert {case["name"] for case in settings["bench_cases"]} == set(results.CASES)


def test_each_server_has_a_name_in_the_readme() -> None:
    settings = yaml.safe_load((results.ROOT / "benchmarks" / "servers_vars.yml").read_text())
    named = {server["name"] for server in settings["bench_deployed"] + settings["bench_peers"]}
    assert named == set(tables.README)
    assert set(figures.PEERS) == {server["name"] for server in settings["bench_peers"]} - {
        "stock-gevent",
        "stock-threads",
    }


def test_servers_that_were_never_measured_are_reported_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "ROOT", tmp_path)
    monkeypatch.setattr(results, "REPORTS", tmp_path / "reports")
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results.json")
    with pytest.raises(SystemExit, match=r"reports/servers\.json holds no round: measure first, with `make bench`"):
        results.main()


def test_the_committed_results_have_the_current_format() -> None:
    assert COMMITTED["format"] == results.FORMAT
    assert "wait" in COMMITTED["servers"]["cases"]
    # The page was written from these figures.
    text = (results.ROOT / "benchmarks" / "RESULTS.md").read_text()
    assert text == results.report(COMMITTED, results.read(results.COMPARISON))


def test_the_readme_has_the_committed_figures() -> None:
    text = (results.ROOT / "README.md").read_text()
    assert tables.markdown(tables.readme_rows(COMMITTED["servers"]["cases"])) in text
    kinds = COMMITTED["deploys"]["kinds"]
    for hosts, times in (("1", 3), ("8", 5)):
        seconds = {kind: kinds[kind][hosts]["seconds"]["median"] for kind in ("nothing to do", "ten tasks")}
        assert seconds["ten tasks"] / seconds["nothing to do"] == pytest.approx(times, abs=0.3)
