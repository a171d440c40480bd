"""Sites in maintenance: HAProxy knows, and so does the file of the next process."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.balancer import maintenance


class Map:
    """HAProxy's map, at its runtime API."""

    def __init__(self) -> None:
        self.entries: dict[str, str] = {}

    def ask(self, text: str) -> str:
        assert text.startswith("show map ")
        return "".join(f"0x55d{number} {key} {value}\n" for number, (key, value) in enumerate(self.entries.items()))

    def command(self, text: str) -> None:
        match text.split():
            case ["add", "map", _, key, value]:
                assert key not in self.entries
                self.entries[key] = value
            case ["set", "map", _, key, value]:
                assert key in self.entries
                self.entries[key] = value
            case ["del", "map", _, key]:
                del self.entries[key]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file of the map."""
    found = tmp_path / "maintenance.map"
    found.touch()
    return found


def test_each_change_reaches_haproxy_and_the_file(file: Path) -> None:
    known = Map()
    for wanted, left in (
        ({"a": "on", "b": "pause"}, {"a": "on", "b": "pause"}),
        ({"a": "pause"}, {"a": "pause", "b": "pause"}),
        ({"a": "off", "c": "off"}, {"b": "pause"}),
        ({"b": "off"}, {}),
    ):
        maintenance.change(known, file, wanted)  # type: ignore[arg-type]
        assert maintenance.served(known, file) == maintenance.read(file) == left  # type: ignore[arg-type]
