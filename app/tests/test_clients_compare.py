import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clients import common, compare

URL = "http://127.0.0.1:8040"


def result(client: str, duration_s: float, **other: Any) -> dict[str, Any]:
    """Return the result of a client."""
    return {
        "client": client,
        "libraries": {"library": "1.0"},
        "lines": 20,
        "requests": 300,
        "ok": 300,
        "failed": 0,
        "failures": dict.fromkeys(common.KINDS, 0),
        "examples": {},
        "duration_s": duration_s,
        "requests_per_second": 300 / duration_s,
        "p50_ms": 400.0,
        "p99_ms": 500.0,
        "max_ms": 600.0,
        "cpu_s": 0.3,
        "peak_memory_mb": 40.0,
        **other,
    }


def failed(client: str, answered: int) -> dict[str, Any]:
    lost = 300 - answered
    nothing: dict[str, Any] = {} if answered else dict.fromkeys(("p50_ms", "p99_ms", "max_ms"))
    return result(
        client,
        1.0,
        ok=answered,
        failed=lost,
        failures={**dict.fromkeys(common.KINDS, 0), "reset": lost},
        examples={"reset": "gone"},
        **nothing,
    )


def rounds(figure: str = "duration_s", **values: list[float]) -> dict[str, compare.Summary]:
    return compare.summarize(
        [
            result(client, **{"duration_s": 1.0, figure: value})
            for client, of_client in values.items()
            for value in of_client
        ]
    )


def test_the_summary_has_median_minimum_and_maximum() -> None:
    summary = rounds(gevent=[0.5, 0.9, 0.6], asyncio=[0.4, 0.4, 0.7])

    assert summary["gevent"].figures["duration_s"] == {"median": 0.6, "min": 0.5, "max": 0.9}
    assert summary["asyncio"].as_dict()["duration_s"] == {"median": 0.4, "min": 0.4, "max": 0.7}
    assert (summary["gevent"].requests, summary["gevent"].failed, summary["gevent"].lines) == (900, 0, 20)


def test_the_summary_leaves_out_what_was_not_measured() -> None:
    summary = compare.summarize([failed("gevent", 0), failed("gevent", 0)])

    assert list(summary) == ["gevent"]
    assert summary["gevent"].figures["p50_ms"] is None
    assert "none" in compare.table(summary)


def test_less_than_the_spread_is_no_difference() -> None:
    said = compare.verdict(rounds(gevent=[0.60, 0.55, 0.70], asyncio=[0.58, 0.52, 0.60]), 3)

    assert said == (
        "Indistinguishable in time: the medians, gevent 0.600 and asyncio 0.580 s, differ by 0.020 s, and rounds of "
        "the same client by up to 0.150 s; no difference in CPU (gevent 0.300 and asyncio 0.300 s); "
        "no difference in memory (gevent 40.0 and asyncio 40.0 MB)."
    )


def test_as_much_as_the_spread_is_no_difference_either() -> None:
    assert compare.verdict(rounds(gevent=[1.0, 1.5, 1.5], asyncio=[1.0, 1.0, 1.0]), 3).startswith("Indistinguishable")


@pytest.mark.parametrize(
    ("gevent", "asyncio", "faster"),
    [([0.9, 0.92, 0.95], [0.5, 0.52, 0.53], "asyncio"), ([0.5] * 3, [0.9] * 3, "gevent")],
)
def test_more_than_the_spread_is_a_difference(gevent: list[float], asyncio: list[float], faster: str) -> None:
    assert compare.verdict(rounds(gevent=gevent, asyncio=asyncio), 3).startswith(f"{faster} is faster: the medians, ")


@pytest.mark.parametrize(
    ("figure", "values", "said"),
    [
        (
            "cpu_s",
            {"gevent": [0.5] * 3, "asyncio": [0.2] * 3},
            "asyncio used less CPU (gevent 0.500 and asyncio 0.200 s)",
        ),
        ("cpu_s", {"gevent": [0.5, 0.1, 0.5], "asyncio": [0.2] * 3}, "no difference in CPU ("),
        ("peak_memory_mb", {"gevent": [40.0] * 3, "asyncio": [50.0] * 3}, "; gevent used less memory (gevent 40.0 and"),
    ],
)
def test_cpu_and_memory_are_judged_in_the_same_way(figure: str, values: dict[str, list[float]], said: str) -> None:
    assert said in compare.verdict(rounds(figure, **values), 3)


def test_few_rounds_allow_no_verdict() -> None:
    assert compare.verdict(rounds(gevent=[0.5, 0.5], asyncio=[0.9, 0.9]), 2).startswith("No verdict: at least 3 rounds")


def test_failed_requests_allow_no_verdict() -> None:
    summary = compare.summarize([failed("gevent", 299), result("asyncio", 0.5)] * 3)

    assert compare.verdict(summary, 3) == (
        "No verdict: requests failed (gevent 3 of 900), so the clients did not do the same work."
    )


def test_the_table_names_what_was_compared() -> None:
    lines = compare.table(rounds(gevent=[0.5, 0.9, 0.6], asyncio=[0.4, 0.4, 0.7])).splitlines()

    assert lines[0].split() == ["median", "(least–most)", "gevent", "asyncio"]
    assert lines[1].split() == ["time", "(s)", "0.600", "(0.500–0.900)", "0.400", "(0.400–0.700)"]
    assert "library 1.0" in lines[-1]


Run = Callable[[str, common.Options], dict[str, Any]]


def compared(monkeypatch: pytest.MonkeyPatch, folder: Path, run: Run, *flags: str) -> tuple[int, dict[str, Any]]:
    monkeypatch.setattr(compare, "run_client", run)
    status = compare.main([URL, f"--output={folder}", *flags])
    document: dict[str, Any] = json.loads((folder / "clients.json").read_text())
    return status, document


def test_the_clients_take_turns_at_being_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = []

    def run(client: str, options: common.Options) -> dict[str, Any]:
        ran.append(client)
        return result(client, 9.0 if len(ran) <= 2 else 0.5)

    status, document = compared(monkeypatch, tmp_path, run, "--rounds", "3")

    assert status == 0
    first, second = ["gevent", "asyncio"], ["asyncio", "gevent"]
    assert ran == second + first + second + first
    # Without the warm-up.
    assert [r["duration_s"] for r in document["rounds"]] == [0.5] * 6
    assert document["settings"] == {"rounds": 3, "requests": 300, "concurrency": 300, "timeout_s": 30.0}
    assert document["verdict"].startswith("Indistinguishable in time")
    assert capsys.readouterr().err.splitlines()[:2] == ["warm-up: asyncio ... 9.00 s", "warm-up: gevent ... 9.00 s"]


def test_failures_are_reported_at_the_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def run(client: str, options: common.Options) -> dict[str, Any]:
        return failed(client, 299) if client == "gevent" else result(client, 0.5)

    status, document = compared(monkeypatch, tmp_path, run)

    assert status == 1
    assert len(document["rounds"]) == 10
    assert (document["error"], document["summary"]["gevent"]["failed"]) == (None, 5)
    assert document["verdict"].startswith("No verdict: requests failed (gevent 5 of 1,500)")


def test_a_round_without_an_answer_ends_the_comparison(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran = []

    def run(client: str, options: common.Options) -> dict[str, Any]:
        ran.append(client)
        return failed(client, 0) if len(ran) == 5 else result(client, 0.5)

    status, document = compared(monkeypatch, tmp_path, run)

    assert (status, len(ran)) == (1, 5)
    assert [(r["round"], r["client"], r["ok"]) for r in document["rounds"]] == [
        (1, "gevent", 300),
        (1, "asyncio", 300),
        (2, "asyncio", 0),
    ]
    assert document["verdict"] == "No verdict: asyncio (round 2 of 5) had no answer: 300 failed: reset 300 (gone)."


def test_results_from_before_ctrl_c_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran = []

    def run(client: str, options: common.Options) -> dict[str, Any]:
        ran.append(client)
        if len(ran) == 4:
            raise KeyboardInterrupt
        return result(client, 0.5)

    status, document = compared(monkeypatch, tmp_path, run)

    assert (status, document["verdict"], len(document["rounds"])) == (1, "No verdict: stopped by Ctrl-C.", 1)


def test_a_client_that_crashes_is_named_with_its_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compare, "CLIENTS", ("missing",))

    assert compare.main([URL, f"--output={tmp_path}"]) == 1

    document = json.loads((tmp_path / "clients.json").read_text())
    assert document["error"].startswith("missing (warm-up) ended with status 1 and without a result: ")
    assert "No module named clients.missing_client" in document["error"]
    assert document["verdict"] in capsys.readouterr().err


def test_a_client_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "clients").mkdir()
    (tmp_path / "clients" / "endless_client.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr(compare, "APP", tmp_path)
    monkeypatch.setattr(compare, "START_S", 0.1)
    parser = common.make_parser("", "")
    options = common.read(parser, parser.parse_args([URL, "--timeout", "0.1", "--requests", "4", "--concurrency", "3"]))

    # Four requests, three at a time, need two rounds.
    with pytest.raises(compare.ClientError, match=r"did not end within 0\.3 s"):
        compare.run_client("endless", options)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--rounds", "0"], "'0' is not a whole number from 1"),
        (["--concurrency", "400"], "is more than --requests"),
        (["--output", "{file}/folder"], "Not a directory"),
    ],
)
def test_bad_input_is_reported_before_anything_runs(
    flags: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(compare, "run_client", lambda *_: pytest.fail("ran"))
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(SystemExit) as caught:
        compare.main([URL, *(flag.format(file=file) for flag in flags)])

    assert caught.value.code == 2
    assert said in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)

    assert compare.make_folder(tmp_path) == "no permission"
