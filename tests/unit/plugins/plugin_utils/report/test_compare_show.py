import re
from collections import Counter
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.report import compare_show

Made = Callable[..., dict[str, Any]]
SVG = "{http://www.w3.org/2000/svg}"
RATES = {
    "gevent": {10: [49.0] * 3, 1000: [3900.0, 3800.0, 4000.0]},
    "threads": {10: [49.0] * 3, 1000: [3100.0, 3000.0, 3200.0]},
}


def charts(page: dict[str, Any]) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(chart["svg"]) for group in page["charts"].values() for chart in group]


def test_each_chart_is_a_picture_with_a_text_alternative(made: Made) -> None:
    page = compare_show.page(made(RATES))
    found = charts(page)
    assert [len(page["charts"][name]) for name in ("throughput", "latency", "failures", "footprint")] == [1, 2, 0, 2]
    for svg in found:
        assert svg.get("role") == "img"
        assert re.search(r"gevent: .*\d", svg.get("aria-label", "")), svg.get("aria-label")
        assert list(svg.iter(f"{SVG}path")) and list(svg.iter(f"{SVG}text"))
        assert "width" not in svg.attrib


def test_charts_on_one_page_share_no_ids(made: Made) -> None:
    text = "".join(chart["svg"] for group in compare_show.page(made(RATES))["charts"].values() for chart in group)
    names = Counter(re.findall(r'\bid="([^"]+)"', text))
    assert names and set(names.values()) == {1}
    wanted = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
    assert wanted and wanted <= names.keys()


def test_a_chart_has_the_colours_of_its_page(made: Made) -> None:
    text = compare_show.page(made(RATES))["charts"]["throughput"][0]["svg"]
    assert {"--series-1", "--series-2", "--ink", "--line"} <= set(re.findall(r"var\((--[\w-]+)\)", text))
    assert not re.search(r"#0\d0\d0\d|#0a0a0a", text)


def test_series_can_be_distinguished_without_colour(made: Made) -> None:
    text = compare_show.page(made(RATES))["charts"]["throughput"][0]["svg"]
    assert "stroke-dasharray" in text


def test_without_measurements_there_is_no_chart(made: Made) -> None:
    page = compare_show.page(made({"gevent": {10: ["refused"]}, "threads": {10: ["refused"]}}))
    assert page["charts"]["throughput"] == page["charts"]["latency"] == page["charts"]["failures"] == []


def test_failed_requests_have_a_separate_chart(made: Made) -> None:
    document = made(RATES)
    document["summary"][0]["failed"] = 12
    page = compare_show.page(document)
    assert "gevent: 12; threads: 0" in page["charts"]["failures"][0]["svg"]


def test_a_document_of_another_format_is_refused(made: Made) -> None:
    with pytest.raises(ValueError, match=r"compare\.json has format 0, .* run playbooks/compare\.yml again"):
        compare_show.page(made(RATES) | {"format": 0})


def test_the_summary_has_a_line_for_each_figure_the_reasons_and_the_verdict(made: Made) -> None:
    document = made({"gevent": {10: [49.0], 1000: [3900.0]}, "threads": {10: [49.0], 1000: ["ab gave up: refused"]}})
    lines = compare_show.summary(document | {"incomplete": "the host was lost"}, "reports/compare").splitlines()
    assert lines[0].split() == list(compare_show._HEAD)
    assert [line.split()[:2] for line in lines[1:5]] == [
        ["gevent", "10"], ["gevent", "1,000"], ["threads", "10"], ["threads", "1,000"],
    ]  # fmt: skip
    assert set(lines[4].split()[4:]) == {"–"}
    assert "threads at 1000: ab gave up: refused" in lines
    assert "INCOMPLETE: the host was lost" in lines
    assert lines[-1] == "The page: reports/compare/index.html"


def test_the_summary_of_nothing_is_a_sentence() -> None:
    assert compare_show.summary({"summary": [], "verdict": ["Nothing can be compared."]}, "x").startswith("\nNothing")


def test_the_clients_have_a_table_and_charts(clients: dict[str, Any]) -> None:
    page = compare_show.page({}, clients)
    assert "variants" not in page
    rows = page["clients"]["rows"]
    assert rows[0] == {"figure": "time (s)", "gevent": "0.90 (0.80–1.00)", "asyncio": "0.80 (0.70–0.90)"}
    assert {"figure": "lines of code", "gevent": "24", "asyncio": "21"} in rows
    assert "gevent: 0.9 s; asyncio: 0.8 s" in page["clients"]["charts"][0]["svg"]


def test_interrupted_clients_have_no_chart(clients: dict[str, Any]) -> None:
    page = compare_show.page({}, clients | {"summary": {}, "error": "stopped by Ctrl-C"})
    assert page["clients"]["charts"] == []


def test_a_page_without_measurements_says_how_to_get_them(made: Made, clients: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"clients\.json has format 0.*run playbooks/compare_clients\.yml again"):
        compare_show.page(made(RATES), clients | {"format": 0})
