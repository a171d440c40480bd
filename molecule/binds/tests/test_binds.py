"""IPv6 and UNIX sockets, as clients, proxies and the host's own systemd see them. The tests follow one another."""

from __future__ import annotations

import ipaddress
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from sandbox.network import ipv6_address
from tests.support import ROOT
from tests.support.service import APP, Service, sample_application, wait
from tests.support.wire import own_address
from tests.support.witness import Witness

PATH = f"/run/{APP}.sock"
# Where the proxy answers.
PROXY = 8081
CLIENTS = 50
CODE = """

@app.get("/where")
def where():
    from flask import request

    names = ("REMOTE_ADDR", "HTTP_X_FORWARDED_FOR", "wsgi.url_scheme")
    return {name: request.environ.get(name) for name in names}
"""
# Not the role's: HAProxy without a root directory of its own, in which a path would begin.
HAPROXY = f"""
global
    user haproxy
    group haproxy
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend proxy
    bind 0.0.0.0:{PROXY}
    bind [::]:{PROXY} v6only
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto https
    default_backend app
backend app
    option httpchk GET /healthz
    server app unix@{PATH} check inter 1s
"""


@pytest.fixture(scope="module")
def ipv4(host: Any) -> str:
    """The host's address of IPv4."""
    return str(host.ansible.get_variables()["ansible_host"])


@pytest.fixture(scope="module")
def ipv6(host: Any, ipv4: str) -> str:
    """The host's address of IPv6."""
    address = ipv6_address(ipv4)
    if address not in host.check_output("ip -6 address show"):
        pytest.skip("the sandbox has no IPv6: its network was made without it, or the kernel has none")
    return address


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample_application(tmp_path_factory.mktemp("source"), CODE)


@pytest.fixture(scope="module")
def deploy(play: Any, source: Path) -> Callable[..., str]:
    """Deploy with other settings, and return what was printed: deploy(bind="[::]")."""

    def run(expect: int = 0, **settings: Any) -> str:
        chosen = {f"flask_uwsgi_{name}": value for name, value in settings.items()}
        done = play("deploy", "-e", json.dumps({"flask_uwsgi_source": str(source), **chosen}))
        assert done.returncode == expect, done.stdout + done.stderr
        return str(done.stdout)

    return run


@pytest.fixture(scope="module")
def proxy(host: Any) -> Iterator[None]:
    """HAProxy on the host."""
    host.check_output("command -v haproxy || (apt-get update && apt-get install --yes haproxy)")
    host.check_output(f"cat > /etc/haproxy/haproxy.cfg <<'END'\n{HAPROXY}\nEND")
    host.check_output("haproxy -c -f /etc/haproxy/haproxy.cfg && systemctl restart haproxy")
    yield
    host.check_output("systemctl stop haproxy")


def where(address: str, port: int = 8040) -> dict[str, str]:
    """Return what the application knows of a client of an address."""
    bracketed = f"[{address}]" if ":" in address else address
    with urlopen(f"http://{bracketed}:{port}/where", timeout=10) as answer:
        found: dict[str, str] = json.load(answer)
    return found


def through_proxy(address: str) -> dict[str, str]:
    """Return what the application knows of a client of the proxy, once that has found the application healthy."""

    def answer() -> dict[str, str]:
        try:
            return where(address, PROXY)
        except OSError:
            return {}

    found: dict[str, str] = wait(answer, "an answer through the proxy", 20)
    return found


def sockets(service: Service) -> list[str]:
    """Return the socket units that the host has in memory or would open at boot, and their files."""
    listed = service.run(f"systemctl list-units --plain --no-legend --all '{APP}@*.socket' | awk '{{print $1}}'")
    enabled = service.run(f"ls /etc/systemd/system/sockets.target.wants | grep '^{APP}@' || true")
    return sorted({*listed.split(), *enabled.split()})


def logged(service: Service, path: str) -> list[str]:
    """Return the clients' addresses in the log of requests of a path."""
    lines = service.run(f"journalctl --no-pager --output=cat --unit '{APP}@*'")
    return re.findall(rf'^(\S+) "GET {path} ', lines, re.M)


def test_both_families_are_served_from_one_socket(deploy: Any, service: Service, ipv4: str, ipv6: str) -> None:
    deploy(bind="[::]")
    assert sockets(service) == [f"{APP}@:::8040.socket"]
    assert "*:8040" in service.run("ss -Hlnt 'sport = :8040'")
    for target in (ipv4, ipv6):
        client = own_address(target)
        assert where(target)["REMOTE_ADDR"] == client
        assert logged(service, "/where")[-1] == client
    assert not [client for client in logged(service, "/where") if "ffff" in client]
    assert ipaddress.ip_address(own_address(ipv6)).version == 6
    assert deploy(bind="::").count("nothing to do") >= 1


def test_a_proxy_is_trusted_by_its_address_of_either_family(deploy: Any, ipv4: str, ipv6: str) -> None:
    deploy(bind="[::]", trusted_proxies=[own_address(ipv4), f"{own_address(ipv6)}/128"])
    for target in (ipv4, ipv6):
        bracketed = f"[{target}]" if ":" in target else target
        command = ["curl", "-sS", "-g", "-H", "X-Forwarded-For: 2001:db8::7", f"http://{bracketed}:8040/where"]
        found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        assert found["REMOTE_ADDR"] == "2001:db8::7"


def test_a_host_that_is_reached_by_ipv6_alone_is_deployed_to_and_measured(
    deploy: Any, play: Any, source: Path, ipv6: str, tmp_path: Path
) -> None:
    inventory = tmp_path / "ipv6.json"
    inventory.write_text(json.dumps({"flask": {"hosts": {"mol-binds": {"ansible_host": ipv6}}}}))
    variables = {"flask_uwsgi_bind": "[::]", "flask_uwsgi_source": str(source), "loadtest_report_dir": str(tmp_path)}
    limits = {
        "loadtest_article_requests_per_second_min": 1, "loadtest_article_p99_ms_max": 60_000, "loadtest_crowd": False,
        "loadtest_keepalive_timeout_s": 60,
    }  # fmt: skip
    done = play("deploy", "--inventory", str(inventory), "-e", json.dumps(variables))
    assert done.returncode == 0, done.stdout
    done = play("verify", "--inventory", str(inventory), "-e", json.dumps({**variables, **limits}))
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "mol-binds.json").read_text())
    assert report["url"].startswith(f"http://[{ipv6}]:8040/")
    assert report["runs"] and not [run for run in report["runs"] if run["failed"]]
    status = play("status", "--inventory", str(inventory))
    assert status.returncode == 0 and "drift" not in status.stdout.lower().replace("no drift", ""), status.stdout


def test_a_swap_on_ipv6_loses_no_request(deploy: Any, ipv6: str) -> None:
    with Witness(f"http://[{ipv6}]:8040", clients=CLIENTS) as witness, witness.window("swap") as window:
        deploy(bind="[::]", environment={"SWAP": "1"})
    report = window.report()
    assert report.failures == {}, report.examples
    assert len(report.answered) == 2


def test_an_address_of_ipv4_and_all_addresses_take_turns(deploy: Any, service: Service, ipv4: str) -> None:
    with Witness(f"http://{ipv4}:8040", clients=CLIENTS) as witness, witness.window("to IPv4") as window:
        said = deploy(bind="0.0.0.0")
    there = window.report()
    assert "address [::]:8040 -> 0.0.0.0:8040" in said
    assert sockets(service) == [f"{APP}@0.0.0.0:8040.socket"]
    assert not service.host.file(f"/etc/systemd/system/{APP}@:::8040.socket").exists
    assert there.failures == {}, there.examples
    # The kernel prefers the socket of IPv4 as long as both are open: clients are still there when it is closed.
    deploy(bind="[::]")
    assert sockets(service) == [f"{APP}@:::8040.socket"]


def test_a_unix_socket_belongs_to_root_and_the_group_of_the_proxy(
    deploy: Any, service: Service, proxy: None, ipv4: str
) -> None:
    said = deploy(bind=PATH, socket_group="haproxy", trusted_proxies=["unix:"])
    assert f"-> {PATH}" in said
    assert service.run(f"stat --format='%F %U %G %a' {PATH}") == "socket root haproxy 660"
    assert sockets(service) == [f"{APP}@:run:{APP}.sock.socket"]
    assert service.run("ss -Hlnt 'sport = :8040'") == ""
    assert service.host.run(f"runuser -u nobody -- curl -sS --unix-socket {PATH} http://x/where").rc != 0
    assert through_proxy(ipv4) == {
        "REMOTE_ADDR": own_address(ipv4), "HTTP_X_FORWARDED_FOR": own_address(ipv4), "wsgi.url_scheme": "https"
    }  # fmt: skip


def test_behind_a_unix_socket_a_swap_loses_no_request(deploy: Any, ipv4: str) -> None:
    with Witness(f"http://{ipv4}:{PROXY}", clients=CLIENTS) as witness, witness.window("swap") as window:
        deploy(bind=PATH, socket_group="haproxy", trusted_proxies=["unix:"], environment={"SWAP": "2"})
    report = window.report()
    assert report.failures == {}, report.examples
    assert len(report.answered) == 2


def test_another_group_may_connect_after_the_next_deploy(deploy: Any, service: Service) -> None:
    deploy(bind=PATH)
    assert service.run(f"stat --format='%U %G %a' {PATH}") == f"root {APP} 660"
    deploy(bind=PATH, socket_group="haproxy", trusted_proxies=["unix:"])
    assert service.run(f"stat --format='%U %G %a' {PATH}") == "root haproxy 660"


def test_damage_to_the_socket_is_drift_and_repaired(deploy: Any, play: Any, service: Service, ipv4: str) -> None:
    settings = {"bind": PATH, "socket_group": "haproxy", "trusted_proxies": ["unix:"]}
    for damage, drift in (
        (f"chmod 666 {PATH}", f"{PATH} is not open to root and the group haproxy alone (mode 0666, group "),
        (f"rm {PATH}", f"nothing listens on {PATH}"),
        (f"systemctl stop '{APP}@:run:{APP}.sock.socket'", "is inactive"),
    ):
        service.run(damage)
        assert drift in re.sub(r"\s+", " ", play("status").stdout)
        deploy(**settings)
        assert service.run(f"stat --format='%F %U %G %a' {PATH}") == "socket root haproxy 660"
        assert through_proxy(ipv4)["REMOTE_ADDR"] == own_address(ipv4)


def test_no_load_can_be_sent_to_a_path(play: Any) -> None:
    done = play("verify", "-e", json.dumps({"flask_uwsgi_bind": PATH}))
    assert done.returncode == 2
    assert f"flask_uwsgi_bind={PATH} is a UNIX socket, to which no load generator can connect" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_stopped_it_leaves_no_socket_and_starts_again(play: Any, service: Service, ipv4: str) -> None:
    assert play("stop").returncode == 0
    assert not service.host.file(PATH).exists
    assert play("start").returncode == 0
    assert service.run(f"stat --format='%F %U %G %a' {PATH}") == "socket root haproxy 660"
    assert through_proxy(ipv4)["REMOTE_ADDR"] == own_address(ipv4)


def test_a_reboot_and_a_crash_leave_it_served(service: Service, ipv4: str) -> None:
    subprocess.run(["python3", "-m", "sandbox", "reset", "mol-binds"], cwd=ROOT, check=True, capture_output=True)
    service.run("systemctl is-active --quiet haproxy || systemctl start haproxy")
    assert through_proxy(ipv4)["REMOTE_ADDR"] == own_address(ipv4)


def test_a_change_between_port_and_path_is_rolled_back(deploy: Any, play: Any, service: Service, ipv4: str) -> None:
    before = service.generation
    said = deploy(bind="[::]")
    assert f"address {PATH} -> [::]:8040" in said
    assert not service.host.file(PATH).exists
    assert sockets(service) == [f"{APP}@:::8040.socket"]
    assert play("rollback").returncode == 0
    assert service.generation == before
    assert sockets(service) == [f"{APP}@:run:{APP}.sock.socket"]
    assert through_proxy(ipv4)["REMOTE_ADDR"] == own_address(ipv4)


def test_a_failed_change_leaves_the_old_address(deploy: Any, service: Service, ipv4: str) -> None:
    before = service.generation
    said = deploy(2, bind="[::]", post_activate=[], environment={"APP_WAIT_SECONDS": "no number"})
    assert f"Generation {before} serves." in said, said
    assert service.generation == before
    assert sockets(service) == [f"{APP}@:run:{APP}.sock.socket"]
    assert through_proxy(ipv4)["REMOTE_ADDR"] == own_address(ipv4)


@pytest.mark.parametrize(
    ("settings", "before", "words"),
    [
        ({"bind": "::1%eth0"}, "", "flask_uwsgi_bind=::1%eth0 has a zone"),
        ({"bind": "[::"}, "", "flask_uwsgi_bind=[:: is not valid: set it to 0.0.0.0"),
        ({"bind": "[::]:8040"}, "", "has a port: set it to [::], and flask_uwsgi_port to 8040"),
        ({"bind": "run/app.sock"}, "", "is a relative path: set it to an absolute one"),
        ({"bind": f"/run/{'s' * 120}.sock"}, "", "bytes, and the kernel allows 107"),
        ({"bind": "/tmp/app.sock"}, "", "is not safe, for others could take its place: /tmp can be changed by others"),
        ({"bind": "/run/nowhere/app.sock"}, "", "is in /run/nowhere, which does not exist on this host"),
        ({"bind": "[fd00::77]"}, "", "is no address of this host"),
        ({"bind": "/run/taken.sock"}, "echo mine > /run/taken.sock", "/run/taken.sock is a file of root"),
        (
            {"bind": "/run/held.sock"},
            "systemd-run --unit binds-held --socket-property=ListenStream=/run/held.sock true",
            "flask_uwsgi_bind=/run/held.sock is taken by systemd (pid 1)",
        ),
        ({"bind": "/run/o.sock", "socket_group": "nosuch"}, "", "flask_uwsgi_socket_group=nosuch does not exist"),
        ({"bind": PATH, "app_name": "other"}, "", f"belongs to the application {APP} of this host (listens on {PATH})"),
    ],
)  # fmt: skip
def test_a_bad_address_is_refused(
    deploy: Any, service: Service, settings: dict[str, str], before: str, words: str
) -> None:
    serving = service.generation
    if before:
        service.run(before)
    said = deploy(2, **settings)
    assert words in re.sub(r"\s+", " ", said), said
    assert "Nothing was changed." in said and "Traceback" not in said
    assert service.generation == serving
    if "mine" in before:
        assert service.run("cat /run/taken.sock") == "mine"


def test_a_removal_leaves_no_socket(play: Any, service: Service) -> None:
    done = play("remove", "-e", "flask_uwsgi_remove_data=true")
    assert done.returncode == 0, done.stdout
    assert not service.host.file(PATH).exists
    assert sockets(service) == []
    assert service.run(f"find /etc/systemd/system /run -name '{APP}*'") == ""


def test_a_load_balancer_speaks_both_families_and_reaches_a_host_by_ipv6(
    play: Any, service: Service, source: Path, ipv4: str, ipv6: str, tmp_path: Path
) -> None:
    inventory = tmp_path / "balancer.json"
    inventory.write_text(json.dumps({"load_balancer": {"hosts": {"mol-binds": {}}}}))
    settings = {
        "flask_uwsgi_source": str(source),
        "flask_uwsgi_bind": f"[{ipv6}]",
        "flask_uwsgi_trusted_proxies": [ipv6],
        "load_balancer_sites": [{"names": ["shop.example.org"], "app": "flask"}],
    }

    def run(playbook: str, **changed: Any) -> str:
        done = play(playbook, "--inventory", str(inventory), "-e", json.dumps({**settings, **changed}))
        assert done.returncode == 0, done.stdout + done.stderr
        return str(done.stdout)

    def client(address: str) -> str:
        bracketed = f"[{address}]" if ":" in address else address
        command = ["curl", "-sSk", "--fail", "--resolve", f"shop.example.org:443:{bracketed}"]
        done = subprocess.run([*command, "https://shop.example.org/where"], capture_output=True, check=True)
        return str(json.loads(done.stdout)["REMOTE_ADDR"])

    def found() -> list[str]:
        try:
            return [client(ipv4), client(ipv6)]
        except subprocess.CalledProcessError:
            return []

    # That of the tests above.
    service.run("systemctl stop haproxy || true")
    run("deploy")
    run("load_balancer")
    assert wait(found, "an answer through the load balancer", 20) == [own_address(ipv4), own_address(ipv6)]
    run("deploy", flask_uwsgi_port=8041)
    assert wait(found, "an answer from the other port", 20) == [own_address(ipv4), own_address(ipv6)]
    refused = play(
        "load_balancer", "--inventory", str(inventory), "-e", json.dumps({**settings, "flask_uwsgi_bind": PATH})
    )
    assert refused.returncode == 2
    assert "is a UNIX socket, which HAProxy cannot see from its own root directory" in refused.stdout
