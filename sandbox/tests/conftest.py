"""Shared by all tests of the sandbox."""

from pathlib import Path

import pytest

from sandbox.paths import Layout


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "host: starts real hosts, needs root and podman")


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """Separate directories for each test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Layout()
