import os
import platform
import resource
import subprocess
import sys
from pathlib import Path

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
