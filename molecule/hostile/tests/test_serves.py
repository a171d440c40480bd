"""The scenario begins with the sample application."""

from __future__ import annotations

from typing import Any

import requests


def test_the_sample_application_serves(service: Any) -> None:
    answer = requests.get(f"{service.url}/healthz", timeout=10).json()
    assert answer["status"] == "ok"
    assert answer["generation"] == service.generation
