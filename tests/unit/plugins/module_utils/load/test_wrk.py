import asyncio
import contextlib
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.load import wrk
from ansible_collections.flaskops.uwsgi.plugins.module_utils.load.engine import LoadError
from ansible_collections.flaskops.uwsgi.plugins.module_utils.load.wrk import WrkResult

from tests.support.load_target import LOGIN, Server

RunModule = Callable[..., dict[str, Any]]
needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed: apt install wrk")

PRINTED = (
    'FLASKOPS {"duration_us":2000000,"requests":4,"bytes":400,"connect":1,"read":2,"write":0,"status":3,"timeout":1,'
    '"latency_us":{"1000":1,"2000":2,"90040":1}}\n'
)


def test_numbers_have_the_names_and_units_of_ab() -> None:
    parsed = wrk.parse(f"Running 2s test\n{PRINTED}", "", 0)
    assert isinstance(parsed, WrkResult)
    assert parsed.histogram_ms == {1.0: 1, 2.0: 2, 90.0: 1}
    found = parsed.to_dict()
    assert "histogram_ms" not in found
    assert (found["complete"], found["non_2xx"], found["duration_s"], found["requests_per_second"]) == (4, 3, 2.0, 2.0)
    assert (found["failed"], found["failures"]) == (4, {"connect": 1, "read": 2, "write": 0, "timeout": 1})
    assert (found["p50_ms"], found["p99_ms"], found["max_ms"]) == (2, 90, 90)


def test_a_run_without_an_answer_has_no_latency() -> None:
    text = PRINTED.replace('"requests":4', '"requests":0').replace('"1000":1,"2000":2,"90040":1', "")
    parsed = wrk.parse(text, "", 0)
    assert isinstance(parsed, WrkResult)
    found = parsed.to_dict()
    assert (found["complete"], found["p50_ms"], found["curve_ms"]) == (0, None, [])


@pytest.mark.parametrize(
    ("stdout", "stderr", "status", "kind", "words"),
    [
        ("", "unable to connect to 127.0.0.1:1 Connection refused\n", 1, "refused", "Connection refused"),
        ("", "unable to resolve nowhere: Name or service not known\n", 1, "unknown_host", "nowhere"),
        ("Usage: wrk <options> <url>\n", "", 1, "unparsable", "Usage: wrk"),
        ("", "", 0, "unparsable", "printed: nothing"),
        ("", "", -9, "killed", "signal 9"),
        ("", "", None, "killed", "continued long after its duration"),
    ],
)
def test_invalid_output_is_reported(stdout: str, stderr: str, status: int, kind: str, words: str) -> None:
    error = wrk.parse(stdout, stderr, status)
    assert isinstance(error, LoadError)
    assert error.kind == kind and words in error.message


@needs_wrk
def test_wrk_measures_and_sends_the_body_unchanged(server: Server, run_module: RunModule, tmp_path: Path) -> None:
    data = tmp_path / "data.txt"
    data.write_text('{"a": "1", "ü": "\\"]]"}\n', encoding="utf-8")
    arguments = {"data_file": str(data), "raw_prefix": str(tmp_path / "raw" / "app1"), "histogram": True}
    result = run_module("wrk", url=server.url + LOGIN, concurrency=4, duration_s=1, threads=8, **arguments)
    found = result["wrk"]
    assert not result.get("failed") and not result["changed"]
    assert (found["outcome"], found["failed"], found["non_2xx"]) == ("measured", 0, 0)
    # wrk adds the latencies of requests that it would have sent meanwhile.
    assert 0 < found["complete"] == found["requests"] <= sum(found["histogram_ms"].values())
    assert found["complete"] <= server.seen
    assert found["engine"].startswith("wrk 4")
    assert found["p50_ms"] <= found["p99_ms"] <= found["max_ms"]
    assert Path(found["files"]["output"]).read_text(encoding="utf-8").startswith("$ ")


@needs_wrk
@pytest.mark.slow
def test_slow_answers_are_reported_as_quickly_as_others(tmp_path: Path) -> None:
    """Through wrk's own interface, value by value, 3,600 latencies of up to 7 s took 24 s to report."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                await asyncio.sleep(7 * random.random())
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async def run(script: Path) -> bytes:
        async with await asyncio.start_server(answer, "127.0.0.1", 0, backlog=2000) as server:
            port = server.sockets[0].getsockname()[1]
            command = [
                "wrk",
                "-t2",
                "-c1500",
                "-d8s",
                "--timeout",
                "60s",
                "-s",
                str(script),
                f"http://127.0.0.1:{port}/",
            ]
            process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
            return (await process.communicate())[0]

    script = tmp_path / "run.lua"
    script.write_text(wrk.script(None, "text/plain"))
    began = time.monotonic()
    found = wrk.parse(asyncio.run(run(script)).decode(), "", 0)
    assert time.monotonic() - began < 2 * 8
    assert isinstance(found, WrkResult)
    assert found.complete == sum(found.histogram_ms.values()) > 1500
    assert found.to_dict()["max_ms"] > 4000


@needs_wrk
def test_bad_answers_are_measurements(server: Server, run_module: RunModule) -> None:
    result = run_module("wrk", url=server.url + "/500", concurrency=2, duration_s=1)
    assert not result.get("failed")
    assert result["wrk"]["non_2xx"] == result["wrk"]["complete"] > 0


@needs_wrk
def test_wrk_says_when_nothing_listens(run_module: RunModule) -> None:
    with Server() as gone:
        url = gone.url + "/"
    gone.socket.close()
    result = run_module("wrk", url=url, concurrency=2, duration_s=1)
    assert result["failed"] and "Connection refused" in result["msg"] and "does the service run" in result["msg"]


def test_a_missing_wrk_is_reported_with_the_package(run_module: RunModule) -> None:
    result = run_module("wrk", url="http://127.0.0.1:1/", executable="wrk-is-not-here", duration_s=1)
    assert result["failed"] and "apt install wrk" in result["msg"]
    assert result["wrk"]["error"]["kind"] == "missing"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"concurrency": 0}, "concurrency is 0"),
        ({"url": "http://127.0.0.1:1"}, "have a path"),
        ({"data_file": "/nonexistent"}, "/nonexistent cannot be read"),
    ],
)
def test_wrk_refuses_impossible_settings(run_module: RunModule, changed: dict[str, Any], words: str) -> None:
    result = run_module("wrk", **{"url": "http://127.0.0.1:1/", "duration_s": 1, **changed})
    assert result["failed"] and words in result["msg"]


def test_nothing_is_sent_in_check_mode(run_module: RunModule) -> None:
    assert run_module("wrk", check=True, url="http://127.0.0.1:1/")["wrk"]["outcome"] == "skipped"
