"""The witness against a real server: it notices the one request among thousands that was not answered."""

from __future__ import annotations

import errno
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.support import ROOT
from tests.support.witness import Window, Witness, WitnessError
from tests.support.witness import __main__ as by_hand
from tests.support.witness.clients import kind
from tests.support.witness.report import judge_all
from tests.support.witness.samples import Reader
from tests.unit.support.witness.server import Server

pytestmark = pytest.mark.slow
# As little load as the tests need, because there are many tests.
CLIENTS = 12
BRIEF = {"steady": 0.2, "after": 0.2}


def pass_requests(server: Server, count: int = 25) -> None:
    """Wait until the server has received so many more; on a busy machine, seconds guarantee nothing."""
    until = server.seen + count
    while server.seen < until:
        time.sleep(0.01)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.fixture(scope="module")
def witness(server: Server) -> Iterator[Witness]:
    """One witness for all tests that do not change the server, because starting one takes most of a second."""
    with Witness(server.url, clients=CLIENTS) as running:
        yield running


# Observations.


def test_a_healthy_server_has_no_failures_and_no_gap(server: Server, witness: Witness) -> None:
    with witness.window("healthy", **BRIEF) as window:
        pass_requests(server, 100)
    report = window.report()
    assert report.failures == {} and report.examples == ()
    assert report.answered == {"g1 (gevent)": report.requests}
    assert report.requests > 50
    # Far below the one-second pause of another test.
    assert 0 < report.longest_gap_s < 0.45
    for phase in (report.before, report.during, report.after):
        assert phase.requests > 0 and phase.failed == 0
        assert phase.p50_ms is not None and phase.p99_ms is not None and phase.max_ms is not None
        assert 20 <= phase.p50_ms <= phase.p99_ms <= phase.max_ms
    assert report.during.requests_per_second == pytest.approx(report.requests / report.seconds)


def test_each_failure_among_many_answers_is_noticed(server: Server, witness: Witness) -> None:
    with witness.window("upsets", **BRIEF) as window:
        for upset in ("empty", "reset", "503", "cut"):
            pass_requests(server)
            server.upsets.append(upset)
        pass_requests(server)
    report = window.report()
    assert report.failures == {"empty": 1, "reset": 1, "status": 1, "other": 1}
    assert report.requests == sum(report.answered.values()) + 4
    said = ("empty: Server disconnected", "reset: .* reset by peer", "status: 503 Said", "other: .* not completed")
    assert all(re.search(words, example) for words, example in zip(said, report.examples, strict=True))


def test_a_pause_of_a_second_is_a_gap(server: Server, witness: Witness) -> None:
    with witness.window("stall", **BRIEF) as window:
        server.stall(1.0)
    report = window.report()
    assert report.failures == {}
    assert report.longest_gap_s >= 0.9
    assert report.during.max_ms is not None and report.during.max_ms >= 900


def test_answers_are_counted_by_generation(server: Server, witness: Witness) -> None:
    with witness.window("swap", **BRIEF) as window:
        pass_requests(server)
        server.generation = "g2"
        pass_requests(server)
        server.generation = None
        pass_requests(server)
    server.generation = "g1"
    report = window.report()
    assert set(report.answered) == {"g1 (gevent)", "g2 (gevent)", "none (unknown)"}
    assert sum(report.answered.values()) == report.requests


def test_requests_that_end_after_the_window_count_for_it(server: Server, witness: Witness) -> None:
    with witness.window("slow", steady=0.2, after=0.0) as window:
        server.wait_s = 1.0
        pass_requests(server, CLIENTS)
    server.wait_s = 0.02
    report = window.report()
    assert report.requests == sum(report.answered.values()) > 0
    assert report.during.max_ms is not None and report.during.max_ms >= 1000


def test_requests_continue_after_the_window_s_block(witness: Witness) -> None:
    window: Window
    with witness.window("early", steady=0.0, after=0.0) as window, pytest.raises(WitnessError, match="has not ended"):
        window.report()


def test_a_window_whose_block_failed_has_no_report(witness: Witness) -> None:
    with pytest.raises(ZeroDivisionError), witness.window("failed", steady=0.0):
        raise ZeroDivisionError
    assert "failed" not in witness.reports()


def test_windows_have_different_names(witness: Witness) -> None:
    with witness.window("twice", steady=0.0, after=0.0):
        pass
    with pytest.raises(ValueError, match="twice"), witness.window("twice"):
        pytest.fail("opened")


# Tests that need their own server or witness.


def test_a_closed_port_is_noticed_and_reports_outlive_the_witness(tmp_path: Path) -> None:
    kept = tmp_path / "samples"
    with Server() as server, Witness(server.url, clients=CLIENTS, output=kept) as witness:
        with witness.window("good", **BRIEF):
            pass
        with witness.window("closed", **BRIEF):
            server.refuse()
            # Each client tries again within half a second.
            time.sleep(0.3)
    reports = witness.reports()
    assert list(reports) == ["good", "closed"]
    assert reports["good"].failures == {}
    assert reports["closed"].failures["refused"] > 0
    # The kernel resets connections that were queued when the port was closed.
    assert set(reports["closed"].failures) <= {"refused", "reset"}, reports["closed"].examples
    with kept.open("rb") as file:
        reader = Reader(file)
        reader.read()
    assert judge_all(reader.samples, "run", CLIENTS).failures["refused"] >= reports["closed"].failures["refused"]


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (aiohttp.ClientConnectionResetError("Cannot write to closing transport"), "reset"),
        (BrokenPipeError(errno.EPIPE, "no"), "reset"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "no"), "refused"),
        (OSError(errno.EMFILE, "no"), "other"),
        (None, "other"),
    ],
)
def test_a_wrapped_error_has_the_kind_of_the_original(cause: Exception | None, expected: str) -> None:
    error = aiohttp.ClientOSError(None, "Can not write request body")
    error.__cause__ = cause
    assert kind(error) == expected


def test_a_request_without_an_answer_is_awaited_and_times_out() -> None:
    with Server() as server, Witness(server.url, clients=CLIENTS, timeout_s=1.5) as witness:
        with witness.window("hang", **BRIEF) as window:
            server.upsets.append("hang")
            pass_requests(server, 10)
        report = window.report()
    assert report.failures == {"timeout": 1}


def test_a_dropped_get_is_not_sent_again() -> None:
    with Server() as server, Witness(server.url, clients=2, method="GET", path="/healthz") as witness:
        with witness.window("get", **BRIEF) as window:
            server.upsets.append("empty")
            pass_requests(server, 10)
        assert window.report().failures == {"empty": 1}


def test_a_missing_host_is_named() -> None:
    with Server() as server:
        url = server.url
    with pytest.raises(WitnessError, match=f"Cannot reach {url}/user_manage/user/login: .*111"), Witness(url):
        pytest.fail("opened")


@pytest.mark.parametrize(
    ("upset", "words"), [("503", r"status: 503 Said \(\d+ times\)"), ("hang", "none of them ended")]
)
def test_a_host_that_does_not_answer_is_named(upset: str, words: str) -> None:
    with Server() as server:
        server.upsets.extend([upset] * 1000)
        with pytest.raises(WitnessError, match=words), Witness(server.url, clients=2, start_s=0.8):
            pytest.fail("opened")


def test_a_witness_that_has_ended_gives_no_report() -> None:
    with (
        Server() as server,
        pytest.raises(WitnessError, match="ended too early, with status -9"),
        Witness(server.url, clients=2) as witness,
        witness.window("gone", **BRIEF) as window,
    ):
        witness._process.kill()
    with pytest.raises(WitnessError, match="ended too early"):
        window.report()


# The command line.


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.support.witness", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_a_run_on_the_command_line_ends_with_a_table(server: Server, tmp_path: Path) -> None:
    output = tmp_path / "samples"
    done = run(server.url, "--clients", "5", "--seconds", "0.5", "--output", str(output))
    assert (done.returncode, done.stderr) == (0, "")
    head = re.match(r"POST http://\S+/login: (\d+) requests of 5 clients in \d\.\d s\n", done.stdout)
    assert head
    assert re.search(rf"g1 \(gevent\) +{head[1]} answered", done.stdout)
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert sum(isinstance(line, list) for line in lines) == int(head[1])


def test_sigterm_ends_it_and_its_status_reports_failures() -> None:
    with Server() as server:
        command = [sys.executable, "-m", "tests.support.witness", server.url, "--clients", "5"]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            server.upsets.append("503")
            while server.seen < 20:
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert re.search(r"status +1 failed", output)
    assert "status: 503 Said" in output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "required: url"),
        (["127.0.0.1:8040"], "is not http://HOST:PORT"),
        (["http://127.0.0.1:8040/path"], "--path"),
        (["http://127.0.0.1:8040", "--clients=0"], "'0' is not a number from 1"),
        (["http://127.0.0.1:8040", "--seconds=nan"], "'nan' is not a number of seconds above 0"),
        (["http://127.0.0.1:8040", "--output=/nowhere/samples"], "cannot write /nowhere/samples: No such file"),
    ],
)
def test_bad_usage_is_reported(capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        by_hand.parse(arguments)
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_a_host_that_does_not_answer_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def silence(url: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(by_hand, "reach", silence)
    monkeypatch.setattr(sys, "argv", ["witness", "http://192.0.2.1"])
    assert by_hand.main() == 1
    assert "/login: no connection in 5 s\n" in capsys.readouterr().err
