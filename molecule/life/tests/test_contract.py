"""The fake host of the unit tests, compared with the systemd of a real host."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT, contract, remote
from tests.support.fake_host import FakeHost, TemporaryLayout

# The only package that the contract needs, with the namespaces above it.
ROOM = Path("ansible_collections/flaskops/uwsgi/plugins/module_utils/host")


class Fake:
    """The fake host as a world of the contract."""

    def __init__(self, host: FakeHost) -> None:
        self.host = host
        self.layout = host.layout
        self.connect = host.meet
        self.listening = host.listeners
        self.refuse = host.refused.add
        self.occupy = host.taken.add
        self.crash = host.crash
        for name in contract.GENERATIONS:
            for unit in (self.layout.service(name), self.layout.relief(name), self.layout.canary(name)):
                host.log[unit], host.farewell[unit] = ["begins"], ["ends"]

    def hang(self, unit: str) -> None:
        self.host.timed_out.add(unit)
        del self.host.farewell[unit]

    def inherited(self, unit: str) -> int:
        return len(self.host.inherited.get(unit, []))


def program() -> bytes:
    """Return the contract as one file that Python runs."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.write(ROOT / "tests/support/contract.py", "__main__.py")
        # Python finds namespace packages in an archive only if it has entries for their folders.
        for folder in (*ROOM.parents[:-1], ROOM):
            archive.writestr(f"{folder}/", "")
        for source in (ROOT / "plugins/module_utils/host").glob("*.py"):
            archive.write(source, ROOM / source.name)
    return file.getvalue()


@pytest.mark.timeout(400)
def test_the_fake_host_behaves_like_systemd(host: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = "trap 'rm /run/contract.zip' EXIT; cat > /run/contract.zip && python3 /run/contract.zip"
    real = json.loads(remote.root(host.ansible.get_variables(), command, program()))
    with monkeypatch.context() as patch:
        fake = contract.follow(Fake(FakeHost(TemporaryLayout.below(tmp_path, contract.APP), patch)))
    assert len(real) > 30
    assert list(contract.differences(real, fake)) == []
