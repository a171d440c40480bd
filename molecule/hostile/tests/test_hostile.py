"""The service's account, another account and a client on the network attack while an operator works.

Well-behaved clients send requests meanwhile. Every operation ends within its time limit, whatever blocks it; what the
service planted before is no obstacle, and what it keeps planting is named. The tests run in this order; each leaves a
service that serves, and the last one removes it.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support.site import APP, CANARY, Site

pytestmark = [pytest.mark.timeout(900), pytest.mark.usefixtures("nothing_else")]
MODE = os.environ.get("FLASKOPS_MODE", "gevent")

# Seconds within which an operation ends, whatever the service does. Undisturbed, each takes 3 to 12 s; the timeouts
# of the settings (health and stop: 10 s, start: 20 s) are added, and several times that on a busy machine.
STATUS_S = 60
CHANGE_S = 180


def full(*kinds: str) -> list[Any]:
    return [pytest.param(kind, marks=pytest.mark.full) for kind in kinds]


# Everything that the service can leave in its runtime directories.


@pytest.mark.usefixtures("good_clients")
@pytest.mark.parametrize(
    "kind",
    ["fifo", *full("nonsense", "drip", "directory", "link", "dangling", "endless", "silent", "pid 1")],
)
def test_leftovers_of_the_service_stop_no_operation(site: Site, kind: str) -> None:
    with site.planted(kind, "--once"):
        assert site.operate("status", within=STATUS_S).status == 0
        site.source = site.release()
        site.deploy(within=CHANGE_S).succeeded()
    assert site.drift() == []
    site.alone()
    with site.planted(kind, "--once"):
        site.operate("restart", within=CHANGE_S).succeeded()
    assert site.drift() == []
    site.alone()


@pytest.mark.full
@pytest.mark.parametrize("kind", ["fifo", "directory", "link", "silent", "nonsense"])
def test_a_service_is_stopped_and_started_whatever_it_left(site: Site, kind: str) -> None:
    with site.planted(kind, "--once"):
        site.operate("logs", within=STATUS_S).succeeded()
        site.operate("stop", within=CHANGE_S).succeeded()
    with site.planted(kind, "--once"):
        site.operate("start", within=CHANGE_S).succeeded()
    assert site.drift() == []
    site.alone()


@pytest.mark.usefixtures("good_clients")
@pytest.mark.parametrize("kind", full("fifo", "directory", "link", "silent", "nonsense"))
def test_files_that_the_service_keeps_planting_delay_operations_within_their_limits(site: Site, kind: str) -> None:
    site.source = site.release()
    before = site.generation
    with site.planted(kind):
        site.operate("status", within=STATUS_S)
        # It may fail: the running release destroys what the new one needs.
        done = site.deploy(within=2 * CHANGE_S)
        if done.status != 0:
            assert site.generation == before, done.output[-4000:]
        site.operate("restart", within=2 * CHANGE_S)
        site.operate("rollback", within=2 * CHANGE_S)
        site.operate("status", within=STATUS_S)
    site.deploy(within=CHANGE_S).succeeded()
    assert site.drift() == []
    site.alone()


def test_what_the_service_left_where_other_units_start_stops_no_operation(site: Site) -> None:
    previous = site.generation
    site.source = site.release()
    site.deploy(within=CHANGE_S).succeeded()

    def leave(kind: str) -> None:
        folder = f"/run/{APP}-{kind}"
        site.run(
            f"install -d -m 750 -o {APP} -g {APP} {folder} {folder}/{previous}.pid && touch {folder}/{previous}.pid/x"
        )

    leave("canary")
    site.operate("rollback", within=CHANGE_S).succeeded()
    assert site.generation == previous
    leave("relief")
    site.operate("restart", within=CHANGE_S).succeeded()
    assert site.drift() == []
    site.alone()


def test_a_signal_sent_by_pidfile_reaches_the_service(site: Site) -> None:
    with site.planted("pid 1"):
        found = site.run(f"cat /run/{APP}/{APP}.pid").strip()
        assert found == str(site.master)


# The log.


@pytest.mark.full
def test_binary_and_escape_sequences_in_the_log_neither_fail_a_deploy_nor_reach_a_terminal(
    site: Site, good_clients: None
) -> None:
    flood = (
        "import os\n"
        "for number in range(300):\n"
        r"    os.write(2, b'ImportError: \xe9\xff \x1b]0;owned\x07\x1b[2J \xe2\x80\xae' + b'A' * 8000 + b'\n')" + "\n"
    )
    site.source = site.release()
    over = threading.Event()
    stranger = threading.Thread(target=ask_for_bytes, args=(site.url, over))
    stranger.start()
    try:
        for _ in range(4):
            site.inside(flood)
        site.operate("logs", within=STATUS_S).succeeded()
        site.deploy(within=CHANGE_S).succeeded()
    finally:
        over.set()
        stranger.join()
    site.alone()


def ask_for_bytes(url: str, over: threading.Event) -> None:
    """Request a path that is not text, ten times a second."""
    host, _, port = url.removeprefix("http://").partition(":")
    while not over.wait(0.1):
        with socket.create_connection((host, int(port)), timeout=30) as client:
            client.sendall(b"GET /\xff\xfe\x1b[2J?\xe9 HTTP/1.0\r\n\r\n")
            while client.recv(65536):
                pass


# Locks and processes.


@pytest.mark.usefixtures("good_clients")
@pytest.mark.parametrize("account", ["nobody", pytest.param(APP, marks=pytest.mark.full)])
def test_no_account_can_hold_the_lock_of_deploys(site: Site, account: str) -> None:
    with site.attack("/usr/bin/python3", "/var/tmp/hostile/attacker.py", "hold", f"/run/{APP}.deploy", account=account):
        site.source = site.release()
        site.deploy(within=CHANGE_S).succeeded()
    assert site.run(f"stat --format=%a:%U /run/{APP}.deploy") == "600:root"


@pytest.mark.full
def test_a_frozen_master_is_replaced(site: Site) -> None:
    # Frozen by a process of its account outside its unit.
    with site.attack("/bin/kill", "-STOP", str(site.master)):
        site.operate("status", within=STATUS_S)
        site.operate("restart", within=CHANGE_S).succeeded()
    assert site.drift() == []
    site.alone()


@pytest.mark.usefixtures("good_clients")
def test_slow_clients_delay_a_deploy_no_longer_than_its_stop_timeout(site: Site) -> None:
    host, _, port = site.url.removeprefix("http://").partition(":")
    with ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection((host, int(port)))) for _ in range(20)]
        over = threading.Event()

        def send() -> None:
            for client in slow:
                client.sendall(b"POST /user_manage/user/login HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
            while not over.wait(1):
                for client in slow:
                    try:
                        client.sendall(b"x")
                    except OSError:
                        return

        sender = threading.Thread(target=send)
        sender.start()
        try:
            site.source = site.release()
            site.deploy(within=CHANGE_S).succeeded()
        finally:
            over.set()
            sender.join()
    site.alone()


# What the release can do where it runs, and what its account can do elsewhere.


ATTEMPTS = {
    "becomes root": "os.setuid(0)",
    "reads the accounts' passwords": "open('/etc/shadow').read()",
    "reads what only root may": f"open('{CANARY}').read()",
    "changes its own code": f"open('/opt/{APP}/current/uwsgi.ini', 'a')",
    "changes its unit": f"open('/etc/systemd/system/{APP}@.service', 'a')",
    "replaces its release": f"os.symlink('/tmp', '/opt/{APP}/x')",
    "makes a program setuid": "import shutil; shutil.copy('/bin/sh', os.environ['STATE_DIRECTORY'] + '/sh');"
    " os.chmod(os.environ['STATE_DIRECTORY'] + '/sh', 0o4755)",
    "makes a device": "import stat; os.mknod(os.environ['STATE_DIRECTORY'] + '/sda', stat.S_IFBLK | 0o666, 2048)",
    "mounts": "import ctypes; libc = ctypes.CDLL(None, use_errno=True);"
    " assert libc.mount(b'none', b'/tmp', b'tmpfs', 0, None) == 0",
    "enters a namespace": "import ctypes; libc = ctypes.CDLL(None, use_errno=True);"
    " assert libc.unshare(0x10000000) == 0",
    "sees processes of others": "assert os.path.exists('/proc/1')",
    "talks to systemd": "import socket; socket.socket(socket.AF_UNIX).connect('/run/systemd/private')",
    "writes beside its data": "open('/var/lib/x', 'w')",
    "moves its runtime directory": f"os.rename('/run/{APP}', '/run/{APP}.away')",
    # A forged audit message. The kernel answers it, with a negative error number if it refuses.
    "writes another's journal": "import socket, struct;"
    " audit = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9); audit.settimeout(5);"
    " audit.send(struct.pack('=LHHLL', 20, 1112, 5, 1, 0) + b'acct');"
    " assert struct.unpack('=i', audit.recv(64)[16:20])[0] == 0",
}


@pytest.mark.skipif(MODE != "gevent", reason="the same unit in both modes")
def test_the_sandbox_denies_a_release_what_it_must_not_do(site: Site) -> None:
    succeeded = []
    for what, code in ATTEMPTS.items():
        # A call that ended its process would give no answer and lose the worker's other requests.
        if "Traceback" not in site.inside(code):
            succeeded.append(what)
    assert succeeded == []
    assert site.run(f"journalctl --no-pager --unit '{APP}@*' | grep -c 'killed by signal 31'; true") == "0"
    assert site.run(f"find /opt/{APP} /run/{APP} /var/lib/{APP} -perm /6000") == ""


def test_root_follows_no_links_planted_in_the_data(site: Site) -> None:
    # At each start systemd gives the directory, and everything in it if its owner differs, to the service's account.
    site.inside(
        "state = os.environ['STATE_DIRECTORY']\n"
        "for number, target in enumerate(('/etc/shadow', '/etc', '/root', '/etc/hostile-canary', '/')):\n"
        "    os.path.lexists(f'{state}/{number}') or os.symlink(target, f'{state}/{number}')\n"
    )
    site.run(f"chown nobody /var/lib/{APP}")
    site.operate("restart", within=CHANGE_S).succeeded()
    assert site.run(f"stat --format=%U /var/lib/{APP}") == APP
    site.alone()


# At the end.


def test_root_runs_no_file_of_the_release(site: Site) -> None:
    executed = site.run("cat /var/tmp/hostile/executed").splitlines()
    assert executed == ["watching"]
    imported = {line.split()[0] for line in site.run(f"cat /var/lib/{APP}/ran").splitlines()}
    assert imported == {site.run(f"id --user {APP}")}


def test_files_that_root_installed_still_belong_to_root(site: Site) -> None:
    assert site.run(f"find /opt/{APP} /etc/systemd/system -path '*{APP}*' ! -user root") == ""
    assert site.run(f"find /opt/{APP} -path '*{APP}*' ! -type l -perm /022") == ""


@pytest.mark.full
@pytest.mark.parametrize("data", ["keep", "remove"])
def test_a_removal_completes_and_removes_only_its_own_files(site: Site, data: str) -> None:
    site.inside("os.makedirs(os.environ['STATE_DIRECTORY'] + '/a/b', exist_ok=True)")
    # Deeper than Python's own removal supports.
    site.inside(
        f"folder, name = os.open(os.environ['STATE_DIRECTORY'], os.O_RDONLY), 'deep-{data}'\n"
        "for _ in range(1500):\n"
        "    os.mkdir(name, dir_fd=folder)\n"
        "    folder, outer = os.open(name, os.O_RDONLY, dir_fd=folder), folder\n"
        "    os.close(outer)\n"
    )
    site.run(
        f"runuser -u {APP} -- sh -c 'cd /var/lib/{APP} && ln -sfn /etc a/etc && ln -sfn / a/b/root &&"
        " mkfifo -m 600 a/fifo; chmod 0 a/b'"
    )
    with ExitStack() as stack:
        stack.enter_context(site.planted("fifo"))
        stack.enter_context(site.planted("drip"))
        # A process of the account outside the unit, with an open file in the directory.
        stack.enter_context(site.attack("/bin/sh", "-c", f"cd /var/lib/{APP} && exec sleep 600"))
        first = site.operate("remove", within=CHANGE_S, flask_uwsgi_remove_data=data == "remove")
    if first.status:
        # The attack still uses the account; the message says so.
        first.refused("process")
    site.operate("remove", within=CHANGE_S, flask_uwsgi_remove_data=data == "remove").succeeded()
    assert site.run(f"ls -d /opt/{APP} /run/{APP} /etc/systemd/system/{APP}* 2>/dev/null; true") == ""
    assert bool(site.run(f"ls -d /var/lib/{APP} 2>/dev/null; true")) == (data == "keep")
    site.deploy(within=CHANGE_S).succeeded()
    assert site.drift() == []
