"""Sdists that attack the build host while they are built: each is contained, and the message names the package.

The module builds them as a distribution of the application, like any other sdist.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT

pytestmark = pytest.mark.full
PLACE = "/var/lib/flaskops-build"
INCOMING = "/var/lib/incoming-test"
LIMITS = {"timeout": 300, "memory_mb": 512, "disk_mb": 256, "tasks": 128}
SETUP = (
    "from setuptools import setup\nsetup(name='evil', version='1.0', packages=['evil'], package_data={'evil': ['*']})\n"
)
# What foreign code can see of its host; it is written into its wheel.
PROBES = """
import json, os, pathlib, socket, subprocess, sys
def outcome(work):
    try: return repr(work())
    except BaseException as error: return type(error).__name__
def write(path): return pathlib.Path(path).write_text("evil")
def connect(family, address):
    with socket.socket(family) as client:
        client.settimeout(3)
        return client.connect(address)
found = {
    "uid": os.getuid(),
    "environment": dict(os.environ),
    "processes": sorted({line.split()[-1] for line in os.popen("ps -eo uid,comm --no-headers") }),
    "owners": sorted({os.stat(f"/proc/{pid}").st_uid for pid in os.listdir("/proc") if pid.isdigit()}),
    "build_folder": sorted(os.listdir("PLACE")),
}
for name, work in {
    "etc": lambda: write("/etc/evil"),
    "usr": lambda: write("/usr/local/bin/evil"),
    "cron": lambda: write("/var/spool/cron/evil"),
    "tools": lambda: write("PLACE/tools/evil"),
    "pip": lambda: write("PLACE/tools/bin/pip"),
    "given": lambda: write("PLACE/in/sdist/evil"),
    "program": lambda: write("PLACE/inside.py"),
    "tmp": lambda: write("/tmp/evil"),
    "var_tmp": lambda: write("/var/tmp/evil"),
    "root": lambda: os.listdir("/root"),
    "home": lambda: os.listdir("/home"),
    "shadow": lambda: open("/etc/shadow").read(),
    "pip_conf": lambda: open("/etc/pip.conf").read(),
    "dbus": lambda: connect(socket.AF_UNIX, "/run/dbus/system_bus_socket"),
    "systemd": lambda: connect(socket.AF_UNIX, "/run/systemd/private"),
    "ssh": lambda: connect(socket.AF_INET, ("127.0.0.1", 22)),
    "network": lambda: connect(socket.AF_INET, ("GATEWAY", 22)),
    "setuid": lambda: os.setuid(0),
    "mount": lambda: subprocess.run(["mount", "-t", "tmpfs", "x", "/mnt"], check=True),
    "namespace": lambda: subprocess.run(["unshare", "-r", "true"], check=True),
    "kill": lambda: os.kill(1, 0),
    "shm": lambda: write("/dev/shm/evil"),
}.items():
    found[name] = outcome(work)
os.makedirs("evil", exist_ok=True)
pathlib.Path("evil/found.json").write_text(json.dumps(found))
"""
REFUSED = ("PermissionError", "OSError", "FileNotFoundError", "ConnectionRefusedError", "CalledProcessError")


@pytest.fixture(scope="module")
def ad_hoc() -> Callable[..., dict[str, Any]]:
    """Run a module on the build host, as root."""

    def run(module: str, **arguments: Any) -> dict[str, Any]:
        done = subprocess.run(
            [
                "ansible", "build", "-i", os.environ["SANDBOX_INVENTORY"], "-b", "-m", module,
                "-a", json.dumps(arguments),
            ],
            cwd=ROOT, capture_output=True, text=True, check=False,
            env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"},
        )  # fmt: skip
        head, arrow, rest = done.stdout.partition(" => {")
        if arrow:
            return {**json.loads("{" + rest), "failed": "FAILED" in head}
        # Commands are printed in the output as they run.
        head, _, rest = done.stdout.partition(" >>\n")
        assert "rc=0" in head, done.stdout + done.stderr
        return {"stdout": rest.strip()}

    return run


@pytest.fixture(scope="module")
def shell(ad_hoc: Callable[..., dict[str, Any]]) -> Callable[[str], str]:
    """Run a shell command on the build host."""

    def run(command: str) -> str:
        return str(ad_hoc("ansible.builtin.shell", _raw_params=command)["stdout"])

    return run


@pytest.fixture(scope="module")
def gateway(shell: Callable[[str], str]) -> str:
    """An address beyond the build host that answers."""
    return shell("ip route show default | cut -d' ' -f3")


@pytest.fixture(scope="module", autouse=True)
def ready(ad_hoc: Callable[..., dict[str, Any]]) -> None:
    """Install what a build host needs."""
    packages = ["gcc", "libc6-dev", "libcrypt-dev", "patch", "python3-dev", "python3-venv"]
    ad_hoc("ansible.builtin.apt", name=packages, update_cache=True, install_recommends=False)


@pytest.fixture(scope="module")
def build_lock() -> str:
    """The build tools that a build with setuptools needs."""
    text = (ROOT / "roles/artifact/files/build.txt").read_text()
    blocks = re.findall(r"^\S+==\S+(?: .*\\| \\)\n(?: +--hash.*\n)+", text, re.MULTILINE)
    needed = tuple(f"{name}==" for name in ("pip", "installer", "setuptools", "wheel", "packaging"))
    return "".join(block for block in blocks if block.startswith(needed))


@pytest.fixture
def build(
    ad_hoc: Callable[..., dict[str, Any]], shell: Callable[[str], str], build_lock: str, tmp_path: Path
) -> Iterator[Callable[..., dict[str, Any]]]:
    """Build an sdist with the given name and setup.py; afterwards nothing of it is left on the host."""
    before = shell("getent passwd | sort; ls -A /tmp /var/tmp /dev/shm | grep -v payload")

    def run(setup: str, name: str = "evil-1.0", files: dict[str, str] | None = None, **limits: int) -> dict[str, Any]:
        sdist = tmp_path / f"{name}.tar.gz"
        with tarfile.open(sdist, "w:gz") as tar:
            for path, text in {"setup.py": setup, "evil/__init__.py": "", **(files or {})}.items():
                member = tarfile.TarInfo(f"{name}/{path}")
                member.size = len(text.encode())
                tar.addfile(member, io.BytesIO(text.encode()))
        shell(f"mkdir -p -m 0700 {INCOMING}")
        ad_hoc("ansible.builtin.copy", src=str(sdist), dest=f"{INCOMING}/")
        return ad_hoc(
            "flaskops.uwsgi.wheelhouse",
            locks=[], build_lock=build_lock, distribution=f"{INCOMING}/{sdist.name}",
            target=f"{INCOMING}/wheelhouse.tar", **{**LIMITS, **limits},
        )  # fmt: skip

    yield run
    shell(f"rm -rf {INCOMING}")
    assert shell(f"ls {PLACE}") == ""
    assert shell("systemctl list-units --all --plain --no-legend 'flaskops-build-*'") == ""
    assert shell("getent passwd | sort; ls -A /tmp /var/tmp /dev/shm | grep -v payload") == before
    assert shell("ps -eo comm | grep -c evil-sleeper || true") == "0"


def contained(result: dict[str, Any], why: str, said: str = "") -> None:
    assert result["failed"], result
    assert (result["subject"], result["why"]) == ("evil==1.0", why), result
    assert re.search(said, result["said"]), result["said"]


def test_a_build_sees_and_changes_nothing_of_its_host(
    build: Callable[..., dict[str, Any]], ad_hoc: Callable[..., dict[str, Any]], gateway: str, tmp_path: Path
) -> None:
    result = build(PROBES.replace("PLACE", PLACE).replace("GATEWAY", gateway) + SETUP)
    assert not result["failed"], result
    assert [bool(wheel["built_from"]) for wheel in result["wheels"]] == [True, False]
    ad_hoc("ansible.builtin.fetch", src=f"{INCOMING}/wheelhouse.tar", dest=f"{tmp_path}/got.tar", flat=True)
    with tarfile.open(tmp_path / "got.tar") as tar:
        wheel = tar.extractfile("evil-1.0-py3-none-any.whl")
        assert wheel
        found = json.loads(zipfile.ZipFile(io.BytesIO(wheel.read())).read("evil/found.json"))
    assert 61184 <= found["uid"] <= 65519
    assert found["owners"] == [found["uid"]]
    assert found["build_folder"] == ["in", "inside.py", "tools", "work"]
    assert not [name for name in found["environment"] if re.search("SUDO|SSH|ANSIBLE|VAULT|TOKEN", name)]
    allowed = {name for name, value in found.items() if isinstance(value, str) and not value.startswith(REFUSED)}
    # Its own /tmp of 64 MiB, which is removed with it.
    assert allowed == {"shm"}, {name: found[name] for name in allowed}


def test_a_build_that_runs_for_ever_is_stopped(build: Callable[..., dict[str, Any]]) -> None:
    contained(build("import time\ntime.sleep(600)\n", timeout=45), "timeout")


def test_processes_that_a_build_leaves_running_are_ended(build: Callable[..., dict[str, Any]]) -> None:
    sleeper = (
        "import os, sys\nif os.fork() == 0:\n    os.setsid()\n    open('/proc/self/comm', 'w').write('evil-sleeper')\n"
        "    os.closerange(0, 256)\n    import time; time.sleep(600)\n"
    )
    assert not build(sleeper + SETUP)["failed"]


def test_a_fork_bomb_is_limited(build: Callable[..., dict[str, Any]]) -> None:
    # pip waits for every process that holds its pipe: the processes end by themselves, or the timeout ends them.
    # The limit of the account applies even where control groups do not count processes.
    bomb = "import os, time\nfor _ in range(5000):\n    if os.fork() == 0: time.sleep(15)\n"
    contained(build(bomb), "failed", "BlockingIOError|Resource temporarily unavailable")


def test_a_build_that_fills_the_disk_fills_only_its_own(
    build: Callable[..., dict[str, Any]], shell: Callable[[str], str]
) -> None:
    before = int(shell("du -cxsm /var /tmp /etc | tail -1 | cut -f1"))
    filler = "\nfor number in range(100):\n    with open(f'f{number}', 'wb') as file: file.write(b'x' * 2**24)\n"
    contained(build(filler), "failed", "No space left on device")
    assert int(shell("du -cxsm /var /tmp /etc | tail -1 | cut -f1")) < before + 100


def test_a_build_that_takes_all_memory_is_stopped(build: Callable[..., dict[str, Any]]) -> None:
    result = build("x = [bytearray(2**24) for _ in range(200)]\n")
    # The limit of the process applies where control groups do not, and Python reports it; otherwise the kernel ends it.
    contained(result, *(("memory",) if result["why"] == "memory" else ("failed", "MemoryError")))


def test_an_endless_answer_is_cut(build: Callable[..., dict[str, Any]]) -> None:
    flood = (
        "import os\nparent = os.getppid()\n"
        "while True:\n    for fd in os.listdir('/proc/self/fd'):\n"
        "        try: os.write(int(fd), b'x' * 2**20)\n        except OSError: pass\n"
    )
    result = build(flood, timeout=60)
    assert result["failed"] and result["subject"] == "evil==1.0" and len(result["said"]) <= 2**18


@pytest.mark.parametrize(
    ("attack", "said"),
    [
        ("(out / 'uwsgi-2.0.31-py3-none-any.whl').write_text('x')", "left 2 files"),
        ("(out / 'shadow.whl').symlink_to('/etc/shadow')", "not a plain file"),
        ("(out / 'a').mkdir(); (out / 'a' / 'b.whl').write_text('x')", "left 2 files"),
    ],
)
def test_a_build_returns_its_own_wheel_and_nothing_else(
    build: Callable[..., dict[str, Any]], attack: str, said: str
) -> None:
    backend = (
        "import pathlib\nfrom setuptools.build_meta import *\nfrom setuptools import build_meta\n"
        f"out = pathlib.Path('{PLACE}/work/out')\n"
        "def build_wheel(*words, **options):\n"
        f"    {attack}\n    return build_meta.build_wheel(*words, **options)\n"
    )
    project = '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    contained(build(SETUP, files={"backend.py": backend, "pyproject.toml": project}), "output", said)


def test_a_build_that_needs_another_tool_names_it(build: Callable[..., dict[str, Any]]) -> None:
    project = '[build-system]\nrequires = ["setuptools", "no-such-tool>=2"]\nbuild-backend = "setuptools.build_meta"\n'
    said = "build requirement that artifact_build_lock does not have: no-such-tool>=2"
    contained(build(SETUP, files={"pyproject.toml": project}), "failed", said)
