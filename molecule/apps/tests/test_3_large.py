"""A wheel of 150 MB is copied and read in chunks, on the controller and on the host."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = [pytest.mark.timeout(400), pytest.mark.full]

SIZE_MB = 150
APP = b'def app(environ, start_response):\n    start_response("200 OK", [])\n    return [b"bulk"]\n'
# How a module is started with pipelining; the processes of sandbox hosts are visible from here.
MODULE = "/usr/bin/python3"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel with one large file that cannot be compressed."""
    path = tmp_path_factory.mktemp("bulk") / "bulk-1.0-py3-none-any.whl"
    noise = b"".join(hashlib.sha512(number.to_bytes(4, "big")).digest() for number in range(2**14))
    files = {
        "bulk/__init__.py": APP,
        "bulk/noise.bin": noise * SIZE_MB,
        "bulk-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: bulk\nVersion: 1.0\n",
        "bulk-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "bulk-1.0.dist-info/RECORD,,\n"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
            record += f"{name},sha256={digest},{len(content)}\n"
        archive.writestr("bulk-1.0.dist-info/RECORD", record)
    return path


@contextlib.contextmanager
def peaks(*commands: str) -> Iterator[dict[str, int]]:
    """Record the peak memory (MB) of processes whose command begins with one of these."""
    most = dict.fromkeys(commands, 0)
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.05):
            for process in Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(OSError, StopIteration):
                    command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                    kind = next(kind for kind in commands if command == kind or f"{kind} " in command)
                    lines = (process / "status").read_text().splitlines()
                    peak = next(line.split()[1] for line in lines if line.startswith("VmHWM:"))
                    most[kind] = max(most[kind], int(peak) // 1024)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield most
    finally:
        done.set()
        looking.join()


def test_a_large_wheel_is_not_held_in_memory(site: Any, wheel: Path) -> None:
    settings = {
        "flask_uwsgi_source": str(wheel),
        "flask_uwsgi_module": "bulk:app",
        "flask_uwsgi_port": 8047,
        "flask_uwsgi_health_path": "",
        "flask_uwsgi_mode": "threads",
    }
    site.write("inventory/mine/hosts.yml", "layers: {app: [httpbin, notes, bulk]}")
    site.write("inventory/mine/group_vars/bulk.yml", yaml.safe_dump(settings))
    with peaks("ansible-playbook deploy.yml", MODULE) as most:
        output = site.deployed("bulk", artifact_cache=str(wheel.parent / "cache"))
    assert re.search(r"wheelhouse \w{12}: \d+ wheels, \d+ of them built, 1[5-9]\d MB, ", output), output
    print(most)
    assert site.get(8047, "/").text == "bulk"
    assert 30 < most["ansible-playbook deploy.yml"] < SIZE_MB, most
    assert 30 < most[MODULE] < SIZE_MB + 20, most
    # In the home of whichever account Ansible logs in as.
    left = "-name 'ansible-tmp-*' -o -name 'work-*'"
    assert site.root(f"find /home /root /var/lib/flaskops-build -mindepth 1 -maxdepth 4 {left}") == ""
