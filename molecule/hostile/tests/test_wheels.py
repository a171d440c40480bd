"""A wheel that replaces uWSGI with its own program: refused on the controller, and never run by root."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from molecule.conftest import APP
from tests.support import ROOT

# The first deploy builds everything that the application needs.
pytestmark = pytest.mark.timeout(600)
Play = Callable[..., subprocess.CompletedProcess[str]]
# Whoever runs it adds a line to this file, if permitted: root could, and the service can.
RAN = f"/var/lib/{APP}/ran"
SCRIPT = f"#!/bin/sh\necho $(id -u) $0 >> {RAN}\nexit 1\n"
CODE = f"import os\nwith open({RAN!r}, 'a') as ran:\n    print(os.getuid(), __name__, file=ran)\n"
FILES = {
    "evil/__init__.py": "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'x']\n",
    "evil.pth": f"import os; open({RAN!r}, 'a').write(f'{{os.getuid()}} pth\\n')\n",
    **{f"{name}.py": CODE for name in ("sitecustomize", "usercustomize")},
    **{f"evil-1.0.data/scripts/{name}": SCRIPT for name in ("uwsgi", "python", "python3", "pip")},
    "evil-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n",
    "evil-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}
# Writes the digest of the wheels that the role plans.
PLAN = """
- hosts: flask
  gather_facts: false
  tasks:
    - ansible.builtin.import_role: {{name: flaskops.uwsgi.flask_uwsgi, tasks_from: look}}
    - ansible.builtin.copy: {{content: "{{{{ __flask_uwsgi_plan.wheelhouse }}}}", dest: {path}, mode: "0600"}}
      delegate_to: localhost
      become: false
"""


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the wheel."""
    path = tmp_path_factory.mktemp("evil") / "evil-1.0-py3-none-any.whl"
    record = "evil-1.0.dist-info/RECORD"
    with zipfile.ZipFile(path, "w") as archive:
        rows = [f"{record},,"]
        for name, text in FILES.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (0o100755 if "/scripts/" in name else 0o100644) << 16
            archive.writestr(entry, text)
            checksum = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            rows.append(f"{name},sha256={checksum},{len(text)}")
        archive.writestr(record, "\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="module")
def sdist(evil: Path) -> Path:
    """Write an sdist that builds the wheel: its content is known only after the build."""
    path = evil.with_name("evil-1.0.tar.gz")
    build = "import shutil\ndef build_wheel(folder, *_):\n    return shutil.copy('evil-1.0-py3-none-any.whl', folder)\n"
    contents = {
        "PKG-INFO": b"Metadata-Version: 2.2\nName: evil\nVersion: 1.0\n",
        "pyproject.toml": b'[build-system]\nrequires = []\nbuild-backend = "build"\nbackend-path = ["."]\n'
        b'[project]\nname = "evil"\nversion = "1.0"\n',
        "build.py": build.encode(),
        evil.name: evil.read_bytes(),
    }
    with tarfile.open(path, "w:gz") as tar:
        for name, content in contents.items():
            member = tarfile.TarInfo(f"evil-1.0/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty cache of artifacts."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def arguments(cache: Path) -> Callable[[Path], list[str]]:
    """Return the arguments that deploy a distribution."""

    def of(source: Path) -> list[str]:
        variables = {
            "artifact_cache": str(cache), "flask_uwsgi_source": str(source), "flask_uwsgi_module": "evil:app",
            "flask_uwsgi_requirements": "", "flask_uwsgi_pre_activate": ["uwsgi", "python", "pip"], "mode": "threads",
        }  # fmt: skip
        return ["-e", json.dumps(variables)]

    return of


@pytest.fixture(autouse=True)
def before(host: Any) -> Iterator[str]:
    """Assert that the running generation continues to serve."""
    current = str(host.run(f"readlink /opt/{APP}/current").stdout)
    yield current
    assert host.run(f"readlink /opt/{APP}/current").stdout == current


def refused(host: Any, play: Play, *arguments: str) -> str:
    """Assert that a deploy is refused with each program's name and changes nothing; return its output."""
    listing = f"find /opt/{APP} -printf '%p %m %u %s\\n' | sort"
    found = host.run(listing).stdout
    done = play("deploy", *arguments)
    output = " ".join(done.stdout.split())
    assert done.returncode != 0
    for name in ("uwsgi", "python", "python3", "pip"):
        assert f"evil-1.0-py3-none-any.whl installs 'bin/{name}', which belongs to the virtual environment" in output
    assert "Traceback" not in output
    assert host.run(listing).stdout == found
    return output


def test_it_is_refused_by_name_before_anything_is_built(
    host: Any, play: Play, evil: Path, arguments: Callable[[Path], list[str]]
) -> None:
    output = refused(host, play, *arguments(evil))
    assert f"flask_uwsgi_source={evil} is not safe to install" in output
    assert "Nothing was changed." in output


@pytest.mark.full
def test_root_does_not_run_it_even_if_the_controller_lets_it_pass(
    host: Any, play: Play, sdist: Path, cache: Path, arguments: Callable[[Path], list[str]], tmp_path: Path
) -> None:
    """An sdist is refused later, after its build: keep and record the wheelhouse as if it had not been checked."""
    output = refused(host, play, *arguments(sdist))
    assert "no application host was changed" in output
    planned = tmp_path / "digest"
    (tmp_path / "plan.yml").write_text(PLAN.format(path=planned))
    inventories = ["-i", str(Path(os.environ["MOLECULE_INVENTORY_FILE"]).parent), "-i", os.environ["SANDBOX_INVENTORY"]]
    subprocess.run(
        ["ansible-playbook", *inventories, str(tmp_path / "plan.yml"), *arguments(sdist)],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    digest = planned.read_text()
    archive = cache / f"wheelhouse-{digest[:12]}.tar"
    assert [path.name for path in cache.glob("*.refused")] == [f"{archive.name}.refused"]
    archive.with_name(f"{archive.name}.refused").rename(archive)
    with tarfile.open(archive) as tar:
        names = sorted(Path(name).name for name in tar.getnames())
    library = next(name for name in names if name.startswith("installer-"))
    record = {
        "file": archive.name, "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
        # The last one wins.
        "installer": library, "installs": sorted({*names} - {library}, key=lambda name: name.startswith("evil-")),
        "inputs": digest, "unpacked": archive.stat().st_size, "wheels": {},
    }  # fmt: skip
    archive.with_name(f"{archive.name}.json").write_text(json.dumps(record))
    host.run(f"rm -f {RAN}")
    done = play("deploy", *arguments(sdist))
    assert done.returncode != 0 and "Traceback" not in done.stdout, done.stdout
    assert "is refused: " in " ".join(done.stdout.split()), done.stdout
    service = host.check_output(f"id -u {APP}")
    ran = host.run(f"cat {RAN}").stdout.splitlines()
    # The service ran it in its sandbox: only running uWSGI can check its configuration.
    assert ran and {line.split()[0] for line in ran} == {service}, ran
    left = host.run(f"ls -d /etc/systemd/system/{APP}-validate* /run/{APP}-validate").stdout
    assert left == ""
