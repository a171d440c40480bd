"""What systemd is told about a unit that runs foreign code."""

from pathlib import Path

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.wheelhouse import sandbox
from ansible_collections.flaskops.uwsgi.plugins.module_utils.wheelhouse.sandbox import Limits, Sandbox, StepError


@pytest.mark.parametrize(("version", "has"), [(247, False), (248, True), (257, True)])
def test_a_unit_has_no_property_that_systemd_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int, has: bool
) -> None:
    monkeypatch.setattr(sandbox, "systemd_version", lambda: version)
    properties = list(Sandbox(tmp_path, Limits(1, 1, 1, 1))._properties({}, None, network=False))
    assert ("PrivateIPC=yes" in properties) is has
    assert {"DynamicUser=yes", "RemoveIPC=yes", "PrivateNetwork=yes"} < set(properties)


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("nameserver 169.254.169.254\n", True),
        ("search internal\nnameserver 169.254.169.254\nnameserver fe80::1%eth0\n", True),
        ("nameserver 169.254.169.254\nnameserver 10.0.0.2\n", False),
        ("# nameserver 169.254.169.254\nnameserver 127.0.0.53\n", False),
        ("options edns0\nnameserver none\n", False),
    ],
)
def test_a_host_whose_resolver_no_step_can_reach_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, refused: bool
) -> None:
    monkeypatch.setattr(sandbox, "_RESOLVERS", tmp_path / "resolv.conf")
    (tmp_path / "resolv.conf").write_text(text)
    # Whatever gets further would run a unit.
    monkeypatch.setattr(sandbox.subprocess, "Popen", None)
    expected: type[Exception] = StepError if refused else TypeError
    with pytest.raises(expected, match="Build steps cannot reach it" if refused else "not callable"):
        Sandbox(tmp_path, Limits(1, 1, 1, 1)).run("one", "fetch", given={}, network=True)
