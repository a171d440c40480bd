"""What an application may do on the host: its folders, and how the unit denies the rest."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.application import Application, Deploy, Release

FOLDERS = ["instance", "data/uploads", "venv/var/sandbox-instance"]
REFUSED = "PermissionError(1, 'Operation not permitted')"
Play = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def site(deployed: Deploy, release: Release, mode: str) -> Application:
    """An application with folders that outlive its releases."""
    source = release("app_sandbox.py", instance__config_py="DEBUG = True", data__readme="text")
    # From a command before the swap, which has the same folders.
    command = "test ! -e instance/config_py && echo prepared > instance/prepared && test $STATE_DIRECTORY = $HOME"
    return deployed(source, mode, flask_uwsgi_persistent=FOLDERS, flask_uwsgi_pre_activate=[command])


def do(site: Application, what: str) -> dict[str, Any]:
    """Make the application do something."""
    answer = site.get(f"/{what}")
    assert answer.status == 200, answer.raw
    return answer.document


@pytest.mark.parametrize("what", ["nice", "affinity", "group"])
def test_a_call_that_the_filter_forbids_is_an_error_and_kills_no_process(site: Application, what: str) -> None:
    before = {worker["pid"] for worker in site.stats["workers"]}
    assert do(site, what)["error"].startswith(REFUSED[:-1])
    assert {worker["pid"] for worker in site.stats["workers"]} == before
    assert sum(worker["respawn_count"] for worker in site.stats["workers"]) == len(before)


def test_calls_that_no_library_needs_are_denied_and_the_others_work(site: Application) -> None:
    assert do(site, "numbers")["said"] == [1, 1, 1]
    assert "lo" in do(site, "interfaces")["said"]
    assert do(site, "memory")["error"] == ""


def test_native_libraries_use_one_thread_in_each_worker(site: Application) -> None:
    environment = do(site, "environment")["said"]
    assert {environment[f"{name}_NUM_THREADS"] for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "BLIS")} == {"1"}


def test_data_cache_and_logs_have_folders_of_the_account(site: Application) -> None:
    for what in ("cache", "log"):
        assert do(site, what)["error"] == ""
    environment = do(site, "environment")["said"]
    places = {"STATE_DIRECTORY": "lib", "HOME": "lib", "CACHE_DIRECTORY": "cache", "LOGS_DIRECTORY": "log"}
    assert {name: environment[name] for name in places} == {
        name: f"/var/{place}/{site.name}" for name, place in places.items()
    }
    for place in ("lib", "cache", "log"):
        assert site.run(f"stat -c '%U:%G %a' /var/{place}/{site.name}") == f"{site.name}:{site.name} 750"
    assert site.run(f"cat /var/log/{site.name}/sandbox.log") == "hello"


@pytest.mark.full
def test_writable_folders_of_the_source_outlive_a_release(site: Application, play: Play) -> None:
    first = do(site, "instance")["said"]
    for what in ("upload", "installed"):
        assert do(site, what)["error"] == ""
    stored = f"/var/lib/{site.name}-persistent"
    assert site.run(f"cat {stored}/instance/prepared {stored}/data-uploads/file").split() == ["prepared", "uploaded"]
    # The account can replace none of them with a link, which root would follow.
    assert site.run(f"stat -c '%U %a' {stored}") == "root 755"
    assert site.run(f"stat -c '%U %a' {stored}/instance {stored}/data-uploads").splitlines() == [f"{site.name} 750"] * 2
    before = site.generation
    (site.source / "note.txt").write_text(f"another release of {site.name}")
    done = play("deploy", *site.extra_vars)
    assert done.returncode == 0, done.stdout[-4000:]
    assert "what the source has in instance (1 file) is hidden" in done.stdout
    assert site.generation != before
    assert do(site, "instance")["said"] == first + 1
    assert play("rollback", *site.extra_vars).returncode == 0
    assert site.generation == before
    assert do(site, "instance")["said"] == first + 2


@pytest.mark.parametrize("what", ["code", "beside"])
def test_the_rest_of_a_release_is_read_only(site: Application, what: str) -> None:
    assert "Read-only file system" in do(site, what)["error"]
    assert site.run(f"cat /opt/{site.name}/current/release/instance/config_py") == "DEBUG = True"


@pytest.mark.full
def test_an_override_permits_what_it_names(deployed: Deploy, release: Release, mode: str) -> None:
    overrides = {"SystemCallFilter": "@resources @chown", "ProcSubset": "all"}
    site = deployed(release("app_sandbox.py"), mode, flask_uwsgi_unit_overrides=overrides)
    for what in ("nice", "affinity", "group", "proc"):
        assert do(site, what)["error"] == ""
    # No writable folders of the source are set here.
    assert "Read-only file system" in do(site, "instance")["error"]


@pytest.mark.full
def test_a_removal_removes_the_folders_only_with_the_data(site: Application, play: Play) -> None:
    arguments = ["-e", json.dumps({"flask_uwsgi_app_name": site.name})]
    folders = f"ls -d /var/lib/{site.name} /var/lib/{site.name}-persistent /var/cache/{site.name} /var/log/{site.name}"
    assert play("remove", *arguments).returncode == 0
    assert len(site.run(folders).split()) == 4
    assert play("remove", *arguments, "-e", "flask_uwsgi_remove_data=true").returncode == 0
    assert site.run(f"{folders} 2>/dev/null; true") == ""
