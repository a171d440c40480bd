"""A deployed service, checked from outside and from its host."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.service import APP, wait

LOGIN = "/user_manage/user/login"
ARTICLE = {"a": "1", "b": "2", "c": 200}
CORES = {"gevent": 3000, "threads": 500}


def test_the_endpoint_waits_and_answers_as_the_article_says(service: Any) -> None:
    started = time.monotonic()
    answer = requests.post(service.url + LOGIN, json=ARTICLE, timeout=10)
    assert (answer.status_code, answer.json()) == (200, {})
    assert time.monotonic() - started >= 0.2


def test_health_names_mode_generation_and_versions(service: Any, mode: str) -> None:
    health = requests.get(service.url + "/healthz", timeout=10).json()
    assert health["status"] == "ok"
    assert health["mode"] == mode
    assert health["generation"] == service.generation
    assert round(health["switch_interval_s"], 6) == {"gevent": 0.005, "threads": 0.02}[mode]
    assert {"python", "uwsgi", "gevent", "flask"} <= health["versions"].keys()
    # uWSGI with the patches of this collection.
    assert health["versions"]["uwsgi"].endswith("-flaskops")


def test_swagger_ui_is_at_the_root(service: Any) -> None:
    assert "swagger-ui" in requests.get(service.url + "/", timeout=10).text


def test_systemd_owns_socket_and_service_and_starts_both_at_boot(service: Any) -> None:
    assert service.show("--all", "Version") != ""
    assert service.run("ps -p 1 -o comm=") == "systemd"
    for unit in (service.unit, f"{APP}@0.0.0.0:8040.socket"):
        assert service.show(unit, "ActiveState") == "active"
        assert service.show(unit, "UnitFileState") == "enabled"
    assert service.show(service.unit, "Type") == "notify"
    assert service.show(service.unit, "NRestarts") == "0"


def test_the_process_model_matches_the_mode(service: Any, mode: str) -> None:
    workers = service.stats["workers"]
    assert len(workers) == 4
    assert {len(worker["cores"]) for worker in workers} == {CORES[mode]}
    threads = [int(service.run(f"ls /proc/{worker['pid']}/task | wc -l")) for worker in workers]
    if mode == "gevent":
        assert max(threads) < 20, "greenlets need no threads"
    else:
        assert min(threads) >= CORES[mode]


def test_the_threads_of_a_worker_share_what_they_wait_for(service: Any, mode: str) -> None:
    if mode != "threads":
        pytest.skip("only threads wait one by one")
    for worker in service.stats["workers"]:
        queues = service.run(f"ls -l /proc/{worker['pid']}/fd | grep -c eventpoll")
        assert int(queues) < 10, "each thread would wait with a queue of its own, and every connection walk all of them"


@pytest.mark.parametrize("concurrency", [100, 1000])
def test_the_workers_share_the_requests(service: Any, mode: str, concurrency: int, tmp_path: Path) -> None:
    if mode != "threads":
        pytest.skip("the patch is for threads")
    body = tmp_path / "body"
    body.write_text(json.dumps(ARTICLE))

    def served() -> dict[int, int]:
        return {worker["id"]: worker["requests"] for worker in service.stats["workers"]}

    before = served()
    command = ["ab", "-q", "-n", "4000", "-c", str(concurrency), "-T", "application/json", "-p", str(body)]
    done = subprocess.run([*command, service.url + LOGIN], capture_output=True, text=True, timeout=100, check=True)
    assert re.search(r"^Failed requests:\s+0$", done.stdout, re.MULTILINE), done.stdout

    def counted() -> list[int]:
        each = [count - before[worker] for worker, count in served().items()]
        return each if sum(each) >= 4000 else []

    # A request is counted when its thread has ended it, which can be after its client has the whole response.
    each = wait(counted, "all requests are counted", seconds=10)
    assert max(each) <= 2 * sum(each) / len(each), each


def test_the_ini_has_one_concurrency_key(service: Any, mode: str) -> None:
    ini = service.run(f"cat /opt/{APP}/current/uwsgi.ini").splitlines()
    keys = [line.partition(" =")[0] for line in ini if " = " in line and not line.startswith("#")]
    other = {"gevent": "threads", "threads": "gevent"}[mode]
    assert mode in keys and other not in keys
    assert ("gevent-early-monkey-patch" in keys) == (mode == "gevent")
    assert {"strict", "need-app", "master", "pidfile", "stats"} <= set(keys)


def test_the_pidfile_names_the_serving_master(service: Any) -> None:
    pid = service.run(f"cat /run/{APP}/{APP}.pid")
    assert pid == service.show(service.unit, "MainPID")
    assert service.run(f"readlink /proc/{pid}/exe").endswith("/bin/uwsgi")


def test_the_hardening_is_rated_1_3_or_better(service: Any) -> None:
    report = service.run(f"systemd-analyze security --no-pager {service.unit} | tail -n 1")
    assert float(report.partition(": ")[2].split()[0]) <= 1.3, report


def test_the_service_can_write_neither_code_nor_configuration(service: Any) -> None:
    writable = service.run(
        f"cd / && setpriv --reuid {APP} --regid {APP} --clear-groups find /opt/{APP} -writable ! -type l"
    )
    assert writable == ""
    assert service.run(f"stat -c '%U %a' /opt/{APP}/current/environment") == "root 600"
    assert service.run(f"getent passwd {APP}").endswith(":/usr/sbin/nologin")


def test_only_root_and_the_application_can_use_the_sockets(service: Any) -> None:
    own = f"/run/{APP}/{service.generation}"
    assert service.run(f"stat -c '%U %a' /run/{APP} {own}").splitlines() == ["root 755", f"{APP} 750"]
    for name in ("sock", "stats"):
        assert service.run(f"stat -c '%U %a' {own}/{service.generation}.{name}") == f"{APP} 600"


def test_request_lines_in_the_journal_carry_client_status_and_time(service: Any) -> None:
    requests.post(service.url + LOGIN, json=ARTICLE, timeout=10)
    # One that comes alone does not wait for others.
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        journal = service.run(f"journalctl --unit {service.unit} --output cat --lines 50")
        lines = [line for line in journal.splitlines() if f'"POST {LOGIN}' in line]
        if lines:
            break
    client, _, rest = lines[-1].partition(" ")
    assert client.count(".") == 3 and client != "0.0.0.0"
    assert " 200 " in rest and "ms worker=" in rest


def test_the_manifest_has_the_mode_and_the_host_has_no_compiler(service: Any, mode: str) -> None:
    manifest = json.loads(service.run(f"cat /opt/{APP}/current/manifest.json"))
    assert manifest["mode"] == mode
    # Only the gevent scenario has a build host; without one the application host builds.
    if mode == "gevent":
        assert service.host.run("command -v gcc").rc != 0
