"""Filters about the packages of hosts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import packages


def build_packages(manager: str, platform: str, python: str = "") -> list[str]:
    """Return what a build host needs to compile wheels.

    Args:
        manager: its package manager.
        platform: distribution, architecture and Python of the hosts, such as ``debian-12-x86_64-py3.11``.
        python: the interpreter to build for, which has headers; empty for the distribution's.
    """
    return packages.build_packages(manager, "" if python else platform.rpartition("-py")[2])


class FilterModule:
    """Named as Ansible expects."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"build_packages": build_packages}
