"""A load balancer: visitors notice neither a deploy nor a reload, and the application learns who asks for what."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pycurl
import pytest

from tests.support import console
from tests.support.edge import ONE, PLAIN, SHOP, Site
from tests.support.service import wait
from tests.support.wire import own_address
from tests.support.witness import Witness

pytestmark = pytest.mark.timeout(300)


def test_the_certificate_has_the_name_of_the_site(site: Site) -> None:
    pem = ssl.get_server_certificate((site.address, 443))
    shown = site.balancer.check_output("echo %s | openssl x509 -noout -ext subjectAltName", pem)
    assert f"DNS:{SHOP}" in shown
    mode = site.balancer.check_output("stat --format '%a %U' /etc/haproxy/flaskops/certificates/*")
    assert set(mode.splitlines()) == {"600 root"}


def test_plain_http_is_redirected(site: Site) -> None:
    response = site.request("GET", "/where?a=1", tls=False)
    assert (response.status, response.getheader("Location")) == (308, f"https://{SHOP}/where?a=1")
    assert site.request("GET", "/where", PLAIN, tls=False).status == 200


def test_browsers_are_told_to_use_https_only(site: Site) -> None:
    assert site.request("GET", "/where").getheader("Strict-Transport-Security") == "max-age=3600"
    assert site.request("GET", "/where", PLAIN, tls=False).getheader("Strict-Transport-Security") is None


def test_http_2_is_offered(site: Site) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    with socket.create_connection((site.address, 443)) as raw, context.wrap_socket(raw, server_hostname=SHOP) as tls:
        assert tls.selected_alpn_protocol() == "h2"


def test_an_unknown_name_is_refused(site: Site) -> None:
    response = site.request("GET", "/where", "other.example.org")
    assert (response.status, response.text) == (404, "No site has this name and path.\n")  # type: ignore[attr-defined]


def test_the_application_learns_the_client_and_the_url(site: Site) -> None:
    seen = site.where()
    assert (seen["client"], seen["url"]) == (own_address(site.address), f"https://{SHOP}/where")
    assert len(seen["headers"]["X-Request-Id"]) == 36


def test_nobody_can_forge_what_the_balancer_states(site: Site) -> None:
    seen = site.where(
        X_Forwarded_For="127.0.0.1",
        X_Forwarded_Proto="http",
        X_Forwarded_Host="evil.example.org",
        X_Forwarded_Prefix="/evil",
        X_Real_IP="127.0.0.1",
        Forwarded="for=127.0.0.1",
        X_Request_ID="forged",
    )
    assert (seen["client"], seen["url"]) == (own_address(site.address), f"https://{SHOP}/where")
    assert "forged" not in seen["headers"].values() and "Forwarded" not in seen["headers"]
    # Nor in a spelling that an application cannot tell from it.
    response = site.request("GET", "/where", headers={"X_Forwarded_Proto": "http", "X_Forwarded_Host": "evil"})
    assert json.loads(response.text)["url"] == f"https://{SHOP}/where"  # type: ignore[attr-defined]


def test_an_application_is_reached_through_the_balancer_only_as_itself(site: Site) -> None:
    host = next(iter(site.hosts.values()))
    request = "Request('http://127.0.0.1:8040/where', headers={'X-Forwarded-For': '192.0.2.7'})"
    ask = f"from urllib.request import *; print(urlopen({request}).read().decode())"
    assert json.loads(host.check_output("python3 -c %s", ask))["client"] == "127.0.0.1"


def test_a_deploy_over_all_hosts_loses_and_repeats_nothing(site: Site, play: Callable[..., Any]) -> None:
    before = site.done()
    with site.visitors() as seen:
        done = play("deploy", "-e", json.dumps({"flask_uwsgi_environment": {"CHANGED": str(time.time())}}))
        assert done.returncode == 0, done.stdout
    assert set(seen.outcomes) == {"GET 200", "POST 200"}, seen.outcomes
    assert site.done() - before == dict.fromkeys(seen.confirmed, 1)


def test_reloads_lose_nothing_and_a_drained_server_gets_nothing(site: Site) -> None:
    drained = next(iter(site.hosts))
    counted = "cat /var/lib/edge/done 2>/dev/null | wc -l"
    assert site.runtime(f"set server flask/{drained} state drain") == ""
    try:
        time.sleep(0.5)
        before = site.hosts[drained].check_output(counted)
        with Witness(f"https://{site.address}", clients=40, shop=SHOP, path="/where") as witness:
            with witness.window("reloads") as window:
                for _ in range(5):
                    site.balancer.check_output("systemctl reload haproxy")
                    assert site.state(drained).startswith("DRAIN")
                    time.sleep(0.5)
            report, samples = window.report(), witness.samples_before(time.monotonic())
        assert not report.failures, report.examples
        assert set(report.answered) == {"HTTP/1.1", "HTTP/2"}
        done = site.done()
        assert {done[sample.text] for sample in samples if sample.text} == {1}
        assert site.hosts[drained].check_output(counted) == before
    finally:
        site.runtime(f"set server flask/{drained} state ready")


def test_a_host_that_is_lost_costs_no_read(site: Site) -> None:
    lost = list(site.hosts)[-1]
    wait(lambda: site.state(lost) == "UP", "the host up")
    with site.visitors() as seen:
        console.power("off", lost)
        wait(lambda: site.state(lost).startswith("DOWN"), "the loss noticed")
    console.power("on", lost)
    wait(lambda: site.state(lost) == "UP", "the host up again", 60)
    assert set(seen.outcomes) - {"POST 502", "POST 504"} == {"GET 200", "POST 200"}, seen.outcomes
    # No order was executed twice.
    assert max(site.done().values()) == 1


@pytest.mark.parametrize("version", [pycurl.CURL_HTTP_VERSION_1_1, pycurl.CURL_HTTP_VERSION_2_0])
def test_an_order_that_may_have_been_executed_gets_an_answer(site: Site, version: int) -> None:
    """Without one, a browser whose connection has served other requests would send it again."""
    browser = pycurl.Curl()
    browser.setopt(pycurl.HTTP_VERSION, version)
    browser.setopt(pycurl.RESOLVE, [f"{SHOP}:443:{site.address}"])
    browser.setopt(pycurl.SSL_VERIFYPEER, 0)
    browser.setopt(pycurl.WRITEFUNCTION, len)

    def status(path: str) -> int:
        browser.setopt(pycurl.URL, f"https://{SHOP}{path}")
        browser.perform()
        return int(browser.getinfo(pycurl.RESPONSE_CODE))

    assert status("/where") == 200
    browser.setopt(pycurl.POSTFIELDS, "one of each")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(status, "/hold/20")
        holding = wait(lambda: [name for name in site.hosts if int(site.row(name)["scur"])], "the order on a host")
        host = site.hosts[holding[0]]
        host.check_output("systemctl kill --signal=KILL 'edge@*.service'")
        assert answer.result(timeout=15) == 502
    wait(lambda: host.run("systemctl --quiet is-active 'edge@*.service'").rc == 0, "the application")


@pytest.mark.full
def test_an_own_certificate_is_served_and_its_key_never_shown(
    site: Site, play: Callable[..., Any], tmp_path: Path
) -> None:
    certificate, key = tmp_path / "shop.pem", tmp_path / "shop.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-subj", "/CN=own", "-addext", f"subjectAltName=DNS:{SHOP}", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    own = {"names": [SHOP], "app": "flask", "tls": "files", "certificate": str(certificate), "key": str(key)}
    done = play("load_balancer", *ONE, "--diff", "-v", "-e", json.dumps({"load_balancer_sites": [own]}))
    assert done.returncode == 0, done.stdout
    assert not [line for line in key.read_text().splitlines()[1:-1] if line in done.stdout + done.stderr]
    assert ssl.get_server_certificate((site.address, 443)).split() == certificate.read_text().split()
    assert play("load_balancer", *ONE).returncode == 0


@pytest.mark.full
def test_bodies_and_the_connections_of_an_address_are_limited(site: Site, play: Callable[..., Any]) -> None:
    """Also connections that send nothing."""
    limits = ("-e", "load_balancer_connections_per_address=20", "-e", "load_balancer_body_mb=1")
    assert play("load_balancer", *ONE, *limits).returncode == 0
    assert site.request("POST", "/orders/large", headers={"Content-Length": "1048577"}).status == 413
    with ExitStack() as opened:

        def idle(count: int) -> list[socket.socket]:
            return [opened.enter_context(socket.create_connection((site.address, 80))) for _ in range(count)]

        idle(15)
        assert site.request("GET", "/where").status == 200
        idle(15)
        assert site.request("GET", "/where").status == 429
        *_, last = idle(20)
        # Before it would get 408 for its silence.
        last.settimeout(5)
        with suppress(ConnectionResetError):
            assert last.recv(1) == b""
    wait(lambda: site.request("GET", "/where").status == 200, "an answer again")
    assert play("load_balancer", *ONE).returncode == 0


@pytest.mark.parametrize(("kilobytes", "status"), [(24, 200), (40, 400)])
def test_heads_are_limited_as_those_of_the_application(site: Site, kilobytes: int, status: int) -> None:
    assert site.request("GET", "/where", headers={"Cookie": "a" * kilobytes * 1024}).status == status


@pytest.mark.full
def test_a_body_that_does_not_arrive_reaches_no_host(site: Site) -> None:
    with socket.create_connection((site.address, 443)) as raw:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        visitor = context.wrap_socket(raw, server_hostname=SHOP)
        visitor.sendall(f"POST /orders/slow HTTP/1.1\r\nHost: {SHOP}\r\nContent-Length: 100\r\n\r\n".encode())
        visitor.settimeout(1)
        answer = b""
        for _ in range(30):
            visitor.sendall(b"a")
            assert all(site.row(name)["scur"] == "0" for name in site.hosts)
            with suppress(TimeoutError):
                answer = visitor.recv(100)
                break
    assert answer.startswith(b"HTTP/1.1 408")


def test_a_configuration_that_haproxy_refuses_changes_nothing(site: Site, play: Callable[..., Any]) -> None:
    sites = [{"names": [SHOP], "app": "flask", "rules": ["http-request no-such-action"]}]
    look = "sha256sum /etc/haproxy/haproxy.cfg && systemctl show haproxy -p MainPID"
    before = site.balancer.check_output(look)
    done = play("load_balancer", "-e", json.dumps({"load_balancer_sites": sites}))
    assert done.returncode == 2 and "no-such-action" in done.stdout
    assert site.balancer.check_output(look) == before
    assert site.request("GET", "/where").status == 200


def test_a_configuration_changed_by_hand_is_reported(site: Site, play: Callable[..., Any]) -> None:
    changed = "mol-edge-balancer: its configuration is not that of the inventory"
    assert changed not in play("status").stdout
    site.balancer.check_output("sed -i 's/^global/&  # by hand/' /etc/haproxy/haproxy.cfg")
    try:
        assert changed in play("status").stdout
    finally:
        site.balancer.check_output("sed -i 's/  # by hand//' /etc/haproxy/haproxy.cfg")


def test_bad_sites_are_refused_together_before_any_change(play: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "shop.pem").write_text("no certificate")
    sites = [
        {"names": ["no_name"], "app": "nobody"},
        {"names": [SHOP], "app": "flask", "tls": "files", "certificate": str(tmp_path / "shop.pem")},
    ]
    done = play("load_balancer", "-e", json.dumps({"load_balancer_sites": sites}))
    said = " ".join(done.stdout.split())
    assert done.returncode == 2
    assert "names has 'no_name', which is not a host name" in said
    assert "app=nobody is not a group with hosts" in said
    assert "tls=files needs key" in said
    assert "Nothing was changed." in said
