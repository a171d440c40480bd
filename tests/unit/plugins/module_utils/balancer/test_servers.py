"""Servers are drained, and serve again, or have the states back that they had."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.balancer import servers
from ansible_collections.flaskops.uwsgi.plugins.module_utils.balancer.runtime import Runtime, RuntimeAPIError
from ansible_collections.flaskops.uwsgi.plugins.module_utils.balancer.servers import ServersError, Wish

if TYPE_CHECKING:
    from .conftest import HAProxy

DRAIN = Wish(["web1"], "drain", None, 0.5, 1)
READY = replace(DRAIN, state="ready")


def test_servers_are_as_haproxy_shows_them(haproxy: HAProxy, runtime: Runtime) -> None:
    haproxy.servers["shop/web2"] = ["drain", "DRAIN"]
    haproxy.sessions["shop/web1"] = 3
    first, second = runtime.servers()
    assert (first.id, first.admin, first.up, first.sessions, first.check) == ("shop/web1", "ready", True, 3, "L7OK/200")
    assert (second.admin, second.up) == ("drain", False)


def test_a_server_that_nobody_knows_is_named(runtime: Runtime) -> None:
    with pytest.raises(ServersError, match=r"no site sends requests to web9, only to web1, web2: run playbooks/load"):
        servers.chosen(runtime.servers(), replace(DRAIN, names=["web1", "web9"]))


def test_enough_servers_must_go_on_serving(haproxy: HAProxy, runtime: Runtime) -> None:
    assert servers.chosen(runtime.servers(), DRAIN)
    with pytest.raises(ServersError, match=r"without web1, web2, 0 of the 2 servers of shop .*_min_ready=1: bring"):
        servers.chosen(runtime.servers(), replace(DRAIN, names=["web1", "web2"]))
    haproxy.servers["shop/web2"] = ["ready", "DOWN"]
    with pytest.raises(ServersError, match=r"without web1, 0 of the 2 servers of shop would go on serving"):
        servers.chosen(runtime.servers(), DRAIN)
    assert servers.chosen(runtime.servers(), replace(DRAIN, min_ready=0))


def test_a_server_that_serves_nobody_may_always_be_drained(haproxy: HAProxy, runtime: Runtime) -> None:
    haproxy.servers = {"shop/web1": ["ready", "DOWN"], "shop/web2": ["ready", "DOWN"]}
    assert [one.name for one in servers.chosen(runtime.servers(), DRAIN)] == ["web1"]


def test_only_what_differs_is_changed(haproxy: HAProxy, runtime: Runtime) -> None:
    assert [one.name for one in servers.different(runtime.servers(), DRAIN)] == ["web1", "web2"]
    haproxy.servers["shop/web1"] = ["drain", "DRAIN"]
    assert [one.name for one in servers.different(runtime.servers(), DRAIN)] == ["web2"]
    assert servers.different(runtime.servers(), replace(DRAIN, state="", weight=1)) == []
    assert len(servers.different(runtime.servers(), replace(DRAIN, state="", weight=0))) == 2


def test_a_server_has_to_be_healthy_before_it_serves_again(haproxy: HAProxy, runtime: Runtime) -> None:
    haproxy.servers["shop/web1"] = ["drain", "DRAIN"]
    servers.change(runtime, runtime.servers()[:1], READY)
    assert haproxy.asked[-2:] == ["set server shop/web1 health down", "set server shop/web1 state ready"]


def test_what_haproxy_refuses_is_quoted(haproxy: HAProxy, runtime: Runtime) -> None:
    haproxy.refuses = "No such server."
    with pytest.raises(RuntimeAPIError, match=r"answers 'set server shop/web1 state drain' with: No such server\."):
        servers.change(runtime, runtime.servers()[:1], DRAIN)


def test_requests_are_waited_for_also_in_processes_that_a_reload_has_left(haproxy: HAProxy, runtime: Runtime) -> None:
    haproxy.sessions["shop/web1"], haproxy.old["shop/web1"] = 2, 3
    with pytest.raises(ServersError, match=r"shop/web1 has 5 requests after load_balancer_drain_timeout=0\.5 seconds"):
        servers.wait_until_idle(runtime, ["web1"], DRAIN)
    servers.wait_until_idle(runtime, ["web2"], DRAIN)
    servers.wait_until_idle(runtime, ["web1"], replace(DRAIN, cut=True))
    assert (haproxy.sessions, haproxy.old) == ({}, {})


def test_a_server_that_stays_down_is_named(haproxy: HAProxy, runtime: Runtime) -> None:
    haproxy.servers["shop/web1"] = ["ready", "DOWN"]
    with pytest.raises(ServersError, match=r"shop/web1 \(10\.0\.0\.1:80\) is DOWN, its last check L7OK/200 after"):
        servers.wait_until_up(runtime, ["web1"], READY)
    servers.wait_until_up(runtime, ["web1"], replace(READY, wait_s=0))


def test_states_are_restored_after_a_failure(haproxy: HAProxy, runtime: Runtime) -> None:
    before = runtime.servers()
    with pytest.raises(ServersError), servers.restored(runtime, before):
        servers.change(runtime, before, replace(DRAIN, weight=7))
        assert haproxy.weights["shop/web1"] == 7
        raise ServersError
    assert runtime.servers() == before


def test_the_states_are_kept_for_the_next_process(runtime: Runtime, tmp_path: Path) -> None:
    servers.keep(runtime, tmp_path / "servers")
    assert (tmp_path / "servers").read_text() == runtime.ask("show servers state")


def test_another_format_of_the_states_is_refused(haproxy: HAProxy, runtime: Runtime, tmp_path: Path) -> None:
    haproxy.answer = lambda text: "2\n"  # type: ignore[method-assign]
    with pytest.raises(RuntimeAPIError, match=r"answers '2\\n' to `show servers state`"):
        servers.keep(runtime, tmp_path / "servers")
    assert not (tmp_path / "servers").exists()


def test_a_haproxy_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RuntimeAPIError, match=r"does not answer at .*/none: No such file .* `systemctl start haproxy`"):
        Runtime(tmp_path / "none", tmp_path / "none").servers()
