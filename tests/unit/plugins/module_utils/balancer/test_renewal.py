"""What is due is renewed, served and proven; what fails is recorded while the old certificate is served."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.balancer import acme, certificates
from ansible_collections.flaskops.uwsgi.plugins.module_utils.balancer.certificates import Certificate
from ansible_collections.flaskops.uwsgi.plugins.module_utils.balancer.renewal import (
    Records,
    Renewal,
    RenewalError,
    Site,
    problems,
)
from ansible_collections.flaskops.uwsgi.plugins.module_utils.balancer.runtime import Runtime, RuntimeAPIError

DAY = 86400
NAMES = ["shop.example.org", "www.shop.example.org"]


class World:
    """An authority, a HAProxy and its visitors, which deal in certificates of one word: their serial numbers.

    Attributes:
        served: what visitors get.
        refusal: why the authority refuses; empty to issue.
        broken: whether HAProxy refuses new certificates.
        idle: whether HAProxy agrees, and serves the old one.
        asked: how often the authority was asked.
        left: what is left of the lifetime of those that are issued.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / "acme-1.pem"
        self.file.write_text("temporary")
        self.folder = folder
        self.served = "temporary"
        self.refusal = ""
        self.broken = self.idle = False
        self.asked = 0
        self.left = 90 * DAY

    @property
    def chain(self) -> Path:
        return self.folder / "acme" / "config" / "live" / "acme-1" / "fullchain.pem"

    def issue(self, client: acme.Client, name: str, names: list[str]) -> None:
        self.asked += 1
        if self.refusal:
            raise acme.RefusedError(self.refusal)
        self.chain.parent.mkdir(parents=True, exist_ok=True)
        self.chain.write_text(f"issued{self.asked}")
        self.chain.with_name("privkey.pem").write_text("")

    def read(self, pem: str) -> Certificate:
        now, word = time.time(), pem.split()[0]
        return Certificate(word, NAMES, now - 90 * DAY + self.left, now + self.left, word == "temporary")

    def put(self, runtime: Runtime, file: Path, pem: str) -> None:
        if self.broken:
            raise RuntimeAPIError("HAProxy refuses it")
        file.write_text(pem)
        if not self.idle:
            self.served = pem.split()[0]

    @property
    def renewal(self) -> Renewal:
        client = acme.Client(self.folder / "acme", "https://one.example.org", "", "", 8402)
        nobody = Runtime(Path("/nosuch"), Path("/nosuch"))
        return Renewal(nobody, [Site(NAMES, self.file)], client, 443, Records(self.folder / "renewals.json"))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    found = World(tmp_path)
    monkeypatch.setattr(acme.Client, "issue", lambda *arguments: found.issue(*arguments))
    monkeypatch.setattr(certificates, "read", found.read)
    monkeypatch.setattr(certificates, "put", found.put)
    monkeypatch.setattr(certificates, "served", lambda port, name: found.read(found.served))
    module = "ansible_collections.flaskops.uwsgi.plugins.module_utils.balancer.renewal"
    monkeypatch.setattr(f"{module}._PROOF_S", 0.1)
    monkeypatch.setattr(f"{module}._POLL_S", 0.01)
    return found


def test_a_temporary_certificate_is_replaced_once(world: World) -> None:
    assert world.renewal.due() == world.renewal.sites
    assert world.renewal.run() == []
    assert (world.served, world.file.read_text().split(), world.renewal.due()) == ("issued1", ["issued1"], [])
    assert world.renewal.run() == [] and world.asked == 1


def test_it_is_renewed_when_a_third_of_its_lifetime_is_left(world: World) -> None:
    world.renewal.run()
    world.left = 31 * DAY
    assert world.renewal.due() == []
    world.left = 29 * DAY
    assert world.renewal.due() == world.renewal.sites


def test_an_operator_gets_a_new_one_at_once(world: World) -> None:
    world.renewal.run()
    mark = world.folder / "acme" / "renew-now"
    mark.touch()
    os.utime(mark, (time.time() + 1,) * 2)
    assert world.renewal.run() == [] and world.served == "issued2"
    os.utime(world.chain, (time.time() + 2,) * 2)
    assert world.renewal.due() == []


def test_another_authority_is_asked_at_once(world: World) -> None:
    world.renewal.run()
    other = replace(world.renewal, client=replace(world.renewal.client, server="https://two.example.org"))
    assert other.due() == other.sites
    world.refusal = "no"
    assert other.run() and other.due() == other.sites
    world.refusal = ""
    assert other.run() == [] and other.due() == []


def test_a_refusal_is_recorded_until_it_succeeds(world: World) -> None:
    world.refusal = "no such name (dns)"
    (said,) = world.renewal.run()
    assert said.startswith("the certificate for shop.example.org, www.shop.example.org cannot be renewed (since 2")
    assert "no such name (dns). A temporary one is served. Remedy: let the name's addresses" in said
    since = world.renewal.records.read()["acme-1"]["since"]
    world.refusal = "still not"
    assert since in world.renewal.run()[0] and problems(world.renewal.records.read())
    world.refusal = ""
    assert world.renewal.run() == [] and problems(world.renewal.records.read()) == []


def test_the_end_of_the_present_one_is_said(world: World) -> None:
    world.renewal.run()
    world.left, world.refusal = DAY, "no"
    assert "no. The present one is valid until 2" in world.renewal.run()[0]
    assert world.served == "issued1"


def test_what_was_issued_and_could_not_be_served_is_used_without_asking_again(world: World) -> None:
    world.broken = True
    assert "HAProxy refuses it" in world.renewal.run()[0] and world.served == "temporary"
    world.broken = False
    assert world.renewal.run() == [] and (world.served, world.asked) == ("issued1", 1)


def test_a_certificate_that_visitors_do_not_get_is_a_failure(world: World) -> None:
    world.idle = True
    (said,) = world.renewal.run()
    assert "visitors of shop.example.org get the certificate temporary, and not the new" in said
    assert "Remedy: run playbooks/load_balancer.yml" in said
    assert world.renewal.due() == world.renewal.sites


def test_only_one_renewal_runs_at_a_time(world: World) -> None:
    with world.renewal._alone(), pytest.raises(RenewalError, match="another renewal runs: wait"):
        world.renewal.run()


def test_a_record_that_cannot_be_written_is_said(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Records, records: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Records, "write", full)
    assert world.renewal.run() == [f"{world.folder}/renewals.json cannot be written: No space left on device"]


def test_without_settings_nothing_is_renewed(tmp_path: Path) -> None:
    runtime = Runtime(Path("/nosuch"), Path("/nosuch"))
    found = Renewal.configured(runtime, tmp_path / "none.json", tmp_path)
    assert (found.sites, found.due()) == ([], [])
    (tmp_path / "acme.json").write_text(
        '{"https_port": 443, "client": {"server": "s", "email": "e", "authority": "a", "port": 8402},'
        ' "sites": [{"names": ["shop.example.org"], "file": "/etc/acme-1.pem"}]}'
    )
    found = Renewal.configured(runtime, tmp_path / "acme.json", tmp_path)
    assert found.sites == [Site(["shop.example.org"], Path("/etc/acme-1.pem"))] and found.sites[0].id == "acme-1"
    assert found.client == acme.Client(tmp_path / "acme", "s", "e", "a", 8402)
