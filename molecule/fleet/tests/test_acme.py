"""Certificates of an authority: visitors notice no renewal, and a renewal that fails is noticed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.acme import CERTIFICATES, HOME, Balancers
from tests.support.edge import SHOP
from tests.support.service import wait

# A playbook configures one balancer after the other.
pytestmark = pytest.mark.timeout(600)
WWW, OWN, NEW = "www.shop.example.org", "own.example.org", "new.example.org"
# The full run has time for ten.
RENEWALS = 10 if os.environ.get("FLASKOPS_FULL") else 3


@pytest.fixture(scope="module")
def balancers(host: Any) -> Balancers:
    """The balancers."""
    return Balancers(host)


def said(done: Any) -> str:
    """Return what a playbook has said, on one line."""
    return " ".join(done.stdout.split())


def test_every_balancer_got_a_certificate_in_the_first_run(balancers: Balancers) -> None:
    for name in balancers.addresses:
        assert balancers.certificate(name, SHOP) == balancers.certificate(name, WWW)
        own = balancers.certificate(name, OWN, trusted=False)
        assert own.issuer == own.subject
    assert len(set(balancers.serials.values())) == 2
    modes = balancers.ask(
        f"stat --format '%a %U' {CERTIFICATES}/* $(find {HOME}/acme -name '*.pem' -type f -path '*key*')"
    )
    assert {line for text in modes.values() for line in text.splitlines()} == {"600 root"}


def test_renewals_fail_no_handshake_and_reload_nothing(balancers: Balancers) -> None:
    before, seen_serials = balancers.processes, [balancers.serials]
    with balancers.visitors() as seen:
        for _ in range(RENEWALS):
            assert set(balancers.renew().values()) == {0}
            ended = time.monotonic()
            wait(lambda: all(balancers.serials[n] != old for n, old in seen_serials[-1].items()), "the new ones", 5)
            assert time.monotonic() - ended < 5
            seen_serials.append(balancers.serials)
    assert set(seen) == {"ok"} and seen["ok"] > 50 * RENEWALS, seen
    assert balancers.processes == before
    # Nor does a reload bring an old one back.
    balancers.ask("systemctl reload haproxy")
    assert balancers.serials == seen_serials[-1]


def test_the_old_certificate_is_served_while_the_authority_cannot_be_reached(
    balancers: Balancers, play: Callable[..., Any]
) -> None:
    before = balancers.serials
    with balancers.authority.down():
        assert set(balancers.renew().values()) == {1}
        assert balancers.serials == before
        for name in balancers.addresses:
            assert "Connection refused" in balancers.said(name)
        status = play("status")
    assert status.returncode == 0, status.stdout
    ends = f"{balancers.certificate('mol-fleet-balancer').not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
    assert f"the certificate for {SHOP}, {WWW} cannot be renewed (since 2" in said(status)
    assert f"Connection refused. The present one is valid until {ends}. Remedy: let the balancer reach" in said(status)
    # The timer's next attempt.
    balancers.ask("systemctl start haproxy-flaskops-renew.service")
    assert all(balancers.serials[name] != old for name, old in before.items())
    assert balancers.ask(f"grep -c said {HOME}/renewals.json || true") == dict.fromkeys(balancers.addresses, "0")


def test_a_full_disk_changes_nothing_and_asks_the_authority_only_once(balancers: Balancers) -> None:
    before, host = balancers.serials, balancers.hosts["mol-fleet-balancer"]
    with balancers.full("mol-fleet-balancer"):
        assert balancers.renew()["mol-fleet-balancer"] == 1
        assert balancers.serials["mol-fleet-balancer"] == before["mol-fleet-balancer"]
        assert "No space left on device. The present one is valid until" in balancers.said("mol-fleet-balancer")
    issued = host.check_output(f"ls {HOME}/acme/config/archive/*")
    host.check_output("systemctl start haproxy-flaskops-renew.service")
    assert balancers.serials["mol-fleet-balancer"] != before["mol-fleet-balancer"]
    assert host.check_output(f"ls {HOME}/acme/config/archive/*") == issued


def test_a_refusal_is_reported_in_the_authority_s_words_and_no_key_is_shown(
    balancers: Balancers, play: Callable[..., Any]
) -> None:
    variables = play_variables()
    variables["load_balancer_sites"].append({"names": [NEW], "app": "flask", "tls": "acme"})
    before = balancers.serials
    with balancers.authority.elsewhere(NEW):
        done = play("load_balancer", "-vv", "--diff", "-e", json.dumps(variables))
        secrets = balancers.secrets
        status = play("status", "-e", json.dumps(variables))
    assert done.returncode == 2
    assert f"the certificate for {NEW} cannot be renewed" in said(done)
    assert "connection refused" in said(done) and "A temporary one is served. Remedy: let the name's" in said(done)
    assert secrets and not [line for line in secrets if line in done.stdout + done.stderr]
    # Everything else is in place, on both.
    assert balancers.serials == before
    for name in balancers.addresses:
        temporary = balancers.certificate(name, NEW, trusted=False)
        assert temporary.issuer == temporary.subject
        assert f"{name}: visitors of {NEW} get a temporary certificate, which browsers refuse" in said(status)
    # Once the name is right, the timer's next attempt gets the certificate.
    balancers.ask("systemctl start haproxy-flaskops-renew.service")
    for name in balancers.addresses:
        balancers.certificate(name, NEW)
    # Without the site, its key is gone.
    done = play("load_balancer")
    assert done.returncode == 0, done.stdout
    assert set(balancers.ask(f"ls {CERTIFICATES} | wc -l").values()) == {"2"}


def play_variables() -> dict[str, Any]:
    """Return the sites of the scenario."""
    return {
        "load_balancer_sites": [
            {"names": [SHOP, WWW], "app": "flask", "tls": "acme"},
            {"names": [OWN], "app": "flask"},
        ]
    }


def test_bad_settings_are_refused_before_any_change(play: Callable[..., Any]) -> None:
    variables = {
        "load_balancer_acme_agree": "false",
        "load_balancer_acme_server": "http://authority",
        "load_balancer_acme_port": 443,
    }
    done = play("load_balancer", "-e", json.dumps(variables))
    assert done.returncode == 2
    for text in (
        "load_balancer_acme_agree is not true",
        "load_balancer_acme_server=http://authority is not valid",
        "load_balancer_acme_port=443 is not valid",
        "Nothing was changed.",
    ):
        assert text in said(done)
