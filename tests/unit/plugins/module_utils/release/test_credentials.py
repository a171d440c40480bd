"""Secrets on a host: where they are, who can read them, and how damage is noticed."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release import credentials
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan import generation
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan.choice import choose

from tests.support.fake_host import CREDS, TemporaryLayout
from tests.support.planning import artifact, settings

SECRETS = {"TOKEN": "s3cr3t-v4lue", "key.pem": "-----BEGIN-----\nb4se64==\n-----END-----\n", "PIN": "12"}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def folder(layout: TemporaryLayout) -> Path:
    """Return the directory of a generation."""
    (layout.generations / "g" / "units").mkdir(parents=True)
    return layout.generations / "g"


@pytest.fixture
def creds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create a systemd-creds that encrypts while the file beside it, its key, exists."""
    program = tmp_path / "bin" / "systemd-creds"
    program.parent.mkdir()
    program.write_text(CREDS)
    program.chmod(0o755)
    program.with_suffix(".key").touch()
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return program


def test_secrets_are_encrypted_if_the_host_can(folder: Path, creds: Path) -> None:
    assert credentials.write(folder, SECRETS) == ""
    assert credentials.encrypted(folder) is True
    for name, value in SECRETS.items():
        content = (folder / "credentials" / name).read_text()
        assert content.startswith(f"--name={name}\n") and value not in content
    lines = (folder / "units" / "credentials.conf").read_text().splitlines()
    assert lines[1:] == [
        "[Service]",
        *(f"LoadCredentialEncrypted={name}:{folder}/credentials/{name}" for name in ("PIN", "TOKEN", "key.pem")),
    ]


@pytest.mark.parametrize("script", [None, "#!/bin/sh\necho no key >&2; exit 1\n", "#!/bin/sh\ncat; echo garbled\n"])
def test_secrets_are_plain_if_it_cannot(
    folder: Path, creds: Path, monkeypatch: pytest.MonkeyPatch, script: str | None
) -> None:
    if script is None:
        creds.unlink()
        monkeypatch.setenv("PATH", str(creds.parent))
    else:
        creds.write_text(script)
    why = credentials.write(folder, SECRETS)
    assert why and not any(value in why for value in SECRETS.values())
    assert credentials.encrypted(folder) is False
    assert {path.name: path.read_text() for path in (folder / "credentials").iterdir()} == SECRETS
    assert f"\nLoadCredential=PIN:{folder}/credentials/PIN\n" in (folder / "units" / "credentials.conf").read_text()
    assert credentials.stale(folder, SECRETS) == []


@pytest.mark.usefixtures("umask", "creds")
def test_only_root_can_read_secrets_and_systemd_can_read_their_names(folder: Path) -> None:
    (folder / "credentials").mkdir(mode=0o755)
    credentials.write(folder, SECRETS)
    assert mode(folder / "credentials") == 0o700
    assert {mode(path) for path in (folder / "credentials").iterdir()} == {mode(folder / "credentials.json")} == {0o600}
    assert mode(folder / "units" / "credentials.conf") == 0o644


def test_written_secrets_are_neither_damaged_nor_stale(folder: Path, creds: Path) -> None:
    credentials.write(folder, SECRETS)
    assert credentials.spoiled(folder, SECRETS) == credentials.stale(folder, SECRETS) == []


def test_a_generation_without_secrets_cannot_be_damaged(folder: Path) -> None:
    assert credentials.spoiled(folder, []) == credentials.stale(folder, {}) == []
    assert credentials.encrypted(folder) is None


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("credentials/PIN", Path.unlink),
        ("credentials/PIN", lambda path: path.chmod(0o644)),
        ("credentials/PIN", lambda path: path.write_text("--name=PIN\nOTk=\n")),
        ("credentials/PIN", lambda path: path.rename(path.with_name("x")) and path.symlink_to("x")),
        ("units/credentials.conf", Path.unlink),
        ("units/credentials.conf", lambda path: path.write_text("[Service]\n")),
        ("credentials.json", Path.unlink),
        ("credentials.json", lambda path: path.write_text("{}")),
        ("credentials.json", lambda path: path.write_text("[")),
    ],
)
def test_damage_is_noticed_and_repaired(folder: Path, creds: Path, name: str, spoil: Callable[[Path], object]) -> None:
    credentials.write(folder, SECRETS)
    spoil(folder / name)
    assert credentials.spoiled(folder, SECRETS) == credentials.stale(folder, SECRETS) == [name]
    credentials.write(folder, SECRETS)
    assert credentials.stale(folder, SECRETS) == []


def test_a_secret_that_the_host_can_no_longer_decrypt_is_stale(folder: Path, creds: Path) -> None:
    credentials.write(folder, SECRETS)
    creds.with_suffix(".key").unlink()
    assert credentials.spoiled(folder, SECRETS) == []
    assert credentials.stale(folder, SECRETS) == ["credentials/PIN", "credentials/TOKEN", "credentials/key.pem"]


def test_another_value_is_stale(folder: Path, creds: Path) -> None:
    credentials.write(folder, SECRETS)
    assert credentials.stale(folder, {**SECRETS, "PIN": "13"}) == ["credentials/PIN"]


def test_the_checksums_are_of_the_files_on_the_host(folder: Path, creds: Path) -> None:
    credentials.write(folder, SECRETS)
    record = json.loads((folder / "credentials.json").read_text())
    assert record["encrypted"] is True and record["checksums"].keys() == SECRETS.keys()
    assert not any(value in json.dumps(record) for value in SECRETS.values() if len(value) > 2)


def test_secrets_in_the_application_s_output_are_masked(folder: Path, creds: Path) -> None:
    credentials.write(folder, SECRETS)
    lines = ["login as x:s3cr3t-v4lue@db failed", "b4se64==", "line 12", "-----BEGIN-----"]
    hidden = ["login as x:********@db failed", "********", "line 12", "********"]
    assert credentials.hide(folder, SECRETS, lines) == hidden
    assert credentials.hide(folder, [], lines) == lines
    assert credentials.hide(folder, ["none"], lines) == lines


# The program that sets them in the environment.


def rendered(folder: Path, **own: Any) -> Path:
    """Write the program as on a host."""
    given = settings(**own)
    program = folder / "credentials.py"
    program.write_text(generation.rendered(given, artifact(), choose(given, {}))["credentials.py"])
    return program


@pytest.mark.parametrize("asked", [True, False])
def test_a_command_finds_them_in_its_environment_on_request(tmp_path: Path, asked: bool) -> None:
    program = rendered(tmp_path, secrets={"KEY": "", "TOKEN": ""}, secrets_in_environment=asked)
    values = {b"TOKEN": b"s3cr3t", b"KEY": b"two\r\nlines \xc3\xa4\n\n", b"OTHER": b"x"}
    for name, value in values.items():
        (tmp_path / name.decode()).write_bytes(value)
    done = subprocess.run(
        [sys.executable, "-IS", str(program), "env", "--null"],
        env={"CREDENTIALS_DIRECTORY": str(tmp_path), "PATH": os.environ["PATH"]},
        capture_output=True,
        check=True,
    )
    found = dict(entry.split(b"=", 1) for entry in done.stdout.split(b"\0") if entry)
    wanted = {b"TOKEN": values[b"TOKEN"], b"KEY": values[b"KEY"]} if asked else {}
    assert {name: found[name] for name in values if name in found} == wanted


def test_folders_named_by_systemd_are_inserted_into_the_variables_that_ask_for_them(tmp_path: Path) -> None:
    environment = {
        "ISSO_SETTINGS": "$FLASK_UWSGI_FILES/isso.cfg",
        "DATABASE_URL": "sqlite:///${STATE_DIRECTORY}/a.db?b=$STATE_DIRECTORY/b&c=$FLASK_UWSGI_FILES",
        "PIN": "pa$HOME$STATE",
    }
    program = rendered(tmp_path, environment=environment)
    folders = {"FLASK_UWSGI_FILES": "/opt/shop/generations/1/files", "STATE_DIRECTORY": "/var/lib/shop"}
    done = subprocess.run(
        [sys.executable, "-IS", str(program), "env", "--null"],
        env={"PATH": os.environ["PATH"], **folders, **environment},
        capture_output=True,
        check=True,
    )
    found = dict(entry.split("=", 1) for entry in done.stdout.decode().split("\0") if entry)
    assert {name: found[name] for name in environment} == {
        "ISSO_SETTINGS": "/opt/shop/generations/1/files/isso.cfg",
        "DATABASE_URL": "sqlite:////var/lib/shop/a.db?b=/var/lib/shop/b&c=/opt/shop/generations/1/files",
        "PIN": "pa$HOME$STATE",
    }
