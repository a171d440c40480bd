import importlib.util
import struct
from pathlib import Path

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.gevent.elf import ElfError, Wants, wants


def elf(libraries: list[str], undefined: list[str], defined: list[str]) -> bytes:
    """Return a 64-bit shared object with only these imports."""
    text = b"\0"
    offsets = {}
    for name in (*libraries, *undefined, *defined):
        offsets[name] = len(text)
        text += name.encode() + b"\0"
    dynamic = b"".join(struct.pack("<qQ", 1, offsets[name]) for name in libraries) + struct.pack("<qQ", 0, 0)
    symbols = struct.pack("<IBBHQQ", 0, 0, 0, 0, 0, 0)
    for index, names in ((0, undefined), (7, defined)):
        symbols += b"".join(struct.pack("<IBBHQQ", offsets[name], 0x12, 0, index, 0, 0) for name in names)
    bodies = [(0, b"", 0), (3, text, 0), (6, dynamic, 1), (11, symbols, 1)]
    place, headers, content = 64 + 64 * len(bodies), b"", b""
    for kind, body, link in bodies:
        headers += struct.pack("<IIQQQQIIQQ", 0, kind, 0, 0, place + len(content), len(body), link, 0, 0, 0)
        content += body
    start = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    start += struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 0, 64, 0, 64, 0, 0, 64, len(bodies), 1)
    return start + headers + content


def test_the_imports_of_a_module_are_read(tmp_path: Path) -> None:
    file = tmp_path / "driver.so"
    file.write_bytes(elf(["libpq.so.5", "libc.so.6"], ["recv", "connect", "PQexec"], ["PyInit_driver", "accept"]))
    found = wants(file)
    assert found == Wants(("libpq.so.5", "libc.so.6"), frozenset({"recv", "connect", "PQexec"}))
    assert found.network() == ["calls connect()", "calls recv()", "is linked to libpq.so.5"]
    # It defines these symbols itself.
    assert Wants(("libc.so.6",), frozenset({"epoll_wait", "recv", "send"})).network() == []


@pytest.mark.parametrize("library", ["libpq-9f8a1c.so.5.16", "libcurl.so.4", "libssl-1b2c.so.3", "libzmq.so.5"])
def test_a_client_is_recognized_by_its_library_also_under_a_wheel_s_name(library: str) -> None:
    assert Wants((library,), frozenset()).network() == [f"is linked to {library}"]


def test_modules_that_compute_or_are_written_in_rust_are_not_network_clients() -> None:
    found = Wants(("libc.so.6", "libm.so.6", "libpqueue.so.1"), frozenset({"poll", "malloc", "read", "pthread_create"}))
    assert found.network() == []


def test_python_s_own_socket_module_is_a_network_client() -> None:
    spec = importlib.util.find_spec("_socket")
    assert spec and spec.origin
    if not spec.origin.endswith(".so"):
        pytest.skip("it is built in here")
    assert "calls connect()" in wants(Path(spec.origin)).network()


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n", b"\x7fELF\x01\x01", b"\x7fELF\x02\x01" + b"\xff" * 80])
def test_a_file_that_is_not_elf_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "broken.so"
    file.write_bytes(content)
    with pytest.raises(ElfError, match=r"broken\.so cannot be read as ELF"):
        wants(file)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "cut.so"
    file.write_bytes(elf(["libpq.so.5"], ["recv"], [])[:-30])
    with pytest.raises(ElfError):
        wants(file)
