"""The packages of a host: what manages them, which are installed, and what each family of distributions calls them."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .foreign import capture

DPKG = Path("/var/lib/dpkg/status")
_TIMEOUT = 120


@dataclass(frozen=True)
class Family:
    """What the distributions that share a package manager have in common.

    Args:
        manager: its program, as operators call it.
        a_kind: what a package is called in messages, with its article.
        name: a pattern of the names that packages can have.
        build: what compiling a wheel needs, with ``{}`` for the version of Python.
        headers: the package of the headers of a Python, with ``{}`` for its version.
        libpython: what has Python's shared library, with ``{}`` for its version.
        tools: what has a program that a load test needs; programs that the distribution lacks are not in it.
    """

    manager: str
    a_kind: str
    name: re.Pattern[str]
    build: tuple[str, ...]
    headers: str
    libpython: str
    tools: dict[str, str]


# The one table of names. An rpm can also be asked for by what it provides, which is the same for the system's Python as
# for that of a stream (python3-devel, python3.12-devel); its venv and its pip are part of what Python itself requires.
FAMILIES = {
    "apt": Family(
        "apt",
        "a Debian package",
        # Debian Policy, 5.6.1.
        re.compile(r"[a-z0-9][a-z0-9+.-]+"),
        ("gcc", "libc6-dev", "libcrypt-dev", "patch", "python3-dev", "python3-venv"),
        "python{}-dev",
        "libpython{}",
        {"ab": "apache2-utils", "h2load": "nghttp2-client", "wrk": "wrk"},
    ),
    "dnf": Family(
        "dnf",
        "an RPM package",
        # Fedora's Packaging Guidelines, "Naming".
        re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*"),
        ("gcc", "patch", "pkgconfig(python-{})"),
        "python{}-devel",
        "libpython{}.so.1.0()(64bit)",
        {"ab": "httpd-tools"},
    ),
}


def manager() -> str:
    """Return the package manager of this host: ``apt``, ``dnf``, or empty if it has neither."""
    return next((name for name, program in (("apt", "apt-get"), ("dnf", "dnf")) if shutil.which(program)), "")


def dnf_backend() -> str:
    """Return what Ansible calls the dnf of this host, ``dnf4`` or ``dnf5``; empty without one."""
    found = shutil.which("dnf")
    return ("dnf5" if Path(found).resolve().name.startswith("dnf5") else "dnf4") if found else ""


def family(name: str) -> Family:
    """Return the family of a package manager; that of apt for an unknown one."""
    return FAMILIES.get(name, FAMILIES["apt"])


def build_packages(name: str, python: str) -> list[str]:
    """Return what a build host needs to compile wheels.

    Args:
        name: its package manager.
        python: the version of Python, such as ``3.12``; empty for one with headers of its own, of which the
            distribution need not have a package.
    """
    return [package.format(python) for package in family(name).build if python or "{}" not in package]


def headers(name: str, python: str) -> str:
    """Return the package of a Python's headers.

    Args:
        name: the host's package manager.
        python: the version of Python, such as ``3.12``.
    """
    return family(name).headers.format(python)


def libpython(name: str, python: str) -> str:
    """Return what has the shared library of a Python.

    Args:
        name: the host's package manager.
        python: the version of Python, such as ``3.12``.
    """
    return family(name).libpython.format(python)


def how_to_install(program: str) -> str:
    """Return the command that installs a program of a load test on this host; of all families if it is unknown."""
    own = FAMILIES.get(manager())
    families = [own] if own else list(FAMILIES.values())
    known = [f"{one.manager} install {one.tools[program]}" for one in families if program in one.tools]
    return " or ".join(known) or "its distribution has no package of it"


def missing(wanted: Iterable[str]) -> list[str]:
    """Return which packages are not installed, asked for by name or by what they provide.

    Of a Debian package counts what it provides with a version, as of libmagic1t64 libmagic1. Without one it is a name
    that several have in common, such as c-compiler.
    """
    asked = set(wanted)
    if not asked:
        return []
    if manager() == "dnf":
        return sorted(asked - _provided())
    installed = {name for package, others in _dpkg() for name in (package, *(one for one in others if others[one]))}
    return sorted(asked - installed)


def present(names: Iterable[str]) -> list[str]:
    """Return which packages are installed, or provided by another one that is."""
    if manager() == "dnf":
        provided = _provided()
    else:
        provided = {name for package, others in _dpkg() for name in (package, *others)}
    return [name for name in names if name in provided]


def fingerprint() -> str:
    """Return a hash that is another one whenever a package is installed, removed or replaced."""
    text = _rpm(r"%{NEVRA} %{BUILDTIME}\n") if manager() == "dnf" else _status()
    return hashlib.sha256("\n".join(sorted(text.splitlines())).encode()).hexdigest()


def _status() -> str:
    return DPKG.read_text(errors="replace") if DPKG.is_file() else ""


def _dpkg() -> Iterator[tuple[str, dict[str, str]]]:
    """Yield each installed package of dpkg's list, and the names that it provides, each with a version or without.

    Sources: dpkg(1), FILES; Debian Policy, 7.5.
    """
    for entry in _status().split("\n\n"):
        fields = dict(re.findall(r"^(Package|Status|Provides): (.*)$", entry, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            provides = re.findall(r"([^\s,()]+)\s*(?:\(([^)]*)\))?", fields.get("Provides", ""))
            yield fields["Package"], dict(provides)


def _provided() -> set[str]:
    return set(_rpm(r"[%{PROVIDENAME}\n]").splitlines())


def _rpm(form: str) -> str:
    """Return what rpm says of all packages, in a format (rpm(8), QUERY OPTIONS); nothing if it cannot be asked."""
    command = ["rpm", "--query", "--all", "--queryformat", form]
    try:
        return capture(command, _TIMEOUT).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
