"""Reads of a compiled module what it wants of others: enough to tell whether it talks to the network by itself."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# What waits for a peer, by its name in the C library. gevent cannot replace a call that compiled code makes. Not poll:
# all that is written in Rust calls it, when it starts.
_CALLS = {
    "accept", "connect", "epoll_wait", "getaddrinfo", "gethostbyname", "recv", "recvfrom", "recvmsg", "send", "sendmsg",
    "sendto",
}  # fmt: skip
# Clients of servers, by the name of their library; auditwheel adds a hash to it.
_CLIENTS = re.compile(
    r"lib(pq|mysqlclient|mariadb|curl|ssl|zmq|rdkafka|memcached|odbc|ldap|ldap_r|gssapi_krb5|krb5|hiredis|mongoc"
    r"|cassandra|clntsh|db2|sybdb|ssh2?|nghttp2|grpc)\b|lib(pq|mysqlclient|curl|zmq|rdkafka)[-.]"
)

# The ELF format: System V ABI, chapters 4 and 5 (elf(5)).
_DYNAMIC, _DYNSYM = 6, 11
_DT_NEEDED = 1
_MOST_TABLES = 4
# Bytes; a mangled name of C++ can have thousands.
_MOST_NAME = 1 << 16
_UNDEFINED = 0


class ElfError(ValueError):
    """The file is no ELF file of 64 bits that can be read."""


@dataclass(frozen=True)
class Wants:
    """What a compiled module wants of others.

    Args:
        libraries: the shared libraries it names (DT_NEEDED).
        symbols: the dynamic symbols it leaves undefined.
    """

    libraries: tuple[str, ...]
    symbols: frozenset[str]

    def network(self) -> list[str]:
        """Return the reasons to believe that it talks to the network by itself; none where there are none."""
        calls = sorted(self.symbols & _CALLS)
        clients = [name for name in self.libraries if _CLIENTS.match(name)]
        return [*(f"calls {name}()" for name in calls), *(f"is linked to {name}" for name in clients)]


def wants(path: Path) -> Wants:
    """Read a shared object.

    Args:
        path: the file.

    Raises:
        ElfError: it is no ELF file of 64 bits, or a broken one.
        OSError: it cannot be read.
    """
    data = path.read_bytes()
    try:
        return _wants(data)
    except (struct.error, IndexError, ValueError, OverflowError) as error:
        raise ElfError(f"{path} cannot be read as ELF: {error}") from error


def _wants(data: bytes) -> Wants:
    if data[:5] != b"\x7fELF\x02":
        raise ElfError("no ELF file of 64 bits")
    order = "<" if data[5] == 1 else ">"
    sections = list(_sections(data, order))
    # A module has one of each; many that overlap would take for ever.
    if sum(kind in (_DYNAMIC, _DYNSYM) for kind, *_ in sections) > _MOST_TABLES:
        raise ElfError("too many tables")
    libraries: list[str] = []
    symbols: set[str] = set()
    for kind, offset, size, link in sections:
        if kind not in (_DYNAMIC, _DYNSYM) or link >= len(sections):
            continue
        text = data[sections[link][1] : sections[link][1] + sections[link][2]]
        body = data[offset : offset + size]
        if kind == _DYNAMIC:
            entries = struct.iter_unpack(f"{order}qQ", body)
            libraries += [_name(text, value) for tag, value in entries if tag == _DT_NEEDED]
        else:
            entries = struct.iter_unpack(f"{order}IBBHQQ", body)
            symbols |= {_name(text, entry[0]) for entry in entries if entry[3] == _UNDEFINED and entry[0]}
    return Wants(tuple(libraries), frozenset(symbols))


def _sections(data: bytes, order: str) -> Iterator[tuple[int, int, int, int]]:
    """Yield type, offset, size and link of each section."""
    (table,) = struct.unpack_from(f"{order}Q", data, 40)
    size, count = struct.unpack_from(f"{order}HH", data, 58)
    for number in range(count):
        header = struct.unpack_from(f"{order}IIQQQQIIQQ", data, table + number * size)
        yield header[1], header[4], header[5], header[6]


def _name(text: bytes, offset: int) -> str:
    return text[offset : text.index(b"\0", offset, offset + _MOST_NAME)].decode(errors="replace")
