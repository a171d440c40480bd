"""What a host must be able to do. A distribution's name decides only what the operator is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...module_utils.host import packages
from ...module_utils.host.interpreter import OLDEST
from ...module_utils.wheelhouse.sandbox import PRIVATE_IPC
from .specs import OPTIONS

UNTESTED = OPTIONS["untested"].choices
# The distributions on which the scenarios run, as the module ``host_state`` names them.
TESTED = (("debian", "11"), ("debian", "12"), ("debian", "13"), ("debian", "forky"))
# The first systemd with LoadCredential, ProtectProc and ProcSubset (its NEWS).
SYSTEMD = 247
# The first one with encrypted credentials.
ENCRYPTS = 250


def system(host: Mapping[str, Any]) -> str:
    """Return the name and the version of a host's distribution."""
    return f"{host['distribution']} {host['version']}"


def problems(host: Mapping[str, Any], untested: str) -> Iterator[str]:
    """Yield why a deploy to a host is not possible, or not wanted.

    Args:
        host: ``host`` of the module ``host_state``.
        untested: ``flask_uwsgi_untested``.
    """
    if lacking := list(_lacking(host)):
        yield (
            f"ansible_host runs {system(host)} (probed: {_probed(host)}), which lacks {', and '.join(lacking)}: use a "
            "host that has it; docs/PLATFORMS.md lists distributions that do"
        )
    elif untested == "refuse" and not _tested(host):
        known = ", ".join(" ".join(entry) for entry in TESTED)
        yield (
            f"flask_uwsgi_untested=refuse, and ansible_host runs {system(host)} (probed: {_probed(host)}), which was "
            f"not tested: set it to allow, or use one of {known}"
        )


def notes(host: Mapping[str, Any], *, secrets: bool, builds: bool) -> list[str]:
    """Return what the operator should know: that a host was not tested, and what is done instead of what it lacks.

    Args:
        host: ``host`` of the module ``host_state``.
        secrets: whether the application has secrets.
        builds: whether wheels have to be built for its platform.
    """
    version, text = host["systemd_version"], []
    if not _tested(host):
        text.append(
            f"{system(host)} was not tested, and has what it takes ({_probed(host)}): it is deployed to "
            "(flask_uwsgi_untested=refuse prevents that)"
        )
    if secrets and version < ENCRYPTS:
        text.append(
            f"flask_uwsgi_secrets: not encrypted on the host, for that needs systemd {ENCRYPTS}, and it has {version}: "
            "they are in files that only root can read, and systemd passes them to the service"
        )
    if builds and version < PRIVATE_IPC:
        text.append(
            f"wheels are built without PrivateIPC, which needs systemd {PRIVATE_IPC}: each build still has an account "
            "of its own, and its IPC objects are removed with it"
        )
    return text


def interpreter(given: str, chosen: Mapping[str, Any]) -> str:
    """Return the variable that names an interpreter, with its value.

    Args:
        given: the value of ``flask_uwsgi_python``; empty if the modules run with the interpreter.
        chosen: what the module ``host_state`` says of it.
    """
    return f"{'flask_uwsgi_python' if given else 'ansible_python_interpreter'}={chosen['asked']}"


def _tested(host: Mapping[str, Any]) -> bool:
    return (host["distribution"], host["version"]) in TESTED


def _lacking(host: Mapping[str, Any]) -> Iterator[str]:
    if not host["systemd"]:
        yield "systemd as its first process"
    if host["systemd_version"] < SYSTEMD:
        yield f"systemd {SYSTEMD} or newer"
    if tuple(map(int, host["python"].split("."))) < OLDEST:
        yield f"Python {'.'.join(map(str, OLDEST))} or newer (ansible_python_interpreter={host['interpreter']})"
    if not host["package_manager"] and (host["missing_packages"] or not host["libpython"]):
        wanted = [*host["missing_packages"], *([] if host["libpython"] else [packages.libpython("", host["python"])])]
        yield f"apt or dnf to install {' '.join(wanted)}"


def _probed(host: Mapping[str, Any]) -> str:
    found = f"systemd {host['systemd_version']}" if host["systemd_version"] else "no systemd"
    manager = host["package_manager"] or "no package manager"
    return f"{found}{'' if host['systemd'] else ', not the first process'}, Python {host['python']}, {manager}"
