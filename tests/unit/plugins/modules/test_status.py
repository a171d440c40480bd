from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.modules import status

from tests.support.fake_host import FakeHost, RefusedError, TemporaryLayout

RunModule = Callable[..., dict[str, Any]]


def test_the_status_has_the_drift_including_stats_that_do_not_answer(
    call_module: RunModule, layout: TemporaryLayout, host: FakeHost
) -> None:
    assert call_module(status)["status"]["drift"] == ["no generation serves"]
    host.serve("g1")
    found = call_module(status)["status"]
    assert found["drift"] == [found["stats_error"]]
    assert found["generation"] == "g1"


def test_a_status_that_cannot_be_read_is_an_error(
    call_module: RunModule, host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(unit: str) -> dict[str, str]:
        raise RefusedError("Failed to connect to bus")

    monkeypatch.setattr(host, "_properties", refuse)
    result = call_module(status)
    assert result["failed"]
    assert result["msg"].startswith("the status of shop cannot be read: ")
    assert "Failed to connect to bus" in result["msg"]
