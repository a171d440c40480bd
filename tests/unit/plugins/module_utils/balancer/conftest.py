"""A HAProxy that answers like the real one, at its runtime socket and at that of its master."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.balancer.runtime import Runtime

HEAD = "# pxname,svname,qcur,scur,status,weight,addr,check_status,check_code\n"
BITS = {"ready": 0, "drain": 8, "maint": 1}


class HAProxy:
    """The states that commands read and change.

    Attributes:
        servers: state and status by backend and server.
        sessions: requests of each server.
        old: requests of each server in a process that a reload has left.
        refuses: the answer to every change; empty to obey.
        asked: the commands received.
    """

    def __init__(self) -> None:
        self.servers = {"shop/web1": ["ready", "UP"], "shop/web2": ["ready", "UP"]}
        self.weights = {"shop/web1": 1, "shop/web2": 1}
        self.places = {"shop/web1": "10.0.0.1:80", "shop/web2": "10.0.0.2:80"}
        self.sessions: dict[str, int] = {}
        self.old: dict[str, int] = {}
        self.refuses = ""
        self.asked: list[str] = []

    def answer(self, text: str) -> str:
        """Answer a command, and obey it."""
        self.asked.append(text)
        match text.split():
            case ["show", "proc"]:
                return "#<PID> <type>\n12 master\n# workers\n20 worker\n# old workers\n" + "19 worker\n" * bool(
                    self.old
                )
            case ["@!19", "show", "stat", *_]:
                return HEAD + "".join(
                    f"{name.replace('/', ',')},0,{count},UP,1,,,\n" for name, count in self.old.items()
                )
            case ["@!19", "shutdown", *_]:
                self.old.clear()
            case ["show", "servers", "state"]:
                rows = (
                    f"1 {name.replace('/', ' 1 ')} {self.places[name].split(':')[0]} 2 {BITS[state]} "
                    f"1 1 9 6 3 4 6 0 0 0 - {self.places[name].split(':')[1]} - 0 0 - - 0\n"
                    for name, (state, _) in self.servers.items()
                )
                return "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state ...\n" + "".join(rows)
            case ["show", "stat", *_]:
                rows = (
                    ",".join(map(str, (*name.split("/"), 0, self.sessions.get(name, 0), status, self.weights[name])))
                    + f",{self.places[name]},* L7OK,200\n"
                    for name, (_, status) in self.servers.items()
                )
                return HEAD + "".join(rows)
            case _ if self.refuses:
                return self.refuses + "\n"
            case ["set", "server", name, "state", state]:
                self.servers[name] = [state, {"ready": "UP", "drain": "DRAIN", "maint": "MAINT"}[state]]
            case ["set", "server", name, "health", "down"]:
                self.servers[name][1] = "DOWN"
            case ["set", "server", name, "addr", address, "port", port]:
                self.places[name] = f"{address}:{port}"
                return "port changed by 'stats socket command'\n"
            case ["set", "weight", name, weight]:
                self.weights[name] = int(weight)
            case ["shutdown", "sessions", "server", name]:
                self.sessions.pop(name, None)
        return "\n"


@pytest.fixture
def haproxy(tmp_path: Path) -> Iterator[HAProxy]:
    """A HAProxy that listens below tmp_path."""
    found = HAProxy()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            # The rest is a payload.
            command, _, _ = self.rfile.read().decode().partition("\n")
            self.wfile.write(found.answer(command.strip()).encode())

    servers = [socketserver.ThreadingUnixStreamServer(str(tmp_path / name), Handler) for name in ("admin", "master")]
    for server in servers:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield found
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def runtime(haproxy: HAProxy, tmp_path: Path) -> Runtime:
    """Its runtime API."""
    return Runtime(tmp_path / "admin", tmp_path / "master")
