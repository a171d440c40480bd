"""The output of ab, wrk and h2load is parsed to a result, whatever it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.load import ab, engine, h2load, wrk
from ansible_collections.flaskops.uwsgi.plugins.module_utils.load import result as load
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support import ROOT

FIXTURES = ROOT / "tests/unit/plugins/module_utils/load/fixtures"
OUTPUTS = [path.read_text() for path in sorted(FIXTURES.glob("*.out"))]
LINES = sorted({line for text in OUTPUTS for line in text.splitlines()})
H2LOAD_LINES = sorted({line for path in FIXTURES.glob("h2load/*.out") for line in path.read_text().splitlines()})
# Numbers that neither program prints, but that Python accepts, or nearly.
ODD = st.sampled_from(["nan", "inf", "-1", "1e999", "²", "٣", "9" * 5000, "0x1", "", "1_0", "\x00"])
BOUND_S = 5.0


@st.composite
def spoiled(draw: st.DrawFn, known: list[str] = LINES) -> str:
    """Lines that a generator prints, in any order, some of them cut, some with another number."""
    lines = draw(st.lists(st.sampled_from(known), max_size=30))
    for number, line in enumerate(lines):
        match draw(st.integers(0, 3)):
            case 0:
                lines[number] = line[draw(st.integers(0, len(line))) :]
            case 1:
                words = line.split()
                if words:
                    words[draw(st.integers(0, len(words) - 1))] = draw(ODD)
                lines[number] = " ".join(words)
    return draw(st.sampled_from(["\n", "\r\n", "\x0b"])).join(lines)


@given(stdout=spoiled() | st.text(max_size=400), stderr=st.text(max_size=100), returncode=st.integers(-15, 255))
@example(stdout=" requests completed", stderr="", returncode=0)
@example(stdout="Requests per second:    nan [#/sec] (mean)\nComplete requests: 1", stderr="", returncode=0)
def test_ab_is_parsed_whatever_it_prints(stdout: str, stderr: str, returncode: int) -> None:
    result = ab.parse(stdout, stderr, returncode)
    # A report is JSON, in which these numbers do not exist.
    json.dumps(result.to_dict(), allow_nan=False)


@given(spoiled() | st.text(max_size=200) | st.lists(st.floats() | ODD).map(lambda n: "\n".join(map(str, n))))
def test_a_curve_is_parsed_whatever_it_is(text: str) -> None:
    curve = ab.parse_percentiles_csv(text, 100)
    assert len(curve) <= 101


@given(st.lists(st.lists(st.integers().map(str) | ODD | st.text(max_size=3), max_size=8).map("\t".join)).map("\n".join))
@example("1\tb\tctime\tdtime\tttime\n1\n")
@example("ttime\nnan")
def test_requests_of_a_run_are_counted_whatever_the_file_contains(lines: str) -> None:
    ab.parse_requests_tsv(lines)
    ab.parse_requests_tsv(f"seconds\tttime\n{lines}")


COUNTS = st.one_of(st.integers(-(10**12), 10**12), st.none(), st.booleans(), st.text(max_size=5), st.floats(), ODD)
WRK = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys((*wrk._COUNTS, "speed"), COUNTS)
    | {"latency_us": st.dictionaries(st.integers().map(str) | ODD, COUNTS, max_size=5) | COUNTS},
)


@given(document=WRK | COUNTS | st.lists(COUNTS), returncode=st.integers(-15, 3))
@example(document={"duration_us": 0, "requests": 0}, returncode=0)
def test_wrk_is_parsed_whatever_it_prints(document: Any, returncode: int) -> None:
    result = wrk.parse(f"Running 1s test\nFLASKOPS {json.dumps(document)}\n", "", returncode)
    if isinstance(result, engine.LoadError):
        assert result.message
    else:
        json.dumps(result.to_dict(), allow_nan=False)


@pytest.mark.parametrize("line", ["", "{", "[" * 60_000, '{"latency_us":', "\x00", '{"requests": 1' + "0" * 5000 + "}"])
def test_wrk_is_parsed_without_its_line(line: str, within: Any) -> None:
    with within(BOUND_S):
        error = wrk.parse(f"FLASKOPS {line}\n", "", 0)
    assert isinstance(error, engine.LoadError)
    assert error.kind == "unparsable"


LOGGED = st.tuples(st.integers(), st.integers(-1, 999) | ODD, st.integers() | ODD)


@given(
    stdout=spoiled(H2LOAD_LINES) | st.text(max_size=400),
    stderr=st.text(max_size=100),
    returncode=st.none() | st.integers(-15, 3) | st.just(0),
    log=st.lists(LOGGED.map(lambda fields: "\t".join(map(str, fields)))).map("\n".join) | st.text(max_size=100),
    protocol=st.sampled_from(sorted(h2load.SPOKEN)),
)
def test_h2load_is_parsed_whatever_it_prints(
    stdout: str, stderr: str, returncode: int | None, log: str, protocol: str
) -> None:
    result = h2load.parse(stdout, stderr, returncode, log, protocol)
    if isinstance(result, engine.LoadError):
        assert result.message
    else:
        assert result.protocol in h2load.SPOKEN[protocol]
        json.dumps(result.to_dict(), allow_nan=False)


@given(st.text(max_size=40).map("wrk{}".format) | st.text(max_size=40))
def test_a_version_is_read_or_none(printed: str) -> None:
    assert engine.version("wrk", printed) is None or printed.startswith("wrk")


@pytest.mark.parametrize(
    "what",
    [
        "Connection Times",
        "WARNING: ",
        "100%",
        "Total: ",
        "(Connect",
        ",:",
        "apr_socket_recv",
        "requests: 1",
        "traffic: 1",
    ],
)
def test_long_output_is_parsed_within_the_limit(what: str, within: Any) -> None:
    text = what * (65_536 // len(what))
    with within(BOUND_S):
        ab.parse(text, text, 1)
        ab.parse("\n".join([what] * 8_000), "", 0)
        wrk.parse(text, text, 1)
        h2load.parse(text, text, 0, text, "h2")
        h2load.parse("\n".join([what] * 8_000), text, 0, "1\t200\t1\n" * 8_000, "h2")


@given(st.dictionaries(st.floats(0, 10**6), st.integers(1, 10**6), max_size=20))
def test_percentiles_are_those_of_the_histogram(histogram: dict[float, int]) -> None:
    figures = load.figures(histogram)
    assert set(figures.curve_ms) <= set(histogram)
