"""The verdict for each set of observations."""

import json
from dataclasses import asdict
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.gevent.judge import (
    Check,
    Compiled,
    Evidence,
    Verdict,
    installed,
    judge,
    numbers,
    worst,
)
from ansible_collections.flaskops.uwsgi.plugins.module_utils.gevent.probe import Answer, Measured

RELEASE = "/opt/shop/releases/r1/"
PSYCOPG2 = {
    "name": "psycopg2",
    "distributions": ["psycopg2", "psycopg2-binary"],
    "verdict": "blocks",
    "remedied_by": "psycogreen",
    "symptom": "its queries wait in C",
    "remedy": "Install psycogreen",
    "reference": "https://example.org/psycogreen",
}
OLD = {**PSYCOPG2, "name": "old", "distributions": ["old"], "verdict": "warning", "since": "1.2", "until": "1.10"}
GOOD = {**PSYCOPG2, "name": "good", "distributions": ["good"], "modules": ["good", "_good"], "verdict": "ok"}
CATALOGUE = {"version": "2026.11.1", "libraries": [PSYCOPG2, OLD, GOOD]}
BLOCKED = {"blocked": [{"stack": ["/opt/shop/releases/r1/app.py:9 index", "flask/app.py:1 wsgi_app"], "count": 40}]}


def measured(**more: Any) -> Measured:
    """Return a probe of ten requests that overlapped."""
    seconds = (more.get("single_ms") or 200.0) / 1000
    values: dict[str, Any] = {
        "alone": [Answer(200, seconds, "")] * 4,
        "single_ms": 200.0,
        "burst_ms": 230.0,
        "overlap": 0.98,
        "cpu_share": 0.1,
        "busy_share": 0.1,
        "statuses": {"200": 10},
        **more,
    }
    return Measured("/probe", 10, 200, **values)


def found(check: str, **evidence: Any) -> tuple[str, list[dict[str, Any]]]:
    """Return the verdict and the findings of one check."""
    evidence.setdefault("measured", measured())
    # As it is written.
    document = json.loads(json.dumps(asdict(judge(Evidence(roots=(RELEASE,), **evidence), CATALOGUE))))
    result = document["checks"][check]
    assert document["verdict"] == worst(one["verdict"] for one in document["checks"].values())
    assert all(one["remedy"] for one in result["findings"] if one["level"] == "blocks")
    return result["verdict"], result["findings"]


def one(check: str, **evidence: Any) -> dict[str, Any]:
    """Return the only finding of a check."""
    verdict, findings = found(check, **evidence)
    (finding,) = findings
    assert verdict == ("ok" if finding["level"] == "note" else finding["level"])
    return finding


# In general.


def test_without_findings_every_verdict_is_ok() -> None:
    document = judge(Evidence(measured=measured()), CATALOGUE)
    assert document == Verdict("ok", dict.fromkeys(("imports", "libraries", "cooperation"), Check("ok", [])))


def test_the_worst_level_counts_and_a_note_changes_nothing() -> None:
    assert worst([]) == worst(["note", "ok"]) == "ok"
    assert worst(["note", "warning", "ok"]) == "warning"
    assert worst(["warning", "blocks", "note"]) == "blocks"


def test_the_worst_finding_comes_first() -> None:
    early = {"module": "a", "file": RELEASE + "a.py", "locks": [{"what": "l", "where": RELEASE + "a.py:1"}]}
    verdict, findings = found("imports", loaded={"early": [{"module": "b", "file": "b.py"}, early]})
    assert (verdict, [one["level"] for one in findings]) == ("warning", ["warning", "note"])


@pytest.mark.parametrize("nonsense", [None, 7, "text", [None, 7, "text", []], {"a": 1}, [{}], [{"stack": 7}]])
def test_content_written_by_the_application_breaks_nothing(nonsense: Any) -> None:
    keys = ("early", "warnings", "locks", "threads", "threads_before", "asyncio", "patches", "extensions")
    parts = [{"module": "m", "originals": nonsense, "locks": nonsense, "pools": nonsense}]
    loaded: dict[str, Any] = dict.fromkeys((*keys, "modules", "unpatched"), nonsense)
    activity = dict.fromkeys(("loops", "blocked", "waiting"), nonsense)
    for seen in (loaded, loaded | {"early": parts}):
        judge(Evidence(loaded=seen, activity=activity, measured=measured(unfinished=1)), CATALOGUE)


# Imports.


def test_an_unpatched_original_kept_by_an_early_module_is_reported_with_its_line() -> None:
    kept = [{"what": "socket.socket", "where": RELEASE + "client.py:3"}]
    finding = one("imports", loaded={"early": [{"module": "client", "file": "client.py", "originals": kept}]})
    assert finding["level"] == "warning"
    assert "client was imported before gevent patched, and still uses socket.socket" in finding["what"]
    assert finding["evidence"] == ["client.py:3"]


def test_an_early_lock_and_an_early_pool_are_reported() -> None:
    early = {
        "module": "ledger",
        "file": RELEASE + "ledger.py",
        "locks": [{"what": "lock", "where": RELEASE + "ledger.py:5"}],
        "pools": [{"what": "pool", "where": RELEASE + "ledger.py:6"}],
    }
    verdict, findings = found("imports", loaded={"early": [early]})
    assert (verdict, [one["evidence"] for one in findings]) == ("warning", [["ledger.py:5"], ["ledger.py:6"]])


def test_an_early_module_that_kept_nothing_gets_a_note() -> None:
    assert one("imports", loaded={"early": [{"module": "m", "file": "m.py"}]})["level"] == "note"


def test_a_warning_of_gevent_names_the_file_of_the_class() -> None:
    message = "Monkey-patching ssl after ssl has already been imported. Subclasses (NOT patched): [\"<class 'a.b.C'>\"]"
    loaded = {
        "warnings": [{"message": message, "where": ""}],
        "early": [{"module": "a.b", "file": RELEASE + "a/b.py"}],
    }
    verdict, findings = found("imports", loaded=loaded)
    assert (verdict, findings[0]["evidence"]) == ("warning", ["a/b.py"])


def test_a_warning_of_gevent_names_the_files_it_names() -> None:
    message = "Modules that had direct imports (NOT patched): ['https (/opt/shop/releases/r1/https.py)']."
    finding = one("imports", loaded={"warnings": [{"message": message, "where": ""}]})
    assert finding["evidence"] == ["https.py"]


@pytest.mark.parametrize(("name", "level"), [("socket.socket", "blocks"), ("queue.SimpleQueue", "warning")])
def test_a_patch_that_was_undone_is_judged_by_its_effects(name: str, level: str) -> None:
    assert one("imports", loaded={"unpatched": [name]})["level"] == level


def test_a_lock_of_the_unpatched_kind_is_a_warning() -> None:
    row = {"kind": "native", "where": RELEASE + "run.py:5 <module>", "count": 1}
    finding = one("imports", loaded={"locks": [row]})
    assert (finding["level"], finding["evidence"]) == ("warning", ["run.py:5 <module>"])


@pytest.mark.parametrize(("key", "kind"), [("locks", "greenlet"), ("threads", "greenlet"), ("threads", "native")])
def test_harmless_code_is_not_reported(key: str, kind: str) -> None:
    row = {"kind": kind, "where": RELEASE + "run.py:5 <module>", "count": 1}
    assert found("imports", loaded={key: [row]}) == ("ok", [])


def test_patching_again_gets_a_note() -> None:
    assert one("imports", loaded={"patches": [{"where": "run.py:2 <module>", "count": 1}]})["level"] == "note"


@pytest.mark.parametrize(("failure", "level"), [("hangs", "blocks"), ("ended", "blocks"), ("memory", "warning")])
def test_an_application_that_does_not_load_is_reported_with_the_traceback(failure: str, level: str) -> None:
    finding = one("imports", measured=None, failure=failure, cause="because", trace=[RELEASE + "run.py:1 <module>"])
    assert (finding["level"], finding["evidence"]) == (level, ["run.py:1 <module>"])
    assert found("cooperation", measured=None, failure=failure)[0] == "warning", "nothing was measured"


def test_gevent_is_not_blamed_for_a_failure_in_either_mode() -> None:
    cause = "flask_uwsgi_module=shop:app raised while it was loaded: KeyError: 'SECRET_KEY'. Set SECRET_KEY"
    finding = one("imports", measured=None, failure="ended", cause=cause, common=True)
    assert finding["what"] == f"the application cannot be loaded in either mode: {cause}"
    assert "gevent is not the cause" in finding["remedy"]
    finding = one("imports", measured=None, failure="ended", cause=cause)
    assert "in gevent mode" in finding["what"] and "flask_uwsgi_mode=threads" in finding["remedy"]


# Libraries.


def test_a_blocking_library_is_reported_where_it_is_imported() -> None:
    loaded = {"modules": ["flask", "psycopg2"]}
    finding = one("libraries", loaded=loaded, installed={"psycopg2-binary": "2.9.10"}, measured=measured(single_ms=1.0))
    assert (finding["level"], finding["evidence"]) == ("blocks", ["https://example.org/psycogreen"])
    assert finding["what"].startswith("psycopg2-binary 2.9.10: ")


def test_a_blocking_library_that_is_not_imported_or_is_remedied_gets_a_note() -> None:
    assert one("libraries", installed={"psycopg2": "2.9"})["level"] == "note"
    both = {"psycopg2": "2.9", "psycogreen": "1.0.2"}
    assert one("libraries", loaded={"modules": ["psycopg2"]}, installed=both)["level"] == "note"


def test_a_measured_overlap_overrules_a_suspicion() -> None:
    loaded = {"modules": ["psycopg2"]}
    assert one("libraries", loaded=loaded, installed={"psycopg2": "2.9"}, measured=measured())["level"] == "warning"
    # The path does not wait: the host was busy most of the times that it was asked.
    times = [Answer(200, seconds, "") for seconds in (0.3, 0.009, 0.002, 0.008)]
    noisy = measured(single_ms=8.0, burst_ms=20.0, alone=times)
    assert one("libraries", loaded=loaded, installed={"psycopg2": "2.9"}, measured=noisy)["level"] == "blocks"
    assert "too fast for a result (2.0 ms)" in one("cooperation", measured=noisy, chosen=True)["what"]
    hung = measured(unfinished=3)
    assert one("libraries", loaded=loaded, installed={"psycopg2": "2.9"}, measured=hung)["level"] == "blocks"


@pytest.mark.parametrize(
    ("version", "speaks"), [("1.1.9", False), ("1.2", True), ("1.9.3rc1", True), ("1.10", False), ("2", False)]
)
def test_an_entry_applies_to_its_versions_only(version: str, speaks: bool) -> None:
    assert (installed(OLD, {"old": version}) is not None) == speaks


def test_versions_are_compared_as_numbers() -> None:
    assert numbers("2.0.31") == (2, 0, 31)
    assert numbers("3.1.0rc1") == (3, 1, 0)
    assert numbers("1.10") > numbers("1.9")
    assert numbers("unknown") == ()


def test_an_unknown_compiled_module_is_named_without_effect_on_the_verdict() -> None:
    network = [Compiled("_wire.core", ["calls recv()"]), Compiled("_good", ["calls recv()"])]
    finding = one("libraries", network=network)
    assert finding["level"] == "note" and "unknown: _wire.core" in finding["what"]
    assert finding["evidence"] == ["calls recv()"]


def test_an_asyncio_loop_in_a_request_is_a_warning_and_its_import_is_not() -> None:
    imported = {"modules": ["asyncio", "sqlalchemy.ext.asyncio"]}
    assert found("libraries", loaded=imported) == ("ok", [])
    loops = {"loops": [{"kind": "loop", "where": "run.py:9 index", "count": 3}]}
    finding = one("libraries", loaded=imported, activity=loops)
    assert (finding["level"], finding["evidence"]) == ("warning", ["run.py:9 index"])


# Cooperation.


def test_requests_that_wait_without_yielding_are_reported_with_the_stack() -> None:
    serial = measured(burst_ms=2010.0, overlap=0.0)
    finding = one("cooperation", measured=serial, activity=BLOCKED)
    assert (finding["level"], finding["evidence"][0]) == ("blocks", "app.py:9 index")
    assert "10 at once took 2010 ms, one 200 ms" in finding["what"]


def test_requests_that_yield_in_part_are_a_warning() -> None:
    assert one("cooperation", measured=measured(burst_ms=1300.0, overlap=0.4), activity=BLOCKED)["level"] == "warning"


def test_requests_that_wait_for_one_another_do_not_count_as_blocking() -> None:
    waiting = {"waiting": [{"stack": [RELEASE + "pool.py:3 get"], "count": 9}]}
    finding = one("cooperation", measured=measured(burst_ms=2010.0, overlap=0.0), activity=waiting)
    assert (finding["level"], finding["evidence"]) == ("warning", ["pool.py:3 get"])


@pytest.mark.parametrize(("single", "level"), [(200.0, "warning"), (30.0, "note")])
def test_computing_requests_are_reported_without_advising_threads(single: float, level: str) -> None:
    # Measured on a busy machine: the worker waits for a core most of the time.
    busy = measured(single_ms=single, burst_ms=single * 10, overlap=0.0, cpu_share=0.3, busy_share=0.9)
    finding = one("cooperation", measured=busy, activity=BLOCKED)
    assert (finding["level"], finding["evidence"][0]) == (level, "app.py:9 index")
    assert "computes" in finding["what"]


def test_a_worker_that_crashed_blocks_with_its_stack() -> None:
    alone = measured(single_ms=None, alone=[Answer(0, 0.1, "closed")])
    finding = one("cooperation", measured=alone, died=True, trace=[RELEASE + "run.py:9 index"])
    assert (finding["level"], finding["evidence"]) == ("blocks", ["run.py:9 index"])


def test_a_busy_host_is_not_the_application_s_fault() -> None:
    crowded = measured(burst_ms=1500.0, overlap=0.28, cpu_share=0.1, busy_share=0.8)
    finding = one("cooperation", measured=crowded, activity=BLOCKED)
    assert finding["level"] == "warning" and "the host was too busy" in finding["what"]


def test_an_answer_that_is_too_fast_to_judge_is_ok() -> None:
    fast = measured(single_ms=0.9, burst_ms=8.0, overlap=0.1)
    assert found("cooperation", measured=fast, activity=BLOCKED) == ("ok", [])
    finding = one("cooperation", measured=fast, activity=BLOCKED, chosen=True)
    assert finding["level"] == "note" and "flask_uwsgi_gevent_check_path=/probe answers too fast" in finding["what"]


def test_concurrent_requests_that_never_end_block_however_fast_one_is() -> None:
    finding = one("cooperation", measured=measured(single_ms=0.9, unfinished=9, statuses={"200": 1}), activity=BLOCKED)
    assert (finding["level"], finding["evidence"][0]) == ("blocks", "app.py:9 index")


def test_errors_under_concurrency_only_block_and_show_the_body() -> None:
    errors = measured(statuses={"200": 1, "500": 8, "0": 1}, said="<p>\nbroken</p>")
    finding = one("cooperation", measured=errors)
    assert finding["level"] == "blocks"
    assert "8 × 500, 1 × no answer. broken" in finding["what"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(500, 1.0, "broken"), "answers 500 instead of 200, even alone"),
        (Answer(302, 1.0, "", "/login"), "answers 302 and redirects to /login"),
        (Answer(0, 1.0, "no answer: timed out"), "got no answer, even alone"),
    ],
)
def test_a_probe_that_fails_without_concurrency_never_blocks(answer: Answer, message: str) -> None:
    alone = measured(single_ms=None, alone=[answer])
    finding = one("cooperation", measured=alone)
    assert finding["level"] == "warning" and finding["what"].startswith("no result: ")
    assert message in finding["what"] and finding["remedy"]


def test_an_error_that_threads_mode_would_give_too_is_reported_with_its_cause() -> None:
    alone = measured(single_ms=None, alone=[Answer(404, 0.1, "no")])
    finding = one("cooperation", measured=alone, common=True, cause="GET /probe answered 404 instead of 200: no")
    assert (finding["level"], finding["what"]) == (
        "warning",
        "no result: GET /probe answered 404 instead of 200: no",
    )


def test_a_request_that_waits_for_a_thread_missing_in_every_worker_blocks() -> None:
    stack = ["/usr/lib/python3.11/threading.py:320 wait", RELEASE + "run.py:9 index"]
    alone = measured(single_ms=None, alone=[Answer(0, 5.0, "timed out")])
    finding = one("cooperation", measured=alone, activity={"waiting": [{"stack": stack, "count": 1}]})
    assert (finding["level"], finding["evidence"][1]) == ("blocks", "run.py:9 index")


def test_a_long_computation_is_reported_although_a_busy_host_made_it_overlap() -> None:
    # Measured during other tests: 120 ms of computing took 518 ms alone.
    seen = measured(single_ms=518.5, burst_ms=1550.6, overlap=0.5, cpu_share=0.8, busy_share=0.99)
    finding = one("cooperation", measured=seen, activity=BLOCKED)
    assert finding["level"] == "warning" and "computes" in finding["what"]
    assert finding["evidence"][0] == "app.py:9 index"
