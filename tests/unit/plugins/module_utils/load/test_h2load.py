import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.load import h2load
from ansible_collections.flaskops.uwsgi.plugins.module_utils.load.engine import LoadError
from ansible_collections.flaskops.uwsgi.plugins.module_utils.load.h2load import H2loadResult

from tests.support.http2_target import NAME, Http2Server
from tests.support.load_target import LOGIN, Server

RunModule = Callable[..., dict[str, Any]]
FIXTURES = Path(__file__).parent / "fixtures" / "h2load"
needs_h2load = pytest.mark.skipif(
    shutil.which("h2load") is None, reason="h2load is not installed: apt install nghttp2-client"
)


def parsed(name: str, protocol: str = "h2", returncode: int = 0, **changed: str) -> H2loadResult | LoadError:
    def text(extension: str) -> str:
        path = FIXTURES / f"{name}.{extension}"
        return path.read_text(encoding="utf-8") if path.is_file() else ""

    return h2load.parse(text("out"), text("err"), returncode, changed.get("log", text("tsv")), protocol)


def numbers(name: str, protocol: str = "h2") -> dict[str, Any]:
    result = parsed(name, protocol)
    assert isinstance(result, H2loadResult)
    return result.to_dict()


@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
def test_numbers_have_the_names_and_units_of_ab(protocol: str) -> None:
    found = numbers(protocol.replace("http/1.1", "http1"), protocol)
    assert (found["complete"], found["failed"], found["non_2xx"], found["protocol"]) == (6, 0, 0, protocol)
    assert found["failures"] == {"read": 0, "timeout": 0, "unsent": 0}
    assert 0 < found["duration_s"] < 1
    assert found["requests_per_second"] == pytest.approx(6 / found["duration_s"], rel=0.02)
    assert 0 < found["p50_ms"] <= found["p99_ms"] <= found["max_ms"] < 1000
    assert len(found["curve_ms"]) == 101
    assert "histogram_ms" not in found
    assert found["transferred_bytes"] > 100


def test_latencies_are_those_of_the_log_to_a_tenth_of_a_millisecond() -> None:
    log = "".join(f"1795916316479404\t200\t{us}\n" for us in (26311, 26349, 26351, 500, 1000, 2000000))
    found = parsed("h2", log=log)
    assert isinstance(found, H2loadResult)
    assert found.histogram_ms == {26.3: 2, 26.4: 1, 0.5: 1, 1.0: 1, 2000.0: 1}


@pytest.mark.parametrize(
    ("name", "complete", "failures", "non_2xx"),
    [
        ("503", 6, {"read": 0, "timeout": 0, "unsent": 0}, 6),
        ("redirects", 6, {"read": 0, "timeout": 0, "unsent": 0}, 6),
        ("streams-reset", 8, {"read": 4, "timeout": 0, "unsent": 0}, 0),
        ("connections-closed", 2, {"read": 2, "timeout": 0, "unsent": 8}, 0),
        ("no-response", 0, {"read": 0, "timeout": 2, "unsent": 1}, 0),
    ],
)
def test_failures_and_bad_answers_are_measurements(
    name: str, complete: int, failures: dict[str, int], non_2xx: int
) -> None:
    found = numbers(name)
    assert (found["complete"], found["failures"], found["non_2xx"]) == (complete, failures, non_2xx)
    assert found["failed"] == sum(failures.values())
    assert (found["p99_ms"] is None) == (complete == 0)


@pytest.mark.parametrize(
    ("name", "status", "kind", "words"),
    [
        ("refused", 0, "connect", "made no connection"),
        ("no-alpn", 0, "connect", "made no connection"),
        ("fallback", 0, "protocol", "should speak h2, but spoke http/1.1"),
        ("no-h2c", 0, "protocol", "no request got a response in HTTP/2 without TLS"),
        ("no-such-host", 1, "unknown_host", "Name or service not known"),
        ("h2", None, "time_limit", "within its time limit (100% done) and was ended"),
        ("h2", -9, "killed", "signal 9"),
        ("nothing", 0, "unparsable", "printed: nothing"),
    ],
)
def test_a_run_that_says_nothing_about_the_protocol_fails(name: str, status: Any, kind: str, words: str) -> None:
    error = parsed(name, returncode=status)
    assert isinstance(error, LoadError)
    assert error.kind == kind and words in error.message


def test_a_log_that_lacks_responses_is_refused() -> None:
    error = parsed("h2", log="1795916316479404\t200\t26311\n")
    assert isinstance(error, LoadError)
    assert error.message == "h2load counted 6 responses, but logged 1"


@needs_h2load
def test_http1_is_measured_and_the_body_is_sent(server: Server, run_module: RunModule, tmp_path: Path) -> None:
    data = tmp_path / "data.txt"
    data.write_text('{"a": "1"}', encoding="ascii")
    result = run_module(
        "h2load",
        url=f"http://{NAME}{LOGIN}",
        connect_to=f"127.0.0.1:{server.port}",
        protocol="http/1.1",
        requests=60,
        concurrency=10,
        streams=5,
        warmup_requests=20,
        data_file=str(data),
        raw_prefix=str(tmp_path / "raw" / "lb1-http1"),
        histogram=True,
    )
    found = result["h2load"]
    assert not result.get("failed") and not result["changed"]
    assert (found["outcome"], found["complete"], found["failed"], found["non_2xx"]) == ("measured", 60, 0, 0)
    assert (found["requests"], found["concurrency"], found["streams"]) == (60, 10, 1)
    assert sum(found["histogram_ms"].values()) == 60
    assert server.seen == 80
    assert found["engine"].startswith("h2load 1.") and found["protocol"] == "http/1.1"
    raw = Path(found["files"]["output"]).read_text(encoding="utf-8")
    assert raw.startswith("$ ") and "-n 60 -c 10" in raw and "--- exit status 0" in raw


@needs_h2load
@pytest.mark.parametrize("tls", [True, False])
def test_http2_is_measured_with_a_name_that_does_not_resolve(run_module: RunModule, tmp_path: Path, tls: bool) -> None:
    with Http2Server(tmp_path, tls=tls) as server:
        result = run_module(
            "h2load",
            url=f"{'https' if tls else 'http'}://{NAME}/",
            connect_to=f"127.0.0.1:{server.port}",
            requests=60,
            concurrency=3,
            streams=4,
            body="{}",
        )
    found = result["h2load"]
    assert not result.get("failed")
    assert (found["complete"], found["failed"], found["non_2xx"], found["streams"]) == (60, 0, 0, 4)
    assert found["protocol"] == ("h2" if tls else "h2c")
    assert (server.seen, server.names) == (60, {NAME} if tls else set())


@needs_h2load
@pytest.mark.parametrize("alpn", [("http/1.1",), ()])
def test_http1_is_never_called_http2(run_module: RunModule, tmp_path: Path, alpn: tuple[str, ...]) -> None:
    with Http2Server(tmp_path, alpn=alpn) as server:
        url = f"https://127.0.0.1:{server.port}/"
        result = run_module("h2load", url=url, requests=4, concurrency=2)
    assert result["failed"] and server.seen == 0
    assert result["h2load"]["error"]["kind"] == "protocol"
    chosen = alpn[0] if alpn else "no protocol"
    assert f"port {server.port} does not speak HTTP/2: it chose {chosen}" in result["msg"]
    assert "enable HTTP/2 there" in result["msg"]


@needs_h2load
def test_http2_without_tls_needs_a_server_that_speaks_it(server: Server, run_module: RunModule) -> None:
    result = run_module("h2load", url=server.url + LOGIN, requests=4, concurrency=2)
    assert result["failed"] and "most servers speak HTTP/2 with TLS only" in result["msg"]


@needs_h2load
@pytest.mark.parametrize(
    ("url", "kind", "words"),
    [
        ("http://127.0.0.1:{closed}/", "refused", "Connection refused (nothing listens there"),
        ("https://127.0.0.1:{plain}/", "tls", "does the port speak TLS?"),
        ("https://127.0.0.1:{silent}/", "unreachable", "timed out"),
        ("https://nowhere.invalid/", "unknown_host", "does not resolve"),
    ],
)
def test_what_prevents_a_connection_is_found_out(
    server: Server, run_module: RunModule, tmp_path: Path, url: str, kind: str, words: str
) -> None:
    with Server() as gone:
        closed = gone.port
    gone.socket.close()
    with Http2Server(tmp_path, tls=False) as plain:
        url = url.format(closed=closed, plain=plain.port, silent=server.port)
        result = run_module("h2load", url=url, requests=4, concurrency=2, timeout_s=1)
    assert result["failed"] and words in result["msg"], result["msg"]
    assert result["h2load"]["error"]["kind"] == kind


@needs_h2load
@pytest.mark.parametrize(
    ("path", "numbers"),
    [("/500", (20, 0, 20)), ("/hang", (0, 20, 0))],
)
def test_bad_answers_and_silence_are_measured(
    server: Server, run_module: RunModule, path: str, numbers: tuple[int, int, int]
) -> None:
    arguments = {"protocol": "http/1.1", "requests": 20, "concurrency": 2, "timeout_s": 1}
    result = run_module("h2load", url=server.url + path, **arguments)
    assert not result.get("failed")
    found = result["h2load"]
    assert (found["complete"], found["failed"], found["non_2xx"]) == numbers


@needs_h2load
def test_h2load_is_ended_after_the_time_limit(run_module: RunModule) -> None:
    with Server(wait_s=0.3) as slow:
        arguments = {"protocol": "http/1.1", "requests": 100, "concurrency": 1, "time_limit_s": 1}
        result = run_module("h2load", url=slow.url + LOGIN, **arguments)
    assert result["failed"] and result["h2load"]["error"]["kind"] == "time_limit"


@needs_h2load
def test_h2load_is_skipped_if_the_limit_of_open_files_does_not_permit_it(server: Server, run_module: RunModule) -> None:
    result = run_module("h2load", limit="ulimit -n 100; ", url=server.url + "/", requests=200, concurrency=200)
    assert not result.get("failed")
    assert result["h2load"]["outcome"] == "skipped"
    assert "need 216 open files, but the limit here is 100" in result["h2load"]["reason"]
    assert server.seen == 0


@needs_h2load
def test_streams_count_as_requests_in_flight(server: Server, run_module: RunModule) -> None:
    arguments = {"requests": 40, "concurrency": 10, "streams": 4, "capacity": 39}
    result = run_module("h2load", url=server.url + "/", **arguments)
    assert "the target holds 39 requests at once" in result["h2load"]["reason"]
    assert server.seen == 0


def test_a_missing_h2load_is_reported_with_the_package(run_module: RunModule) -> None:
    result = run_module("h2load", url="https://127.0.0.1:1/", executable="h2load-is-not-here")
    assert result["failed"] and "apt install nghttp2-client" in result["msg"]
    assert result["h2load"]["error"]["kind"] == "missing"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"requests": 5, "concurrency": 10}, "concurrency is 10: it must be 1 to requests (5)"),
        ({"streams": 0}, "streams is 0"),
        ({"connect_to": "::1"}, "connect_to is '::1'"),
        ({"connect_to": "lb1:99999"}, "connect_to is 'lb1:99999'"),
        ({"connect_to": "lb1:0"}, "connect_to is 'lb1:0'"),
        ({"url": "https://127.0.0.1:1"}, "have a path"),
        ({"data_file": "/nonexistent"}, "/nonexistent cannot be read"),
    ],
)
def test_h2load_refuses_impossible_settings(run_module: RunModule, changed: dict[str, Any], words: str) -> None:
    result = run_module("h2load", **{"url": "https://127.0.0.1:1/", "requests": 10, "concurrency": 1, **changed})
    assert result["failed"] and words in result["msg"]
    assert result["h2load"]["error"]["kind"] == "usage"


@pytest.mark.parametrize("place", ["lb1", "lb1.example.org:8443", "192.0.2.1:443", "[2001:db8::1]", "[::1]:443"])
def test_nothing_is_sent_in_check_mode(run_module: RunModule, place: str) -> None:
    result = run_module("h2load", check=True, url="https://127.0.0.1:1/", connect_to=place)
    assert result["h2load"]["outcome"] == "skipped"
