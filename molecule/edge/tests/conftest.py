"""Shared by the tests of this scenario."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.edge import Site


@pytest.fixture(scope="module")
def site(host: Any) -> Site:
    """The site."""
    return Site(host)
