"""Filters of the role artifact."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any


def build_host(results: Sequence[Mapping[str, Any]], platform: str, python: str) -> str:
    """Return the first build host of a platform; empty if there is none.

    Args:
        results: those of the module ``host_state`` on the build hosts, each with its host as ``item``.
        platform: distribution, architecture and Python of the hosts.
        python: the interpreter to build for; empty for the one that runs modules.
    """
    return next((str(one["item"]) for one in results if not _unfit(one["host"], platform, python)), "")


def no_build_host(results: Sequence[Mapping[str, Any]], platform: str, python: str, group: str) -> str:
    """Explain why no build host can build an artifact, and what to do.

    Args:
        results: as for ``build_host``.
        platform: as for ``build_host``.
        python: as for ``build_host``.
        group: the inventory group of the build hosts.
    """
    if not python:
        return (
            f"artifact_build_group={group} has no host of platform {platform} (there are: "
            f"{', '.join(one['host']['platform'] for one in results)}). Add one to the group, or leave the group empty "
            "to build on the first application host. Nothing was changed."
        )
    found = "; ".join(f"{one['item']}: {_unfit(one['host'], platform, python)}" for one in results)
    return (
        f"artifact_build_group={group} has no host that can build for flask_uwsgi_python={python} on {platform} "
        f"({found}). Install the same interpreter there at the same path, or leave the group empty to build on the "
        "first application host. Nothing was changed."
    )


def _unfit(host: Mapping[str, Any], platform: str, python: str) -> str:
    """Return why a host cannot build for a platform and an interpreter; empty if it can."""
    chosen = host.get("chosen", {"path": host["interpreter"], "problem": "", "headers": True}) if python else {}
    if chosen.get("problem"):
        return f"it {chosen['problem']}"
    if host["platform"] != platform:
        return f"it is {host['platform']}"
    if python and chosen["path"] != python:
        return f"it is a link to {chosen['path']}"
    if python and not chosen["headers"]:
        return "it has no headers (Python.h): install those of this interpreter, such as the package python3.12-dev"
    return ""


class FilterModule:
    """Named as Ansible expects."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"build_host": build_host, "no_build_host": no_build_host}
