"""Reads what a compiled module imports, to find out whether it accesses the network itself."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

# Calls that wait for a peer, by their names in the C library. gevent cannot replace a call that compiled code makes.
# poll is left out: everything written in Rust calls it at its start.
_CALLS = {
    "accept", "connect", "epoll_wait", "getaddrinfo", "gethostbyname", "recv", "recvfrom", "recvmsg", "send", "sendmsg",
    "sendto",
}  # fmt: skip
_PEERS = {"accept", "connect", "gethostbyname", "sendto"}
# Client libraries, by name; auditwheel adds a hash to it.
_CLIENTS = re.compile(
    r"lib(pq|mysqlclient|mariadb|curl|ssl|zmq|rdkafka|memcached|odbc|ldap|ldap_r|gssapi_krb5|krb5|hiredis|mongoc"
    r"|cassandra|clntsh|db2|sybdb|ssh2?|nghttp2|grpc)\b|lib(pq|mysqlclient|curl|zmq|rdkafka)[-.]"
)

# The ELF format: System V ABI, chapters 4 and 5 (elf(5)).
_DYNAMIC, _DYNSYM = 6, 11
_DT_NEEDED = 1
_UNDEFINED = 0
# A section's header. No known module has more symbols than these, or longer names.
_HEADER = 64
_MOST_ENTRIES = 1_000_000
_LONGEST_NAME = 256


class ElfError(ValueError):
    """The file is not a readable 64-bit ELF file."""


@dataclass(frozen=True)
class Wants:
    """What a compiled module imports.

    Args:
        libraries: the shared libraries that it is linked to (DT_NEEDED).
        symbols: its undefined dynamic symbols.
    """

    libraries: tuple[str, ...]
    symbols: frozenset[str]

    def network(self) -> list[str]:
        """Return the signs that it accesses the network itself, if any."""
        # Without one of these it has no peer: code that waits for its own threads or files calls some of the others.
        calls = sorted(self.symbols & _CALLS) if self.symbols & _PEERS else []
        clients = [name for name in self.libraries if _CLIENTS.match(name)]
        return [*(f"calls {name}()" for name in calls), *(f"is linked to {name}" for name in clients)]


def wants(path: Path) -> Wants:
    """Read a shared object.

    Args:
        path: the file.

    Raises:
        ElfError: it is not a 64-bit ELF file, or it is damaged.
        OSError: it cannot be read.
    """
    data = path.read_bytes()
    try:
        return _wants(data)
    except (struct.error, IndexError, ValueError, OverflowError) as error:
        raise ElfError(f"{path} cannot be read as ELF: {error}") from error


def _wants(data: bytes) -> Wants:
    if data[:5] != b"\x7fELF\x02":
        raise ElfError("not a 64-bit ELF file")
    order = "<" if data[5] == 1 else ">"
    sections = list(_sections(data, order))
    # A module has one of each (chapter 4). If it has more, the last counts, so that no file takes forever.
    tables = {kind: (offset, size, link) for kind, offset, size, link in sections if link < len(sections)}
    found: dict[int, list[tuple[Any, ...]]] = {}
    texts: dict[int, bytes] = {}
    for kind, layout in ((_DYNAMIC, f"{order}qQ"), (_DYNSYM, f"{order}IBBHQQ")):
        offset, size, link = tables.get(kind, (0, 0, 0))
        texts[kind] = data[sections[link][1] : sections[link][1] + sections[link][2]] if sections else b""
        found[kind] = list(islice(struct.iter_unpack(layout, data[offset : offset + size]), _MOST_ENTRIES))
    libraries = (_name(texts[_DYNAMIC], value) for tag, value in found[_DYNAMIC] if tag == _DT_NEEDED)
    undefined = {entry[0] for entry in found[_DYNSYM] if entry[3] == _UNDEFINED and entry[0]}
    return Wants(tuple(libraries), frozenset(_name(texts[_DYNSYM], place) for place in undefined))


def _sections(data: bytes, order: str) -> Iterator[tuple[int, int, int, int]]:
    """Yield type, offset, size and link of each section."""
    (table,) = struct.unpack_from(f"{order}Q", data, 40)
    size, count = struct.unpack_from(f"{order}HH", data, 58)
    if count and size < _HEADER:
        raise ElfError("its section headers overlap")
    for number in range(count):
        header = struct.unpack_from(f"{order}IIQQQQIIQQ", data, table + number * size)
        yield header[1], header[4], header[5], header[6]


def _name(text: bytes, offset: int) -> str:
    if offset >= len(text):
        raise ElfError("a name lies outside its table")
    return text[offset : offset + _LONGEST_NAME].partition(b"\0")[0].decode(errors="replace")
