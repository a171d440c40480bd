"""Load balancers whose certificate comes from an authority, as their visitors and their operator see them."""

from __future__ import annotations

import json
import os
import socket
import ssl
import threading
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509

from tests.support.edge import ASK, SHOP

RENEWAL = "haproxy-flaskops-renew.service"
HOME = "/var/lib/haproxy-flaskops"
CERTIFICATES = "/etc/haproxy/flaskops/certificates"


class Authority:
    """The certificate authority, and the DNS server that it asks."""

    def __init__(self, host: Any, address: str) -> None:
        self.host = host
        self.address = address

    @property
    def root(self) -> str:
        """The certificate of the authority, which a visitor trusts."""
        # Its own API has a certificate of another kind.
        context = ssl._create_unverified_context()
        url = f"https://{self.address}:15000/roots/0"
        with urllib.request.urlopen(url, context=context, timeout=10) as answer:
            return str(answer.read().decode())

    @contextmanager
    def down(self) -> Iterator[None]:
        """Let nobody reach it."""
        self.host.check_output("systemctl stop way.socket way.service")
        try:
            yield
        finally:
            self.host.check_output("systemctl start way.socket")

    @contextmanager
    def elsewhere(self, *names: str, at: str = "") -> Iterator[None]:
        """Let names lead to an address; without one, to where no balancer is."""
        for name in names:
            self._dns("add-a", {"host": name, "addresses": [at or self.address]})
        try:
            yield
        finally:
            for name in names:
                self._dns("clear-a", {"host": name})

    def _dns(self, what: str, values: Mapping[str, Any]) -> None:
        urllib.request.urlopen(f"http://{self.address}:8055/{what}", json.dumps(values).encode(), timeout=10).close()


class Balancers:
    """All balancers of the scenario.

    Args:
        host: any host of the scenario.
    """

    def __init__(self, host: Any) -> None:
        inventory = os.environ["SANDBOX_INVENTORY"]
        groups = yaml.safe_load(Path(inventory).read_text())["all"]["children"]

        def reach(name: str) -> Any:
            return host.get_host(f"ansible://{name}", ansible_inventory=inventory, sudo=True)

        ((build, found),) = groups["build"]["hosts"].items()
        self.authority = Authority(reach(build), found["ansible_host"])
        self.addresses = {name: one["ansible_host"] for name, one in groups["load_balancer"]["hosts"].items()}
        self.hosts = {name: reach(name) for name in self.addresses}
        self.trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.trusting.load_verify_locations(cadata=self.authority.root)

    def ask(self, command: str) -> dict[str, str]:
        """Run a command on all balancers at the same time."""
        with ThreadPoolExecutor() as pool:
            asked = {name: pool.submit(host.check_output, command) for name, host in self.hosts.items()}
            return {name: str(one.result()) for name, one in asked.items()}

    def renew(self) -> dict[str, int]:
        """Renew the certificates of all balancers at the same time, and return the exit codes."""
        done = self.ask(f"touch {HOME}/acme/renew-now; systemctl start {RENEWAL} 2>/dev/null; echo $?")
        return {name: int(code) for name, code in done.items()}

    @contextmanager
    def full(self, name: str) -> Iterator[None]:
        """Let a balancer have no room for another certificate."""
        small = f"cp -a {CERTIFICATES} /tmp/kept && mount -t tmpfs -o size=32k,mode=0700 tmpfs {CERTIFICATES}"
        fill = f"cp -a /tmp/kept/* {CERTIFICATES} && ! cat /dev/zero > {CERTIFICATES}/full"
        self.hosts[name].check_output(f"{small} && {fill}")
        try:
            yield
        finally:
            self.hosts[name].check_output(f"umount {CERTIFICATES}; rm -r /tmp/kept")

    def said(self, name: str) -> str:
        """Return what the last renewal of a balancer has said."""
        return str(self.hosts[name].check_output(f"journalctl --unit {RENEWAL} --output cat --no-pager --lines 8"))

    @property
    def serials(self) -> dict[str, int]:
        """The serial numbers that visitors get, from an authority that they trust."""
        return {name: self.certificate(name).serial_number for name in self.addresses}

    def certificate(self, balancer: str, name: str = SHOP, *, trusted: bool = True) -> x509.Certificate:
        """Return the certificate that a visitor of a name gets.

        Args:
            balancer: the balancer that the visitor reaches.
            name: the name that the visitor asks for.
            trusted: whether the visitor refuses those that are not from the authority, or not for the name.
        """
        context = self.trusting
        if not trusted:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        address = (self.addresses[balancer], 443)
        with (
            socket.create_connection(address, timeout=10) as plain,
            context.wrap_socket(plain, server_hostname=name) as connection,
        ):
            return x509.load_der_x509_certificate(connection.getpeercert(binary_form=True) or b"")

    @property
    def processes(self) -> dict[str, str]:
        """The processes of HAProxy that serve: a reload would start others."""
        ask = f"python3 -c '{ASK}' 'show info' | grep ^Pid; systemctl show haproxy --property MainPID"
        return self.ask(ask)

    @property
    def secrets(self) -> Sequence[str]:
        """Lines of the keys that the balancers have."""
        found = self.ask(f"sed -n '/BEGIN .*PRIVATE/,/END/{{//!p}}' {CERTIFICATES}/*.pem")
        return [line for text in found.values() for line in text.splitlines()]

    @contextmanager
    def visitors(self) -> Iterator[Counter[str]]:
        """Have visitors connect to all balancers again and again; yield how often each outcome was seen."""
        seen: Counter[str] = Counter()
        ended, lock = threading.Event(), threading.Lock()

        def visit(balancer: str) -> None:
            while not ended.wait(0.02):
                try:
                    self.certificate(balancer)
                    outcome = "ok"
                except OSError as error:
                    outcome = f"{balancer}: {error}"
                with lock:
                    seen[outcome] += 1

        threads = [threading.Thread(target=visit, args=(name,)) for name in self.addresses for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            yield seen
        finally:
            ended.set()
            for thread in threads:
                thread.join()
