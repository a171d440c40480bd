"""Filters of the role artifact."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import packages


def build_host(results: Sequence[Mapping[str, Any]], platform: str, python: str) -> str:
    """Return the first build host of a platform; empty if there is none.

    Args:
        results: those of the module ``host_state`` on the build hosts, each with its host as ``item``.
        platform: distribution, architecture and Python of the hosts.
        python: the interpreter to build for; empty for the one that runs modules.
    """
    return next((str(one["item"]) for one in results if not _unfit(one["host"], platform, python)), "")


def no_build_host(
    results: Sequence[Mapping[str, Any]], platform: str, python: str, group: str, hosts: Sequence[str]
) -> str:
    """Explain why no build host can build an artifact, and what to do.

    Args:
        results: as for ``build_host``.
        platform: as for ``build_host``.
        python: as for ``build_host``.
        group: the inventory group of the build hosts.
        hosts: those of the group; without any, the application host was asked.
    """
    wanted = f"flask_uwsgi_python={python} on {platform}" if python else f"platform {platform}"
    found = "; ".join(f"{one['item']}: {_unfit(one['host'], platform, python)}" for one in results)
    if not hosts:
        return (
            f"no host can build for {wanted} ({found}). Install there what it lacks, or put a host that has it into "
            f"the group {group} (artifact_build_group). Nothing was changed."
        )
    remedy = "Install the same interpreter there at the same path" if python else "Add one to the group"
    return (
        f"artifact_build_group={group} has no host that can build for {wanted} ({found}). {remedy}, or leave the group "
        "empty to build on the first application host. Nothing was changed."
    )


def _unfit(host: Mapping[str, Any], platform: str, python: str) -> str:
    """Return why a host cannot build for a platform and an interpreter; empty if it can."""
    # The distribution's own has its headers from a package that is installed before a build.
    own = {"path": host["interpreter"] if python else "", "problem": "", "headers": True}
    chosen = host.get("chosen", own)
    if chosen["problem"]:
        return f"{chosen['path']} {chosen['problem']}"
    if host["platform"] != platform:
        return f"it is {host['platform']}"
    if chosen["path"] != python:
        return f"it would build with {chosen['path']}"
    if not chosen["headers"]:
        package = packages.headers(host["package_manager"], host["python"])
        return f"there are no headers (Python.h) for it: install those of this interpreter, such as package {package}"
    return ""


class FilterModule:
    """Named as Ansible expects."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"build_host": build_host, "no_build_host": no_build_host}
