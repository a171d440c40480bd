"""Root's runtime directory on a real host: what the service's account and other accounts cannot do there."""

from __future__ import annotations

import shlex
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support import ROOT
from tests.support.service import APP

pytestmark = pytest.mark.timeout(400)
# Healthy as a canary, broken where it serves, with a log that is not UTF-8.
SICK = """
import os
sick = not os.environ["RUNTIME_DIRECTORY"].endswith("-canary")
def app(environ, start_response):
    os.write(2, b"caf\\xe9 \\x1b[31mred\\n")
    start_response("500 Sick" if sick else "200 OK", [("Content-Type", "text/plain")])
    return [b"\\x1b[2Jno" if sick else b"ok"]
"""


def as_account(service: Any, account: str, command: str) -> Any:
    return service.host.run(f"runuser -u {account} -- sh -c %s", command)


def true_pidfile(service: Any) -> bool:
    return bool(service.run(f"cat /run/{APP}/{APP}.pid") == service.show(service.unit, "MainPID"))


@contextmanager
def within(seconds: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


def owner(service: Any, path: str) -> str:
    return str(service.run(f"stat -c '%U:%G %a' {path}"))


def test_root_owns_the_pidfiles_and_the_account_its_sockets(service: Any) -> None:
    generation = service.generation
    assert owner(service, f"/run/{APP}") == "root:root 755"
    assert owner(service, f"/run/{APP}/{generation}.pid") == "root:root 644"
    assert owner(service, f"/run/{APP}/{generation}") == f"{APP}:{APP} 750"
    assert owner(service, f"/run/{APP}.deploy") == "root:root 600"
    assert true_pidfile(service)


@pytest.mark.parametrize(
    "command",
    [
        "echo 1 > /run/{app}/{app}.pid",
        "rm -f /run/{app}/{generation}.pid",
        "mkdir /run/{app}/.{app}.pid.partial",
        "mv /run/{app}/{generation} /run/{app}/away",
        "ln -s /etc /run/{app}/link",
        "touch /run/{app}.deploy",
        "flock -s -w 1 /run/{app}.deploy true",
    ],
)
@pytest.mark.parametrize("account", [APP, "nobody"])
def test_no_account_can_write_there_or_take_the_lock(service: Any, account: str, command: str) -> None:
    done = as_account(service, account, command.format(app=APP, generation=service.generation))
    assert done.rc != 0 and "Permission denied" in done.stderr
    assert true_pidfile(service)


@pytest.mark.parametrize("how", ["systemctl kill --signal=KILL", "systemctl restart"])
def test_the_pidfile_is_correct_again_after(service: Any, how: str) -> None:
    before = service.show(service.unit, "MainPID")
    service.run(f"{how} {service.unit}")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        said = service.host.run(f"cat /run/{APP}/{APP}.pid").stdout.strip()
        if said and said != before and service.show(service.unit, "ActiveState") == "active":
            break
        time.sleep(0.5)
    assert true_pidfile(service)
    assert owner(service, f"/run/{APP}") == "root:root 755"


def test_files_that_the_account_plants_beside_its_sockets_stop_no_operation(
    service: Any, play: Callable[..., Any]
) -> None:
    generation = service.generation
    as_account(
        service, APP,
        f"cd /run/{APP}/{generation} && rm -f * && mkfifo {generation}.stats && mkdir {generation}.pid "
        f"&& ln -s /run/systemd/private {generation}.sock",
    )  # fmt: skip
    with within(60):
        said = " ".join(play("status").stdout.split())
    assert f"uWSGI's stats do not respond: not a socket (/run/{APP}/{generation}/{generation}.stats)" in said
    with within(120):
        assert play("restart").returncode == 0
    assert "DRIFT" not in play("status").stdout
    assert true_pidfile(service)


@pytest.mark.full
def test_a_host_of_the_old_layout_is_migrated(service: Any, play: Callable[..., Any]) -> None:
    generation = service.generation
    service.run(f"cd /run/{APP} && mv {generation}/* . && rmdir {generation} && chown -R {APP}:{APP} .")
    as_account(service, APP, f"cd /run/{APP} && rm -f {APP}.pid && mkfifo {APP}.pid && mkdir .{APP}.pid.partial")
    assert f"/run/{APP} is writable by other accounts than root" in " ".join(play("status").stdout.split())
    with within(120):
        done = play("start")
    assert done.returncode == 0, done.stdout
    assert owner(service, f"/run/{APP}") == "root:root 755"
    assert true_pidfile(service)
    assert play("restart").returncode == 0
    assert sorted(service.run(f"ls -A /run/{APP}").split()) == sorted((generation, f"{generation}.pid", f"{APP}.pid"))


def test_another_account_can_neither_log_in_the_application_s_name_nor_flood_its_log(
    service: Any, play: Callable[..., Any]
) -> None:
    requests.get(f"{service.url}/what-was-asked-last", timeout=10)
    program = (
        "import socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.connect('/run/systemd/journal/socket');"
        f"s.send('MESSAGE=Traceback forged\\nSYSLOG_IDENTIFIER={APP}\\nUNIT={service.unit}\\n'.encode())"
    )
    # More lines than any request asks for.
    many = f"yes {APP}: Traceback forged | head -n 2000 | logger -t {APP}"
    as_account(service, "nobody", f'python3 -c "{program}"; {many}; echo Traceback forged | systemd-cat -t {APP}')
    service.run("journalctl --sync")
    assert "forged" in service.run(f"journalctl -t {APP} -n 20 --no-pager"), "it was logged"
    shown = play("logs", "-e", "flask_uwsgi_log_lines=200").stdout
    assert "forged" not in shown
    assert "GET /what-was-asked-last" in shown


@pytest.mark.full
def test_a_release_that_fails_after_its_canary_is_reverted(
    service: Any, play: Callable[..., Any], tmp_path: Path
) -> None:
    generation = service.generation
    (tmp_path / "run.py").write_text(SICK)
    shutil.copy(ROOT / "app/requirements.txt", tmp_path)
    options = {"source": tmp_path, "callable": "app", "health_path": "/", "health_timeout": 5}
    arguments = [word for name, value in options.items() for word in ("-e", f"flask_uwsgi_{name}={value}")]
    done = play("deploy", *arguments)
    assert done.returncode != 0
    assert "does not serve: GET / answered 500 instead of 200: \\x1b[2Jno" in " ".join(done.stdout.split())
    assert "\x1b" not in done.stdout and "caf\ufffd \\x1b[31mred" in done.stdout
    assert service.generation == generation
    units = service.run(f"systemctl list-units --no-legend --plain {shlex.quote(f'{APP}*.service')}")
    assert [line.split()[0] for line in units.splitlines()] == [service.unit]
    assert true_pidfile(service)
    assert "DRIFT" not in play("status").stdout
