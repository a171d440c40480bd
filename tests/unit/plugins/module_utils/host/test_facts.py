import os
import platform
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import facts as host


def test_this_machine_is_described(tmp_path: Path) -> None:
    facts = host.facts(tmp_path)
    python = f"py{sys.version_info.major}.{sys.version_info.minor}"
    assert facts["platform"] == f"{facts['distribution']}-{facts['version']}-{platform.machine()}-{python}"
    assert f"py{facts['python']}" == python
    for limit in ("somaxconn", "file_max", "nofile", "tasks", "free_mb"):
        assert isinstance(facts[limit], int) and facts[limit] > 0, limit
    assert facts["nofile"] <= int(Path("/proc/sys/fs/nr_open").read_text())
    assert isinstance(facts["shared_mounts"], bool)
    assert isinstance(facts["systemd"], bool) and isinstance(facts["libpython"], bool)
    said = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, check=False).stdout.split()
    assert facts["systemd_version"] == (int(said[1]) if said else 0)
    assert facts["package_manager"] == ("apt" if shutil.which("apt-get") else "dnf" if shutil.which("dnf") else "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('PRETTY_NAME="Debian 12"\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\nID=debian\n', ("debian", "12")),
        # Debian testing.
        ('PRETTY_NAME="Debian forky/sid"\n\nVERSION_CODENAME=forky\nID=debian\n', ("debian", "forky")),
        ('ID=\'rhel\'\nVERSION_ID="9.4"\nID_LIKE="fedora"\n', ("rhel", "9.4")),
        ("# ID=other\nID=arch\nBUILD_ID=rolling\n", ("arch", "rolling")),
        ("", ("linux", "rolling")),
    ],
)
def test_a_distribution_has_a_number_or_a_code_name(tmp_path: Path, text: str, expected: tuple[str, str]) -> None:
    file = tmp_path / "os-release"
    file.write_text(text)
    assert host.distribution([tmp_path / "none", file]) == expected


@pytest.mark.parametrize(
    ("path", "version"),
    [
        ("lib/systemd/libsystemd-shared-247.so", 247),
        ("usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-257.so", 257),
        ("usr/lib/aarch64-linux-gnu/systemd/libsystemd-shared-262.so", 262),
        ("usr/lib64/systemd/libsystemd-shared-252-55.el9_7.so", 252),
    ],
)
def test_the_version_of_systemd_is_in_the_name_of_its_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, version: int
) -> None:
    monkeypatch.setattr(host, "_LIBRARIES", [tmp_path / name for name in ("usr/lib", "lib", "usr/lib64")])
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).touch()
    monkeypatch.setenv("PATH", "/nonexistent")
    assert host.systemd_version() == version


def test_without_a_library_systemctl_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_LIBRARIES", [tmp_path])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert host.systemd_version() == 0
    program = tmp_path / "systemctl"
    program.write_text("#!/bin/sh\necho 'systemd 249 (249.11-0ubuntu3)'\necho '+PAM'\n")
    program.chmod(0o755)
    assert host.systemd_version() == 249


def test_the_free_space_is_that_of_the_nearest_existing_directory(tmp_path: Path) -> None:
    disk = os.statvfs(tmp_path)
    free = host.facts(tmp_path / "not" / "yet" / "there")["free_mb"]
    assert abs(free - disk.f_bavail * disk.f_frsize // 2**20) < 1024


def test_the_hard_limits_of_a_process_are_read_from_the_kernel() -> None:
    kinds = {"Max open files": resource.RLIMIT_NOFILE, "Max cpu time": resource.RLIMIT_CPU}
    hard = {name: resource.getrlimit(kind)[1] for name, kind in kinds.items()}
    with subprocess.Popen(["sleep", "60"]) as process:
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (100, hard["Max open files"]))
        limits = host._limits(process.pid)
        process.kill()
    for name, limit in hard.items():
        # Unlimited exceeds any requirement.
        assert limits[name] == (sys.maxsize if limit == resource.RLIM_INFINITY else limit), name
    assert "Limit" not in limits
