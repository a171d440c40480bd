import io
import json
import random

import pytest

from tests.support.witness.report import Report, judge, judge_all, longest_gap, percentile, phase
from tests.support.witness.samples import Reader, Sample, Writer


def answer(begun: float, ended: float, who: str = "g1 (gevent)") -> Sample:
    return Sample(begun, ended, who)


def failure(begun: float, ended: float, kind: str = "reset", text: str = "gone") -> Sample:
    return Sample(begun, ended, None, kind, text)


def window(*samples: Sample) -> Report:
    """Judge a window from 100 to 110 s with 2 s before it and 1 s after it."""
    return judge(samples, "swap", 200, start=100.0, end=110.0, steady_s=2.0, after_s=1.0)


def test_a_request_belongs_to_the_phase_in_which_it_began() -> None:
    report = window(
        answer(97.9, 98.1),
        answer(98.0, 98.2),
        answer(99.9, 100.1),
        answer(100.0, 100.3),
        answer(109.9, 131.9, "g2 (threads)"),
        answer(110.0, 110.4, "g2 (threads)"),
        answer(111.0, 111.1, "g2 (threads)"),
    )
    assert report.requests == report.during.requests == 2
    assert report.answered == {"g1 (gevent)": 1, "g2 (threads)": 1}
    assert (report.before.requests, report.after.requests) == (2, 1)
    assert report.during.max_ms == pytest.approx(22_000)
    assert report.after.max_ms == pytest.approx(400)
    assert (report.name, report.clients, report.seconds) == ("swap", 200, 10.0)


def test_every_failure_of_a_request_in_flight_during_the_window_counts() -> None:
    report = window(
        failure(98.0, 99.9, "empty"),
        failure(99.9, 100.1),
        failure(105.0, 105.1, "refused"),
        failure(109.0, 139.0, "timeout"),
        failure(110.9, 111.2),
        failure(111.0, 111.2, "other"),
    )
    assert report.failures == {"reset": 2, "refused": 1, "timeout": 1}
    assert (report.before.failed, report.during.failed, report.after.failed) == (2, 2, 1)
    assert report.requests == 2


def test_latency_is_measured_from_answers() -> None:
    report = window(answer(100.0, 100.2), failure(101.0, 131.0, "timeout"), failure(102.0, 102.001, "refused"))
    assert [report.during.p50_ms, report.during.max_ms] == pytest.approx([200, 200])
    assert report.during.requests_per_second == pytest.approx(0.1)


def test_without_answers_there_is_no_latency() -> None:
    report = window(failure(101.0, 101.1))
    assert (report.during.p50_ms, report.during.p99_ms, report.during.max_ms) == (None, None, None)
    assert (report.before.requests, report.before.requests_per_second) == (0, 0.0)
    assert report.longest_gap_s == 11.0
    assert "answered by nobody" in report.describe()


def test_a_failure_does_not_end_a_gap() -> None:
    report = window(*(answer(at - 0.2, at) for at in (100.5, 103.0, 107.0, 110.5)), failure(104.0, 105.0))
    assert report.longest_gap_s == pytest.approx(4.0)


def test_a_gap_across_an_end_of_the_window_counts() -> None:
    assert (
        window(answer(98.0, 99.0), answer(103.0, 104.0), answer(107.0, 108.0), answer(120.0, 121.0)).longest_gap_s
        == 4.0
    )


def test_a_gap_ends_with_the_seconds_after_the_window() -> None:
    report = window(*(answer(at / 10, at / 10 + 0.1) for at in range(1000, 1090)), answer(120.0, 121.0))
    assert report.longest_gap_s == pytest.approx(2.0)


def test_examples_are_five_different_ones_with_time_and_message() -> None:
    report = window(*(failure(101.0 + i, 101.25 + i, text=f"reason {i % 7}") for i in range(9)))
    assert len(report.examples) == 5
    assert report.examples[0] == "at +1.000 s, after 250 ms: reset: reason 0"
    assert len({example.partition("reset")[2] for example in report.examples}) == 5


def test_a_whole_run_has_no_gap_before_its_first_answer() -> None:
    report = judge_all([answer(10.0, 13.0), failure(12.0, 13.5), answer(12.0, 14.0)], "run", 2)
    assert (report.requests, report.seconds, report.longest_gap_s) == (3, 4.0, 1.0)
    assert judge_all([failure(10.0, 13.0)], "run", 2).failures == {"reset": 1}


def test_a_whole_run_that_ends_without_answers_has_a_gap() -> None:
    assert judge_all([answer(10.0, 13.0), failure(13.0, 43.0, "timeout")], "run", 1).longest_gap_s == 30.0


@pytest.mark.parametrize(
    ("count", "percent", "expected"),
    [(1, 50, 1), (2, 50, 1), (100, 50, 50), (100, 99, 99), (1000, 99, 990), (3, 100, 3)],
)
def test_percentiles_are_measured_values(count: int, percent: int, expected: int) -> None:
    assert percentile([float(i) for i in range(1, count + 1)], percent) == expected


def test_percentiles_of_nothing_are_none() -> None:
    assert percentile([], 99) is None


def test_a_phase_sorts_its_latencies() -> None:
    begun = [answer(i / 100, i / 100 + i / 1000) for i in range(1, 101)]
    random.Random(1).shuffle(begun)
    result = phase(begun, 2.0)
    assert [result.p50_ms, result.p99_ms, result.max_ms] == pytest.approx([50, 99, 100])
    assert result.requests_per_second == 50.0


@pytest.mark.parametrize(("times", "gap"), [([], 0.0), ([5.0], 0.0), ([1.0, 2.0, 4.5, 5.0], 2.5)])
def test_gaps(times: list[float], gap: float) -> None:
    assert longest_gap(times) == gap


def test_a_report_has_data_for_machines_and_a_line_for_people() -> None:
    report = window(answer(99.0, 99.2), answer(101.0, 101.25), answer(110.0, 110.3), failure(105.0, 105.2))
    data = json.loads(json.dumps(report.as_dict()))
    assert data["failures"] == {"reset": 1} and data["during"]["requests"] == 2
    line = report.describe()
    assert line.startswith("swap: 2 requests in 10.0 s, 1 failed (reset 1; at +5.000 s, after 200 ms: reset: gone); ")
    assert line.endswith("answered by g1 (gevent) 1; longest gap 9,050 ms; p99 before, during, after: 200, 250, 300 ms")


def test_samples_are_read_as_written() -> None:
    file = io.BytesIO()
    writer = Writer(file)
    sent = [answer(1.0000014, 1.2, 'ge"n\n1 (ü)'), failure(1.1, 2.0, "other", "Zeile\nzwei")]
    for sample in sent:
        writer.add(sample)
    writer.flush(1.9999999)
    writer.flush(3.0)
    written = file.getvalue()

    # In pieces of any size.
    growing = io.BytesIO()
    reader = Reader(growing)
    seen = []
    for i in range(len(written)):
        growing.seek(i)
        growing.write(written[i : i + 1])
        growing.seek(i)
        reader.read()
        seen.append((len(reader.samples), reader.complete_before))
    assert reader.samples == [sent[0]._replace(begun=1.000001), sent[1]]
    assert next(count for count, before in seen if before == 1.999999) == 2
    assert reader.complete_before == 3.0
