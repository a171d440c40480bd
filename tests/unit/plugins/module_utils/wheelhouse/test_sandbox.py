"""What systemd is told about a unit that runs foreign code."""

from pathlib import Path

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.wheelhouse import sandbox
from ansible_collections.flaskops.uwsgi.plugins.module_utils.wheelhouse.sandbox import Limits, Sandbox


@pytest.mark.parametrize(("version", "has"), [(247, False), (248, True), (257, True)])
def test_a_unit_has_no_property_that_systemd_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int, has: bool
) -> None:
    monkeypatch.setattr(sandbox, "systemd_version", lambda: version)
    properties = list(Sandbox(tmp_path, Limits(1, 1, 1, 1))._properties({}, None, network=False))
    assert ("PrivateIPC=yes" in properties) is has
    assert {"DynamicUser=yes", "RemoveIPC=yes", "PrivateNetwork=yes"} < set(properties)
