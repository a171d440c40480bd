from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.settings.binding import host_problems, value_problems

HOST = {"addresses": ["127.0.0.1", "192.0.2.7", "::1", "fd00::5"], "ipv6": True}
ROOT = {"path": "/run", "kind": "directory", "uid": 0, "owner": "root", "mode": "0755"}
PLACE = {"above": [ROOT], "there": True, "holder": "", "group": True}


def settings(**changed: Any) -> dict[str, Any]:
    common = {"app_name": "shop", "base_dir": "/opt", "group": "shop", "socket_group": "", "bind": "/run/shop.sock"}
    return {**common, "port": 8040, **changed}


def app(place: dict[str, Any] | None = None, *strangers: dict[str, Any], **neighbours: str) -> dict[str, Any]:
    return {"socket": PLACE | (place or {}), "strangers": list(strangers), "neighbours": neighbours}


@pytest.mark.parametrize(
    ("bind", "problem"),
    [
        ("[::]", ""),
        ("/run/shop.sock", ""),
        ("/run/shop-proxy/http.sock", ""),
        ("::1%eth0", "flask_uwsgi_bind=::1%eth0 has a zone"),
        ("/run/shop/http.sock", "is in /run/shop, where deploys remove what they did not put there: set it to a path"),
        ("/opt/shop/http.sock", "is in /opt/shop, where deploys remove"),
    ],
)
def test_a_value_is_judged_before_a_host_is_asked(bind: str, problem: str) -> None:
    found = list(value_problems(settings(bind=bind)))
    assert len(found) == bool(problem)
    assert problem in "".join(found)


@pytest.mark.parametrize(("bind", "ipv6", "problem"), [
    ("[::]", True, ""),
    ("::1", True, ""),
    ("FD00:0::5", True, ""),
    ("[fd00::6]", True, "is no address of this host: set it to 0.0.0.0, [::], or one of 127.0.0.1, 192.0.2.7, ::1, fd"),
    ("[::]", False, "flask_uwsgi_bind=[::] needs IPv6, which the kernel of this host does not have: set it to 0.0.0.0"),
    ("0.0.0.0", False, ""),
])  # fmt: skip
def test_an_address_has_to_be_the_host_s(bind: str, ipv6: bool, problem: str) -> None:
    found = list(host_problems(settings(bind=bind), HOST | {"ipv6": ipv6}, app()))
    assert len(found) == bool(problem)
    assert problem in "".join(found)


@pytest.mark.parametrize(
    ("changed", "place", "problem"),
    [
        ({}, {}, ""),
        ({"socket_group": "www-data"}, {}, ""),
        # The service's own group is created by the deploy.
        ({"socket_group": "shop"}, {"group": False}, ""),
        (
            {"socket_group": "www-data"},
            {"group": False},
            "flask_uwsgi_socket_group=www-data does not exist",
        ),
        ({}, {"above": [ROOT | {"mode": "1777"}]}, "is not safe, for others could take its place: /run can be changed"),
        ({}, {"above": [ROOT | {"uid": 33, "owner": "www-data"}]}, "/run belongs to www-data. Set it to a path of"),
        ({}, {"above": [ROOT | {"kind": "link"}]}, "/run is a symbolic link"),
        ({}, {"there": False}, "is in /run, which does not exist on this host: create it, owned by root"),
        ({}, {"holder": "a file of root"}, "is a file of root, which does not belong to the application: move it away"),
    ],
)
def test_the_place_of_a_socket_has_to_be_free_and_root_s(
    changed: dict[str, Any], place: dict[str, Any], problem: str
) -> None:
    found = list(host_problems(settings(**changed), HOST, app(place)))
    assert len(found) == bool(problem)
    assert problem in "".join(found)


def test_a_path_that_something_has_is_reported_once() -> None:
    nginx = {"pid": 42, "name": "nginx"}
    taken = {"holder": "a socket of root"}
    assert list(host_problems(settings(), HOST, app(taken, nginx))) == [
        "flask_uwsgi_bind=/run/shop.sock is taken by nginx (pid 42): stop that program or choose another path"
    ]
    assert list(host_problems(settings(), HOST, app(taken, nginx, books="/run/shop.sock"))) == [
        "flask_uwsgi_bind=/run/shop.sock belongs to the application books of this host (listens on /run/shop.sock): "
        "choose another path"
    ]


def test_a_host_without_systemd_has_that_problem_only() -> None:
    assert list(host_problems(settings(), HOST, app() | {"socket": {}})) == []
