"""Permitted names of an application, its account and its directory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import names

SETTINGS = {"app_name": "shop", "base_dir": "/opt", "user": "shop", "group": "shop"}
USER = {"name": "shop", "uid": 998, "group": "shop", "groups": ["shop"], "shell": "/usr/sbin/nologin"}
ROOT_DIRECTORY = {"path": "/", "kind": "directory", "uid": 0, "owner": "root", "mode": "0755"}


def app(**known: Any) -> dict[str, Any]:
    """Return the answer of a host without problems."""
    nothing: dict[str, Any] = {
        "foreign": [],
        "owner": None,
        "accounts": accounts(),
        "applications": [],
        "directories": {"above": [ROOT_DIRECTORY], "noexec": False},
    }
    return nothing | known


def accounts(**known: Any) -> dict[str, Any]:
    """Return an account that belongs to the application alone."""
    return {"user": USER, "group": {"name": "shop", "gid": 998}, "processes": [], "applications": []} | known


def only(problems: Iterator[str]) -> str:
    """Return the only problem."""
    found = list(problems)
    assert len(found) == 1, found
    return found[0]


def test_valid_names_have_no_problem() -> None:
    assert list(names.value_problems(SETTINGS)) == []
    assert list(names.host_problems(SETTINGS, app())) == []
    assert list(names.host_problems(SETTINGS, app(accounts=accounts(user=None, group=None)))) == []


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "x@y", "*", "Shop", "1shop", "a b", "a\n", "x-canary", "x-post", "a" * 31, "-x", "é"]
)
def test_an_invalid_application_name_is_refused(name: str) -> None:
    assert only(names.value_problems(SETTINGS | {"app_name": name})) == (
        f"flask_uwsgi_app_name={name} is not valid: set it to a name of a-z, 0-9, _ and -, at most 30 long, a letter "
        "first and none of -relief, -canary, -check, -pre, -post, -validate and -persistent last"
    )
    assert names.app_problem(name)


@pytest.mark.parametrize(
    "name", ["flaskops", "systemd", "systemd-networkd", "dpkg", "sudo", "dbus", "cron", "ssh", "user"]
)
def test_a_name_of_the_system_is_refused_before_a_host_is_contacted(name: str) -> None:
    assert only(names.value_problems(SETTINGS | {"app_name": name})) == (
        f"flask_uwsgi_app_name={name} is reserved for the system: choose another name"
    )
    # What already exists under such a name can still be removed.
    assert names.app_problem(name) is None


@pytest.mark.parametrize("base", ["", "opt", "./opt", "/opt/", "/opt//x", "/opt/../etc", "/srv/./x", "~/x"])
def test_a_base_that_is_not_a_normalized_path_is_refused(base: str) -> None:
    assert only(names.value_problems(SETTINGS | {"base_dir": base})).startswith(
        f"flask_uwsgi_base_dir={base} is not valid: set it to an absolute path"
    )


@pytest.mark.parametrize(
    "base",
    [
        "/", "/home", "/usr/opt", "/root", "/run", "/tmp/x", "/var/tmp", "/etc", "/usr/local", "/proc/1", "/sys",
        "/dev", "/boot", "/var/lib", "/var/lib/x", "/var/cache", "/var/log", "/var/run/x", "/lib", "/bin",
    ],
)  # fmt: skip
def test_an_unsafe_base_is_refused(base: str) -> None:
    problem = only(names.value_problems(SETTINGS | {"base_dir": base}))
    assert problem.startswith(f"flask_uwsgi_base_dir={base} is ")
    assert problem.endswith("set it to a directory such as /opt or /srv")


@pytest.mark.parametrize("base", ["/opt", "/srv", "/srv/apps", "/data", "/homes", "/var/www", "/var/libx", "/tmpfs"])
def test_any_other_base_is_accepted(base: str) -> None:
    assert list(names.value_problems(SETTINGS | {"base_dir": base})) == []


@pytest.mark.parametrize("base", ["/srv/my apps", "/srv/%i", '/srv/"x', "/srv/$x"])
def test_a_base_that_a_unit_would_parse_differently_is_refused(base: str) -> None:
    assert "set it to a path of A-Z" in only(names.value_problems(SETTINGS | {"base_dir": base}))


@pytest.mark.parametrize("user", ["root", "nobody"])
def test_an_account_of_the_system_is_refused_by_name(user: str) -> None:
    assert only(names.value_problems(SETTINGS | {"user": user})).startswith(
        f"flask_uwsgi_user={user} is an account with another purpose"
    )


@pytest.mark.parametrize(
    "group", ["root", "sudo", "adm", "shadow", "disk", "docker", "systemd-journal", "lxd", "nogroup", "nobody"]
)
def test_a_privileged_group_is_refused_by_name(group: str) -> None:
    problem = only(names.value_problems(SETTINGS | {"group": group}))
    assert problem.startswith(f"flask_uwsgi_group={group} ") and "belongs to the application alone" in problem


# The host's answers.


def test_all_foreign_things_of_the_name_are_listed_together() -> None:
    found = [
        {"path": "/run/foo", "what": "a directory of root"},
        {"path": "/etc/systemd/system/foo.service", "what": "a unit"},
    ]
    assert only(names.host_problems(SETTINGS | {"app_name": "foo"}, app(foreign=found))) == (
        "flask_uwsgi_app_name=foo conflicts with what is on this host and does not belong to the application: "
        "/run/foo (a directory of root), /etc/systemd/system/foo.service (a unit). Choose another name, or move those "
        "away"
    )


def test_one_application_has_one_directory() -> None:
    owner = {"base": "/srv", "user": "shop", "group": "shop"}
    problem = only(names.host_problems(SETTINGS, app(owner=owner)))
    assert problem == (
        "flask_uwsgi_base_dir=/opt is not the directory of the application shop on this host, which is /srv: set it "
        "to that, or remove the application there first"
    )
    assert list(names.host_problems(SETTINGS | {"base_dir": "/srv"}, app(owner=owner))) == []


@pytest.mark.parametrize(("mine", "other"), [("shop", "shop-canary"), ("shop-canary", "shop"), ("a", "a-pre")])
def test_two_applications_with_the_same_units_are_refused(mine: str, other: str) -> None:
    problem = only(names.host_problems(SETTINGS | {"app_name": mine}, app(applications=["x", other])))
    assert (
        problem
        == f"flask_uwsgi_app_name={mine} and the application {other} of this host would share units: choose another "
        "name"
    )


@pytest.mark.parametrize("kind", ["user", "group"])
def test_a_deployed_application_keeps_its_account(kind: str) -> None:
    # Otherwise the running instance could no longer read its code or write its data.
    owner = {"base": "/opt", "user": "shop", "group": "shop"} | {kind: "old"}
    assert only(names.host_problems(SETTINGS, app(owner=owner))) == (
        f"flask_uwsgi_{kind}=shop is not what the application runs with on this host, which is old: set "
        f"flask_uwsgi_{kind}=old, or remove the application first (its data is kept)"
    )


@pytest.mark.parametrize(
    ("user", "more", "reason"),
    [
        ({"uid": 0}, {}, "it is root (number 0)"),
        ({"uid": 33}, {}, "its number 33 is one that distributions reserve for a purpose of their own"),
        ({"uid": 65534}, {}, "its number 65534 is one"),
        ({"shell": "/bin/bash"}, {}, "it can log in (shell /bin/bash)"),
        ({"shell": ""}, {}, "it can log in (shell /bin/sh)"),
        ({"groups": ["shop", "docker", "adm"]}, {}, "it is in the group adm, docker"),
        ({"group": "users"}, {}, "its primary group is users, not flask_uwsgi_group=shop"),
        ({}, {"applications": ["books"]}, "it is the account of the application books"),
        ({}, {"processes": [{"pid": 7, "name": "redis"}]}, "it runs redis (pid 7)"),
    ],
)
def test_an_account_with_another_purpose_is_refused(user: dict[str, Any], more: dict[str, Any], reason: str) -> None:
    problem = only(names.host_problems(SETTINGS, app(accounts=accounts(user=USER | user, **more))))
    assert problem.startswith(f"flask_uwsgi_user=shop has another purpose on this host: {reason}")
    assert problem.endswith(
        "Set it to an account without login that belongs to the application alone, or leave it out to have one created"
    )


@pytest.mark.parametrize("shell", ["/usr/sbin/nologin", "/sbin/nologin", "/bin/false"])
def test_an_account_without_login_is_accepted(shell: str) -> None:
    assert list(names.host_problems(SETTINGS, app(accounts=accounts(user=USER | {"shell": shell})))) == []


@pytest.mark.parametrize("gid", [0, 65534])
def test_a_privileged_group_under_another_name_is_refused_by_its_number(gid: int) -> None:
    problem = only(names.host_problems(SETTINGS, app(accounts=accounts(group={"name": "shop", "gid": gid}))))
    assert problem == f"flask_uwsgi_group=shop has the number {gid}: set it to a group with its own number"


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ({"kind": "link"}, "/srv is a symbolic link"),
        ({"kind": "other"}, "/srv is not a directory"),
        ({"uid": 1000, "owner": "me"}, "/srv belongs to me"),
        ({"mode": "0775"}, "/srv can be changed by others"),
        ({"mode": "1777"}, "/srv can be changed by others"),
        ({"uid": 7, "owner": "me", "mode": "0777"}, "/srv belongs to me and can be changed by others"),
    ],
)
def test_a_base_that_others_can_replace_is_refused(entry: dict[str, Any], fault: str) -> None:
    above = [ROOT_DIRECTORY, ROOT_DIRECTORY | {"path": "/srv"} | entry]
    problem = only(
        names.host_problems(SETTINGS | {"base_dir": "/srv"}, app(directories={"above": above, "noexec": False}))
    )
    assert problem == (
        f"flask_uwsgi_base_dir=/srv is not safe: {fault}. Set it to a path of directories that root owns and "
        "nobody else can write to"
    )


def test_a_noexec_file_system_is_refused() -> None:
    problem = only(names.host_problems(SETTINGS, app(directories={"above": [ROOT_DIRECTORY], "noexec": True})))
    assert problem.startswith("flask_uwsgi_base_dir=/opt is on a file system that is mounted noexec")
