"""Who drained a server is known until it serves again."""

from pathlib import Path

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.balancer.records import Records
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.files import DamagedError


def test_runs_are_recorded_by_server(tmp_path: Path) -> None:
    records = Records(tmp_path / "drained.json")
    assert records.read() == {}
    records.add(["web1", "web2"], {"who": "ann"})
    records.add(["web2"], {"who": "bob"})
    assert records.read() == {"web1": {"who": "ann"}, "web2": {"who": "bob"}}
    records.remove(["web1", "web9"])
    assert records.read() == {"web2": {"who": "bob"}}
    assert records.file.stat().st_mode & 0o777 == 0o600


def test_an_unchanged_file_is_not_written(tmp_path: Path) -> None:
    records = Records(tmp_path / "drained.json")
    records.remove(["web1"])
    assert not records.file.exists()


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "drained.json").write_text("[]")
    with pytest.raises(DamagedError, match=r"drained\.json is not a JSON object"):
        Records(tmp_path / "drained.json").read()
