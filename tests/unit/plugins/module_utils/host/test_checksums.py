"""What a manifest reveals about files whose content could be guessed."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import checksums
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic import service
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan.generation import document, environment_file

from tests.support.fake_host import FakeHost, TemporaryLayout

PIN = environment_file({"PIN": "4711"})


def test_guessing_the_environment_is_slow() -> None:
    checksums.slow.cache_clear()
    started = time.process_time()
    checksums.checksum("environment", PIN, "shop")
    # A plain hash takes a microsecond.
    assert time.process_time() - started > 0.005


def test_the_checksum_of_the_environment_is_stable() -> None:
    # Change it on purpose only: every host deploys again.
    assert checksums.checksum("environment", PIN, "shop") == "scrypt:8166ded3cbd0425bfa0f3530c4ce6e38"


@pytest.mark.parametrize("name", ["environment", "uwsgi.ini"])
def test_a_file_matches_its_checksum_or_not(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    recorded = checksums.checksum(name, PIN, "shop")
    assert not checksums.matches(recorded, name, file, "shop")
    file.write_text(PIN)
    assert checksums.matches(recorded, name, file, "shop")
    assert checksums.matches(recorded, name, file, "books") == (name != "environment")
    file.write_text(PIN + "# by hand\n")
    assert not checksums.matches(recorded, name, file, "shop")
    file.unlink()
    file.mkdir()
    assert not checksums.matches(recorded, name, file, "shop")


def test_a_manifest_of_an_earlier_version_is_understood(tmp_path: Path) -> None:
    file = tmp_path / "environment"
    file.write_text(PIN)
    recorded = hashlib.sha256(PIN.encode()).hexdigest()
    assert checksums.matches(recorded, "environment", file, "shop")
    file.write_text("")
    assert not checksums.matches(recorded, "environment", file, "shop")


def test_an_environment_changed_by_hand_is_drift(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("g1")
    folder = layout.generations / "g1"
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["checksums"] |= json.loads(document({"environment": PIN}, {"app_name": "shop"}, {}))["checksums"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "environment").write_text(PIN)
    assert "environment was changed by hand" not in service.drift(layout)
    (folder / "environment").write_text(PIN.replace("4711", "4712"))
    assert "environment was changed by hand" in service.drift(layout)
