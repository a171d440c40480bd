"""What the tests of the deployment share: a host in a temporary directory, modules run as programs."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.deploy.fake_host import FakeHost, TemporaryLayout
from tests.unit.loadtest.conftest import run_module

__all__ = ["run_module"]


@pytest.fixture
def layout(tmp_path: Path) -> TemporaryLayout:
    """Return the paths of an application named ``shop`` below a directory of the test's own."""
    return TemporaryLayout.below(tmp_path, "shop")


@pytest.fixture
def host(layout: TemporaryLayout, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    """Answer in systemd's and uWSGI's place for an application named ``shop``."""
    return FakeHost(layout, monkeypatch)


@pytest.fixture
def short_path() -> Iterator[Path]:
    """Return a directory whose path is short enough for UNIX sockets, which end at 108 bytes."""
    with tempfile.TemporaryDirectory(prefix="fu-", dir="/tmp") as directory:
        yield Path(directory)


@pytest.fixture
def umask() -> Iterator[None]:
    """Give the test an ordinary umask, whatever the one of the shell that runs it."""
    before = os.umask(0o022)
    yield
    os.umask(before)
