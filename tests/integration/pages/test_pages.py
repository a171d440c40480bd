from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.report import compare_show, loadtest, loadtest_show
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from benchmarks.page import page as bench_page
from benchmarks.results import COMPARISON, RESULTS, read
from tests.unit.plugins.plugin_utils.report.test_loadtest import measured, results

Show = Callable[..., Page]
Made = Callable[..., dict[str, Any]]

RATES: dict[str, dict[int, list[float | str]]] = {
    "gevent": {10: [49.0] * 3, 1000: [3900.0, 3800.0, 4000.0], 10000: [2900.0] * 3},
    "threads": {
        10: [49.0] * 3,
        1000: [3100.0, 3000.0, 3200.0],
        10000: ["ab was not finished after 60 s and was ended"] * 3,
    },
}
EMPTY: dict[str, dict[int, list[float | str]]] = {"gevent": {10: ["refused"]}, "threads": {10: ["refused"]}}

everywhere = pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1024, "light"), (360, "dark")])


def sound(page: Page, charts: int) -> None:
    """Assert that a page fits its window, has its charts, and is accessible."""
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    drawn = page.evaluate(
        "[...document.querySelectorAll('svg')].map(svg => [svg.getBoundingClientRect().height,"
        " [...svg.querySelectorAll('path, polyline')].filter(path => path.getBoundingClientRect().width > 0).length])"
    )
    assert len(drawn) == charts
    assert all(height > 60 and paths >= 2 for height, paths in drawn), drawn
    found = Axe().run(page).response["violations"]
    serious = [(one["id"], one["nodes"][0]["html"][:200]) for one in found if one["impact"] in ("serious", "critical")]
    assert serious == []


@everywhere
def test_a_comparison(show: Show, made: Made, width: int, scheme: str) -> None:
    page = show("compare.html.j2", width, scheme, compare_page=compare_show.page(made(RATES)))
    # Throughput, latency at three concurrencies, memory, threads.
    sound(page, charts=6)
    assert "gevent 3,900, threads 3,100" in page.inner_text(".answer")
    assert "ab was not finished after 60 s" in page.inner_text(".warnings")


@everywhere
def test_a_comparison_in_which_every_run_failed(show: Show, made: Made, width: int, scheme: str) -> None:
    document = made(EMPTY, incomplete="app1 was lost at gevent, 10 at a time, round 1")
    page = show("compare.html.j2", width, scheme, compare_page=compare_show.page(document))
    sound(page, charts=0)
    assert "Nothing can be compared" in page.inner_text(".answer")
    assert "app1 was lost" in page.inner_text(".misses")
    assert "No run has measured anything." in page.inner_text("main")


@everywhere
def test_a_comparison_of_clients(show: Show, clients: dict[str, Any], width: int, scheme: str) -> None:
    page = show("compare.html.j2", width, scheme, compare_page=compare_show.page({}, clients))
    # Time, CPU, memory.
    sound(page, charts=3)
    assert "Indistinguishable in time." in page.inner_text(".answer")


@everywhere
def test_a_verification(show: Show, width: int, scheme: str) -> None:
    reports = [
        loadtest.report(measured(host="app1")),
        loadtest.report(measured(host="app2", results=results(p99_ms=6200))),
        loadtest.missing_report("app3", "not measured: it was unreachable"),
    ]
    page = show("verify.html.j2", width, scheme, loadtest_page=loadtest_show.page(reports))
    sound(page, charts=4)
    assert "not measured: it was unreachable" in page.inner_text("#host-3 .misses")


@everywhere
def test_the_committed_benchmarks(show: Show, width: int, scheme: str) -> None:
    data = bench_page(read(RESULTS), read(COMPARISON))
    page = show("bench.html.j2", width, scheme, **data)
    sound(page, charts=sum(len(case["charts"]) for case in data["cases"]) + 2)


@everywhere
def test_the_benchmarks(show: Show, document: dict[str, Any], width: int, scheme: str) -> None:
    page = show("bench.html.j2", width, scheme, **bench_page(document, {}))
    # Throughput, p99, CPU and memory of two cases; seconds and round trips of deploys.
    sound(page, charts=10)
    assert "2.00 × granian" in page.inner_text(".answer")
    assert "gunicorn-gevent: Connection refused" in page.inner_text(".warnings")
    assert "2,100, 400 ms ✓" in page.inner_text("main")
    assert "Many hosts" not in page.inner_text("main")


def test_the_numbers_can_be_reached_by_keyboard(show: Show, made: Made) -> None:
    page = show("compare.html.j2", 1280, "light", compare_page=compare_show.page(made(RATES)))
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.tagName") == "SUMMARY":
            break
    page.keyboard.press("Enter")
    assert page.evaluate("document.querySelector('details').open")


def test_the_page_says_what_served_as_released(show: Show, made: Made) -> None:
    document = compare_show.page(made(RATES))
    document["variants"] = [*document["variants"], {**document["variants"][0], "name": "stock", "stock": True}]
    page = show("compare.html.j2", 1280, "light", compare_page=document)
    assert "3000, uWSGI as released" in page.content()
