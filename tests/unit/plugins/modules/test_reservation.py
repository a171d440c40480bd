"""The reservation, as checked by the modules that require it."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.modules import (
    claim,
    commands,
    removal,
    serving,
    swap,
)

from tests.support.fake_host import US, FakeHost, TemporaryLayout, write_generation

RunModule = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        (claim, {"user": "shop", "group": "shop"}),
        (commands, {"generation": "g1", "when": "pre"}),
        (removal, {}),
        (serving, {"state": "restarted"}),
        (swap, {"generation": "g2"}),
    ],
)
def test_every_module_that_requires_the_reservation_is_refused_without_it(
    call_module: RunModule, layout: TemporaryLayout, host: FakeHost, module: ModuleType, arguments: dict[str, Any]
) -> None:
    host.serve("g1")
    write_generation(layout, "g2")
    before = host.everything()
    result = call_module(module, run=US, reserved=True, **arguments)
    assert result["failed"] and "shop is no longer reserved for this run on this host" in result["msg"]
    assert host.everything() == before and host.actions == []
