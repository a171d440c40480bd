"""The product's pages, in a browser."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jinja2
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.support import ROOT
from tests.support.comparison import clients, made
from tests.unit.benchmarks.conftest import document

__all__ = ["clients", "document", "made"]


# Not for the session: while it is open, playwright's event loop runs in this thread, where other tests need their own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start the system's Chromium, which `make test` installs."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    assert found, "no browser is installed: apt install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def show(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Render a template and open it, without a network; an error in the browser fails the test."""
    complaints: list[str] = []
    pages: list[Any] = []

    def open_page(template: str, width: int, scheme: Any, **variables: Any) -> Page:
        # Neither template uses anything beyond Jinja itself.
        environment = jinja2.Environment(loader=jinja2.FileSystemLoader(ROOT / "templates"))
        file = tmp_path / "index.html"
        file.write_text(environment.get_template(template).render(**variables))
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: complaints.append(f"no answer: {request.url}"))
        page.goto(file.as_uri())
        pages.append(context)
        return page

    yield open_page
    for context in pages:
        context.close()
    assert complaints == []
