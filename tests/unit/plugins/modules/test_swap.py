from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release import generation as gen
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic import reservation, service
from ansible_collections.flaskops.uwsgi.plugins.modules import swap

from tests.support.fake_host import THEM, US, FakeHost, TemporaryLayout, write_generation

RunModule = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("before", [None, "g1"])
def test_a_swap_in_check_mode_says_what_would_serve(
    run_module: RunModule, layout: TemporaryLayout, before: str | None
) -> None:
    if before:
        layout.current.symlink_to(f"generations/{before}")
    result = run_module("swap", check=True, app_name="shop", base_dir=str(layout.base), generation="g2")
    assert result["changed"] and result["before"] == before
    assert result["diff"] == {"before": f"{before}\n", "after": "g2\n"}


def test_a_swap_to_a_missing_generation_reports_that_nothing_serves(call_module: RunModule) -> None:
    result = call_module(swap, generation="g2")
    assert result["failed"]
    assert result["msg"] == (
        "generation g2 is not on this host; kept are: none\nNothing served before, nothing serves now."
    )


def test_a_swap_returns_the_previous_generation_and_the_duration_of_each_step(
    call_module: RunModule, layout: TemporaryLayout, host: FakeHost
) -> None:
    host.serve("g1")
    write_generation(layout, "g2")
    result = call_module(swap, generation="g2", how="rollback")
    assert (result["failed"], result["changed"], result["before"]) == (False, True, "g1")
    assert list(result["steps"]) == ["canary", "start", "stop_old"]
    assert gen.history(layout)[0].how == "rollback"
    again = call_module(swap, generation="g2")
    assert (again["changed"], again["before"], again["steps"]) == (False, "g2", {})
    restarted = call_module(swap, generation="g2", restart=True)
    assert (restarted["changed"], list(restarted["steps"])) == (True, ["restart", "stop_old"])


def test_a_swap_gives_the_reservation_back_if_it_is_asked_to_and_the_generation_serves(
    call_module: RunModule, layout: TemporaryLayout, host: FakeHost
) -> None:
    host.serve("g1")
    write_generation(layout, "g2")
    reservation.reserve(layout, US)
    ours = {"run": US, "reserved": True}
    assert call_module(swap, generation="g2", **ours)["given_back"] is False
    assert reservation.owner(layout) == US
    host.refused.add("shop@g1.service")
    assert call_module(swap, generation="g1", give_back=True, canary=False, **ours)["failed"]
    assert reservation.owner(layout) == US
    host.refused.clear()
    assert call_module(swap, generation="g1", give_back=True, **ours)["given_back"] is True
    assert reservation.owner(layout) is None


def test_a_failed_swap_reports_what_serves(call_module: RunModule, layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("g1")
    write_generation(layout, "g2")
    host.refused.add("shop@g2.service")
    result = call_module(swap, generation="g2", canary=False)
    assert result["failed"]
    assert result["msg"].endswith("\nGeneration g1 serves.")


def test_a_swap_is_refused_while_another_run_has_reserved_the_application(
    call_module: RunModule, layout: TemporaryLayout, host: FakeHost
) -> None:
    host.serve("g1")
    write_generation(layout, "g2")
    before = host.everything()
    reservation.reserve(layout, THEM)
    for arguments in ({}, {"run": US}, {"run": US, "replace": {}}):
        result = call_module(swap, generation="g2", **arguments)
        assert result["failed"]
        assert "deploy by them@controller, pid 7, since then" in result["msg"]
    assert host.everything() == before
    assert host.actions == []
    assert call_module(swap, generation="g2", run=US, replace=THEM)["changed"]
    # Replaced for one run: the module reservation makes the reservation.
    assert reservation.owner(layout) == THEM
    assert call_module(swap, generation="g1", run=THEM)["changed"]


def test_the_serving_generation_is_read_under_the_lock(
    call_module: RunModule, layout: TemporaryLayout, host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.serve("old")
    write_generation(layout, "new")
    exclusive = reservation.exclusive

    @contextmanager
    def wait(*arguments: Any) -> Iterator[None]:
        host.serve("quicker")
        # It removed what had not served.
        write_generation(layout, "new")
        with exclusive(*arguments):
            yield

    monkeypatch.setattr(swap.reservation, "exclusive", wait)
    host.refused.add("shop-canary@new.service")
    result = call_module(swap, generation="new")
    assert result["msg"].endswith("\nGeneration quicker serves.")
    assert host.running() == {"quicker"}
    assert service.drift(layout) == []
    host.refused.clear()
    write_generation(layout, "new")
    assert call_module(swap, generation="new")["before"] == "quicker"
