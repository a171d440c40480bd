"""Secrets reach the application, as files and as environment variables, and are found nowhere else."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import secrets
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support import ROOT
from tests.support.service import APP
from tests.support.witness import Witness

HERE = Path(__file__).parent

pytestmark = pytest.mark.timeout(300)


def fresh() -> dict[str, str]:
    """Return new secrets: a word, and a text of several lines with a non-ASCII character."""
    return {
        "TOKEN": secrets.token_urlsafe(24),
        "KEY": f"-----BEGIN {secrets.token_hex(12)}-----\n{secrets.token_urlsafe(24)} ä\n",
    }


def shows(text: str | bytes, values: dict[str, str]) -> bool:
    """Return whether a text contains a line of a secret, or one as base64."""
    content = text.encode() if isinstance(text, str) else text
    parts = [line.encode() for value in values.values() for line in value.splitlines()]
    parts += [base64.b64encode(value.encode()).rstrip(b"=")[:-1] for value in values.values()]
    return any(part in content for part in parts)


class Deployments:
    """Deploys with secrets from a vault, at Ansible's highest verbosity; keeps everything that they leave here.

    Args:
        play: runs a playbook.
        folder: where that is kept.
    """

    def __init__(self, play: Callable[..., subprocess.CompletedProcess[str]], folder: Path) -> None:
        self.started = time.time()
        self.folder = folder
        self._play = play
        shutil.copyfile(ROOT / "app" / "requirements.txt", self.source / "requirements.txt")
        shutil.copyfile(HERE / "digests.py", self.source / "run.py")
        (folder / "password").write_text("password")

    @property
    def source(self) -> Path:
        """The application."""
        (self.folder / "app").mkdir(exist_ok=True)
        return self.folder / "app"

    def deploy(self, values: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
        """Deploy, and return the finished process."""
        vault = self.folder / "vault.yml"
        vault.write_text(json.dumps({f"vault_{name}": value for name, value in values.items()}))
        password = ("--vault-password-file", str(self.folder / "password"))
        subprocess.run(["ansible-vault", "encrypt", *password, vault], capture_output=True, check=True)
        names = {name: f"{{{{ vault_{name} }}}}" for name in ("TOKEN", "KEY")}
        variables = {"flask_uwsgi_source": str(self.source), "flask_uwsgi_secrets": names}
        done = self._play(
            "deploy", "-vvv", "--diff", "-e", json.dumps(variables), "-e", f"@{vault}", *password, *arguments
        )
        with (self.folder / "output").open("a") as output:
            output.write(done.stdout + done.stderr)
        return done

    def left(self) -> Iterator[tuple[Path, bytes]]:
        """Yield everything that is on the controller since then: output, log, facts, reports, artifacts."""
        cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "flaskops" / "artifacts"
        for path in (*self.folder.rglob("*"), *(ROOT / "reports").rglob("*"), *cache.glob("code-*")):
            if not path.is_file() or path.stat().st_mtime < self.started:
                continue
            yield path, path.read_bytes()
            if tarfile.is_tarfile(path):
                with tarfile.open(path) as archive:
                    for member in archive:
                        stream = archive.extractfile(member)
                        yield path / member.name, stream.read() if stream else b""


@pytest.fixture(scope="module")
def deployments(
    play: Callable[..., subprocess.CompletedProcess[str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployments]:
    folder = tmp_path_factory.mktemp("controller")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("ANSIBLE_LOG_PATH", str(folder / "log"))
        environment.setenv("ANSIBLE_CACHE_PLUGIN", "ansible.builtin.jsonfile")
        environment.setenv("ANSIBLE_CACHE_PLUGIN_CONNECTION", str(folder / "facts"))
        yield Deployments(play, folder)


@pytest.fixture(scope="module")
def values() -> dict[str, str]:
    """The secrets that are deployed first."""
    return fresh()


@pytest.fixture
def find(host: Any) -> Callable[[], list[str]]:
    """Return a function that searches the host for the secrets of the running service."""

    def search() -> list[str]:
        found: list[str] = json.loads(host.check_output("python3 -c %s %s", (HERE / "search.py").read_text(), APP))
        return found

    return search


@pytest.fixture
def encrypts(host: Any) -> bool:
    """Whether systemd can encrypt credentials."""
    return int(host.check_output("systemctl --version").split()[1]) >= 250


@pytest.fixture
def unable(service: Any, encrypts: bool) -> Iterator[Callable[[], None]]:
    """Return a function that lets the host encrypt again; until then it cannot, so that both ways are tried."""

    def able() -> None:
        if encrypts:
            service.run("chmod a+x /usr/bin/systemd-creds")

    if encrypts:
        service.run("chmod a-x /usr/bin/systemd-creds")
    yield able
    able()


def assert_knows(service: Any, values: dict[str, str]) -> None:
    digests = {name: hashlib.sha256(value.encode()).hexdigest() for name, value in values.items()}
    answer = requests.get(f"{service.url}/healthz", timeout=10).json()
    assert (answer["files"], answer["environment"]) == (digests, digests)


def test_a_first_deploy_in_check_mode_names_them_and_changes_nothing(
    deployments: Deployments, values: dict[str, str], host: Any, encrypts: bool
) -> None:
    done = deployments.deploy(values, "--check")
    assert done.returncode == 0, done.stdout[-3000:]
    assert not host.file(f"/opt/{APP}/generations").exists
    instead = "flask_uwsgi_secrets: not encrypted on the host, for that needs systemd 250"
    assert (instead in done.stdout) is not encrypts


def test_the_application_finds_them_in_both_places(
    deployments: Deployments, values: dict[str, str], service: Any
) -> None:
    done = deployments.deploy(values)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "--- secrets (values hidden)\n+ KEY\n+ TOKEN\n" in done.stdout
    assert_knows(service, values)


def test_they_are_encrypted_and_found_nowhere_on_the_host(
    find: Callable[[], list[str]], service: Any, encrypts: bool
) -> None:
    assert service.status["secrets"] == {"names": ["KEY", "TOKEN"], "encrypted": encrypts}
    folder = f"/opt/{APP}/generations/{service.generation}/credentials"
    assert find() == ([] if encrypts else [f"{folder}/KEY", f"{folder}/TOKEN"])


def test_only_the_service_can_read_its_secrets(host: Any) -> None:
    readable = "runuser -u nobody -- find /run/credentials /opt/*/generations/*/credentials* -type f -readable"
    assert host.run(f"{readable} | grep .").stdout == ""
    assert host.check_output(f"find /opt/{APP}/generations/*/credentials ! -user root -o -perm /077") == ""


@pytest.mark.full
def test_a_corrupted_secret_is_reported_and_repaired(
    deployments: Deployments, values: dict[str, str], service: Any
) -> None:
    service.run(f"truncate --size 0 /opt/{APP}/current/credentials/TOKEN")
    done = deployments.deploy(values)
    assert done.returncode == 0 and "credentials/TOKEN was changed by hand" in done.stdout, done.stdout[-3000:]
    assert_knows(service, values)
    assert "nothing to do" in deployments.deploy(values).stdout


def test_an_undefined_secret_is_reported_before_anything_changes(
    deployments: Deployments, values: dict[str, str], service: Any
) -> None:
    before = service.generation, service.show(service.unit, "MainPID")
    done = deployments.deploy({"KEY": values["KEY"]})
    assert done.returncode != 0
    message = "flask_uwsgi_secrets has 'TOKEN', which cannot be evaluated: vault_TOKEN is not defined. Define it, or"
    assert message in " ".join(done.stdout.split())
    assert "Reserve the application" not in done.stdout
    assert (service.generation, service.show(service.unit, "MainPID")) == before


def test_another_value_is_another_generation_and_a_rollback_brings_the_first_back(
    deployments: Deployments, values: dict[str, str], service: Any, find: Callable[[], list[str]], play: Any,
    unable: Callable[[], None],
) -> None:  # fmt: skip
    first, other = service.generation, fresh()
    with Witness(service.url, clients=4, path="/healthz", method="GET") as witness:
        with witness.window("another value", steady=0.5) as changed:
            done = deployments.deploy(other)
        assert done.returncode == 0, done.stdout[-3000:]
        assert_knows(service, other)
        second = service.generation
        assert second != first and "--- secrets (values hidden)\n~ values changed\n" in done.stdout
        assert "stored unencrypted on this host, readable only by root: systemd-creds" in done.stderr
        folder = f"/opt/{APP}/generations/{second}/credentials"
        assert find() == [f"{folder}/KEY", f"{folder}/TOKEN"]
        assert service.run(f"stat --format %U:%a {folder}/*").split() == ["root:600", "root:600"]
        unable()
        with witness.window("back", steady=0.5) as back:
            done = play("rollback")
        assert done.returncode == 0, done.stdout
        assert changed.report().failures == back.report().failures == {}
    assert service.generation == first
    assert_knows(service, values)


def test_the_output_of_an_application_that_fails_and_prints_a_secret_is_not_quoted(
    deployments: Deployments, values: dict[str, str], service: Any
) -> None:
    program = deployments.source / "run.py"
    before = program.read_text(), service.generation
    program.write_text(f'{before[0]}\nraise RuntimeError("no login with " + os.environ["TOKEN"])\n')
    try:
        done = deployments.deploy(values)
    finally:
        program.write_text(before[0])
    assert done.returncode != 0
    assert "RuntimeError: no login with ********. Correct the application" in " ".join(done.stdout.split())
    assert service.generation == before[1]


def test_no_secret_is_left_on_the_controller(deployments: Deployments, values: dict[str, str]) -> None:
    left = dict(deployments.left())
    assert {deployments.folder / "output", deployments.folder / "log"} <= left.keys()
    assert [str(path) for path, content in left.items() if shows(content, values)] == []


def test_the_search_finds_secrets_wherever_they_are_put(
    find: Callable[[], list[str]], service: Any, encrypts: bool
) -> None:
    # The failed application wrote it to the journal.
    stored = re.compile(rf"/opt/{APP}/generations/[^/]+/credentials/(KEY|TOKEN)")
    elsewhere = [place for place in find() if encrypts or not stored.fullmatch(place)]
    assert all(place == "journal" or place.startswith("/var/log/journal/") for place in elsewhere)
    secret = f"/run/credentials/{service.unit}/TOKEN"
    process = f"--setenv=TOKEN=$(cat {secret}) python3 -c 'import time; time.sleep(600)' \"$(cat {secret})\""
    service.run(f"cp {secret} /etc/put && base64 --wrap 0 {secret} > /var/lib/put")
    service.run(f"systemd-run --quiet --unit put --property Type=exec {process}")
    try:
        pid, found = service.show("put.service", "MainPID"), set(find())
    finally:
        service.run("systemctl stop put.service; rm /etc/put /var/lib/put")
    wanted = {"/etc/put", "/var/lib/put", f"/proc/{pid}/cmdline", f"/proc/{pid}/environ", "journal", "systemctl show"}
    assert wanted <= found


def test_a_value_that_changes_each_time_is_evaluated_once(
    deployments: Deployments, values: dict[str, str], service: Any
) -> None:
    changing = {"flask_uwsgi_environment": {"DEPLOYED": "{{ 10 ** 15 | random }}"}}
    done = deployments.deploy(values, "-e", json.dumps(changing))
    assert done.returncode == 0, done.stdout[-3000:]
    # The plan has shown its name.
    manifest = json.loads(service.run(f"cat /opt/{APP}/current/manifest.json"))
    assert manifest["generation"] == service.generation and manifest["digest"].startswith(service.generation)
    assert f" -> {service.generation} (" in done.stdout
