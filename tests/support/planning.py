"""Settings, artifacts and hosts for plans: the role's defaults, with a test's values in their place."""

from __future__ import annotations

from functools import cache
from typing import Any

import yaml
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.settings.settings import Settings, typed
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.settings.specs import OPTIONS, PREFIX
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source.artifact import Artifact

from . import ROOT


@cache
def _defaults() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "roles/flask_uwsgi/defaults/main.yml").read_text())
    return found


def values(**own: Any) -> dict[str, Any]:
    """Return the role's variables without their prefix, for an application named ``shop``."""
    named = {"app_name": "shop", "source": "/src/shop", "user": "shop", "group": "shop", "health_path": "/healthz"}
    given = {**named, **own}
    found = {name: given.get(name, _defaults().get(f"{PREFIX}{name}")) for name in OPTIONS}
    assert not [name for name, value in found.items() if "{{" in str(value)]
    return found


def settings(**own: Any) -> Settings:
    """Return the same, typed."""
    return typed(values(**own))


def artifact(**own: Any) -> Artifact:
    """Return an artifact of a folder."""
    wheelhouse = {"id": "w1", "digest": "w" * 64, "path": "/cache/w1.tar", "built": True}
    found: dict[str, Any] = {
        "id": "r1",
        "digest": "r" * 64,
        "platform": "debian-12-x86_64-py3.11",
        "python": "",
        "source": {"kind": "folder"},
        "locked": {},
        "ignored": [],
        "notes": [],
        "project": "",
        "python_path": [],
        "left_out": {},
        "code": {"id": "c1", "path": "/cache/c1.tar.gz"},
        "wheelhouse": wheelhouse,
    }
    return Artifact(**{**found, **own})


def state(host: dict[str, Any] | None = None, app: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the answer of the module ``host_state`` on a host without any deploy."""
    return {
        "host": {
            "distribution": "debian",
            "version": "12",
            "machine": "m1",
            "platform": "debian-12-x86_64-py3.11",
            "python": "3.11",
            "systemd": True,
            "systemd_version": 252,
            "package_manager": "apt",
            "interpreter": "/usr/bin/python3",
            "libpython": True,
            "missing_packages": [],
            "somaxconn": 4096,
            "tasks": 32_768,
            "nofile": 20_000,
            "file_max": 10**6,
            **(host or {}),
        },
        "app": {
            "name": "shop",
            "wants": ["0.0.0.0", "8040", "shop"],
            "current": None,
            "digest": None,
            "mode": None,
            "listen": None,
            "lock": None,
            "missing": [],
            "releases": {},
            "venvs": {},
            "checked": [],
            "decision": {},
            "drift": [],
            "accounts": {"user": {"uid": 990}},
            **(app or {}),
        },
    }
