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
def test_a_step_that_failed_is_told_of_a_resolver_that_none_can_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, refused: bool
) -> None:
    monkeypatch.setattr(sandbox, "_RESOLVERS", tmp_path / "resolv.conf")
    (tmp_path / "resolv.conf").write_text(text)
    monkeypatch.setattr(Sandbox, "_wait", lambda *_: "no such name")
    result = iter(("success", "failed", "failed"))
    monkeypatch.setattr(Sandbox, "_result", lambda *_: next(result))
    one = Sandbox(tmp_path, Limits(1, 1, 1, 1))
    # Behind a proxy it may succeed nevertheless.
    assert one.run("one", "fetch", given={}, network=True) == tmp_path / "fetch.tar"
    for network in (True, False):
        with pytest.raises(StepError, match="no such name") as error:
            one.run("one", "fetch", given={}, network=network)
        assert ("Build steps cannot reach it" in error.value.said) is (refused and network)
