"""Shared by the tests of this scenario."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests.support import ROOT, console
from tests.support.edge import Site


@pytest.fixture(scope="module")
def site(host: Any) -> Site:
    """The site."""
    return Site(host)


@pytest.fixture(scope="module")
def power() -> Callable[[str, str], None]:
    """Switch a host off or on: power("off", NAME)."""

    def switch(word: str, name: str) -> None:
        subprocess.run([*console.SANDBOX, word, name], cwd=ROOT, check=True)

    return switch
