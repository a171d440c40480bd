"""Sites in maintenance: a page instead of the application, or requests that wait, without a reload."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.edge import ONE, PLAIN, SHOP, Site
from tests.support.wire import own_address

pytestmark = pytest.mark.timeout(300)
Change = Callable[..., str]


@pytest.fixture
def change(play: Callable[..., Any]) -> Iterator[Change]:
    """Change the state of sites: change("on", SITE); at the end, all serve."""

    def run(state: str, site: str = "", *more: str) -> str:
        done = play("maintenance", "-e", f"state={state}", "-e", f"site={site}", *more)
        assert done.returncode == 0, done.stdout
        return str(done.stdout)

    yield run
    run("off")


def test_visitors_get_a_page_and_monitors_their_answer(site: Site, change: Change, play: Callable[..., Any]) -> None:
    pid = site.balancer.check_output("systemctl show haproxy -p MainPID && pgrep haproxy")
    assert "changed=1" in change("on", SHOP)
    response = site.request("GET", "/where")
    assert (response.status, response.getheader("Retry-After")) == (503, "120")
    assert f"{SHOP} is being maintained" in response.text  # type: ignore[attr-defined]
    assert site.request("POST", "/orders/1").status == 503
    assert site.request("GET", "/healthz").status == 200
    assert site.request("GET", "/where", PLAIN, tls=False).status == 200
    assert "changed=0" in change("on", SHOP)
    status = play("status")
    assert f"{SHOP} shows its maintenance page, by " in " ".join(status.stdout.split()), status.stdout
    assert site.balancer.check_output("systemctl show haproxy -p MainPID && pgrep haproxy") == pid
    # The next process knows as well.
    site.balancer.check_output("systemctl reload haproxy")
    assert site.request("GET", "/where").status == 503
    change("off")
    assert site.request("GET", "/where").status == 200


@pytest.mark.full
def test_chosen_addresses_pass_through(site: Site, change: Change, play: Callable[..., Any]) -> None:
    allow = json.dumps({"load_balancer_maintenance_allow": [own_address(site.address)]})
    assert play("load_balancer", *ONE, "-e", allow).returncode == 0
    change("on")
    assert site.request("GET", "/where").status == 200
    assert play("load_balancer", *ONE).returncode == 0
    assert site.request("GET", "/where").status == 503


def test_requests_wait_until_the_pause_ends(site: Site, change: Change) -> None:
    with ThreadPoolExecutor() as pool, site.visitors() as seen:
        change("pause")
        waiting = pool.submit(site.request, "POST", f"/orders/paused-{time.monotonic_ns()}")
        time.sleep(1)
        assert not waiting.done()
        change("off")
        assert waiting.result().status == 200
    assert set(seen.outcomes) == {"GET 200", "POST 200"}, seen.outcomes


@pytest.mark.full
def test_a_pause_holds_no_request_longer_than_its_limit(site: Site, change: Change, play: Callable[..., Any]) -> None:
    assert play("load_balancer", *ONE, "-e", "load_balancer_pause=2").returncode == 0
    change("pause", SHOP)
    began = time.monotonic()
    assert site.request("GET", "/where").status == 200
    assert 1 <= time.monotonic() - began < 10
    assert play("load_balancer", *ONE).returncode == 0


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"state": "maybe"}, "state=maybe is not valid: set it to one of on, off, pause"),
        ({"state": "on", "site": "other.example.org"}, f"is no site of this balancer: name one of {PLAIN}, {SHOP}"),
    ],
)
def test_what_cannot_be_done_is_refused(
    site: Site, play: Callable[..., Any], variables: dict[str, str], message: str
) -> None:
    done = play("maintenance", "-e", json.dumps(variables))
    assert done.returncode == 2 and message in " ".join(done.stdout.split()), done.stdout
    assert site.request("GET", "/where").status == 200
