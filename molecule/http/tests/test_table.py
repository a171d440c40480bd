"""What an application gets of a request, and what the client gets, case by case."""

from __future__ import annotations

import pytest

from tests.support.application import Application, Deploy, Release


@pytest.fixture(scope="module")
def raw(deployed: Deploy, release: Release, mode: str) -> Application:
    """A WSGI application without a framework."""
    return deployed(release("app_raw.py"), mode)


def test_first(raw: Application) -> None:
    assert raw.get("/x?a=b").document["environ"]["QUERY_STRING"] == "a=b"
