"""What certbot says becomes a reason and a remedy, and it keeps to its own directory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.balancer.acme import Client, RefusedError, remedy, words

FAILED = """\
Requesting a certificate for shop.example.org and www.shop.example.org

Certbot failed to authenticate some domains (authenticator: standalone). The Certificate Authority reported:
  Domain: shop.example.org
  Type:   unauthorized
  Detail: 192.0.2.7: Invalid response from http://shop.example.org/.well-known/acme-challenge/x: 404

  Domain: www.shop.example.org
  Type:   dns
  Detail: DNS problem: NXDOMAIN looking up A for www.shop.example.org

Hint: The Certificate Authority failed to download the challenge files from the temporary standalone webserver.

Some challenges have failed.
Ask for help or search for solutions at https://community.letsencrypt.org. See the logfile /x/letsencrypt.log
"""
LIMITED = """\
Saving debug log to /x/letsencrypt.log
An unexpected error occurred:
There were too many requests of a given type :: Error creating new order :: too many certificates (5) already issued for
this exact set of identifiers in the last 168h0m0s, retry after 2026-11-29 10:00:00 UTC
Ask for help or search for solutions at https://community.letsencrypt.org. See the logfile /x/letsencrypt.log
"""
FULL = """\
An unexpected error occurred:
OSError: [Errno 28] No space left on device
Ask for help or search for solutions at https://community.letsencrypt.org. See the logfile /x/letsencrypt.log
"""


@pytest.mark.parametrize(
    ("output", "reason", "advice"),
    [
        (
            FAILED,
            "shop.example.org: 192.0.2.7: Invalid response from http://shop.example.org/.well-known/acme-challenge/x: "
            "404 (unauthorized); www.shop.example.org: DNS problem: NXDOMAIN looking up A for www.shop.example.org "
            "(dns)",
            "let the name's addresses be those of the balancers",
        ),
        (
            LIMITED,
            "There were too many requests of a given type :: Error creating new order :: too many certificates (5) "
            "already issued for this exact set of identifiers in the last 168h0m0s, retry after 2026-11-29 10:00:00 "
            "UTC",
            "wait until the time that the authority names",
        ),
        (FULL, "[Errno 28] No space left on device", "make room on the balancer's disk"),
        (
            "An unexpected error occurred:\nValueError: Requesting ca.example.org/dir: Connection refused\n",
            "Requesting ca.example.org/dir: Connection refused",
            "let the balancer reach the authority",
        ),
        (
            "certbot: error: unrecognized arguments: --dance\nAsk for help or search",
            "certbot: error: unrecognized arguments: --dance",
            "see certbot's log",
        ),
        (
            "An unexpected error occurred:\nAttributeError: can't set attribute\n",
            "can't set attribute",
            "see certbot's log",
        ),
        ("", "certbot has failed without a reason", "see certbot's log"),
    ],
)
def test_the_authority_s_own_words_and_what_to_do(output: str, reason: str, advice: str) -> None:
    assert words(output) == reason
    assert remedy(reason).startswith(advice)


@pytest.fixture
def certbot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A certbot that notes its arguments, and fails if there is a file with what it says."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "certbot"
    program.write_text(
        f'#!/bin/sh\necho "$@" "$REQUESTS_CA_BUNDLE" > {tmp_path}/asked\n! cat {tmp_path}/says 2>/dev/null\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return tmp_path


def test_certbot_keeps_to_its_own_directory(certbot: Path) -> None:
    Client(certbot / "acme", "", "", "", 8402).issue("acme-1", ["a.example.org", "b.example.org"])
    asked = (certbot / "asked").read_text()
    for option in ("config", "work", "logs"):
        assert f"--{option}-dir {certbot}/acme/{option} " in asked
    assert "--http-01-port 8402 " in asked and "--cert-name acme-1 --force-renewal " in asked
    assert "--register-unsafely-without-email" in asked and "--server" not in asked
    assert "--domain a.example.org --domain b.example.org" in asked


def test_the_settings_reach_certbot(certbot: Path) -> None:
    Client(certbot / "acme", "https://ca.example.org/dir", "ops@example.org", "/etc/ca.pem", 8402).issue("x", ["a.org"])
    asked = (certbot / "asked").read_text()
    assert "--email ops@example.org --server https://ca.example.org/dir" in asked and asked.endswith("/etc/ca.pem\n")


def test_a_refusal_has_the_authority_s_words(certbot: Path) -> None:
    (certbot / "says").write_text(LIMITED)
    with pytest.raises(RefusedError, match="too many certificates"):
        Client(certbot / "acme", "", "", "", 8402).issue("x", ["a.org"])


def test_what_certbot_hides_is_in_its_log(certbot: Path) -> None:
    (certbot / "says").write_text("An unexpected error occurred:\nAttributeError: can't set attribute\nAsk for help")
    client = Client(certbot / "acme", "", "", "", 8402)
    client.log.parent.mkdir(parents=True)
    client.log.write_text(
        "Traceback\nacme.messages.Error: urn:ietf:params:acme:error:badNonce :: once\n"
        "acme.messages.Error: urn:ietf:params:acme:error:rateLimited :: too many certificates, retry after noon\nx\n"
    )
    with pytest.raises(RefusedError, match=r"^urn:ietf:params:acme:error:rateLimited :: too many .* after noon$"):
        client.issue("x", ["a.org"])


def test_without_certbot_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RefusedError, match="certbot cannot be run: No such file"):
        Client(tmp_path, "", "", "", 8402).issue("x", ["a.org"])


def test_what_was_issued_is_one_text_of_chain_and_key(tmp_path: Path) -> None:
    client = Client(tmp_path, "", "", "", 8402)
    assert client.pem("x") == ""
    live, archive = tmp_path / "config" / "live" / "x", tmp_path / "config" / "archive" / "x"
    for folder in (live, archive):
        folder.mkdir(parents=True)
    for name in ("fullchain", "privkey"):
        (archive / f"{name}1.pem").write_text(f"{name}\n\n")
        (live / f"{name}.pem").symlink_to(archive / f"{name}1.pem")
    assert client.pem("x") == "fullchain\nprivkey\n"
