from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.balancer.authority import problems

SITES = [{"names": ["shop.example.org"], "app": "shop", "tls": "acme"}]
GOOD = {"agree": True, "server": "", "email": "", "ca": "", "port": 8402, "taken": [80, 443]}


def test_certbot_s_own_defaults_will_do() -> None:
    assert list(problems(SITES, GOOD)) == []
    given = {"agree": "yes", "server": "https://ca.example.org/dir", "email": "ops@example.org", "port": "8402"}
    assert list(problems(SITES, {**GOOD, **given})) == []


@pytest.mark.parametrize("sites", [[], None, "x", ["x"], [{"tls": "files"}]])
def test_nobody_who_needs_no_authority_is_asked(sites: Any) -> None:
    assert list(problems(sites, {**GOOD, "agree": False, "port": 0})) == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"agree": False}, ("load_balancer_acme_agree is not true", "set it to true if you agree")),
        ({"agree": "perhaps"}, ("load_balancer_acme_agree is not true",)),
        (
            {"server": "http://ca.example.org"},
            ("load_balancer_acme_server=http://ca.example.org is not valid", "https"),
        ),
        ({"email": "ops"}, ("load_balancer_acme_email=ops is not valid", "one address")),
        ({"port": 443}, ("load_balancer_acme_port=443 is not valid", "a free port")),
        ({"port": "x"}, ("load_balancer_acme_port=x is not valid",)),
        ({"ca": "/nosuch"}, ("load_balancer_acme_ca=/nosuch cannot be read: No such file",)),
    ],
)
def test_a_bad_setting_is_refused_with_variable_value_and_remedy(given: dict[str, Any], words: tuple[str, ...]) -> None:
    (problem,) = problems(SITES, {**GOOD, **given})
    assert all(word in problem for word in words), problem


def test_a_bundle_has_certificates_and_no_keys(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("-----BEGIN CERTIFICATE-----\n")
    assert list(problems(SITES, {**GOOD, "ca": str(bundle)})) == []
    for content in (b"nothing", b"\xff", b"-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n"):
        bundle.write_bytes(content)
        assert len(list(problems(SITES, {**GOOD, "ca": str(bundle)}))) == 1
