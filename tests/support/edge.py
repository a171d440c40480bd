"""A load balancer, the application hosts behind it, and their visitors."""

from __future__ import annotations

import csv
import http.client
import json
import os
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.support.service import wait

SHOP, PLAIN = "shop.example.org", "plain.example.org"
# Configures the balancer that the visitors ask, and leaves the other one as it is, for speed.
ONE = ("--limit", "flask,mol-edge-balancer")
ASK = """
import socket, sys
with socket.socket(socket.AF_UNIX) as runtime:
    runtime.connect("/run/haproxy/admin.sock")
    runtime.sendall(sys.argv[1].encode() + b"\\n")
    while data := runtime.recv(65536):
        sys.stdout.write(data.decode())
"""


@dataclass
class Seen:
    """What visitors have seen: the number of requests with each outcome, and the orders that were confirmed."""

    outcomes: Counter[str] = field(default_factory=Counter)
    confirmed: list[str] = field(default_factory=list)


class Site:
    """The site as visitors and its operator see it."""

    def __init__(self, host: Any) -> None:
        self.balancer = host
        groups = yaml.safe_load(Path(os.environ["SANDBOX_INVENTORY"]).read_text())["all"]["children"]
        self.address = next(iter(groups["load_balancer"]["hosts"].values()))["ansible_host"]
        inventory = os.environ["SANDBOX_INVENTORY"]
        self.balancers = {
            name: host.get_host(f"ansible://{name}", ansible_inventory=inventory, sudo=True)
            for name in groups["load_balancer"]["hosts"]
        }
        self.hosts = {
            name: host.get_host(f"ansible://{name}", ansible_inventory=inventory, sudo=True)
            for name in groups["flask"]["hosts"]
        }
        self.addresses = {name: one["ansible_host"] for name, one in groups["flask"]["hosts"].items()}

    def request(
        self,
        method: str,
        path: str,
        name: str = SHOP,
        *,
        tls: bool = True,
        headers: dict[str, str] | None = None,
        timeout: float = 30,
    ) -> http.client.HTTPResponse:
        """Send a request, as a browser that knows the name, and return the response with its body as ``text``."""
        connection = http.client.HTTPConnection(name, timeout=timeout)
        connection.sock = socket.create_connection((self.address, 443 if tls else 80), timeout=timeout)
        if tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            connection.sock = context.wrap_socket(connection.sock, server_hostname=name)
        connection.request(method, path, headers=headers or {})
        response = connection.getresponse()
        response.text = response.read().decode()  # type: ignore[attr-defined]
        connection.close()
        return response

    def where(self, **headers: str) -> dict[str, Any]:
        """Return what the application knows of a request."""
        response = self.request(
            "GET", "/where", headers={key.replace("_", "-"): value for key, value in headers.items()}
        )
        assert response.status == 200
        found: dict[str, Any] = json.loads(response.text)  # type: ignore[attr-defined]
        return found

    def runtime(self, command: str) -> str:
        """Send a command to HAProxy's runtime socket."""
        return str(self.balancer.check_output("python3 -c %s %s", ASK, command)).strip()

    def having(self, address: str) -> list[str]:
        """Return the balancers that have an address that they share."""
        ask = f"ip -o address show | grep -c ' {address}/'"
        return [name for name, host in self.balancers.items() if host.run(ask).stdout.strip() == "1"]

    def state(self, server: str) -> str:
        """Return the status of a server, as HAProxy shows it."""
        return self.row(server)["status"]

    def row(self, server: str) -> dict[str, str]:
        """Return what HAProxy shows of a server."""
        rows = csv.DictReader(self.runtime("show stat").removeprefix("# ").splitlines())
        (found,) = (row for row in rows if (row["pxname"], row["svname"]) == ("flask", server))
        return found

    def done(self) -> Counter[str]:
        """Return how often each order was executed, on whatever host."""
        lines = "\n".join(host.check_output("cat /var/lib/edge/done || true") for host in self.hosts.values())
        return Counter(lines.split())

    @contextmanager
    def held(self, name: str, seconds: int = 20) -> Iterator[Callable[[], bool]]:
        """Hold requests on all hosts, one of which is named; yield whether some of them were cut."""
        with ThreadPoolExecutor() as pool:
            asked = [pool.submit(self.request, "GET", f"/hold/{seconds}") for _ in range(2 * len(self.hosts))]
            wait(lambda: int(self.row(name)["scur"]) > 0, "requests on the host")
            yield lambda: any(one.done() for one in asked)

    @contextmanager
    def visitors(self, count: int = 8) -> Iterator[Seen]:
        """Have visitors send requests, of which every second one is an order."""
        seen, ended, lock = Seen(), threading.Event(), threading.Lock()

        def visit(visitor: int) -> None:
            turn = 0
            while not ended.is_set():
                turn += 1
                number = f"{os.getpid()}-{time.monotonic_ns()}-{visitor}"
                order = turn % 2 == 0
                try:
                    response = self.request("POST" if order else "GET", f"/orders/{number}" if order else "/where")
                    outcome = str(response.status)
                except OSError as error:
                    outcome = type(error).__name__
                except http.client.HTTPException as error:
                    outcome = type(error).__name__
                with lock:
                    seen.outcomes[f"{'POST' if order else 'GET'} {outcome}"] += 1
                    if order and outcome == "200":
                        seen.confirmed.append(number)

        threads = [threading.Thread(target=visit, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        try:
            time.sleep(0.5)
            yield seen
            time.sleep(0.5)
        finally:
            ended.set()
            for thread in threads:
                thread.join()
