"""Servers are drained, and serve again, or have the states back that they had."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.balancer import servers
from ansible_collections.flaskops.uwsgi.plugins.module_utils.balancer.addresses import Place, moved
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
    (tmp_path / "cfg").write_text("backend shop\n  server web1 10.0.0.1:80 maxconn 5\n")
    servers.keep(runtime, tmp_path / "servers", tmp_path / "cfg")
    assert (tmp_path / "servers").read_text() == runtime.ask("show servers state")


def test_the_configuration_decides_about_ports(runtime: Runtime, tmp_path: Path) -> None:
    (tmp_path / "cfg").write_text("backend shop\n  server web1 10.0.0.1:81 maxconn 5\n")
    servers.settle(tmp_path / "servers", tmp_path / "cfg")
    assert not (tmp_path / "servers").exists()
    servers.keep(runtime, tmp_path / "servers", tmp_path / "cfg")
    (tmp_path / "cfg").write_text("backend shop\n  server web2 web2.example.org:82\n")
    servers.settle(tmp_path / "servers", tmp_path / "cfg")
    ports = [line.split()[18] for line in (tmp_path / "servers").read_text().splitlines()[2:]]
    assert ports == ["81", "82"]


def test_a_server_is_moved(haproxy: HAProxy, runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = haproxy.answer
    wish = replace(READY, state="", places={"web1": Place("10.0.0.9", 81, 7), "web2": Place("web2.example.org", 80, 7)})
    (one,) = servers.different(runtime.servers(), wish)
    servers.change(runtime, [one], wish)
    assert haproxy.places["shop/web1"] == "10.0.0.9:81"
    assert "set maxconn server shop/web1 7" in haproxy.asked
    # A name was looked up when HAProxy started.
    servers.change(runtime, runtime.servers(), replace(wish, places={"web2": Place("web2.example.org", 82, 7)}))
    assert haproxy.places["shop/web2"] == "10.0.0.2:82"
    monkeypatch.setattr(haproxy, "answer", lambda text: "Invalid address" if "addr" in text else answer(text))
    with pytest.raises(RuntimeAPIError, match=r"answers 'set server shop/web1 addr 10.0.0.1 port 81' with: Invalid ad"):
        servers.change(runtime, runtime.servers(), replace(wish, places={"web1": Place("10.0.0.1", 81, 7)}))


def test_the_configuration_gets_the_place_and_keeps_the_rest() -> None:
    text = "backend a\n    server web1 10.0.0.1:80 maxconn 5\n    server web10 10.0.0.1:80 check  # web1\n"
    assert moved(text, {"web1": Place("10.0.0.2", 81, 6)}) == (
        "backend a\n    server web1 10.0.0.2:81 maxconn 6\n    server web10 10.0.0.1:80 check  # web1\n"
    )


def test_a_server_without_another_is_left_alone(haproxy: HAProxy, runtime: Runtime) -> None:
    assert servers.with_others(runtime.servers(), ["web1", "web2"]) == ["web1", "web2"]
    haproxy.servers.pop("shop/web2")
    assert servers.with_others(runtime.servers(), ["web1", "web2"]) == ["web2"]


def test_another_format_of_the_states_is_refused(haproxy: HAProxy, runtime: Runtime, tmp_path: Path) -> None:
    haproxy.answer = lambda text: "2\n"  # type: ignore[method-assign]
    with pytest.raises(RuntimeAPIError, match=r"answers '2\\n' to `show servers state`"):
        servers.keep(runtime, tmp_path / "servers", tmp_path / "cfg")
    assert not (tmp_path / "servers").exists()


def test_a_haproxy_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RuntimeAPIError, match=r"does not answer at .*/none: No such file .* `systemctl start haproxy`"):
        Runtime(tmp_path / "none", tmp_path / "none").servers()
