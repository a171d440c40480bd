from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.modules import keepalive

from tests.support.load_target import Server

RunModule = Callable[..., dict[str, Any]]


def test_keepalive_sends_nothing_in_check_mode(server: Server, run_module: RunModule) -> None:
    assert "keepalive" not in run_module("keepalive", check=True, url=server.url + "/")
    assert server.seen == 0


def test_keepalive_reuses_its_connections(server: Server, run_module: RunModule) -> None:
    found = run_module("keepalive", url=server.url + "/healthz", sequential=50, parallel=10, rounds=3)["keepalive"]
    assert found["errors"] == 0
    assert (found["sequential"]["sent"], found["sequential"]["connections"]) == (50, 1)
    assert found["parallel"]["sent"] == 30
    assert found["parallel"]["connections"] <= 10
    assert found["parallel"]["p99_ms"] <= found["parallel"]["max_ms"]


def test_keepalive_s_percentiles_are_those_of_ab() -> None:
    counts = keepalive.Counts(clients=1)
    for ms in range(10, 0, -1):
        counts.add("", 200, ms * 10.4)
    found = counts.to_dict()
    assert (found["p50_ms"], found["p99_ms"], found["max_ms"]) == (62, 104, 104)


def test_keepalive_notices_a_server_that_closes_without_an_answer(server: Server, run_module: RunModule) -> None:
    found = run_module("keepalive", url=server.url + "/half-keepalive", sequential=300, parallel=0)["keepalive"]
    kinds = set(found["sequential"]["kinds"])
    assert kinds <= {"connection_reset", "closed_without_answer", "broken_pipe"}


@pytest.mark.parametrize(("path", "kind"), [("/500", "http_500"), ("/404", "http_404")])
def test_keepalive_counts_bad_answers(server: Server, run_module: RunModule, path: str, kind: str) -> None:
    found = run_module("keepalive", url=server.url + path, sequential=5, parallel=2, rounds=1)["keepalive"]
    assert found["sequential"]["kinds"] == {kind: 5}
    assert found["sequential"]["non_2xx"] == 5
    assert found["errors"] == 7


def test_keepalive_gives_up_on_a_dead_host(run_module: RunModule) -> None:
    with Server() as gone:
        url = gone.url + "/"
    gone.socket.close()
    found = run_module("keepalive", url=url, sequential=1000, parallel=3, give_up_after=4)["keepalive"]
    assert found["sequential"]["kinds"] == {"connection_refused": 4}
    assert found["sequential"]["gave_up"]
    assert found["sequential"]["p50_ms"] is None
    assert found["parallel"]["errors"] == found["parallel"]["sent"] == 6


def test_keepalive_waits_no_longer_than_its_timeout(server: Server, run_module: RunModule) -> None:
    found = run_module("keepalive", url=server.url + "/hang", sequential=2, parallel=2, rounds=1, timeout_s=0.3)[
        "keepalive"
    ]
    assert found["sequential"]["kinds"] == {"read_timeout": 2}
    assert found["parallel"]["kinds"] == {"read_timeout": 2}
