"""The status of load balancers: a table, and what needs attention."""

from typing import Any

from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.report import balancer_show

SERVER = {
    "backend": "shop", "name": "web1", "status": "UP", "check": "L7OK/200", "sessions": 12, "queued": 0, "weight": 1,
}  # fmt: skip
QUIET: dict[str, Any] = {
    "servers": [SERVER],
    "drained": {},
    "maintenance": {},
    "leaving": [],
    "certificates": [],
    "renewals": [],
}
CERTIFICATE = {
    "file": "acme-1.pem", "names": ["shop.example.org"], "ends": "2026-12-04T22:07:09Z",
    "serial": "ABC", "served": "ABC", "temporary": False,
}  # fmt: skip


def test_a_row_for_each_server() -> None:
    assert balancer_show.status({"lb1": QUIET}).splitlines() == [
        "balancer  application  host  state  check     requests  waiting  weight",
        "lb1       shop         web1  UP     L7OK/200        12        0       1",
    ]


def test_a_row_for_each_certificate() -> None:
    assert balancer_show.status({"lb1": {**QUIET, "certificates": [CERTIFICATE]}}).splitlines()[2:] == [
        "balancer  certificate for   valid until           serial",
        "lb1       shop.example.org  2026-12-04T22:07:09Z  ABC",
    ]


def test_certificates_that_need_attention() -> None:
    certificates = [
        {**CERTIFICATE, "serial": "DEF"},
        {**CERTIFICATE, "temporary": True},
        {**CERTIFICATE, "names": [], "serial": ""},
    ]
    found = {**QUIET, "certificates": certificates, "renewals": ["the certificate for a.org cannot be renewed"]}
    assert balancer_show.status({"lb1": found}).splitlines()[6:] == [
        "lb1: ATTENTION: visitors of shop.example.org get the certificate ABC, and not the one on the disk, DEF: run "
        "playbooks/load_balancer.yml, or reload HAProxy",
        "lb1: visitors of shop.example.org get a temporary certificate, which browsers refuse",
        "lb1: acme-1.pem cannot be read, so HAProxy would not start again: run playbooks/load_balancer.yml",
        "lb1: the certificate for a.org cannot be renewed",
    ]


def test_what_needs_attention_stands_below() -> None:
    drained = {"web1": {"who": "ann@desk", "since": "2026-01-02T03:04:05Z", "what": "reboot"}}
    held = {
        "shop.example.org": {"who": "ann@desk", "since": "2026-01-02T03:04:05Z", "what": "maintenance", "state": "on"},
        "blog.example.org": {"state": "pause"},
    }
    shown = balancer_show.status(
        {
            "lb1": {**QUIET, "drained": drained, "maintenance": held, "leaving": [7, 8]},
            "lb2": {"failed": False, "msg": "no answer"},
        },
        ["lb1"],
    )
    assert shown.splitlines()[2:] == [
        "lb1: web1 was drained by ann@desk since 2026-01-02T03:04:05Z (reboot)",
        "lb1: shop.example.org shows its maintenance page, by ann@desk since 2026-01-02T03:04:05Z (maintenance)",
        "lb1: blog.example.org lets requests wait, by somebody since an unknown time (unknown)",
        "lb1: 2 older processes of HAProxy still have connections, after a reload",
        "lb1: its configuration is not that of the inventory: run playbooks/load_balancer.yml",
        "lb2: no answer",
    ]


def test_balancers_that_do_not_answer_have_no_table() -> None:
    assert balancer_show.status({"lb1": {"failed": False, "msg": "no answer"}}) == "lb1: no answer"
