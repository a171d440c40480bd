import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import comparison
from benchmarks.results import ROOT
from tests.support.comparison import made

__all__ = ["made"]


def test_a_row_has_the_settings_and_the_results(made: object) -> None:
    document = made({"gevent": {10: [49.0] * 3, 1000: [3900.0, 3800.0, 4000.0]}})  # type: ignore[operator]
    (line,) = comparison.rows(document)
    assert line.startswith("| `gevent`, 4 × 3,000 | 3,900 (3,800–4,000) | ")
    assert line.endswith(" | 0 |")
    document["variants"][0]["stock"] = True
    assert comparison.rows(document)[0].startswith("| `gevent`, 4 × 3,000, uWSGI as released | ")


def test_the_chart_is_complete_and_has_its_colours(made: object) -> None:
    document = made({"gevent": {10: [49.0] * 3, 1000: [3900.0] * 3}})  # type: ignore[operator]
    svg = comparison.picture({key: value for key, value in document.items() if key != "runs"})
    assert "3,900 at 1000" in str(ElementTree.fromstring(svg).get("aria-label"))
    used, known = set(re.findall(r"var\((--[\w-]+)\)", svg)), set(re.findall(r"(--[\w-]+):", svg))
    assert used and used <= known


def test_the_committed_chart_has_the_committed_figures() -> None:
    document = json.loads((ROOT / "benchmarks" / "comparison.json").read_text())
    label = ElementTree.fromstring((ROOT / "docs" / "comparison.svg").read_text()).get("aria-label")
    assert label == ElementTree.fromstring(comparison.picture(document)).get("aria-label")


def test_a_missing_measurement_is_reported_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match="measure first, with `make compare`"):
        comparison.main()


@pytest.mark.parametrize("page", ["README.md", "docs/HOW_IT_WORKS.md"])
def test_the_documentation_has_the_committed_figures(page: str) -> None:
    document = json.loads((ROOT / "benchmarks" / "comparison.json").read_text())
    assert document["incomplete"] == ""
    lines = comparison.rows(document)
    assert len(lines) == 5
    assert "\n".join(lines) in (ROOT / page).read_text()
