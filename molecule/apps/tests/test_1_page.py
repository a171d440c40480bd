"""docs/OWN_APP.md, step by step: each command does what the page says, in the page's order."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import ROOT, runbook

PAGE = runbook.parse((ROOT / "docs/OWN_APP.md").read_text())

pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize("section", [section for section in PAGE.sections if section.steps], ids=lambda s: s.title)
def test_the_page_does_what_it_says(section: runbook.Section, site: Any) -> None:
    values = {"ADDRESS": site.address, "ACCOUNT": site.variables["ansible_user"]}
    done = list(runbook.run(section, values, {runbook.CONTROLLER: site.shell}, site.write))
    assert done == section.steps


def test_httpbin_answers_every_endpoint(site: Any) -> None:
    assert site.get(8041, "/get", params={"a": "1"}).json()["args"] == {"a": "1"}
    assert site.get(8041, "/headers", headers={"X-One": "2"}).json()["headers"]["X-One"] == "2"
    assert site.get(8041, "/status/418").status_code == 418
    assert site.get(8041, "/gzip").json()["gzipped"] is True
    assert site.get(8041, "/stream/5").text.count("\n") == 5
    assert site.get(8041, "/basic-auth/me/it", auth=("me", "it")).json()["authenticated"] is True
    assert site.get(8041, "/redirect/2").url.endswith("/get")
    assert len(site.get(8041, "/bytes/4096").content) == 4096
    assert "httpbin.org" in site.get(8041, "/").text


def test_the_notes_keep_their_data(site: Any) -> None:
    import requests

    assert requests.post(f"http://{site.address}:8042/", {"text": "<milk>"}, timeout=10).status_code == 200
    assert "<li>&lt;milk&gt;</li>" in site.get(8042, "/").text
