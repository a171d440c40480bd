import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks import results
from tests.unit.benchmarks.conftest import DEPLOYS, RUNS, run


def test_the_figures_of_a_server_are_medians_of_the_rounds() -> None:
    found = results.servers(RUNS)
    assert found["uwsgi-gevent"]["requests_per_second"] == {"median": 4000, "min": 3900, "max": 4100}
    assert found["granian"]["ratio"] == 0.5
    # 8 s for 20,000 requests, and 950 of 1,000 ticks.
    assert found["granian"]["cpu_ms"]["median"] == pytest.approx(0.4)
    assert found["granian"]["busy"]["median"] == 0.95
    assert found["granian"]["failed"] == 30


def test_a_server_that_did_not_run_has_its_reason_and_no_number(document: dict[str, Any]) -> None:
    one = document["servers"]["gunicorn-gevent"]
    assert one["reasons"] == ["Connection refused"] and "requests_per_second" not in one
    row = next(row for row in results.server_rows(document["servers"]) if row["server"] == "gunicorn-gevent")
    assert (row["req/s"], row["cores busy"], row["failed"]) == ("–", "–", "0 of 0")


def test_the_verdict_names_ideal_best_and_ceiling(document: dict[str, Any]) -> None:
    assert document["verdict"] == [
        "uwsgi-gevent serves 80 % of the ideal 5,000 requests per second.",
        "That is 2.00 × granian, the best of the others.",
        "A bare function gets 1.25 × that: the rest is the application.",
    ]


def test_without_the_reference_there_is_no_ratio() -> None:
    found = results.servers([run("granian", 1, 2000.0)])
    assert "ratio" not in found["granian"]
    assert "nothing to compare with" in results.verdict(found, 5000)[0]


def test_growth_is_the_seconds_per_further_host() -> None:
    found = results.deploys(DEPLOYS)
    assert found["first"]["8"]["seconds"]["median"] == pytest.approx(51)
    assert found["first"]["8"]["round_trips"]["median"] == 320
    assert results.growth(found["first"]) == pytest.approx(3)


def test_a_table_has_a_column_for_every_value() -> None:
    rows = results.deploy_rows(results.deploys(DEPLOYS))
    assert [row["hosts"] for row in rows] == ["1", "2", "4", "8"]
    assert rows[0]["nothing to do"] == "4.1 (4.0–4.2) s, 5 trips"
    assert results.markdown(rows).splitlines()[1] == "| --- | ---: | ---: |"


@pytest.mark.parametrize("text", [None, '{"runs": []}'])
def test_a_missing_measurement_is_reported_with_the_remedy(
    text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "ROOT", tmp_path)
    monkeypatch.setattr(results, "REPORTS", tmp_path)
    if text:
        (tmp_path / "servers.json").write_text(text)
    with pytest.raises(SystemExit, match=r"servers\.json holds no run: measure first, with `make bench`"):
        results.found("servers.json")


def test_the_committed_results_have_the_current_format() -> None:
    document = json.loads((results.ROOT / "benchmarks" / "results.json").read_text())
    assert document["format"] == 1
    assert set(document["servers"]) >= {results.OURS, results.CEILING, *results.PEERS}
    text = (results.ROOT / "benchmarks" / "RESULTS.md").read_text()
    # The page was written from these figures.
    assert results.markdown(results.server_rows(document["servers"])) in text
    assert " ".join(document["verdict"]) in text


def test_the_readme_has_the_committed_ratios() -> None:
    document = json.loads((results.ROOT / "benchmarks" / "results.json").read_text())
    ratios = re.findall(r"^\| [^|]+ \| (\d\.\d\d) \|$", (results.ROOT / "README.md").read_text(), flags=re.M)
    ranked = sorted((one["ratio"] for one in document["servers"].values()), reverse=True)
    assert ratios == [f"{ratio:.2f}" for ratio in ranked]
    seconds = {kind: document["deploys"][kind]["1"]["seconds"]["median"] for kind in ("nothing to do", "ten tasks")}
    assert seconds["ten tasks"] / seconds["nothing to do"] == pytest.approx(2.5, abs=0.3)
