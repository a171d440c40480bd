import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.load.result import percentile

from tests.support.load_target import LOGIN, Server

RunModule = Callable[..., dict[str, Any]]
needs_ab = pytest.mark.skipif(shutil.which("ab") is None, reason="ab is not installed: apt install apache2-utils")


@needs_ab
def test_ab_measures_and_keeps_its_output(server: Server, run_module: RunModule, tmp_path: Path) -> None:
    data = tmp_path / "data.txt"
    data.write_text('{"a": "1"}', encoding="ascii")
    prefix = tmp_path / "raw" / "app1-article"
    result = run_module(
        "ab",
        url=server.url + LOGIN,
        requests=60,
        concurrency=10,
        warmup_requests=20,
        warmup_concurrency=5,
        data_file=str(data),
        raw_prefix=str(prefix),
    )
    ab = result["ab"]
    assert not result.get("failed") and not result["changed"]
    assert (ab["outcome"], ab["complete"], ab["failed"], ab["non_2xx"]) == ("measured", 60, 0, 0)
    assert ab["warmup"] == {"complete": 20, "error": ""}
    assert server.seen == 80
    assert ab["body_sent_bytes"] > 0
    assert len(ab["curve_ms"]) in (100, 101)
    assert ab["files"] == {"output": f"{prefix}.txt", "percentiles": f"{prefix}.csv"}
    raw = prefix.with_suffix(".txt").read_text(encoding="utf-8")
    assert raw.startswith("$ ") and "-n 60 -c 10" in raw
    assert "--- exit status 0" in raw


@needs_ab
def test_ab_s_percentiles_have_the_definition_of_every_report(server: Server, run_module: RunModule) -> None:
    # Ten answers, each 20 ms slower than the one before: the definitions differ by one answer.
    ab = run_module("ab", url=server.url + "/slower", requests=10, concurrency=1, histogram=True)["ab"]
    times = Counter({float(ms): count for ms, count in ab["histogram_ms"].items()})
    assert ab["p50_ms"] == percentile(times, 50) == sorted(times.elements())[5]
    assert (ab["p95_ms"], ab["p99_ms"], ab["max_ms"]) == tuple(percentile(times, percent) for percent in (95, 99, 100))


@needs_ab
def test_ab_removes_the_output_of_an_earlier_run(server: Server, run_module: RunModule, tmp_path: Path) -> None:
    prefix = tmp_path / "app1"
    prefix.with_suffix(".csv").write_text("old", encoding="ascii")
    result = run_module("ab", url=server.url + "/hang", requests=1, concurrency=1, timeout_s=1, raw_prefix=str(prefix))
    assert result["ab"]["files"] == {"output": f"{prefix}.txt"}
    assert not prefix.with_suffix(".csv").exists()


@needs_ab
@pytest.mark.parametrize(
    ("path", "kind", "words"),
    [
        ("/reset", "reset", "Connection reset by peer"),
        ("/hang", "timeout", "no response within"),
    ],
)
def test_ab_that_gives_up_fails_with_a_reason_and_a_remedy(
    server: Server, run_module: RunModule, path: str, kind: str, words: str
) -> None:
    result = run_module("ab", url=server.url + path, requests=40, concurrency=5, timeout_s=1)
    assert result["failed"]
    assert words in result["msg"]
    assert result["ab"]["error"]["kind"] == kind
    assert result["ab"]["outcome"] == "failed"


@needs_ab
def test_ab_says_when_nothing_listens(run_module: RunModule) -> None:
    with Server() as gone:
        url = gone.url + "/"
    gone.socket.close()
    result = run_module("ab", url=url, requests=5, concurrency=5)
    assert result["failed"] and "Connection refused" in result["msg"] and "does the service run" in result["msg"]


@needs_ab
def test_ab_is_ended_after_the_time_limit(run_module: RunModule) -> None:
    with Server(wait_s=0.3) as slow:
        result = run_module("ab", url=slow.url + LOGIN, requests=100, concurrency=1, timeout_s=30, time_limit_s=1)
    assert result["failed"]
    assert result["ab"]["error"]["kind"] == "time_limit"
    assert "was not finished after 1 s" in result["msg"]


@needs_ab
@pytest.mark.parametrize(
    ("path", "field", "value"), [("/500", "non_2xx", 20), ("/growing", "failed", 19), ("/404", "non_2xx", 20)]
)
def test_bad_answers_are_measurements(server: Server, run_module: RunModule, path: str, field: str, value: int) -> None:
    result = run_module("ab", url=server.url + path, requests=20, concurrency=2)
    assert not result.get("failed")
    assert result["ab"][field] == value


def test_a_missing_ab_is_reported_with_the_package(run_module: RunModule) -> None:
    result = run_module("ab", url="http://127.0.0.1:1/", executable="ab-is-not-here", requests=1, concurrency=1)
    assert result["failed"]
    assert "apt install apache2-utils" in result["msg"]
    assert result["ab"]["error"]["kind"] == "missing"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"requests": 5, "concurrency": 10}, "concurrency is 10: it must be 1 to requests (5)"),
        ({"requests": 0}, "requests must be at least 1"),
        ({"warmup_requests": 5, "warmup_concurrency": 50}, "warmup_concurrency is 50"),
        ({"url": "http://127.0.0.1:1"}, "have a path"),
        ({"url": "127.0.0.1/x"}, "must begin with http"),
        ({"data_file": "/nonexistent"}, "/nonexistent cannot be read"),
    ],
)
def test_ab_refuses_impossible_settings(run_module: RunModule, changed: dict[str, Any], words: str) -> None:
    result = run_module("ab", **{"url": "http://127.0.0.1:1/", "requests": 10, "concurrency": 1, **changed})
    assert result["failed"]
    assert words in result["msg"]
    assert result["ab"]["error"]["kind"] == "usage"


@needs_ab
def test_ab_is_skipped_if_the_limit_of_open_files_does_not_permit_it(server: Server, run_module: RunModule) -> None:
    result = run_module("ab", limit="ulimit -n 100; ", url=server.url + "/healthz", requests=200, concurrency=200)
    assert not result.get("failed")
    assert result["ab"]["outcome"] == "skipped"
    assert "need 216 open files, but the limit here is 100" in result["ab"]["reason"]
    assert "ulimit -n 216" in str(result["warnings"])
    assert server.seen == 0


@needs_ab
def test_ab_raises_the_soft_limit_of_open_files_by_itself(server: Server, run_module: RunModule) -> None:
    result = run_module("ab", limit="ulimit -Sn 100; ", url=server.url + "/healthz", requests=200, concurrency=200)
    assert (result["ab"]["outcome"], result["ab"]["complete"]) == ("measured", 200)


def test_ab_sends_nothing_in_check_mode(server: Server, run_module: RunModule) -> None:
    assert run_module("ab", check=True, url=server.url + "/")["ab"]["outcome"] == "skipped"
    assert server.seen == 0
