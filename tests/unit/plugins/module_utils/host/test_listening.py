import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import address, listening

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
    return [holder.pid for holder in listening.holders(address.of(bind, port))]


@pytest.mark.parametrize("bind", ["0.0.0.0", "127.0.0.1", "127.0.0.2"])
def test_a_listener_on_all_addresses_conflicts_with_every_address(listen: Listen, bind: str) -> None:
    port = listen("0.0.0.0")
    assert os.getpid() in holders(bind, port)
    name = Path("/proc/self/comm").read_text().strip()
    assert listening.Process(os.getpid(), name) in listening.holders(address.of(bind, port))


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


def test_sockets_of_other_addresses_do_not_count(listen: Listen) -> None:
    port = listen("127.0.0.1")
    wanted, own = address.of("0.0.0.0", port), address.of("127.0.0.1", port)
    assert listening.holders(wanted)
    assert listening.holders(wanted, [own]) == []
    listen("127.0.0.2", port)
    assert listening.holders(wanted, [own]) == listening.holders(address.of("127.0.0.2", port))


def test_a_hidden_holder_is_a_holder(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    port = listen("127.0.0.1")
    monkeypatch.setattr(listening, "_holder", lambda process, inodes: None)
    assert listening.holders(address.of("127.0.0.1", port)) == [listening.Process(0, "a hidden process")]


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


@ipv6
@pytest.mark.parametrize("bind", ["0.0.0.0", "127.0.0.1"])
def test_a_listener_of_ipv4_conflicts_with_all_addresses_of_both(listen: Listen, bind: str) -> None:
    assert os.getpid() in holders("[::]", listen(bind))


@ipv6
def test_a_listener_of_ipv6_conflicts_there_and_with_all_addresses(listen: Listen) -> None:
    port = listen("::1", family=socket.AF_INET6)
    assert os.getpid() in holders("::1", port)
    assert os.getpid() in holders("[::]", port)
    assert holders("::2", port) == []
    assert holders("127.0.0.1", port) == []


@ipv6
@pytest.mark.parametrize("bind", ["0.0.0.0", "127.0.0.1", "[::]", "::1"])
def test_a_listener_on_all_addresses_of_both_conflicts_with_every_address(listen: Listen, bind: str) -> None:
    assert os.getpid() in holders(bind, listen("::", family=socket.AF_INET6))


@ipv6
def test_the_addresses_of_this_host_are_those_of_both_families() -> None:
    found = listening.addresses()
    assert {"127.0.0.1", "::1"} <= set(found)
    assert not [one for one in found if one.startswith("fe80")]


def test_a_listener_on_a_path_conflicts_there(tmp_path: Path) -> None:
    path = tmp_path / "shop.sock"
    assert listening.is_left_over(path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert holders(str(path), 0) == []
        listener.listen()
        assert holders(str(path), 0) == [os.getpid()]
        assert holders(str(tmp_path / "other.sock"), 0) == []
        assert not listening.is_left_over(path)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            assert len(listening.listeners(address.of(str(path), 0))) == 1
        path.unlink()
        # It still listens, where nobody can connect.
        assert holders(str(path), 0) == []
        assert listening.is_left_over(path)


def test_a_path_with_something_else_is_not_free(tmp_path: Path) -> None:
    (tmp_path / "file.sock").touch()
    (tmp_path / "link.sock").symlink_to("nowhere")
    assert not listening.is_left_over(tmp_path / "file.sock")
    assert not listening.is_left_over(tmp_path / "link.sock")


@pytest.mark.parametrize("text", ["gevent:80", "x:99999", "[::1:80"])
def test_nothing_listens_on_a_damaged_address(text: str) -> None:
    assert listening.listeners(address.read(text)) == set()
