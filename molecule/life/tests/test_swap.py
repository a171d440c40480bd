"""What an operator does to a running service; each test leaves it serving as before."""

from __future__ import annotations

import functools
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from tests.support.service import APP
from tools.round_trips import counted


@pytest.fixture
def deploy(play: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., subprocess.CompletedProcess[str]]:
    return functools.partial(play, "deploy")


def wait_for(service: Any, generation: str) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if requests.get(service.url + "/healthz", timeout=5).json()["generation"] == generation:
                return
        except requests.RequestException:
            continue
    pytest.fail(f"generation {generation} did not come back")


def test_the_pidfile_is_missing_while_the_service_is_stopped(service: Any) -> None:
    generation = service.generation
    service.run(f"systemctl stop '{APP}@*.socket' {service.unit}")
    try:
        assert not service.host.file(f"/run/{APP}/{APP}.pid").exists
        assert service.run(f"find /run/{APP} -name '*.pid'") == ""
    finally:
        service.run(f"systemctl start {service.unit}")
    wait_for(service, generation)
    assert service.run(f"cat /run/{APP}/{APP}.pid") == service.show(service.unit, "MainPID")


@pytest.mark.full
def test_a_foreign_pidfile_misleads_no_operation_and_is_repaired(service: Any, deploy: Any) -> None:
    generation, master = service.generation, service.show(service.unit, "MainPID")
    service.run(f"echo 1 > /run/{APP}/{generation}.pid")
    done = deploy("-e", f"mode={service_mode(service)}")
    assert done.returncode == 0, done.stdout
    assert "does not name the serving master" in done.stdout
    assert service.run(f"cat /run/{APP}/{APP}.pid") == master
    assert service.show(service.unit, "MainPID") == master, "the service was not restarted for it"


def service_mode(service: Any) -> str:
    return str(requests.get(service.url + "/healthz", timeout=10).json()["mode"])


def test_a_killed_master_is_restarted_with_a_correct_pidfile(service: Any) -> None:
    generation, master = service.generation, service.show(service.unit, "MainPID")
    service.run(f"kill -9 {master}")
    wait_for(service, generation)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        pid = service.host.run(f"cat /run/{APP}/{APP}.pid").stdout.strip()
        if pid and pid == service.show(service.unit, "MainPID"):
            break
    assert pid not in ("", master)


def test_a_deploy_with_nothing_to_do_costs_few_round_trips(service: Any, mode: str, deploy: Any) -> None:
    with counted() as trips:
        done = deploy("-e", f"mode={mode}", *trips.arguments)
        assert done.returncode == 0, done.stdout
        assert re.search(r"changed=0\b", done.stdout)
        assert 0 < trips.count() <= 10


@pytest.mark.full
def test_a_longer_backlog_reaches_the_open_socket_without_a_new_one(service: Any, mode: str, deploy: Any) -> None:
    def backlog() -> int:
        return max(int(socket["max_queue"]) for socket in service.stats["sockets"])

    before = backlog()
    socket = f"{APP}@0.0.0.0:8040.socket"
    opened = service.show(socket, "ActiveEnterTimestampMonotonic")
    assert deploy("-e", f"mode={mode}", "-e", "flask_uwsgi_backlog=2048").returncode == 0
    assert backlog() == 2048
    assert service.show(socket, "ActiveEnterTimestampMonotonic") == opened
    assert deploy("-e", f"mode={mode}").returncode == 0
    assert backlog() == before


def answers(url: str) -> bool:
    try:
        return requests.get(url + "/healthz", timeout=10).status_code == 200
    except requests.ConnectionError:
        return False


@contextmanager
def asked(*urls: str) -> Iterator[list[str | None]]:
    """Send requests all the time; record the first of the addresses that answers each time, or None if none does."""
    noted: list[str | None] = []
    ended = threading.Event()

    def ask() -> None:
        while not ended.wait(0.01):
            noted.append(next(filter(answers, urls), None))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield noted
    finally:
        ended.set()
        thread.join()


@pytest.mark.full
def test_the_service_moves_to_another_port_and_back_and_one_of_them_always_answers(
    service: Any, mode: str, deploy: Any
) -> None:
    ports = {port: service.url.replace(":8040", f":{port}") for port in (8040, 8041)}
    for old, new in ((8040, 8041), (8041, 8040)):
        # The old one first: if it is closed, the new one must already be open.
        with asked(ports[old], ports[new]) as noted:
            done = deploy("-e", f"mode={mode}", "-e", f"flask_uwsgi_port={new}")
        assert done.returncode == 0, done.stdout
        message = (
            f"address 0.0.0.0:{old} -> 0.0.0.0:{new}: the old one is served until the new one answers, then closed"
        )
        assert message in " ".join(done.stdout.split())
        assert set(noted) == {ports[old], ports[new]}
        assert not answers(ports[old])
        assert service.run(f"systemctl list-units --plain --no-legend '{APP}@*.socket' | awk '{{print $1}}'") == (
            f"{APP}@0.0.0.0:{new}.socket"
        )


@pytest.mark.full
def test_the_service_moves_to_a_local_address_and_back(service: Any, mode: str, deploy: Any) -> None:
    inside = "python3 -c 'import urllib.request as u; print(u.urlopen(\"http://127.0.0.1:8040/healthz\").status)'"
    before = service.generation
    try:
        done = deploy("-e", f"mode={mode}", "-e", "flask_uwsgi_bind=127.0.0.1")
        assert done.returncode == 0, done.stdout
        assert "address 0.0.0.0:8040 -> 127.0.0.1:8040" in " ".join(done.stdout.split())
        assert service.run(inside) == "200"
        assert not answers(service.url)
    finally:
        back = deploy("-e", f"mode={mode}")
    assert back.returncode == 0, back.stdout
    assert answers(service.url) and service.run(inside) == "200"
    assert service.generation == before


@pytest.mark.full
def test_a_changed_unit_is_reported_and_repaired(service: Any, mode: str, deploy: Any) -> None:
    service.run(f"sed -i s/KillMode=mixed/KillMode=process/ /etc/systemd/system/{APP}@.service")
    service.run(f"echo '# by hand' >> /opt/{APP}/current/uwsgi.ini")
    planned = " ".join(deploy("-e", f"mode={mode}", "--check").stdout.split())
    assert f"/etc/systemd/system/{APP}@.service does not match the generation" in planned
    assert "uwsgi.ini was changed by hand" in planned
    assert deploy("-e", f"mode={mode}").returncode == 0
    assert "nothing to do" in deploy("-e", f"mode={mode}").stdout
    assert service.show(service.unit, "KillMode") == "mixed"
