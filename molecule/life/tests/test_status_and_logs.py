"""The output of the playbooks status and logs, compared with systemd, uWSGI and the journal; they change nothing."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.service import APP

UNIT_FILE = f"/etc/systemd/system/{APP}@.service"


@pytest.fixture
def name(service: Any) -> str:
    return str(service.host.ansible.get_variables()["inventory_hostname"])


@pytest.fixture
def status(play: Any, name: str, tmp_path: Path) -> Any:
    """Return the host's status as programs read it."""

    def ask(*arguments: str) -> dict[str, Any]:
        settings = {"flask_uwsgi_status_output": "json", "flask_uwsgi_status_dir": str(tmp_path)}
        done = play("status", "-e", json.dumps(settings), *arguments)
        assert done.returncode == 0, done.stdout
        assert set(re.findall(r"changed=(\d+)", done.stdout)) == {"0"}
        document = (tmp_path / "status.json").read_text()
        # It is printed as well.
        assert "".join(document.split()) in "".join(done.stdout.split())
        found: dict[str, Any] = json.loads(document)[name]
        return found

    return ask


@pytest.fixture
def table(play: Any) -> Any:
    """Return the lines of the status table as people see it, with single spaces."""

    def ask(*arguments: str, code: int = 0) -> list[str]:
        done = play("status", *arguments)
        assert done.returncode == code, done.stdout
        assert set(re.findall(r"changed=(\d+)", done.stdout)) == {"0"}
        return [" ".join(line.split()) for line in done.stdout.splitlines()]

    return ask


@contextmanager
def stopped(service: Any) -> Iterator[None]:
    unit = service.unit
    service.run(f"systemctl stop '{APP}*.socket' '{APP}@*.service'")
    try:
        yield
    finally:
        service.run(f"systemctl start {unit}")


def test_the_table_shows_generation_mode_and_a_correct_pidfile(table: Any, service: Any, mode: str, name: str) -> None:
    lines = table()
    row = next(line for line in lines if line.startswith(f"{name} {mode} {service.generation} "))
    assert row.endswith(" true")
    assert " 0/4 0 " in row, "no worker is busy"
    assert any(line.startswith(f"{name}: kept {service.generation}") for line in lines)
    assert not any(line.startswith("DRIFT") for line in lines)


def test_the_document_agrees_with_systemd_and_uwsgi(status: Any, service: Any, mode: str) -> None:
    found, stats = status(), service.stats
    main_pid = int(service.show(service.unit, "MainPID"))
    assert (found["generation"], found["mode"], found["state"]) == (service.generation, mode, "active")
    assert (found["main_pid"], found["pidfile_pid"], found["pidfile_true"]) == (main_pid, main_pid, True)
    assert found["since"] == service.show(service.unit, "StateChangeTimestamp")
    assert found["restarts"] == int(service.show(service.unit, "NRestarts"))
    workers = stats["workers"]
    assert (found["workers"], found["workers_busy"], found["busy"]) == (len(workers), 0, 0)
    assert found["requests"] == sum(worker["requests"] for worker in workers)
    # The kernel's number for the public socket.
    assert str(found["backlog"]) == service.run("ss --no-header -ltn 'sport = :8040'").split()[2]
    resident = sum(int(service.run(f"ps -o rss= -p {worker['pid']}")) for worker in workers) / 1024
    assert found["rss_mb"] == pytest.approx(resident, rel=0.2)
    assert found["kept"][0] == service.generation
    assert found["drift"] == []


def test_a_request_in_flight_is_shown(status: Any, service: Any) -> None:
    address = urlsplit(service.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as client:
        # Its body never comes.
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
        found = status()
    assert (found["workers_busy"], found["busy"]) == (1, 1)


def test_a_stopped_service_is_shown_and_is_not_a_failure(table: Any, service: Any, mode: str, name: str) -> None:
    generation = service.generation
    with stopped(service):
        lines = table("--limit", name)
    assert any(line.startswith(f"{name} {mode} {generation} inactive since ") for line in lines)
    assert f"DRIFT {name}: {APP}@{generation}.service is inactive" in lines


def test_an_edited_unit_is_shown_as_drift(table: Any, service: Any, name: str) -> None:
    service.run(f"cp -p {UNIT_FILE} {UNIT_FILE}.before && sed -i s/KillMode=mixed/KillMode=process/ {UNIT_FILE}")
    try:
        lines = table("--check")
    finally:
        service.run(f"mv {UNIT_FILE}.before {UNIT_FILE} && systemctl daemon-reload")
    assert f"DRIFT {name}: {UNIT_FILE} does not match the generation" in lines


@pytest.mark.full
def test_stats_that_do_not_answer_do_not_hide_the_rest(
    status: Any, table: Any, service: Any, mode: str, name: str
) -> None:
    path = f"/run/{APP}/{service.generation}/{service.generation}.stats"
    service.run(f"mv {path} {path}.away")
    try:
        found, lines = status(), table()
    finally:
        service.run(f"mv {path}.away {path}")
    assert (found["state"], found["pidfile_true"], found.get("workers")) == ("active", True, None)
    assert found["drift"] == [
        f"{service.unit} has lost its sockets in /run/{APP}/{service.generation}",
        f"uWSGI's stats do not respond: No such file or directory ({path})",
    ]
    assert any(line.startswith(f"{name} {mode} {service.generation} ") and line.endswith(" true") for line in lines)


def test_an_unreachable_host_is_in_the_table_and_fails_at_the_end(
    table: Any, service: Any, name: str, tmp_path: Path
) -> None:
    inventory = tmp_path / "hosts.yml"
    inventory.write_text("flask: {hosts: {gone: {ansible_host: 127.0.0.1, ansible_port: 1}}}\n")
    lines = table("--inventory", str(inventory), code=2)
    row = next(number for number, line in enumerate(lines) if line.startswith("gone cannot be reached: "))
    assert any(line.startswith(f"{name} ") and service.generation in line for line in lines)
    assert next(number for number, line in enumerate(lines) if line.startswith("fatal: [gone]: FAILED!")) > row


def test_a_missing_application_is_reported(table: Any, play: Any, name: str) -> None:
    other = ("-e", "flask_uwsgi_app_name=nowhere")
    assert f"{name} nothing deployed" in table(*other)
    done = play("logs", *other)
    assert done.returncode == 0, done.stdout
    assert f"{name}: nowhere was never deployed here, or was removed" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("playbook", "option", "message"),
    [
        # Ansible checks what is in the role's argument specs.
        ("status", "flask_uwsgi_status_output=xml", "flask_uwsgi_status_output must be one of: table, json, got: xml"),
        ("logs", "flask_uwsgi_log_lines=x", "'flask_uwsgi_log_lines' is of type str and we were unable to convert"),
        ("logs", "flask_uwsgi_log_lines=0", "flask_uwsgi_log_lines=0 is not valid: set it to a whole number from 1 to"),
        ("logs", "flask_uwsgi_log_since=soon", "flask_uwsgi_log_since=soon is not valid (Failed to parse timestamp: "),
    ],
)
def test_a_bad_option_is_reported_with_the_remedy(play: Any, playbook: str, option: str, message: str) -> None:
    done = play(playbook, "-e", option)
    assert done.returncode == 2
    said = " ".join(done.stdout.split())
    assert message in said and "argument_spec_data" not in said


def log(service: Any, commands: str) -> None:
    """Make a unit of the application log the output of commands, without messages of systemd."""
    quiet = "-p SyslogLevel=notice -p LogLevelMax=notice"
    unit = f"{APP}-post@logged.service"
    # They are meant to fail.
    service.host.run(f"systemd-run --quiet --wait --unit={unit} {quiet} sh -c %s; journalctl --sync", commands)


def test_the_logs_show_a_traceback_first_and_completely(play: Any, service: Any, name: str) -> None:
    program = "import sys; sys.stderr.write(chr(27) + chr(10)); raise RuntimeError(str(6 * 7))"
    log(service, f'python3 -c "{program}"; echo later')
    service.run(f"logger -t {APP} forged by another account; journalctl --sync")
    settings = {"flask_uwsgi_log_lines": 40, "flask_uwsgi_log_since": "-10min"}
    done = play("logs", "--check", "--limit", name, "-e", json.dumps(settings))
    assert done.returncode == 0, done.stdout
    assert set(re.findall(r"changed=(\d+)", done.stdout)) == {"0"}
    assert f"{name}: " in done.stdout
    errors, _, last = done.stdout.partition("last ")[2].partition(" lines:\n")
    assert re.search(
        r"errors \(\d+\):\n(?s:.*)Z \[\d+\] Traceback \(most recent call last\):\n"
        r'\s+File "<string>", line 1, in <module>\n(?:\s+.*\n){0,2}\s+RuntimeError: 42\n',
        errors,
    ), done.stdout
    assert re.search(r"Z \[\d+\] later\n", last)
    assert r"\x1b" in last, "escape sequences are removed"
    assert "forged" not in done.stdout, "any process can log with any name"


def test_the_logs_contain_systemd_s_messages_about_the_units(play: Any, service: Any) -> None:
    with stopped(service):
        done = play("logs", "-e", "flask_uwsgi_log_lines=60")
    assert done.returncode == 0, done.stdout
    assert f"[systemd] Stopped {service.unit}" in done.stdout


def test_the_logs_show_the_last_lines_also_after_a_given_time(play: Any, service: Any) -> None:
    log(service, "for n in 1 2 3 4 5; do echo number $n; done")
    done = play("logs", "-e", "flask_uwsgi_log_lines=2", "-e", "flask_uwsgi_log_since=-1h")
    assert re.findall(r"\] number (\d)\n", done.stdout) == ["4", "5"], done.stdout
