import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import checks
from sandbox.errors import SandboxError
from sandbox.host import Record, Spec
from sandbox.paths import Layout


@pytest.fixture
def taken() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}:80"


def test_a_taken_port_is_named_with_its_holder(taken: str) -> None:
    with pytest.raises(SandboxError) as caught:
        checks.port_is_free(taken)
    assert f"port {taken.split(':')[1]} on 127.0.0.1 cannot be published: address already in use" in str(caught.value)
    if shutil.which("ss"):
        assert f"(process {os.getpid()})" in str(caught.value)


def test_a_free_port_passes(taken: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    checks.port_is_free(f"127.0.0.1:{port}:80")


def test_a_running_host_keeps_the_port_that_it_publishes(layout: Layout, taken: str) -> None:
    for directory in (layout.state, layout.images):
        directory.mkdir(parents=True)
    spec = Spec("app1", publish=(taken,))
    checks.before_up([spec], {"app1": Record("app1", publish=(taken,))}, layout)
    with pytest.raises(SandboxError, match="already in use"):
        checks.before_up([spec], {}, layout)


def test_too_little_disk_is_reported_in_figures(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match=r"GiB free, building images needs 1048576.0 GiB\n.*XDG_STATE_HOME"):
        checks.disk(tmp_path, checks.GIB << 20, "building images")


def test_missing_programs_are_named_as_packages_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(checks, "SYSTEM_PATH", str(tmp_path))
    monkeypatch.setitem(checks.PACKAGES, "netavark", str(tmp_path / "netavark"))
    with pytest.raises(SandboxError, match=r"apt-get install crun iproute2 .*podman"):
        checks.programs()
