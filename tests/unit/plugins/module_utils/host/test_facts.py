import os
import platform
import resource
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import facts as host

Listen = Callable[..., int]


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Listen on a free port of an address until the test ends; return the port."""
    with ExitStack() as stack:

        def start(address: str, port: int = 0, family: int = socket.AF_INET) -> int:
            listener = stack.enter_context(socket.socket(family))
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address != "::ffff:127.0.0.1"))
            listener.bind((address, port))
            listener.listen()
            return int(listener.getsockname()[1])

        yield start


def holders(bind: str, port: int) -> list[int]:
    return [holder.pid for holder in host.port_holders(bind, port)]


def test_this_machine_is_described(tmp_path: Path) -> None:
    facts = host.facts(tmp_path)
    python = f"py{sys.version_info.major}.{sys.version_info.minor}"
    assert facts["platform"] == f"{facts['distribution']}-{facts['version']}-{platform.machine()}-{python}"
    assert f"py{facts['python']}" == python
    for limit in ("somaxconn", "file_max", "nofile", "tasks", "free_mb"):
        assert isinstance(facts[limit], int) and facts[limit] > 0, limit
    assert facts["nofile"] <= int(Path("/proc/sys/fs/nr_open").read_text())
    assert isinstance(facts["shared_mounts"], bool)
    assert isinstance(facts["systemd"], bool) and isinstance(facts["libpython"], bool)


def test_the_free_space_is_that_of_the_nearest_existing_directory(tmp_path: Path) -> None:
    disk = os.statvfs(tmp_path)
    free = host.facts(tmp_path / "not" / "yet" / "there")["free_mb"]
    assert abs(free - disk.f_bavail * disk.f_frsize // 2**20) < 1024


def test_the_hard_limits_of_a_process_are_read_from_the_kernel() -> None:
    kinds = {"Max open files": resource.RLIMIT_NOFILE, "Max cpu time": resource.RLIMIT_CPU}
    hard = {name: resource.getrlimit(kind)[1] for name, kind in kinds.items()}
    with subprocess.Popen(["sleep", "60"]) as process:
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (100, hard["Max open files"]))
        limits = host._limits(process.pid)
        process.kill()
    for name, limit in hard.items():
        # Unlimited exceeds any requirement.
        assert limits[name] == (sys.maxsize if limit == resource.RLIM_INFINITY else limit), name
    assert "Limit" not in limits


@pytest.mark.parametrize("bind", ["0.0.0.0", "127.0.0.1", "127.0.0.2"])
def test_a_listener_on_all_addresses_conflicts_with_every_address(listen: Listen, bind: str) -> None:
    port = listen("0.0.0.0")
    assert os.getpid() in holders(bind, port)
    name = Path("/proc/self/comm").read_text().strip()
    assert host.Process(os.getpid(), name) in host.port_holders(bind, port)


@pytest.mark.parametrize("bind", ["0.0.0.0", "127.0.0.1"])
def test_a_listener_on_one_address_conflicts_there_and_with_all_addresses(listen: Listen, bind: str) -> None:
    assert os.getpid() in holders(bind, listen("127.0.0.1"))


def test_a_listener_on_one_address_does_not_conflict_with_another(listen: Listen) -> None:
    port = listen("127.0.0.1")
    assert holders("127.0.0.2", port) == []
    assert listen("127.0.0.2", port) == port


def test_another_port_is_free(listen: Listen) -> None:
    port = listen("127.0.0.1")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        # Bound, but not listening.
        assert holders("127.0.0.1", other.getsockname()[1]) == []
    assert holders("127.0.0.1", port)


def test_a_closed_port_has_no_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert holders("127.0.0.1", port)
    assert holders("127.0.0.1", port) == []


def test_a_connection_is_not_a_listener() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        with client, server:
            assert holders("127.0.0.1", client.getsockname()[1]) == []


def test_a_hidden_holder_is_a_holder(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    port = listen("127.0.0.1")
    monkeypatch.setattr(host, "_holder", lambda process, inodes: None)
    assert host.port_holders("127.0.0.1", port) == [host.Process(0, "a hidden process")]


ipv6 = pytest.mark.skipif(not Path("/proc/net/if_inet6").is_file(), reason="this machine has no IPv6")


@ipv6
def test_a_listener_on_ipv6_only_does_not_conflict(listen: Listen) -> None:
    port = listen("::1", family=socket.AF_INET6)
    found = holders("0.0.0.0", port)
    assert listen("0.0.0.0", port) == port
    assert found == []


@ipv6
def test_a_listener_on_an_ipv4_address_through_ipv6_conflicts(listen: Listen) -> None:
    assert os.getpid() in holders("127.0.0.1", listen("::ffff:127.0.0.1", family=socket.AF_INET6))
