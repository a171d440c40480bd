from pathlib import Path

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.load.ab import (
    AbResult,
    Failures,
    Times,
    parse,
    parse_percentiles_csv,
)

FIXTURES = Path(__file__).parent / "fixtures"


def parsed(name: str, returncode: int = 0) -> AbResult:
    return parse(
        (FIXTURES / f"{name}.out").read_text(encoding="utf-8"),
        (FIXTURES / f"{name}.err").read_text(encoding="utf-8"),
        returncode,
    )


def test_a_complete_run_of_the_article_has_all_its_numbers() -> None:
    result = parsed("2.3-crowd")
    assert result.error is None
    assert result.ab_version == "2.3"
    assert result.server_software is None
    assert result.document_path == "/user_manage/user/login"
    assert result.document_length_bytes == 3
    assert (result.concurrency, result.complete, result.failed, result.non_2xx) == (10000, 20000, 0, 0)
    assert result.failures == Failures()
    assert (result.body_sent_bytes, result.transferred_bytes) == (3760000, 1820000)
    assert result.p50_ms is not None and result.p99_ms is not None and result.max_ms is not None
    assert 200 < result.p50_ms <= result.p99_ms <= result.max_ms
    assert set(result.percentiles_ms) == {50, 66, 75, 80, 90, 95, 98, 99, 100}
    assert set(result.times_ms) == {"connect", "processing", "waiting", "total"}
    assert result.times_ms["total"].max_ms == result.max_ms
    assert result.requests_per_second is not None and result.duration_s is not None
    assert result.requests_per_second == pytest.approx(20000 / result.duration_s, rel=0.01)


@pytest.mark.parametrize(
    ("name", "version", "complete", "failed", "failures", "non_2xx", "p99_ms", "max_ms"),
    [
        ("httpd-1.3-post", "1.3d", 100, 2, Failures(length=2, write=1), 2, 210, 210),
        (
            "httpd-2.2-write-errors",
            "2.3",
            1000,
            7,
            Failures(connect=1, receive=2, length=3, exceptions=1, write=4),
            3,
            6150,
            6200,
        ),
        ("2.3-tls-keepalive", "2.3", 100, 0, Failures(), 0, 15, 15),
        ("2.3-no-statistics", "2.3", 20, 0, Failures(), 0, None, 4),
        ("trunk-threads", "2.4", 20000, 0, Failures(), 0, 3711, 3790),
    ],
)
def test_every_version_is_read(
    name: str,
    version: str,
    complete: int,
    failed: int,
    failures: Failures,
    non_2xx: int,
    p99_ms: int | None,
    max_ms: int,
) -> None:
    result = parsed(name)
    assert result.error is None
    assert result.ab_version == version
    assert (result.complete, result.failed, result.non_2xx) == (complete, failed, non_2xx)
    assert result.failures == failures
    assert (result.p99_ms, result.max_ms) == (p99_ms, max_ms)


def test_old_names_of_the_body_size_are_understood() -> None:
    assert parsed("httpd-1.3-post").body_sent_bytes == 18600
    assert parsed("httpd-2.2-write-errors").body_sent_bytes == 188000
    assert parsed("trunk-threads").body_sent_bytes == 3760000


def test_mean_is_the_time_of_one_request_and_not_the_one_across_all() -> None:
    assert parsed("httpd-2.2-write-errors").mean_ms == 6203.991


def test_tls_and_keep_alive_are_read() -> None:
    result = parsed("2.3-tls-keepalive")
    assert result.tls_protocol == "TLSv1.3,TLS_AES_256_GCM_SHA384,256,256"
    assert result.keep_alive == 99
    assert result.server_software == "nginx/1.22.1"


def test_warnings_of_ab_are_complete_sentences() -> None:
    assert parsed("httpd-2.2-write-errors").warnings == [
        "WARNING: The median and mean for the initial connection time are not within a normal deviation "
        "These results are probably not that reliable.",
    ]
    assert parsed("2.3-tls-keepalive").warnings[0].endswith("These results are NOT reliable.")


def test_times_without_statistics_have_no_deviation_and_no_median() -> None:
    assert parsed("2.3-no-statistics").times_ms["total"] == Times(0, 1, None, None, 4)


def test_one_request_has_a_maximum_but_no_percentiles() -> None:
    result = parsed("2.3-one-request")
    assert result.error is None
    assert (result.p50_ms, result.p99_ms, result.max_ms) == (None, None, 0)


def test_a_variable_document_length_is_none() -> None:
    result = parsed("2.3-variable-length")
    assert (result.error, result.failed, result.document_length_bytes) == (None, 0, None)


def test_answers_of_different_lengths_are_failures() -> None:
    result = parsed("2.3-length")
    assert (result.complete, result.failed, result.failures.length) == (100, 99, 99)


def test_answers_other_than_2xx_are_no_failures_of_ab() -> None:
    result = parsed("2.3-non-2xx")
    assert (result.complete, result.failed, result.non_2xx) == (100, 0, 100)


@pytest.mark.parametrize("name", ["2.3-keep-going-all-failed", "2.3-refused-keep-going"])
def test_a_run_in_which_all_failed_is_a_measurement(name: str) -> None:
    result = parsed(name)
    assert result.error is None
    assert result.complete == 20
    assert result.failed >= result.complete


def test_one_lost_request_is_counted_under_three_kinds() -> None:
    result = parsed("2.3-reset-keep-going")
    assert (result.complete, result.failed) == (200, 540)
    assert result.failures == Failures(receive=180, length=180, exceptions=180)


@pytest.mark.parametrize(
    ("name", "returncode", "kind", "complete", "words"),
    [
        ("2.3-refused", 111, "refused", 0, "Connection refused"),
        ("httpd-2.0-aborted-connecting", 111, "refused", 0, "Connection refused"),
        ("2.3-reset", 104, "reset", 20, "after 20 requests"),
        ("2.3-reset-short-run", 104, "reset", 20, "after 20 requests"),
        ("2.3-timeout", 119, "timeout", 0, "timeout specified has expired"),
        ("2.3-timeout-midway", 119, "timeout", 16384, "after 16384 requests"),
        ("trunk-aborted", 1, "timeout", 412, "after 412 requests"),
        ("2.3-open-files", 24, "open_files", 0, "Too many open files"),
        ("2.3-no-such-host", 50, "unknown_host", 0, "nowhere.invalid"),
        ("2.3-no-data-file", 1, "data_file", 0, "/nonexistent"),
        ("2.3-invalid-url", 22, "usage", 0, "invalid URL"),
        ("2.3-invalid-concurrency", 22, "usage", 0, "Invalid Concurrency"),
        ("2.3-concurrency-above-requests", 22, "usage", 0, "Cannot use concurrency level greater"),
    ],
)
def test_an_abandoned_run_has_a_reason_and_a_remedy(
    name: str, returncode: int, kind: str, complete: int, words: str
) -> None:
    result = parsed(name, returncode)
    assert result.error is not None
    assert result.error.kind == kind
    assert words in result.error.message
    assert result.error.remedy
    assert result.complete == complete
    assert "\n" not in str(result.error)


def test_the_count_is_found_after_an_ipv6_address() -> None:
    said = "Benchmarking ::1 (be patient)...Total of 7 requests completed\n"
    assert parse(said, "apr_socket_recv: Connection reset by peer (104)\n", 104).complete == 7


def test_the_numbers_of_a_run_that_ended_early_are_kept() -> None:
    assert parsed("trunk-aborted", 1).requests_per_second == 13.55


@pytest.mark.parametrize(
    ("stdout", "stderr", "returncode", "kind", "words"),
    [
        ("", "", 0, "unparsable", "nothing"),
        ("wrk 4.2\n  2 threads\n", "", 0, "unparsable", "wrk 4.2"),
        ("Complete requests:      many\n", "", 0, "unparsable", "Complete requests:      many"),
        ("Complete requests:\n", "", 0, "unparsable", "Complete requests:"),
        ("Complete requests: 1\nConnect: 1 2\n", "", 0, "unparsable", "Connect: 1 2"),
        ("Complete requests: 1\n  (Connect: x, Length: 1)\n", "", 0, "unparsable", "(Connect: x"),
        ("", "some new complaint\n", 3, "failed", "status 3: some new complaint"),
        ("", "", 3, "failed", "no reason"),
        ("", "", -9, "killed", "signal 9"),
        ("", "socket: Cannot assign requested address (99)\n", 99, "ports", "Cannot assign"),
        ("", "apr_socket_recv: No route to host (113)\n", 113, "unreachable", "No route"),
        ("", "SSL handshake failed (1).\n", 1, "tls", "SSL handshake failed"),
        ("", "Could not allocate memory\n", 12, "memory", "memory"),
    ],
)
def test_other_output_is_a_described_error_and_never_a_traceback(
    stdout: str, stderr: str, returncode: int, kind: str, words: str
) -> None:
    error = parse(stdout, stderr, returncode).error
    assert error is not None
    assert error.kind == kind
    assert words in error.message


@pytest.mark.parametrize("name", sorted(path.stem for path in FIXTURES.glob("*.out")))
def test_truncated_output_is_handled(name: str) -> None:
    text = (FIXTURES / f"{name}.out").read_text(encoding="utf-8")
    for end in range(0, len(text), 7):
        parse(text[:end], "", 0)


def test_plain_data_has_string_keys_and_the_computed_values() -> None:
    data = parsed("httpd-2.2-write-errors").to_dict()
    assert data["percentiles_ms"]["99"] == data["p99_ms"] == 6150
    assert data["failures"]["receive"] == 2
    assert data["error"] is None
    assert data["warnings"]


@pytest.mark.parametrize(
    ("text", "curve"),
    [
        ("Percentage served,Time in ms\n0,1.5\n1,2.25\n", [1.5, 2.25]),
        ("Percentage served,Time in ms\n0,1.5\n2,2.25\n", []),
        ("Percentage served,Time in ms\n0,fast\n", []),
        ("Percentage served,Time in ms\n0\n", []),
        ("", []),
    ],
)
def test_percentiles_file_is_read_or_refused(text: str, curve: list[float]) -> None:
    assert parse_percentiles_csv(text, 1000) == curve


@pytest.mark.parametrize(("complete", "first"), [(1, 50), (20, 98), (50, 99), (51, 100), (1000, 100)])
def test_a_value_that_ab_reads_beyond_its_list_is_no_percentile(complete: int, first: int) -> None:
    # As ab 2.3 does: stats[(unsigned)(0.5 + done * i / 100)], and the last one for 100.
    memory = [200.0 + number for number in range(complete)] + [7449356623373366.0] * 2
    curve = [memory[int(0.5 + complete * percent / 100)] for percent in range(100)] + [memory[complete - 1]]
    text = "Percentage served,Time in ms\n" + "".join(f"{percent},{ms:.3f}\n" for percent, ms in enumerate(curve))
    found = parse_percentiles_csv(text, complete)
    assert found == sorted(found) and found[-1] == 199 + complete
    assert found[first:] == [found[-1]] * (101 - first)
    assert found[:first] == curve[:first]
    # Older versions stop at 99.
    assert max(parse_percentiles_csv(text.rpartition("100,")[0], complete)) <= found[-1]
