"""Real hosts, in a separate state directory; only the image cache is shared."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.host import answering
from sandbox.image import SUITES
from sandbox.network import Network
from sandbox.paths import Layout

pytestmark = [pytest.mark.host, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
HOSTS = {suite: f"test-{suite}" for suite in SUITES}
SOMAXCONN = Path("/proc/sys/net/core/somaxconn")
HARDENED_UNIT = """[Service]
User=nobody
ExecStart=/usr/bin/sleep infinity
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
ProtectProc=invisible
ProtectKernelTunables=yes
ProtectControlGroups=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateUsers=yes
RestrictNamespaces=yes
MemoryDenyWriteExecute=yes
CapabilityBoundingSet=
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SetCredential=token:secret
"""


def sandbox(*words: str, check: bool = True, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sandbox", *words]
    return subprocess.run(command, cwd=ROOT, check=check, input=stdin, capture_output=True, text=True)


def ssh(host: str, command: str) -> str:
    return sandbox("ssh", host, "--", command).stdout.strip()


def hosts() -> dict[str, list[str]]:
    rows = [line.split() for line in sandbox("list").stdout.splitlines()[1:]]
    return {row[0]: row[1:] for row in rows}


def init_process(address: str) -> int:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "comm").read_text() == "systemd\n" and address in (process / "net/fib_trie").read_text():
                return int(process.name)
        except OSError:
            continue
    raise LookupError(address)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Layout]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        try:
            sandbox("up", *(f"{name}:{suite}" for suite, name in HOSTS.items()))
            yield Layout()
        finally:
            sandbox("clean")


@pytest.fixture(params=SUITES)
def host(request: pytest.FixtureRequest, state: Layout) -> str:
    return HOSTS[request.param]


def test_systemd_has_booted_completely(host: str) -> None:
    assert sandbox("exec", host, "--", "systemctl", "is-system-running", "--wait").stdout.strip() == "running"


def test_the_login_is_a_user_with_sudo(host: str) -> None:
    assert ssh(host, "id -un; sudo -n id -un").split() == ["ansible", "root"]


def test_the_key_of_another_host_is_refused(state: Layout, host: str) -> None:
    known = state.known_hosts.read_text()
    lines = known.splitlines()
    swapped = [
        f"{own.split()[0]} {other.split(maxsplit=1)[1]}"
        for own, other in zip(lines, [*lines[1:], lines[0]], strict=True)
    ]
    try:
        state.known_hosts.write_text("\n".join([*swapped, ""]))
        assert "Host key verification failed" in sandbox("ssh", host, "--", "true", check=False).stderr
    finally:
        state.known_hosts.write_text(known)


def test_a_hardened_unit_starts_and_its_journal_is_readable(host: str) -> None:
    sandbox("exec", host, "--", "tee", "/etc/systemd/system/hardened.service", stdin=HARDENED_UNIT)
    assert ssh(host, "sudo systemctl start hardened && systemctl is-active hardened") == "active"
    assert "Started hardened.service" in ssh(host, "sudo journalctl --boot --unit hardened")
    ssh(host, "sudo systemctl stop hardened")


def test_a_service_gets_its_credentials(host: str) -> None:
    unit = "systemd-run --quiet --wait --pipe --property User=nobody --property LoadCredential=name:/etc/hostname"
    assert ssh(host, f"sudo {unit} sh -c 'cat $CREDENTIALS_DIRECTORY/name'") == host


def test_stopping_a_unit_does_not_reach_other_hosts(state: Layout) -> None:
    one, *others = HOSTS.values()
    ssh(one, "sudo systemctl stop systemd-logind")
    assert [ssh(other, "systemctl is-active systemd-logind") for other in others] == ["active"] * len(others)
    ssh(one, "sudo systemctl start systemd-logind")


def test_network_settings_belong_to_the_host(host: str) -> None:
    before = SOMAXCONN.read_text()
    assert ssh(host, "sudo sysctl -w net.core.somaxconn=8192 && cat /proc/sys/net/core/somaxconn")[-4:] == "8192"
    assert SOMAXCONN.read_text() == before


def test_a_host_cannot_change_settings_of_the_controllers_kernel(host: str) -> None:
    done = sandbox("exec", host, "--", "sysctl", "-w", "vm.swappiness=61", check=False)
    assert "permission denied" in done.stderr.lower() or "read-only" in done.stderr.lower()


def test_probes_of_the_controller_leave_no_trace_in_the_journal(host: str) -> None:
    sandbox("list")
    assert "-- No entries --" in ssh(host, "sudo journalctl --boot --priority err --unit ssh")


def test_a_reboot_keeps_files_and_address_and_is_recorded(host: str) -> None:
    boot_id, address = ssh(host, "touch kept; cat /proc/sys/kernel/random/boot_id"), hosts()[host][2]
    sandbox("exec", host, "--", "systemctl", "reboot", check=False)
    deadline = time.monotonic() + 40
    seen = boot_id
    while seen in (boot_id, ""):
        seen = sandbox("ssh", host, "--", "cat /proc/sys/kernel/random/boot_id", check=False).stdout.strip()
        assert time.monotonic() < deadline
    assert hosts()[host][2:4] == [address, "running"]
    sandbox("reboot", host)
    assert ssh(host, "ls kept; sudo journalctl --list-boots | grep -c UTC").split() == ["kept", "3"]
    assert seen not in ssh(host, "cat /proc/sys/kernel/random/boot_id")


def test_a_reset_gives_no_warning_and_keeps_files(host: str) -> None:
    unit = "[Service]\nUser=ansible\nWorkingDirectory=~\nExecStart=/bin/sleep infinity\nExecStop=/bin/touch warned\n"
    sandbox("exec", host, "--", "tee", "/run/systemd/system/stopping.service", stdin=unit)
    boot_id = ssh(host, "touch stays; sudo systemctl start stopping; cat /proc/sys/kernel/random/boot_id")
    sandbox("reset", host)
    assert boot_id != ssh(host, "cat /proc/sys/kernel/random/boot_id")
    assert ssh(host, "ls -d stays warned /run/systemd/system/stopping.service 2>/dev/null || true") == "stays"


def test_exec_needs_no_sshd(host: str) -> None:
    sandbox("exec", host, "--", "systemctl", "stop", "ssh")
    assert hosts()[host][3] == "stopped"
    sandbox("exec", host, "--", "systemctl", "start", "ssh")
    assert ssh(host, "true") == ""


def test_a_host_stays_off_until_it_is_switched_on_and_keeps_its_files(host: str) -> None:
    ssh(host, "touch stays")
    address = hosts()[host][2]
    sandbox("off", host)
    assert hosts()[host][3] == "stopped"
    assert sandbox("ssh", host, "--", "true", check=False).returncode != 0
    sandbox("on", host)
    assert hosts()[host][2:4] == [address, "running"]
    assert ssh(host, "ls stays") == "stays"


def test_up_does_not_change_a_running_host_and_is_quick(host: str) -> None:
    boot_id = ssh(host, "cat /proc/sys/kernel/random/boot_id")
    start = time.monotonic()
    done = sandbox("up", f"{host}:{hosts()[host][0]}")
    assert time.monotonic() - start < 5, "0.2 s on an idle machine"
    assert done.stderr == ""
    assert ssh(host, "cat /proc/sys/kernel/random/boot_id") == boot_id


def test_a_host_whose_processes_were_killed_is_recreated(state: Layout) -> None:
    sandbox("up", "test-killed")
    address = hosts()["test-killed"][2]
    init = init_process(address)
    parent = int(Path(f"/proc/{init}/stat").read_text().rpartition(")")[2].split()[1])
    for process in (parent, init):
        os.kill(process, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while address in answering():
        assert time.monotonic() < deadline
    assert hosts()["test-killed"][3] == "stopped"
    assert "is not running" in sandbox("exec", "test-killed", "true", check=False).stderr
    sandbox("up", "test-killed")
    assert ssh("test-killed", "id -un") == "ansible"
    assert hosts()["test-killed"][2] == address
    sandbox("down", "test-killed")
    assert "test-killed" not in hosts()


def test_a_published_port_answers_and_a_taken_one_is_reported(state: Layout) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        publish = f"127.0.0.1:{port}:22"
        failed = sandbox("up", "test-port", "--publish", publish, check=False)
        assert failed.returncode == 1
        assert f"port {port} on 127.0.0.1" in failed.stderr
        assert "test-port" not in hosts()
    sandbox("up", "test-port", "--publish", publish)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        assert connection.recv(4) == b"SSH-"
    sandbox("down", "test-port")


def test_two_commands_wait_for_each_other(state: Layout) -> None:
    names = ("test-one", "test-two")
    commands = [[sys.executable, "-m", "sandbox", "up", name] for name in names]
    running = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for command in commands]
    errors = [process.communicate()[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], errors
    assert [hosts()[name][3] for name in names] == ["running", "running"]
    sandbox("down", *names)


def test_an_inventory_file_has_its_hosts_and_the_script_has_the_others(state: Layout, tmp_path: Path) -> None:
    name = HOSTS["bookworm"]
    file = tmp_path / "scenario" / "hosts.yml"
    script = [sys.executable, str(ROOT / "inventory/sandbox/hosts.py"), "--list"]
    sandbox("up", f"{name}:bookworm:build", "--inventory", str(file))
    pinged = subprocess.run(
        ["ansible", "--inventory", file, "build", "-m", "ping", "--become"], cwd=ROOT, capture_output=True, text=True
    )
    assert f"{name} | SUCCESS" in pinged.stdout, pinged.stdout + pinged.stderr
    listed = json.loads(subprocess.run(script, check=True, capture_output=True).stdout)
    assert set(listed["_meta"]["hostvars"]) == set(HOSTS.values()) - {name}
    sandbox("up", name)
    listed = json.loads(subprocess.run(script, check=True, capture_output=True).stdout)
    assert set(listed["flask"]["hosts"]) == set(HOSTS.values())


def test_a_host_installs_packages_as_the_controller_does(host: str) -> None:
    ssh(host, "sudo apt-get update -qq && sudo apt-get install -qq --no-install-recommends python3-venv")
    fetched = ssh(host, "python3 -m venv v && v/bin/pip download --quiet --no-deps flask && ls flask-*.whl")
    assert fetched.startswith("flask-")


def test_clean_leaves_nothing_even_after_the_state_directory_was_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    layout = Layout()
    network = Network(layout)
    sandbox("up", "test-clean")
    subprocess.run(["rm", "-rf", *layout.state.iterdir()], check=False, capture_output=True)
    for _ in range(2):
        sandbox("clean")
        assert not layout.state.exists()
        assert not Path("/sys/class/net", network.interface).exists()
        assert layout.tag not in subprocess.run(["mount"], check=True, capture_output=True, text=True).stdout
        rules = subprocess.run(["iptables-save"], check=True, capture_output=True, text=True).stdout
        assert network.interface not in rules
        assert not list(Path("/run").glob(f"*{layout.tag}*"))
        assert not list(Path("/sys/fs/cgroup").rglob(f"*{layout.tag}*"))
