"""The mode in which a generation serves."""

from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan.choice import GEVENT, Choice, choose, threads_instead

from tests.support.gevent_result import said
from tests.support.planning import settings

HOST = {"tasks": 32_768, "nofile": 20_000, "file_max": 10**6}


@pytest.mark.parametrize(
    ("mode", "decision", "choice"),
    [
        ("gevent", {}, Choice("gevent", 3000)),
        ("threads", {}, Choice("threads", 500)),
        # An earlier decision of auto does not count if a mode is set.
        ("gevent", {"mode": "threads", "threads": 8}, Choice("gevent", 3000)),
        ("auto", {}, Choice("gevent", 3000, GEVENT, True)),
        ("auto", GEVENT, Choice("gevent", 3000, GEVENT)),
        ("auto", {"mode": "threads", "threads": 8}, Choice("threads", 8, {"mode": "threads", "threads": 8})),
    ],
)
def test_auto_keeps_its_decision(mode: str, decision: dict[str, Any], choice: Choice) -> None:
    assert choose(settings(mode=mode), decision) == choice


@pytest.mark.parametrize(("verdict", "level"), [("warning", "warning"), ("blocks", "blocks")])
def test_auto_is_threads_otherwise_with_the_reason(verdict: str, level: str) -> None:
    decision = threads_instead(said(verdict, level), settings(), HOST)
    assert (decision["mode"], decision["threads"]) == ("threads", 500)
    assert decision["because"] == "auto is threads, 500 a worker (flask_uwsgi_threads): it sleeps in C"


def test_the_threads_of_auto_fit_the_host_and_the_work() -> None:
    small = threads_instead(said("blocks"), settings(), {**HOST, "tasks": 1000})
    assert small["threads"] == (1000 - 256) // 4 - 64
    assert "(what this host allows)" in small["because"]
    computes = threads_instead(
        said("warning", "warning", single_ms=121.2, burst_ms=604.5, cpu_share=0.99), settings(), HOST
    )
    assert computes["threads"] == 8
    assert "its requests compute" in computes["because"]
