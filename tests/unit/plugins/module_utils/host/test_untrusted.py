"""Obstacles that the service's account can create for root: each read and each request ends within its limit."""

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import untrusted
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.untrusted import UntrustedError


@contextmanager
def bounded(seconds: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


# Files.


def plant_pipe(path: Path) -> None:
    os.mkfifo(path)


def plant_link(path: Path) -> None:
    (path.parent / "secret").write_text("root's own")
    path.symlink_to(path.parent / "secret")


def plant_directory(path: Path) -> None:
    path.mkdir()


def plant_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def plant_much(path: Path) -> None:
    path.write_bytes(b"1" * 65)


def plant_sparse(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(1 << 40)


def plant_nothing(path: Path) -> None:
    assert not path.exists()


def test_a_file_of_another_account_does_not_count_as_root_s(tmp_path: Path) -> None:
    path = tmp_path / "mark"
    path.write_text("us")
    assert untrusted.read(path, owner=os.geteuid()) == untrusted.read(path) == b"us"
    with pytest.raises(UntrustedError, match="belongs to another account"):
        untrusted.read(path, owner=os.geteuid() + 1)


@pytest.mark.parametrize(
    ("plant", "reason"),
    [
        (plant_pipe, "not a regular file"),
        (plant_link, "a symbolic link"),
        (plant_directory, "not a regular file"),
        (plant_socket, "No such device or address"),
        (plant_much, "larger than 64 bytes"),
        (plant_sparse, "larger than 64 bytes"),
        (plant_nothing, "No such file or directory"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@pytest.mark.parametrize("read", [lambda path: untrusted.read(path, 64), untrusted.read_pid], ids=["read", "read_pid"])
def test_another_object_in_place_of_a_file_is_reported(
    short_path: Path, plant: Callable[[Path], None], reason: str, read: Callable[[Path], object]
) -> None:
    path = short_path / "activity.json"
    plant(path)
    with bounded(20), pytest.raises(UntrustedError) as caught:
        read(path)
    assert (caught.value.path, caught.value.reason) == (path, reason)
    assert str(caught.value) == f"{reason} ({path})"


def test_a_file_of_exactly_the_maximum_size_is_read(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x" * 64)
    assert untrusted.read(tmp_path / "x", 64) == b"x" * 64


@pytest.mark.parametrize(("text", "pid"), [("1\n", 1), (" 4194304 ", 1 << 22)])
def test_a_process_id_is_read(tmp_path: Path, text: str, pid: int) -> None:
    (tmp_path / "x.pid").write_text(text)
    assert untrusted.read_pid(tmp_path / "x.pid") == pid


@pytest.mark.parametrize("text", ["", "0", "-1", "4194305", "../../etc", "1 2", "1.0", "1_0", "²", "\xff", "9" * 60])
def test_an_invalid_process_id_is_reported(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.pid").write_bytes(text.encode("latin-1"))
    with pytest.raises(UntrustedError, match="does not contain a process id"):
        untrusted.read_pid(tmp_path / "x.pid")


@pytest.mark.parametrize("value", [True, 1.0, "1", None, 0, -7, 1 << 23, [1]])
def test_only_a_whole_number_can_be_a_process_id(value: object) -> None:
    assert untrusted.process_id(value) is None


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff", b"[" * 200_000, b'{"a":' * 200_000, b"NaN", b"[-Infinity]", b"1" * 5000]
)
def test_invalid_json_is_reported(content: bytes) -> None:
    with pytest.raises(UntrustedError, match=r"^not JSON: .* \(/x\)$"):
        untrusted.document(content, Path("/x"))


# Sockets.


@contextmanager
def serving(path: Path, answer: Callable[[socket.socket], None]) -> Iterator[None]:
    """Answer one connection in a thread."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def serve() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                answer(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield
        thread.join(30)
        assert not thread.is_alive()


def drip(connection: socket.socket) -> None:
    for _ in range(800):
        connection.sendall(b"x")
        time.sleep(0.05)


def test_an_answer_that_arrives_byte_by_byte_ends_at_the_deadline(short_path: Path) -> None:
    path = short_path / "a.stats"
    with serving(path, drip), bounded(20), pytest.raises(UntrustedError, match=r"^timed out after 0\.3 s"):
        untrusted.ask(path, b"", 0.3)


def test_a_request_that_is_not_read_ends_at_the_deadline(short_path: Path) -> None:
    path = short_path / "a.sock"
    with (
        serving(path, lambda connection: time.sleep(2)),
        bounded(20),
        pytest.raises(UntrustedError, match="timed out"),
    ):
        untrusted.ask(path, b"x" * (8 << 20), 0.3)


def test_a_full_queue_ends_at_the_deadline(short_path: Path) -> None:
    path = short_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as server, bounded(20):
        server.bind(str(path))
        server.listen(0)
        waiting = []
        try:
            with pytest.raises(UntrustedError, match="timed out"):
                for _ in range(10):
                    waiting.append(socket.socket(socket.AF_UNIX))
                    waiting[-1].setblocking(False)
                    with suppress(BlockingIOError):
                        waiting[-1].connect(str(path))
                untrusted.connect(path, 0.3)
        finally:
            for one in waiting:
                one.close()


def test_an_endless_answer_is_cut(short_path: Path) -> None:
    def flood(connection: socket.socket) -> None:
        while True:
            connection.sendall(b"x" * 65536)

    path = short_path / "a.stats"
    with serving(path, flood), bounded(50), pytest.raises(UntrustedError, match="a response larger than 1048576 bytes"):
        untrusted.ask(path, b"", 60, most=1 << 20)


def test_reading_stops_once_the_answer_is_sufficient(short_path: Path) -> None:
    path = short_path / "a.sock"
    with serving(path, drip), bounded(20):
        assert untrusted.ask(path, b"GET", 60, enough=lambda answer: len(answer) >= 2) == b"xx"


@pytest.mark.parametrize("plant", [plant_pipe, plant_directory, plant_nothing, lambda path: path.write_text("")])
def test_another_object_in_place_of_a_socket_is_reported(short_path: Path, plant: Callable[[Path], None]) -> None:
    path = short_path / "a.sock"
    plant(path)
    with bounded(20), pytest.raises(UntrustedError, match=r"^(not a socket|No such file or directory) "):
        untrusted.ask(path, b"", 60)
    assert not untrusted.is_socket(path)


def test_a_link_to_another_socket_is_not_followed(short_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as private:
        private.bind(str(short_path / "private"))
        private.listen()
        (short_path / "a.sock").symlink_to(short_path / "private")
        with pytest.raises(UntrustedError, match=r"^not a socket "):
            untrusted.ask(short_path / "a.sock", b"", 60)
        assert not untrusted.is_socket(short_path / "a.sock")
        private.setblocking(False)
        with pytest.raises(BlockingIOError):
            private.accept()


def test_a_socket_without_a_server_is_reported(short_path: Path) -> None:
    plant_socket(short_path / "a.sock")
    with pytest.raises(UntrustedError, match=r"^Connection refused "):
        untrusted.connect(short_path / "a.sock", 5)
    assert untrusted.is_socket(short_path / "a.sock")


def test_a_path_longer_than_a_socket_address_works(tmp_path: Path, short_path: Path) -> None:
    deep = short_path / ("d" * 120)
    deep.mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(short_path / "a"))
        server.listen()
        (short_path / "a").rename(deep / "a")
        untrusted.connect(deep / "a", 5)


def test_json_of_an_instance_is_returned(short_path: Path) -> None:
    path = short_path / "a.stats"
    with serving(path, lambda connection: connection.sendall(json.dumps({"workers": []}).encode())):
        assert untrusted.document(untrusted.ask(path, b"", 5), path) == {"workers": []}
