"""Writes the states of HAProxy's servers to the file from which the next process reads them."""

import os
import socket
import sys
from pathlib import Path

SOCKET = "/run/haproxy/admin.sock"
FILE = Path("/var/lib/haproxy-flaskops/servers")
TIMEOUT_S = 5


def main() -> None:
    """Ask the running process, and write its answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(TIMEOUT_S)
        connection.connect(SOCKET)
        connection.sendall(b"show servers state\n")
        answer = b""
        while data := connection.recv(65536):
            answer += data
    # The version of the format.
    if not answer.startswith(b"1\n"):
        sys.exit(f"HAProxy answered {answer[:200]!r} to `show servers state`")
    new = FILE.with_suffix(".new")
    with new.open("wb") as file:
        file.write(answer)
        file.flush()
        os.fsync(file.fileno())
    new.replace(FILE)


if __name__ == "__main__":
    main()
