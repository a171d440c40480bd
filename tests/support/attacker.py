"""Attacks a host as an account that is not root, to harm operations that follow.

``python3 attacker.py KIND [ARGUMENT ...]``. The kinds that plant files continue until SIGTERM, unless ``--once`` is
given: directories that appear meanwhile are attacked as well. It only needs the standard library.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import itertools
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

# How often planted files are checked, and the pause between the bytes of a drip.
STEP_S = 0.02
DRIP_S = 1.0


def folders() -> Iterator[Path]:
    """Return the directories below /run that this account owns, except its login's."""
    uid = os.geteuid()
    for folder, names, _ in os.walk("/run"):
        names[:] = [name for name in names if name not in ("systemd", "user", "udev", "log", "lock")]
        with contextlib.suppress(OSError):
            if Path(folder).stat().st_uid == uid:
                yield Path(folder)


def names(folder: Path, app: str) -> set[str]:
    """Return the names that an instance or the product uses in such a directory, with their temporary names."""
    generations = {path.name for path in Path(f"/opt/{app}/generations").glob("[!.]*")}
    generations |= {path.stem for path in folder.iterdir() if path.suffix in (".pid", ".sock", ".stats")}
    generations |= {folder.name} if folder.parent.name == app else set()
    own = {f"{name}.{suffix}" for name in generations - {app} for suffix in ("pid", "sock", "stats", "partial")}
    return own | {f"{app}.pid", f".{app}.pid.partial", ".new"} | {f".{name}.partial" for name in own}


def clear(path: Path) -> None:
    """Remove whatever has this name."""
    with contextlib.suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def fifo(path: Path) -> None:
    """Create a FIFO without a writer."""
    os.mkfifo(path)


def directory(path: Path) -> None:
    """Create a directory that is not empty."""
    path.mkdir()
    (path / "in the way").touch()


def link_to(target: str) -> Callable[[Path], None]:
    """Return a function that creates a link to another account's file."""
    return lambda path: path.symlink_to(target)


def text(content: bytes) -> Callable[[Path], None]:
    """Return a function that writes a file."""

    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


def serve(answer: Callable[[socket.socket], None]) -> Callable[[Path], None]:
    """Return a function that listens on a UNIX socket and answers every client."""

    def listen(path: Path) -> None:
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(path))
        server.listen(64)

        def accept() -> None:
            while True:
                client, _ = server.accept()
                threading.Thread(target=talk, args=(client,), daemon=True).start()

        def talk(client: socket.socket) -> None:
            with client, contextlib.suppress(OSError):
                answer(client)

        threading.Thread(target=accept, daemon=True).start()

    return listen


def drip(client: socket.socket) -> None:
    """Send the bytes of a good answer one by one, with pauses, forever."""
    for byte in b"HTTP/1.1 200 OK\r\nX-Drip: " + b"x" * 100_000:
        client.sendall(bytes((byte,)))
        time.sleep(DRIP_S)


def silent(client: socket.socket) -> None:
    """Send nothing, forever."""
    time.sleep(3600)


def in_turn(answers: tuple[bytes, ...]) -> Callable[[socket.socket], None]:
    """Return a function that gives each client the next of several answers."""
    turns = itertools.cycle(answers)
    return lambda client: client.sendall(next(turns))


EVERYWHERE = ("",)  # The end of every name.
SOCKETS = (".stats", ".sock")
STATS = (".stats",)
PIDS = (".pid",)
# Answers that a stats server would never give, or only a broken one.
NONSENSE = (
    b'{"workers": 1}',
    b"",
    b"{}",
    b"[]",
    b'{"workers": [{"pid": "../x", "status": 7, "respawn_count": "many"}]}',
    b"[" * 200_000,
    b'{"workers": [{"pid": ' + b"9" * 100_000 + b"}]}",
    b"\xff\xfe\x00",
    b'{"workers": [' + b"1," * (50 << 20),
)

# Kind → the names at which to plant, and what to plant.
PLANTS: dict[str, tuple[tuple[str, ...], Callable[[Path], None]]] = {
    "fifo": (EVERYWHERE, fifo),
    "directory": (EVERYWHERE, directory),
    "link": (EVERYWHERE, link_to("/etc/hostile-canary")),
    "dangling": (EVERYWHERE, link_to("/etc/hostile-new")),
    "endless": (EVERYWHERE, link_to("/dev/zero")),
    "drip": (SOCKETS, serve(drip)),
    "silent": (SOCKETS, serve(silent)),
    "nonsense": (STATS, serve(in_turn(NONSENSE))),
    "pid 1": (PIDS, text(b"1\n")),
}


def plant(kind: str, app: str, once: bool) -> None:
    """Plant something at every name, and restore it until SIGTERM."""
    suffixes, make = PLANTS[kind]
    mine: dict[Path, int] = {}
    while True:
        for folder in folders():
            # What appears or vanishes meanwhile is handled in the next round.
            with contextlib.suppress(OSError):
                for name in names(folder, app):
                    path = folder / name
                    if not name.endswith(suffixes) or (name.startswith(".") and suffixes != EVERYWHERE):
                        continue
                    if mine.get(path) != inode(path):
                        clear(path)
                        with contextlib.suppress(OSError):
                            make(path)
                            mine[path] = inode(path)
        if once:
            print(f"planted {len(mine)}", flush=True)
            if suffixes in (SOCKETS, STATS):
                signal.pause()
            return
        time.sleep(STEP_S)


def inode(path: Path) -> int:
    """Return the identity of a file, 0 if it is missing."""
    try:
        return path.lstat().st_ino
    except OSError:
        return 0


def hold(path: str) -> None:
    """Hold a shared lock on a file, which only needs read access."""
    with open(path) as file:  # noqa: PTH123
        fcntl.flock(file, fcntl.LOCK_SH)
        print("held", flush=True)
        signal.pause()


def main() -> None:
    """Run the attack that the command line names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=(*PLANTS, "hold"))
    parser.add_argument("argument")
    parser.add_argument("--once", action="store_true")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if options.kind == "hold":
        hold(options.argument)
    else:
        plant(options.kind, options.argument, options.once)


if __name__ == "__main__":
    main()
