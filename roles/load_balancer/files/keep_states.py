"""Writes the states of HAProxy's servers to the file from which the next process reads them."""

import os
import socket
import sys
from pathlib import Path

TIMEOUT_S = 5


def main(runtime: str, file: Path) -> None:
    """Ask the running process at its runtime socket, and write its answer to a file."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(TIMEOUT_S)
        connection.connect(runtime)
        connection.sendall(b"show servers state\n")
        answer = b""
        while data := connection.recv(65536):
            answer += data
    # The version of the format.
    if not answer.startswith(b"1\n"):
        sys.exit(f"HAProxy answered {answer[:200]!r} to `show servers state`")
    new = file.with_suffix(".new")
    with new.open("wb") as stream:
        stream.write(answer)
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(file)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
