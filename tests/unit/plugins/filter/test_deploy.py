"""The filters of the role flask_uwsgi."""

import re
from typing import Any

from ansible_collections.flaskops.uwsgi.plugins.filter import operations
from ansible_collections.flaskops.uwsgi.plugins.filter.deploy import FilterModule, deploy_summary, gevent_refusal

from tests.support import ROOT
from tests.support.gevent_result import said


def test_every_filter_that_the_role_uses_is_there() -> None:
    role = ROOT / "roles" / "flask_uwsgi"
    text = "".join(path.read_text() for path in role.rglob("*") if path.suffix in (".yml", ".j2"))
    used = set(re.findall(r"\| *flaskops\.uwsgi\.(\w+)", text))
    assert used == {*FilterModule().filters(), *operations.FilterModule().filters()}


def test_what_fails_in_either_mode_is_not_said_to_be_gevent_s() -> None:
    found = {"level": "blocks", "what": "w", "evidence": ["KeyError: 'DSN'"], "remedy": "r"}
    check = {**said("blocks"), "common": True, "cause": "it raised KeyError: 'DSN'. Set DSN"}
    check["checks"] = {"imports": {"verdict": "blocks", "findings": [found]}}
    assert gevent_refusal(check).splitlines() == [
        "it raised KeyError: 'DSN'. Set DSN.",
        "Its last log lines:",
        "    KeyError: 'DSN'",
        "This is not gevent's doing: threads mode would fail in the same way. The running release was not changed.",
    ]


def test_a_refusal_shows_what_blocks_where_and_what_to_do() -> None:
    lines = gevent_refusal(said("blocks")).splitlines()
    assert lines[0].startswith("flask_uwsgi_mode=gevent breaks this application")
    assert lines[1:5] == [
        "  cooperation: it sleeps in C",
        "      run.py:3",
        "      in slow",
        "      remedy: call gevent.sleep",
    ]
    assert "-e mode=threads" in lines[-1] and "The running release was not changed" in lines[-1]


def test_the_summary_has_a_line_for_each_host() -> None:
    new = {"generation": "g1", "mode": "gevent"}
    plans = [
        {"host": "b", **new, "repairs": True, "drift": ["x", "y"]},
        {"host": "c", **new, "repairs": False, "serving": "g0 (threads)"},
        {"host": "d", **new, "repairs": False, "serving": ""},
    ]
    swaps = [{"steps": {}}, {"steps": {"canary": 3.04, "old_stop": 1.0}}, {}]
    assert deploy_summary(plans, swaps).splitlines() == [
        "b: g1 (gevent) repaired: x; y",
        "c: g0 (threads) -> g1 (gevent) [canary 3.0 s, old stop 1.0 s]",
        "d: nothing -> g1 (gevent)",
    ]


def test_what_many_hosts_have_in_common_fits_on_a_screen() -> None:
    new = {"generation": "g1", "mode": "gevent", "repairs": False}
    plans = [{"host": f"h{number}", **new, "serving": "g0 (gevent)"} for number in range(1200)]
    plans[5]["serving"] = ""
    swaps: list[dict[str, Any]] = [
        {"steps": {"canary": 4 + number / 1000, "start": 1.1}, "toll": {}} for number in range(1200)
    ]
    swaps[3]["toll"] = swaps[4]["toll"] = {"requests": 1, "seconds": 60}
    assert deploy_summary(plans, swaps).splitlines() == [
        "h0, h1, h2, h3, h4, h6, h7, h8 and 1,191 more: g0 (gevent) -> g1 (gevent) [canary 4.0 to 5.2 s, start 1.1 s]",
        "h3, h4: 1 request was cut 60 s after the stop began: "
        "set flask_uwsgi_stop_timeout above the longest request or stream",
        "h5: nothing -> g1 (gevent) [canary 4.0 s, start 1.1 s]",
    ]
