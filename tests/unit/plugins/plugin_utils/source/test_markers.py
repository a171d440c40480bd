"""Which entries of a lock apply to a platform."""

from pathlib import Path

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release import artifact as art
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source.markers import locked

from tests.support import ROOT

HASH = "--hash=sha256:" + "a" * 64
FILES = ROOT / "roles/artifact/files"


@pytest.mark.parametrize(
    ("platform", "pin"),
    [
        ("debian-11-x86_64-py3.9", "1.0"),
        ("debian-12-aarch64-py3.11", "2.0"),
        ("debian-forky-x86_64-py3.14", "2.0"),
        ("rhel-9.4-x86_64-py3.10", "2.0"),
    ],
)
def test_a_platform_has_one_version_of_each_package(tmp_path: Path, platform: str, pin: str) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text(
        f"a==1.0 ; python_full_version < '3.10' {HASH}\n"
        f"a==2.0 ; python_full_version >= '3.10' {HASH}\n"
        f"b==1.0 ; sys_platform == 'win32' {HASH}\n"
        f"c==1.0 ; platform_release >= '6.1' {HASH}\n"
    )
    found = {entry.name: art.pin(entry) for entry in locked(lock, "artifact_server_lock", platform)}
    # Only the host knows its kernel.
    assert found == {"a": pin, "c": "1.0"}


@pytest.mark.parametrize("python", ["3.9", "3.10", "3.11", "3.12", "3.13", "3.14"])
@pytest.mark.parametrize("architecture", ["x86_64", "aarch64"])
@pytest.mark.parametrize("lock", [FILES / "server.txt", FILES / "build.txt", ROOT / "app/requirements.txt"])
def test_the_role_s_locks_are_for_every_python_that_a_host_may_have(lock: Path, architecture: str, python: str) -> None:
    names = [entry.name for entry in locked(lock, "lock", f"debian-12-{architecture}-py{python}")]
    assert names == sorted(set(names)) and len(names) > 4
    wanted = {line.split("==")[0].split(" ")[0] for line in lock.with_suffix(".in").read_text().splitlines()}
    assert {name.split("~")[0].split("<")[0] for name in wanted if name and name[0] != "#"} <= set(names)
