from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.systemd import SystemdError
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic import stopping
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic.stopping import longest_stop, stop_all

from tests.support.fake_host import ADDRESS, FakeHost, RefusedError, TemporaryLayout

SOCKET = f"shop@{ADDRESS}.socket"


def test_everything_is_stopped_in_one_call_sockets_first(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("same")
    host.systemctl("start", "shop-relief@same.service")
    # Between two calls a connection would start it again.
    host.clients.add(ADDRESS)
    host.events.clear()
    assert stop_all(layout)[0] is True
    assert host.actions[0] == f"stop {SOCKET} shop@same.service shop-relief@same.service"
    assert host.active == {}
    assert host.enabled() == {"shop@same.service", SOCKET}
    assert stop_all(layout)[0] is False
    assert [action for action in host.actions[1:] if not action.startswith("journal of ")] == []


def test_a_stop_waits_for_the_longest_timeout_of_the_generations(
    layout: TemporaryLayout, host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert longest_stop(layout) == 0
    host.serve("first", stop_timeout=600)
    host.serve("second", stop_timeout=30)
    (layout.generations / "half").mkdir()
    assert longest_stop(layout) == 600
    waits: list[float] = []
    run = host._run

    def listen(*command: str, timeout: float) -> Any:
        if command[:2] == ("systemctl", "stop"):
            waits.append(timeout)
        return run(*command, timeout=timeout)

    monkeypatch.setattr(stopping.systemd, "_run", listen)
    stop_all(layout)
    assert len(waits) == 1 and waits[0] > 600


def test_a_stop_that_systemd_refuses_is_an_error(
    layout: TemporaryLayout, host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.serve("same")

    def refuse(*units: str) -> None:
        raise RefusedError("Job for shop@same.service canceled.")

    monkeypatch.setattr(host, "_stop", refuse)
    with pytest.raises(SystemdError, match="canceled"):
        stop_all(layout)
