"""Several hosts that send one load together, over SSH as an operator's hosts would be."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TARGET, OTHER = "mol-life", "mol-life-build"
INVENTORY = os.environ["SANDBOX_INVENTORY"]
TOOLS = {"ab": "apache2-utils", "wrk": "wrk"}


@pytest.fixture(params=["ab", pytest.param("wrk", marks=pytest.mark.full)])
def engine(request: pytest.FixtureRequest, host: Any) -> str:
    """The load engine on both hosts; one of them is the target, because the scenario has no third host."""
    for name in (TARGET, OTHER):
        sender = host.get_host(f"ansible://{name}", ansible_inventory=INVENTORY, sudo=True)
        sender.check_output(
            f"command -v {request.param} || (apt-get update && apt-get install --yes {TOOLS[request.param]})"
        )
    return str(request.param)


@pytest.mark.full
@pytest.mark.timeout(240)
def test_load_hosts_send_together_and_their_latencies_are_merged(
    engine: str, play: Callable[..., Any], tmp_path: Path
) -> None:
    group = tmp_path / "loadgen.yml"
    group.write_text(json.dumps({"loadgen": {"hosts": {TARGET: None, OTHER: None}}}))
    settings = {
        "loadtest_report_dir": str(tmp_path), "loadtest_engine": engine, "loadtest_wrk_duration_s": 10,
        # How fast the host is does not matter here, and other scenarios share the machine.
        "loadtest_article_requests_per_second_min": 1, "loadtest_crowd_requests_per_second_min": 1,
        "loadtest_article_p99_ms_max": 60_000, "loadtest_keepalive_timeout_s": 60,
    }  # fmt: skip
    done = play("verify", "--inventory", str(group), "-e", json.dumps(settings))
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / f"{TARGET}.json").read_text())
    for run in report["runs"]:
        senders = run["senders"]
        assert set(senders) == {TARGET, OTHER}
        assert sum(sender["complete"] for sender in senders.values()) == run["complete"] > 0
        begins = [sender["began_s"] for sender in senders.values()]
        # They start at the same time, as far as a busy machine permits.
        assert max(begins) - min(begins) < 5
        raw = [json.loads((tmp_path / "raw" / f"{TARGET}-{run['name']}-{name}.json").read_text()) for name in senders]
        took = [float(ms) for one in raw for ms in one[engine]["histogram_ms"]]
        assert run["max_ms"] == round(max(took))
        assert run["failed"] == 0
