"""The product's load test, run as an operator runs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

# The interface that later reports and other programs rely on.
FIELDS = {
    "host", "mode", "generation", "requests", "concurrency", "complete", "failed", "non_2xx", "requests_per_second",
    "p50_ms", "p95_ms", "p99_ms", "max_ms", "duration_s", "ab_version", "started_at",
}  # fmt: skip


@pytest.mark.timeout(400)
def test_the_article_s_runs_and_a_keep_alive_run_pass_and_leave_evidence(
    service: Any, mode: str, play: Any, tmp_path: Path
) -> None:
    name = service.host.ansible.get_variables()["inventory_hostname"]
    done = play("verify", "--limit", name, "-e", f"mode={mode}", "-e", f"loadtest_report_dir={tmp_path}")
    assert done.returncode == 0, done.stdout
    report = json.loads((tmp_path / f"{name}.json").read_text())
    assert report.keys() >= FIELDS
    assert (report["mode"], report["generation"]) == (mode, service.generation)
    assert (report["requests"], report["complete"], report["failed"], report["non_2xx"]) == (1000, 1000, 0, 0)
    crowd = next(run for run in report["runs"] if run["name"] == "crowd")
    assert (crowd["outcome"], crowd["concurrency"], crowd["failed"]) == ("measured", 10000, 0)
    assert report["keepalive"]["sequential"]["errors"] == report["keepalive"]["parallel"]["errors"] == 0
    assert "<svg" in (tmp_path / "index.html").read_text()
