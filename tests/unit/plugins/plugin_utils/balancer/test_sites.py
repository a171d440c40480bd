from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.balancer.endpoint import Endpoint, endpoint
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.balancer.sites import Plan, planned

from tests.support.planning import settings

GROUPS = {"shop": ["web1", "web2"], "blog": ["web2"], "db": ["db1"], "empty": []}
ENDPOINT = Endpoint("shop", "10.0.0.1", 8040, "", "/healthz", 200, "", 12_000)
ENDPOINTS = {"web1": ENDPOINT, "web2": replace(ENDPOINT, address="10.0.0.2")}


def plan(*sites: Any, **endpoints: Endpoint) -> Plan:
    return planned(list(sites), GROUPS, {**ENDPOINTS, **endpoints})


def site(**given: Any) -> dict[str, Any]:
    return {"names": ["shop.example.org"], "app": "shop", **given}


def test_a_site_needs_a_name_and_an_application() -> None:
    found = plan(site())
    assert found.problems == []
    (one,) = found.sites
    assert (one.names, one.path, one.tls, one.redirect, one.hsts) == (["shop.example.org"], "", "self_signed", True, 0)
    assert one.certificate.startswith("self-signed-") and one.pair is None
    assert one.text(80, 443) == "https://shop.example.org -> shop"
    assert one.text(8081, 8443) == "https://shop.example.org:8443 -> shop"
    (backend,) = found.backends
    assert (backend.name, list(backend.servers), backend.first) == ("shop", ["web1", "web2"], ENDPOINT)


def test_longer_paths_come_first_and_applications_once() -> None:
    found = plan(site(), site(path="/a/b/"), site(path="/a", app="blog"))
    assert [(one.path, one.app) for one in found.sites] == [("/a/b", "shop"), ("/a", "blog"), ("", "shop")]
    assert [one.name for one in found.backends] == ["shop", "blog"]


def test_a_site_without_tls_is_not_redirected() -> None:
    # YAML reads a bare off as false.
    for off in ("off", False):
        (one,) = plan(site(tls=off)).sites
        assert (one.tls, one.redirect, one.certificate) == ("off", False, "")
        assert one.text(80, 443) == "http://shop.example.org -> shop"


def test_other_names_have_another_self_signed_certificate() -> None:
    first, second = (
        plan(site(names=names)).sites[0] for names in (["a.example.org"], ["a.example.org", "b.example.org"])
    )
    assert first.certificate != second.certificate


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"app": ""}, ("app is missing", "the group of the application's hosts")),
        ({"app": "nobody"}, ("app=nobody is not a group with hosts", "set it to the group")),
        ({"app": "empty"}, ("app=empty is not a group with hosts", "set it to the group")),
        ({"app": "db"}, ("app=db has db1", "outside the group flask", "--limit")),
        ({"names": []}, ("names=[] is not valid", "list the host names")),
        ({"names": "shop.example.org"}, ("names=shop.example.org is not valid", "list the host names")),
        ({"names": ["shop_1.example.org"]}, ("names has 'shop_1.example.org'", "write one such as shop.example.org")),
        ({"names": ["https://shop.example.org"]}, ("which is not a host name", "write one such as")),
        ({"names": ["a" * 64 + ".org"]}, ("which is not a host name", "write one such as")),
        ({"path": "shop"}, ("path=shop is not valid", "such as /shop")),
        ({"path": "/shop x"}, ("path=/shop x is not valid", "such as /shop")),
        ({"tls": "magic"}, ("tls=magic is not valid", "self_signed, acme, files, off")),
        ({"tls": "acme", "names": ["*.example.org"]}, ("tls=acme cannot prove *.example.org", "list each name")),
        ({"certificate": "x.pem"}, ("certificate=x.pem is used with tls=files only", "set tls, or remove it")),
        ({"redirect": "maybe"}, ("redirect=maybe is not valid", "true or false")),
        ({"hsts": "1h"}, ("hsts=1h is not valid", "seconds")),
        ({"rules": "http-request deny"}, ("rules=http-request deny is not valid", "list of lines")),
        ({"rules": ["a\nb"]}, ("is not valid", "list of lines")),
        ({"nmae": "x"}, ("nmae is not an option of a site", "remove it")),
    ],
)
def test_a_bad_site_is_refused_with_variable_value_and_remedy(given: dict[str, Any], words: tuple[str, ...]) -> None:
    found = plan(site(**given))
    (problem,) = found.problems
    assert problem.startswith("site 1 of load_balancer_sites: ") and all(word in problem for word in words), problem
    assert found.sites == []


def test_all_problems_are_reported_together() -> None:
    problems = plan(site(names=[], app="nobody"), site(), site(tls="files")).problems
    assert [problem.partition(":")[0] for problem in problems] == [
        *["site 1 of load_balancer_sites"] * 2,
        *["site 3 of load_balancer_sites"] * 2,
    ]


def test_sites_of_the_same_names_share_a_certificate_of_an_authority() -> None:
    first, second = plan(site(tls="acme"), site(tls="acme", path="/blog", app="blog")).sites
    assert first.certificate == second.certificate and first.certificate.startswith("acme-")


def test_a_name_has_one_certificate_if_an_authority_issues_it() -> None:
    assert plan(site(tls="acme"), site(path="/blog", app="blog")).problems == [
        "load_balancer_sites has shop.example.org with different certificates, for shop (acme) and blog (self_signed): "
        "give these sites the same names and tls"
    ]
    assert plan(site(tls="acme"), site(path="/blog", app="blog", tls="off")).problems == []


@pytest.mark.parametrize("given", [None, "", [], ["shop"], {"names": ["shop.example.org"]}])
def test_without_sites_there_is_nothing_to_serve(given: Any) -> None:
    assert planned(given, GROUPS, ENDPOINTS).problems == [
        "load_balancer_sites has no sites: describe at least one, with names and app"
    ]


def test_one_name_and_path_for_two_applications_is_refused() -> None:
    assert plan(site(), site(app="blog", names=["SHOP.example.org"])).problems == [
        "load_balancer_sites has shop.example.org/ 2 times, for shop and blog: "
        "give each site a name and a path of its own"
    ]


def test_hosts_with_different_health_requests_are_refused() -> None:
    (problem,) = plan(site(), web2=replace(ENDPOINT, health_path="/up")).problems
    assert "the hosts of shop have different health requests (web1: /healthz (200), web2: /up (200))" in problem


def test_the_files_of_a_site_are_checked(tmp_path: Path) -> None:
    files = {"certificate": str(tmp_path / "shop.pem"), "key": str(tmp_path / "shop.key")}
    (problem,) = plan(site(tls="files", **files)).problems
    assert problem == (
        f"site 1 of load_balancer_sites: certificate={tmp_path}/shop.pem cannot be read: No such file or directory"
    )


def test_an_endpoint_is_what_the_role_s_variables_say() -> None:
    own = settings(mode="threads", processes=4, threads=100, port=8041, mount="/shop", health_path="")
    assert endpoint(own, "10.0.0.9") == Endpoint(
        "shop", "10.0.0.9", 8041, "/shop", "/shop/", 0, own.health_host, 400, "0.0.0.0"
    )


def test_an_address_that_no_balancer_reaches_is_refused() -> None:
    local = replace(ENDPOINT, address="127.0.0.1", bind="127.0.0.1")
    for balancers, problems in ((["web1"], 0), (["lb1"], 1), (["web1", "web2"], 1)):
        groups = {"shop": ["web1"], "load_balancer": balancers}
        found = planned([site()], groups, {"web1": local})
        assert len(found.problems) == problems
    assert found.problems == [
        "flask_uwsgi_bind=127.0.0.1 of web1 is reached from that host alone, not from web2: set it to an address that "
        "the balancers reach, or to 0.0.0.0"
    ]
    tunnel = {"web1": replace(local, bind="0.0.0.0")}
    assert planned([site()], {"shop": ["web1"], "load_balancer": ["lb1"]}, tunnel).problems == [
        "ansible_host=127.0.0.1 of web1 is the controller's own address, or that of a tunnel, and lb1 would look for "
        "web1 there: set flask_uwsgi_bind to the address of web1 that the balancers reach"
    ]


def test_an_endpoint_is_where_the_application_listens() -> None:
    assert endpoint(settings(bind="0.0.0.0"), "web1").address == "web1"
    assert endpoint(settings(bind="127.0.0.1"), "web1").address == "127.0.0.1"
    assert endpoint(settings(bind="[::]"), "fd00::5").address == "fd00::5"
    assert endpoint(settings(bind="[::]"), "FD00:0::0:5").address == "fd00::5"
    assert endpoint(settings(bind="[fd00::6]"), "fd00::5").address == "fd00::6"
    for listen, place in (
        ("10.0.0.7:81", ("10.0.0.7", 81)),
        ("[::]:81", ("web1", 81)),
        ("/run/shop.sock", ("/run/shop.sock", 0)),
    ):
        moved = endpoint(settings(), "web1", listen)
        assert (moved.address, moved.port) == place


def test_where_haproxy_cannot_connect_is_refused() -> None:
    def problems(balancer: str, **changed: Any) -> list[str]:
        groups = {"shop": ["web1"], "load_balancer": [balancer]}
        return planned([site()], groups, {"web1": replace(ENDPOINT, **changed)}).problems

    path = {"address": "/run/shop.sock", "bind": "/run/shop.sock", "port": 0}
    assert problems("web1", **path) == [
        "flask_uwsgi_bind=/run/shop.sock of web1 is a UNIX socket, which HAProxy cannot see from its own root "
        "directory: set it to 127.0.0.1, which no other host reaches either"
    ]
    assert problems("lb1", **path) == [
        "flask_uwsgi_bind=/run/shop.sock of web1 is reached from that host alone, not from lb1: set it to an address "
        "that the balancers reach, or to 0.0.0.0"
    ]
    assert len(problems("lb1", address="::1", bind="::1")) == 1
    assert problems("lb1", address="fd00::5", bind="0.0.0.0") == [
        "flask_uwsgi_bind=0.0.0.0 of web1 has no address of IPv6, and ansible_host=fd00::5 is one: set it to [::]"
    ]
    assert problems("lb1", address="fd00::5", bind="::") == []
