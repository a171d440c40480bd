"""Explains in a sentence why a build failed and what to do, and selects the relevant lines of its output."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from ..host import packages
from ..host.foreign import printable
from ..release.artifact import masked
from .inside import NEEDS

# Characters of a line, and of an output, to keep: a package chooses what its build prints, and the patterns below are
# matched only against these.
_WIDEST, _MOST_OUTPUT = 500, 4 << 20


def _lacks(headers: str) -> str:
    """Return a pattern of a line that reports one of several headers as missing, and does not only mention it."""
    header = rf"\b(?:{headers})\.h\b"
    return (
        rf"{header}.*(?:[Nn]o such file|not found|missing|required|needed|\.\.\. ?no\b)|"
        rf"(?:[Cc]annot|[Cc]an't|[Cc]ould not|[Uu]nable to|[Mm]issing)\b.*{header}"
    )


# What a compiler or a setup.py prints, and the missing packages: as named in Debian and Ubuntu, and in RHEL 9.
_MISSING = (
    (rf"pg_config executable not found|{_lacks('libpq-fe')}", ("libpq-dev",), ("libpq-devel",)),
    (
        r"mysql_config(: | )?not found|Can not find valid pkg-config name|pkg-config --exists (mysqlclient|mariadb)|"
        rf"{_lacks('mysql')}",
        ("default-libmysqlclient-dev", "pkg-config"),
        ("mariadb-connector-c-devel", "pkgconf-pkg-config"),
    ),
    (_lacks("ffi"), ("libffi-dev",), ("libffi-devel",)),
    (_lacks("Python"), ("python3-dev",), ("python3-devel",)),
    (rf"{_lacks(r'openssl/[a-z0-9]+')}|OpenSSL (development )?headers", ("libssl-dev",), ("openssl-devel",)),
    (rf"{_lacks(r'libx(ml|slt)/[A-Za-z0-9]+')}|libxml2 and libxslt development packages",
     ("libxml2-dev", "libxslt1-dev"), ("libxml2-devel", "libxslt-devel")),
    (rf"{_lacks('jpeglib')}|dependency,? jpeg\b|headers or library files could not be found for jpeg",
     ("libjpeg-dev",), ("libjpeg-turbo-devel",)),
    (rf"{_lacks('zlib')}|headers or library files could not be found for zlib", ("zlib1g-dev",), ("zlib-devel",)),
    (_lacks("ldap|lber"), ("libldap-dev", "libsasl2-dev"), ("openldap-devel", "cyrus-sasl-devel")),
    (_lacks("sasl/sasl"), ("libsasl2-dev",), ("cyrus-sasl-devel",)),
    (_lacks("sqlite3"), ("libsqlite3-dev",), ("sqlite-devel",)),
    (_lacks("sql"), ("unixodbc-dev",), ("unixODBC-devel",)),
    (rf"{_lacks(r'gssapi/[a-z0-9_]+')}|krb5-config: not found|krb5-config'", ("libkrb5-dev",), ("krb5-devel",)),
    (r"\bxmlsec/|xmlsec1", ("libxmlsec1-dev", "pkg-config"), ("xmlsec1-devel", "pkgconf-pkg-config")),
    (rf"{_lacks('cairo')}|Dependency \"cairo\" not found",
     ("libcairo2-dev", "pkg-config"), ("cairo-devel", "pkgconf-pkg-config")),
    (r"[Rr]ust compiler|\brustc\b|\b[Cc]argo\b.*(not found|not installed|PATH)", ("rustc", "cargo"), ("rust", "cargo")),
    (r"(command|')(x86_64-linux-gnu-|aarch64-linux-gnu-)?g\+\+'?.*(failed: No such file|not found)|"
     r"error trying to exec 'cc1plus'", ("g++",), ("gcc-c++",)),
    (r"Unknown compiler\(s\)|(command|')(x86_64-linux-gnu-|aarch64-linux-gnu-)?gcc'?.*(No such file|not found)",
     ("gcc", "libc6-dev"), ("gcc", "glibc-devel")),
    (r"[Cc][Mm]ake.*(not found|No such file|must be installed)", ("cmake",), ("cmake",)),
    (r"pkg-config('|:)? .*not found|Did not find pkg-config", ("pkg-config",), ("pkgconf-pkg-config",)),
)  # fmt: skip

_NETWORK = (
    r"Temporary failure in name resolution|Connection refused|Failed to establish a new connection|ConnectTimeout|"
    r"Network is unreachable|No matching distribution|Max retries|CERTIFICATE_VERIFY_FAILED|Failed to fetch|"
    r"HTTP error|dns error"
)
# Messages of a program that reached a limit, and the variable that sets it.
_LIMITS = (
    (r"No space left on device|File too large|Disk quota exceeded", "artifact_build_disk_mb"),
    (r"Resource temporarily unavailable|BlockingIOError|can't start new thread|[Cc]annot fork", "artifact_build_tasks"),
    (r"MemoryError|Cannot allocate memory|out of memory|memory exhausted|Killed signal", "artifact_build_memory_mb"),
)
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
# What uv 0.13 prints if the project's own build fails; for another package it also prints which one.
_OWN, _ANOTHER = "The build backend returned an error", re.compile(r"Failed to (download and )?build\b")
# The bars and arrows with which pip and uv frame the output of others.
_FRAME = " \t╰│─>├▶×"
# pip's own text around it.
_NOISE = re.compile(
    r"((note: )?This (error originates from a subprocess|is an issue with the package)|hint: See above|"
    r"\[end of output\]|\[\d+ lines of output\]|See above for output|exit code: \d+|"
    r"\[notice\]|.* did not run successfully)|\W*$"
)
# The last line of a traceback, and lines of compilers.
_RAISED = re.compile(r"(?:\w+\.)*(?:\w*(?:Error|Exception)|SystemExit): \S.*")
_COMPILED = re.compile(r"\berror: command '|\bfatal error:|\bcc1|\bld: |collect2: |ninja: ", re.IGNORECASE)
_RELEVANT = re.compile(r"\b(error|fatal)\b.*:|not found|No such file|cannot find", re.IGNORECASE)


def missing_packages(output: str, family: str = "apt") -> list[str]:
    """Return the packages that a failed build asks for, as far as its output shows.

    Args:
        output: everything the build printed.
        family: the package manager of the build host, whose names they have.
    """
    lines = _lines(output)
    found = [
        name
        for pattern, debian, rpm in _MISSING
        if any(re.search(pattern, line) for line in lines)
        for name in (rpm if family == "dnf" else debian)
    ]
    return list(dict.fromkeys(found))


def lacking(output: str) -> dict[str, Any]:
    """Return what to say of the packages that a failed build asks for; called on the build host.

    Args:
        output: everything the build printed.

    Returns:
        ``package_manager`` of this host, and ``installed``, those of :func:`missing_packages` that it already has.
    """
    family = packages.manager()
    asked = missing_packages(output, family)
    return {"package_manager": family, "installed": packages.present(asked) if asked else []}


def relevant_lines(output: str, count: int = 12) -> list[str]:
    """Return the lines of an output that name an error, and the last ones, without those that say nothing.

    Args:
        output: everything the build printed.
        count: maximum number of lines.
    """
    lines = [line for line in _lines(output) if not _NOISE.match(line)]
    # Each attempt says why it failed; only the last one matters.
    tries = [number for number, line in enumerate(lines) if line.startswith("WARNING: Retrying")]
    earlier = set(tries[:-1])
    lines = [line for number, line in enumerate(lines) if number not in earlier]
    relevant = [number for number, line in enumerate(lines) if _RELEVANT.search(line)][-count // 2 :]
    last = [number for number in range(len(lines)) if number not in relevant][len(relevant) - count :]
    return [lines[number] for number in sorted(relevant + last)]


def _lines(output: str) -> list[str]:
    """Return the last lines of an output for display: without frames, truncated, without control characters."""
    cut = (line[: 4 * _WIDEST] for line in output[-_MOST_OUTPUT:].splitlines())
    unframed = (_COLOURS.sub("", line).lstrip(_FRAME).rstrip() for line in cut)
    return [printable(line[:_WIDEST]) for line in unframed]


def build_problem(
    result: Mapping[str, Any], variable: str, host: str, limits: Mapping[str, Any], project: str = ""
) -> str:
    """Return why a build failed on a build host, and what to do.

    Args:
        result: what the module returned: ``subject``, ``why``, ``said``, and what :func:`lacking` said.
        variable: the variable that named the requirements, with its value.
        host: the build host's name in the inventory.
        limits: the variables that limit a build, with their values.
        project: the name of the source itself if it is built; else empty.
    """
    said, subject = masked(str(result["said"])), str(result["subject"])
    lines = "".join(f"\n    {line}" for line in relevant_lines(said))
    own = bool(project) and (subject == project or (_OWN in said and not _ANOTHER.search(said)))
    family, there = result.get("package_manager") or "apt", result.get("installed") or []
    sentence = _sentence(subject, str(result["why"]), said, variable, host, limits, family, there, own)
    if own and subject != project:
        sentence += (
            ". Or list what it requires in a file (flask_uwsgi_requirements): it is then not built to "
            "be read, and with flask_uwsgi_install=false not at all"
        )
    elif own:
        sentence += (
            ". If nothing of flask_uwsgi_source has to be installed, set flask_uwsgi_install=false: it is then "
            "deployed as a folder, and not built"
        )
    return f"{sentence}:{lines}\nNo application host was changed."


def _sentence(
    subject: str,
    why: str,
    said: str,
    variable: str,
    host: str,
    limits: Mapping[str, Any],
    family: str,
    there: Collection[str],
    own: bool,
) -> str:
    fetching = subject in ("the lock", "the requirements")
    package = variable if fetching else f"{subject}, of {variable},"
    if why == "hash":
        return (
            f"{package} has a hash that the package does not have. Recreate the lock, or find out who changed the "
            "package"
        )
    if why == "timeout":
        return (
            f"{package} took longer than artifact_build_timeout={limits['artifact_build_timeout']} seconds on {host} "
            "and was stopped. Find out what it does, or raise artifact_build_timeout"
        )
    met = "artifact_build_memory_mb" if why == "memory" else None
    met = met or next((name for pattern, name in _LIMITS if re.search(pattern, said)), None)
    if met:
        return f"{package} needs more than {met}={limits[met]} on {host}. Find out what its build does, or raise {met}"
    if needs := re.findall(re.escape(NEEDS) + r"(.*)", said):
        return (
            f"{package} needs {' and '.join(needs[:5])} to be built, which artifact_build_lock does not have. Add it "
            "there, with exact version and hashes"
        )
    if lacks := [name for name in missing_packages(said, family) if name not in there]:
        return (
            f"{package} cannot be built on {host}, which lacks {packages.family(family).a_kind}. Add "
            f"{' and '.join(lacks)} to flask_uwsgi_build_packages"
        )
    if re.search(_NETWORK, said):
        if not fetching:
            return (
                f"{package} cannot be built on {host}: its build uses the network, which builds cannot access. Require "
                "a release that has a wheel, or one that builds from its own files"
            )
        return (
            f"the package registry cannot be reached from {host}, or does not have what the lock ({variable}) names. "
            "Check network, proxy and pip's configuration (/etc/pip.conf) there, then deploy again"
        )
    if backend := re.search(r"BackendUnavailable: Cannot import '([\w.]+)'|No module named '([\w.]+)'", said):
        return (
            f"{package} cannot be built on {host}. If its build requires {backend[1] or backend[2]}, add that to "
            "artifact_build_lock, with exact version and hashes"
        )
    if why == "output":
        return f"{package} built something other than its wheel on {host}. Require another release"
    mend = "Correct its build" if own else "Require a release that has a wheel, or one that builds there"
    raised = [line for line in _lines(said) if _RAISED.match(line)]
    if raised and not _COMPILED.search(said):
        return f"{package} cannot be built on {host}: its build raised {raised[-1].rstrip('.')}. {mend}"
    if there:
        return f"{package} cannot be built on {host}, although it has {' and '.join(there)}. {mend}"
    return (
        f"{package} cannot be built on {host}. If a compiler lacks a header, add its package to "
        "flask_uwsgi_build_packages"
    )
