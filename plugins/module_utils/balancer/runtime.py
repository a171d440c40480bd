"""HAProxy's runtime API: its commands, sent to the processes that serve."""

from __future__ import annotations

import csv
import socket
from dataclasses import dataclass
from pathlib import Path

_TIMEOUT_S = 10
# Of `show servers state`: what an administrator set (management.txt, "srv_admin_state").
_MAINT, _DRAIN = 0x01, 0x08
# Of `show stat`: all proxies, servers only.
_SERVERS = "show stat -1 4 -1"
# Backends whose servers are no application hosts: one leads a certificate authority to the balancer that renews.
# Through each of the others, a request reaches an application as the only one of its connection.
_INTERNAL = ("acme_challenge", "once:")


class RuntimeAPIError(Exception):
    """HAProxy does not answer, or refuses a command; the message is for the operator."""


@dataclass(frozen=True)
class Server:
    """A server of a backend, as the serving process sees it.

    Args:
        backend: the backend, which is an application.
        name: the server, which is an application host.
        address: its address and port.
        admin: what an administrator wants: ``ready``, ``drain`` or ``maint``.
        status: what HAProxy shows, such as ``UP``, ``DOWN`` or ``DRAIN``.
        weight: its share of the requests.
        sessions: requests that it serves.
        queued: requests that wait for it.
        check: the result of the last health request, such as ``L7OK/200``.
    """

    backend: str
    name: str
    address: str
    admin: str
    status: str
    weight: int
    sessions: int
    queued: int
    check: str

    @property
    def id(self) -> str:
        """The name that commands use."""
        return f"{self.backend}/{self.name}"

    @property
    def up(self) -> bool:
        """Whether it gets requests."""
        return self.admin == "ready" and self.status.startswith("UP")


@dataclass(frozen=True)
class Runtime:
    """The processes of HAProxy on this host.

    Args:
        socket: the socket of the process that serves.
        master: the socket of the master, which reaches processes that only end their connections.
    """

    socket: Path
    master: Path

    def servers(self) -> list[Server]:
        """Return the servers of all applications.

        Raises:
            RuntimeAPIError: HAProxy does not answer.
        """
        admin = {}
        for line in self.ask("show servers state").splitlines():
            fields = line.split()
            if len(fields) > 7 and fields[0].isdigit():
                admin[fields[1], fields[3]] = int(fields[6])
        found = []
        for row in _rows(self.ask(_SERVERS)):
            if row["pxname"].startswith(_INTERNAL):
                continue
            state = admin.get((row["pxname"], row["svname"]), 0)
            found.append(
                Server(
                    backend=row["pxname"],
                    name=row["svname"],
                    address=row["addr"],
                    admin="maint" if state & _MAINT else "drain" if state & _DRAIN else "ready",
                    status=row["status"],
                    weight=int(row["weight"] or 0),
                    sessions=int(row["scur"] or 0),
                    queued=int(row["qcur"] or 0),
                    check="/".join(filter(None, (row["check_status"].strip("* "), row["check_code"]))),
                )
            )
        return found

    def command(self, text: str) -> None:
        """Send a command that answers nothing if it succeeds.

        Args:
            text: the command.

        Raises:
            RuntimeAPIError: HAProxy does not answer, or refuses it.
        """
        if answer := self.ask(text).strip():
            raise RuntimeAPIError(f"HAProxy answers {text!r} with: {answer}")

    def leaving(self) -> list[int]:
        """Return the processes that a reload has left to end their connections.

        Raises:
            RuntimeAPIError: HAProxy does not answer.
        """
        lines = _sent(self.master, "show proc").splitlines()
        begin = next((number for number, line in enumerate(lines) if line.startswith("# old workers")), len(lines))
        words = (line.split() for line in lines[begin + 1 :])
        return [int(fields[0]) for fields in words if len(fields) > 1 and fields[1] == "worker"]

    def sessions_of_leaving(self) -> dict[str, int]:
        """Return the requests of each server that processes left by a reload still serve.

        Raises:
            RuntimeAPIError: the master does not answer.
        """
        found: dict[str, int] = {}
        for pid in self.leaving():
            for row in _rows(_sent(self.master, f"@!{pid} {_SERVERS}")):
                name = f"{row['pxname']}/{row['svname']}"
                found[name] = found.get(name, 0) + int(row["scur"] or 0) + int(row["qcur"] or 0)
        return found

    def cut(self, server: str) -> None:
        """End the requests of a server, in all processes.

        Args:
            server: the backend and the server, as commands name them.

        Raises:
            RuntimeAPIError: HAProxy does not answer.
        """
        text = f"shutdown sessions server {server}"
        self.ask(text)
        for pid in self.leaving():
            _sent(self.master, f"@!{pid} {text}")

    def ask(self, text: str, payload: str = "") -> str:
        """Send a command to the process that serves, and return its answer.

        Args:
            text: the command.
            payload: lines that the command reads, such as a key. No message quotes them.

        Raises:
            RuntimeAPIError: HAProxy does not answer.
        """
        if not payload:
            return _sent(self.socket, text)
        # The first empty line ends it.
        lines = "\n".join(filter(None, map(str.strip, payload.splitlines())))
        return _sent(self.socket, f"{text} <<\n{lines}\n")


def _sent(path: Path, text: str) -> str:
    answer = b""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_TIMEOUT_S)
            connection.connect(str(path))
            connection.sendall(text.encode() + b"\n")
            # The master would wait for further commands.
            connection.shutdown(socket.SHUT_WR)
            while data := connection.recv(65536):
                answer += data
    except OSError as error:
        raise RuntimeAPIError(
            f"HAProxy does not answer at {path}: {error.strerror or error}. Start it with `systemctl start haproxy`, "
            "or run playbooks/load_balancer.yml"
        ) from error
    return answer.decode(errors="replace")


def _rows(answer: str) -> list[dict[str, str]]:
    lines = answer.lstrip("# ").strip().splitlines()
    # A process that has just ended answers nothing.
    return [row for row in csv.DictReader(lines) if row.get("svname")] if len(lines) > 1 else []
