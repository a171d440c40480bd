"""Whatever an application, its account or its directory is called, foreign files stay as they are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests.support.service import APP

PORT = 8041
Play = Callable[..., "CompletedProcess[str]"]
# What a login, the journal or Ansible itself leaves behind.
VOLATILE = re.compile(
    r"/(tmp|var/tmp|var/log|home|root|run/(user|utmp|sudo|log|systemd/(sessions|users|transient|inaccessible|units)))(/|$)"
    rf"|/run/{APP}(/|$)"
)

pytestmark = [pytest.mark.timeout(600), pytest.mark.full]


def listing(service: Any) -> dict[str, str]:
    """Return every file of the host with its type, owner and mode."""
    lines = service.run(r"find / /run -xdev -ignore_readdir_race -printf '%y %U:%G %m %p\n'").splitlines()
    return {path: about for about, _, path in (line.rpartition(" ") for line in lines)}


def differences(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Return changes of owner or mode anywhere, and files that appeared or vanished where files persist."""
    changed = [
        f"{path}: {before[path]} -> {after[path]}"
        for path in before.keys() & after.keys()
        if before[path] != after[path]
    ]
    return [*changed, *(path for path in before.keys() ^ after.keys() if not VOLATILE.match(path))]


def words(done: CompletedProcess[str]) -> str:
    """Return the output of a playbook as one line: a terminal of 80 columns breaks it anywhere."""
    return " ".join((done.stdout + done.stderr).split())


@pytest.fixture
def untouched(service: Any) -> Iterator[None]:
    """Compare the whole host, and the generation that serves, before and after."""
    before, serving = listing(service), service.run(f"cat /run/{APP}/{APP}.pid")
    yield
    assert differences(before, listing(service)) == []
    assert service.run(f"cat /run/{APP}/{APP}.pid") == serving


@pytest.mark.parametrize("check", [["--check"], []], ids=["check", "deploy"])
@pytest.mark.parametrize("name", ["dpkg", "systemd", "sudo", "dbus", "cron"])
def test_a_name_of_the_system_is_refused(
    service: Any, untouched: None, play: Play, name: str, check: list[str]
) -> None:
    done = play("deploy", "-e", f"flask_uwsgi_app_name={name}", "-e", f"flask_uwsgi_port={PORT}", *check)
    assert done.returncode == 2
    assert f"flask_uwsgi_app_name={name} is reserved for the system: choose another name" in words(done)


@pytest.mark.parametrize("name", ["dpkg", "systemd", "sudo", "dbus"])
def test_the_host_itself_refuses_a_name_of_the_system(service: Any, untouched: None, name: str) -> None:
    result = service.host.ansible(
        "flaskops.uwsgi.claim", f"app_name={name} user={name} group={name}", check=False, become=True
    )
    assert not result["changed"]
    assert (
        f"flask_uwsgi_app_name={name} is not an application of this role below flask_uwsgi_base_dir=/opt"
        in result["msg"]
    )


@pytest.mark.parametrize(
    "check", [pytest.param(["--check"], id="check"), pytest.param([], id="deploy", marks=pytest.mark.full)]
)
@pytest.mark.parametrize(
    ("prepare", "clean", "variables", "said"),
    [
        ("", "", "app_name=modprobe", "/usr/lib/systemd/system/modprobe@.service (a unit)"),
        ("", "", "app_name=misc", "/var/lib/misc (a directory of root)"),
        ("mkdir /var/log/books", "rmdir /var/log/books", "app_name=books", "/var/log/books (a directory of root)"),
        ("ln -s /etc /run/books", "rm /run/books", "app_name=books", "/run/books (a symbolic link)"),
        ("", "", "app_name=books user=root", "flask_uwsgi_user=root is an account with another"),
        ("", "", "app_name=books user=www-data", "flask_uwsgi_user=www-data has another purpose"),
        ("", "", "app_name=books user=ansible", "it can log in (shell /bin/bash)"),
        ("", "", "app_name=books group=sudo", "flask_uwsgi_group=sudo gives rights beyond"),
        ("", "", f"app_name=books user={APP}", f"it is the account of the application {APP}"),
        ("", "", "app_name=books base_dir=/var/lib", "flask_uwsgi_base_dir=/var/lib is a system"),
        ("", "", "app_name=books base_dir=/tmp/apps", "flask_uwsgi_base_dir=/tmp/apps is below /tmp"),
        (
            "install -d -o ansible /srv/apps", "rmdir /srv/apps",
            "app_name=books base_dir=/srv/apps", "/srv/apps belongs to ansible",
        ),
        (
            "mkdir /srv/apps && mount -t tmpfs -o noexec,mode=0755 none /srv/apps",
            "umount /srv/apps && rmdir /srv/apps",
            "app_name=books base_dir=/srv/apps", "is on a file system that is mounted noexec",
        ),
        ("", "", "base_dir=/srv", f"the application {APP} on this host, which is /opt"),
        ("", "", "group=daemon", f"which is {APP}: set flask_uwsgi_group={APP}"),
    ],
)  # fmt: skip
def test_a_foreign_or_unsafe_name_is_refused_in_the_plan(
    service: Any, play: Play, prepare: str, clean: str, variables: str, said: str, check: list[str]
) -> None:
    service.run(prepare or "true")
    try:
        before = listing(service)
        settings = " ".join(f"flask_uwsgi_{setting}" for setting in variables.split())
        done = play("deploy", "-e", f"flask_uwsgi_port={PORT}", "-e", settings, *check)
        assert differences(before, listing(service)) == []
    finally:
        service.run(clean or "true")
    assert done.returncode == 2
    assert said in words(done), done.stdout
    assert "Nothing was changed." in words(done)


@pytest.mark.parametrize(
    ("playbook", "name"),
    [
        ("remove", "."),
        ("status", "x@y"),
        *(
            pytest.param(playbook, name, marks=pytest.mark.full)
            for playbook in ("remove", "stop", "start", "restart", "rollback", "logs", "status")
            for name in ("..", "a/b", "*", "")
        ),
    ],
)
def test_an_invalid_name_is_refused_everywhere(
    service: Any, untouched: None, play: Play, playbook: str, name: str
) -> None:
    done = play(playbook, "-e", f"flask_uwsgi_app_name='{name}'")
    assert done.returncode == 2
    assert f"flask_uwsgi_app_name={name} is not valid: set it to a name" in words(done), done.stdout
    assert "Traceback" not in words(done)


@pytest.mark.parametrize(
    ("playbook", "name"),
    [
        ("remove", "dpkg"),
        ("remove", "books"),
        pytest.param("remove", "getty", marks=pytest.mark.full),
        ("stop", "getty"),
        pytest.param("restart", "getty", marks=pytest.mark.full),
    ],
)
def test_a_foreign_application_is_neither_stopped_nor_removed(
    service: Any, play: Play, playbook: str, name: str
) -> None:
    service.run("mkdir -p /opt/books && echo precious > /opt/books/data")
    data = ["-e", "flask_uwsgi_remove_data=true"] if playbook == "remove" else []
    try:
        before = listing(service)
        for check in (["--check"], []):
            done = play(playbook, "-e", f"flask_uwsgi_app_name={name}", *data, *check)
            assert done.returncode == 2
            assert f"flask_uwsgi_app_name={name} is not an application of this role" in words(done), done.stdout
        assert differences(before, listing(service)) == []
    finally:
        service.run("rm -r /opt/books")


def test_a_removal_of_a_second_application_removes_nothing_else(service: Any, untouched: None, play: Play) -> None:
    books = ["-e", "flask_uwsgi_app_name=books", "-e", f"flask_uwsgi_port={PORT}"]
    service.run("useradd --system --user-group --shell /usr/sbin/nologin --home-dir /nonexistent books")
    accounts = service.run("cat /etc/passwd /etc/group")
    try:
        done = play("deploy", *books)
        assert done.returncode == 0, done.stdout
        # Only the service can read its code, configuration and manifest.
        for path in (".", "current/manifest.json", "releases", "venvs", "generations"):
            assert service.host.run(f"runuser -u nobody -- ls /opt/books/{path}").rc
            service.run(f"runuser -u books -- ls /opt/books/{path}")
        assert service.run("stat -c '%a %U:%G' /var/lib/flaskops/books.json") == "600 root:root"
        service.run(
            "mkdir -p /etc/systemd/system/books@.service.d && "
            "echo '[Service]' > /etc/systemd/system/books@.service.d/own.conf"
        )
        done = play("remove", *books, "-e", "flask_uwsgi_remove_data=true")
        assert done.returncode == 0, done.stdout
        assert "kept: account books: it is not known to have been created by a deploy" in words(done)
        assert "kept: /etc/systemd/system/books@.service.d: it was not deployed" in words(done)
        assert service.run("cat /etc/passwd /etc/group") == accounts
    finally:
        play("remove", *books, "-e", "flask_uwsgi_remove_data=true")
        service.host.run("rm -rf /etc/systemd/system/books@.service.d; userdel books")


def test_an_account_created_by_a_deploy_is_removed_with_the_data(service: Any, untouched: None, play: Play) -> None:
    books = ["-e", "flask_uwsgi_app_name=books", "-e", f"flask_uwsgi_port={PORT}"]
    assert play("deploy", *books).returncode == 0
    done = play("remove", *books)
    assert done.returncode == 0 and service.host.run("getent passwd books").rc == 0
    service.run("ls /var/lib/flaskops/books.json")
    # The mark shows that it created the data.
    assert play("deploy", *books, "--check").returncode == 0
    done = play("remove", *books, "-e", "flask_uwsgi_remove_data=true")
    assert done.returncode == 0 and "stays:" not in done.stdout, done.stdout
    assert service.host.run("getent passwd books; getent group books").stdout == ""
