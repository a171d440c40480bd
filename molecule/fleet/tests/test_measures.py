"""What 200 visitors of a fleet see of each event: the table of docs/OPERATIONS.md, with what must hold."""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import pytest
import yaml

from tests.support import ROOT, console
from tests.support.acme import Balancers
from tests.support.edge import SHOP, Site
from tests.support.playbook import PLAIN
from tests.support.service import wait
from tests.support.witness import Report, Witness
from tests.support.witness.samples import Sample

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]
CLIENTS = 200
CONFIGURATION = "/etc/haproxy/haproxy.cfg"
# Holds as many connections without a complete request, a byte a second each.
SLOW = """
import socket, sys, time
address, count, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
opened, cut, until = [], 0, time.monotonic() + seconds
while time.monotonic() < until:
    while len(opened) < count:
        one = socket.create_connection((address, 80), timeout=10)
        one.send(b"GET / HTTP/1.1\\r\\nX: ")
        one.setblocking(False)
        opened.append(one)
    for one in list(opened):
        try:
            one.send(b"a")
        except OSError:
            cut += 1
            opened.remove(one)
            one.close()
    time.sleep(1)
print(cut)
"""


@dataclass
class Measure:
    """A row of the table.

    Attributes:
        event: what happened.
        must: what must hold.
        requests: how many began meanwhile.
        failed: the failed ones, by kind.
        failed_gets: how many of them were GETs.
        lost: the orders that were confirmed, but not executed.
        twice: the orders that were executed more than once, meanwhile.
        longest_gap_s: the longest time without an answer.
        before_p99_ms: the 99th percentile before it.
        p99_ms: the 99th percentile meanwhile.
        max_ms: the longest time to an answer meanwhile.
        seconds: how long it took.
        noted: what else was measured.
    """

    event: str
    must: str
    requests: int
    failed: dict[str, int]
    failed_gets: int
    lost: int
    twice: int
    longest_gap_s: float
    before_p99_ms: float | None
    p99_ms: float | None
    max_ms: float | None
    seconds: float
    noted: str = ""


@dataclass
class Event:
    """What visitors see while something happens; complete after its block."""

    noted: list[str] = field(default_factory=list)
    report: Report | None = None
    failures: Sequence[Sample] = ()
    row: Measure | None = None

    def unnoticed(self) -> None:
        """Assert that no visitor noticed it."""
        assert self.report and self.row
        assert not self.report.failures, self.report.examples
        assert (self.row.lost, self.row.twice) == (0, 0)

    def cost_orders_begun_before(self, end: float) -> None:
        """Assert that it cost no more than orders in flight, whose visitors got an answer."""
        assert self.report and self.row
        assert self.row.failed_gets == 0 and (self.row.lost, self.row.twice) == (0, 0), self.report.examples
        assert all(one.begun < end for one in self.failures), [one.text for one in self.failures]
        # Without an answer, a browser would send the order again.
        assert set(self.report.failures) <= {"status"}, self.report.examples


@pytest.fixture(scope="module")
def site(host: Any) -> Site:
    """The site."""
    return Site(host)


@pytest.fixture(scope="module")
def balancers(host: Any) -> Balancers:
    """The balancers and their authority."""
    return Balancers(host)


@pytest.fixture(scope="module")
def witness(site: Site) -> Iterator[Witness]:
    """The visitors, half of them over HTTP/2; every second request is an order."""
    with Witness(f"https://{site.address}", clients=CLIENTS, shop=SHOP, path="/where") as running:
        yield running


@pytest.fixture(scope="module")
def measures(publish: Callable[..., None]) -> Iterator[list[Measure]]:
    """The rows, written at the end."""
    rows: list[Measure] = []
    yield rows
    publish("fleet", clients=CLIENTS, measures=[asdict(row) for row in rows])


@pytest.fixture
def event(site: Site, witness: Witness, measures: list[Measure]) -> Callable[..., Any]:
    """Measure what visitors see while a block runs: event(NAME, MUST)."""

    @contextmanager
    def run(name: str, must: str, by: Witness | None = None) -> Iterator[Event]:
        seen, running = Event(), by or witness
        before = site.done()
        with running.window(name, steady=5, after=3) as window:
            yield seen
        report = seen.report = window.report()
        samples = running.samples_before(time.monotonic())
        seen.failures = [one for one in samples if one.failure and one.ended >= window.start]
        done = site.done()
        confirmed = [one.text for one in samples if one.served_by and one.text]
        seen.row = Measure(
            name,
            must,
            report.requests,
            report.failures,
            sum(one.text.startswith("GET") for one in seen.failures),
            sum(not done[order] for order in confirmed),
            sum(times > 1 >= before[order] for order, times in done.items()),
            report.longest_gap_s,
            report.before.p99_ms,
            report.during.p99_ms,
            report.during.max_ms,
            report.seconds,
            "; ".join(seen.noted),
        )
        print(report.describe(), seen.noted)
        if name:
            measures.append(seen.row)
        assert set(report.answered) == {"HTTP/1.1", "HTTP/2"}

    return run


@pytest.fixture
def run(play: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., str]:
    """Run a playbook that must succeed, and return its output."""

    def run(playbook: str, *arguments: str) -> str:
        done = play(playbook, *arguments)
        assert done.returncode == 0, done.stdout
        return done.stdout

    return run


def orders(site: Site, name: str) -> int:
    """Return how many orders a host has executed."""
    return int(site.hosts[name].check_output("cat /var/lib/edge/done 2>/dev/null | wc -l"))


NOTHING = "0 failed, 0 twice"


@pytest.mark.parametrize(
    ("name", "playbook", "arguments"),
    [
        ("rolling deploy", "deploy", ["-e", json.dumps({"flask_uwsgi_environment": {"CHANGED": "yes"}})]),
        ("rollback", "rollback", []),
        ("mode switch", "deploy", ["-e", "mode=threads"]),
        ("mode switch back", "deploy", ["-e", "mode=gevent"]),
        ("restart", "restart", []),
    ],
)
def test_operations_over_three_hosts(
    event: Any, run: Callable[..., str], name: str, playbook: str, arguments: list[str]
) -> None:
    with event(f"{name} over 3 hosts", NOTHING) as seen:
        assert not re.search(r"changed=0 .*\n.*changed=0", run(playbook, *arguments))
    seen.unnoticed()


def test_a_host_is_drained_and_rebooted(site: Site, event: Any, run: Callable[..., str]) -> None:
    first = next(iter(site.hosts))
    with event("host drained, rebooted, back", f"{NOTHING}, none reaches it while drained") as seen:
        run("drain", "--limit", first)
        before = orders(site, first)
        console.power("reboot", first)
        wait(lambda: site.row(first)["check_status"] != "L7OK", "the loss noticed")
        wait(lambda: site.row(first)["check_status"] == "L7OK", "the application", 90)
        assert orders(site, first) == before
        run("undrain", "--limit", first)
        wait(lambda: orders(site, first) > before, "orders on the host")
        seen.noted.append("0 requests reached it while drained")
    seen.unnoticed()


def test_reloads(site: Site, event: Any, run: Callable[..., str]) -> None:
    first = next(iter(site.hosts))
    run("drain", "--limit", first)
    before = orders(site, first)
    with event("balancer reloaded 20 times, a host drained", f"{NOTHING}, the drained host gets none") as seen:
        for _ in range(20):
            site.balancer.check_output("systemctl reload haproxy")
            assert site.state(first).startswith("DRAIN")
            time.sleep(0.5)
        seen.noted.append(f"the drained host got {orders(site, first) - before}")
    assert orders(site, first) == before
    run("undrain", "--limit", first)
    seen.unnoticed()


def test_haproxy_is_upgraded(site: Site, event: Any, run: Callable[..., str]) -> None:
    site.balancer.check_output("sed -i '/^Package: haproxy$/,/^$/s/^Version: .*/&~/' /var/lib/dpkg/status")
    with event("HAProxy upgraded by the role", NOTHING) as seen:
        run("load_balancer", "-e", "load_balancer_upgrade=true")
    seen.unnoticed()


def test_certificates_are_renewed(event: Any, balancers: Balancers) -> None:
    before, processes, longest = balancers.serials, balancers.processes, 0.0
    with (
        event("certificate renewed 10 times", "0 failed handshakes, served within 5 s, same process") as seen,
        balancers.visitors() as handshakes,
    ):
        for _ in range(10):
            assert set(balancers.renew().values()) == {0}
            ended, old = time.monotonic(), before
            wait(lambda old=old: all(balancers.serials[name] != old[name] for name in old), "the new ones", 5)
            longest, before = max(longest, time.monotonic() - ended), balancers.serials
        seen.noted.append(f"{handshakes['ok']:,} handshakes beside them; served {longest:.1f} s after at most")
    assert set(handshakes) == {"ok"} and balancers.processes == processes
    seen.unnoticed()


@pytest.mark.parametrize("reason", ["authority down", "DNS wrong", "disk full"])
def test_a_renewal_fails(event: Any, balancers: Balancers, reason: str) -> None:
    before = balancers.serials
    wrong = {
        "authority down": balancers.authority.down(),
        "DNS wrong": balancers.authority.elsewhere(SHOP),
        "disk full": balancers.full("mol-fleet-balancer"),
    }
    with event(f"renewal fails: {reason}", "the old one is served, exit status 1") as seen, wrong[reason]:
        code = balancers.renew()["mol-fleet-balancer"]
        seen.noted.append(f"exit status {code}")
    assert code == 1 and balancers.serials["mol-fleet-balancer"] == before["mol-fleet-balancer"]
    balancers.ask("systemctl start haproxy-flaskops-renew.service")
    seen.unnoticed()


def test_the_master_is_killed_on_one_host(site: Site, event: Any) -> None:
    first = next(iter(site.hosts))
    wait(lambda: site.state(first) == "UP", "the host up")
    with event(
        "kill -9 of the application's master on one host", "0 GETs failed, POSTs in flight there at most"
    ) as seen:
        flying = int(site.row(first)["scur"])
        site.hosts[first].check_output("systemctl kill --signal=KILL --kill-whom=main 'edge@*.service'")
        # Its workers end a moment after it.
        killed = time.monotonic() + 0.5
        wait(lambda: site.state(first) == "UP", "the host up", 60)
        time.sleep(5)
        seen.noted.append(f"{flying} requests in flight there a moment before")
    seen.cost_orders_begun_before(killed)


def test_a_host_is_powered_off(site: Site, event: Any) -> None:
    last = list(site.hosts)[-1]
    with event("host powered off", "0 GETs failed, at most 5 s more; POSTs in flight there at most") as seen:
        console.power("off", last)
        off = time.monotonic()
        wait(lambda: site.state(last).startswith("DOWN"), "the loss noticed")
        seen.noted.append(f"out after {time.monotonic() - off:.1f} s")
        time.sleep(8)
        console.power("on", last)
        wait(lambda: site.state(last) == "UP", "the host up again", 90)
    seen.cost_orders_begun_before(off)
    assert seen.row.max_ms < 5000 + 3 * seen.row.before_p99_ms


@pytest.mark.parametrize(
    ("name", "must", "stop"),
    [
        (
            "active balancer of a pair killed",
            "new connections within 1 s",
            "systemctl kill --signal=KILL haproxy keepalived",
        ),
        ("planned switch of a pair", "as measured", "systemctl restart keepalived"),
    ],
)
def test_the_address_moves(site: Site, event: Any, name: str, must: str, stop: str) -> None:
    vip = ".".join([*site.address.split(".")[:3], "251"])
    wait(lambda: len(site.having(vip)) == 1, "the address on one balancer")
    (active,) = site.having(vip)
    with (
        Witness(f"https://{vip}", clients=CLIENTS, shop=SHOP, path="/where") as witness,
        event(name, must, witness) as seen,
    ):
        site.balancers[active].check_output(stop)
        time.sleep(8)
    assert (seen.row.lost, seen.row.twice) == (0, 0)
    # On a busy machine; the table has what it took.
    assert seen.report.longest_gap_s < 5


def test_slow_clients_beside_good_ones(site: Site, event: Any, balancers: Balancers) -> None:
    with event("1,000 clients whose headers never end", "p99 of the others < 2 ×") as seen:
        cut = balancers.authority.host.check_output("python3 -c %s %s 1000 25", SLOW, site.address)
        seen.noted.append(f"{int(cut):,} connections cut")
    assert int(cut) >= 1000
    seen.unnoticed()
    assert seen.row.p99_ms < 2 * seen.row.before_p99_ms


def test_overload(site: Site, witness: Witness, event: Any, run: Callable[..., str]) -> None:
    """Three hosts of ten places: 200 visitors of a page that takes a second want three times as much."""
    small = json.dumps({"flask_uwsgi_processes": 1, "flask_uwsgi_gevent": 10})
    run("deploy", "-e", small)
    run("load_balancer", "-e", small, "-e", "load_balancer_queue_timeout=1")
    try:
        with (
            Witness(f"https://{site.address}", clients=CLIENTS, shop=SHOP, path="/hold/1") as crowd,
            event("3 × overload", "excess 503, p99 of the rest bounded, normal within 5 s", crowd) as seen,
        ):
            time.sleep(20)
        ended = time.monotonic()
        after = [one for one in witness.samples_before(ended + 8) if one.ended > ended]
        late = max((one.ended - ended for one in after if one.failure), default=0.0)
        seen.row.noted = f"the last 503 came {late:.1f} s later"
        assert set(seen.report.failures) == {"status"}, seen.report.examples
        assert all(": 503" in one for one in seen.report.examples), seen.report.examples
        assert seen.row.p99_ms < 4000
        calm = [one.ended - one.begun for one in after if one.begun > ended + 5]
        # A page takes a few milliseconds, and an order 50.
        assert late < 5 and statistics.median(calm) < 0.2
    finally:
        run("deploy")
        run("load_balancer")


def test_throughput(site: Site, publish: Callable[..., None]) -> None:
    """Through HAProxy with TLS, and to one host without either: all share the same two cores."""

    def rate(url: str, **options: str) -> float:
        asked = {"url": url, "protocol": "http/1.1", "requests": 4000, "concurrency": 40, "warmup_requests": 200}
        values = " ".join(f"{name}={value}" for name, value in {**asked, **options}.items())
        command = ["ansible", "localhost", "-m", "flaskops.uwsgi.h2load", "-a", values]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, cwd=ROOT, env={**os.environ, **PLAIN}
        )
        found = yaml.safe_load(done.stdout.partition("=>")[2])["h2load"]
        assert (found["failed"], found["non_2xx"]) == (0, 0)
        return float(found["requests_per_second"])

    direct, balanced = [], []
    for _ in range(3):
        direct.append(rate(f"http://{next(iter(site.addresses.values()))}:8040/where"))
        balanced.append(rate(f"https://{SHOP}/where", connect_to=f"{site.address}:443"))
    print(direct, balanced)
    publish("throughput", direct=statistics.median(direct), balanced=statistics.median(balanced))


@pytest.fixture
def without(site: Site, run: Callable[..., str]) -> Iterator[Callable[[str], None]]:
    """Take lines out of the configuration of the balancer that the visitors reach, until the end of the test."""

    def change(line: str) -> None:
        site.balancer.check_output(f"grep -q '{line}' {CONFIGURATION} && sed -i '/{line}/d' {CONFIGURATION}")
        site.balancer.check_output("systemctl reload haproxy")

    yield change
    run("load_balancer", "--limit", "flask,mol-fleet-balancer")


def test_a_balancer_that_repeats_orders_is_noticed(site: Site, event: Any, without: Callable[[str], None]) -> None:
    without("disable-l7-retry")
    first = next(iter(site.hosts))
    for _ in range(5):
        wait(lambda: site.state(first) == "UP", "the host up", 60)
        with event("", "") as seen:
            # Processes that end before they answer.
            site.hosts[first].check_output("systemctl kill --signal=KILL 'edge@*.service'")
        if seen.row.twice:
            return
    raise AssertionError("no order was executed twice")


def test_a_balancer_that_forgets_at_a_reload_is_noticed(
    site: Site, run: Callable[..., str], without: Callable[[str], None]
) -> None:
    first = next(iter(site.hosts))
    run("drain", "--limit", first)
    before = orders(site, first)
    without("load-server-state-from-file")
    wait(lambda: orders(site, first) > before, "orders on the drained host")
    run("undrain", "--limit", first)
