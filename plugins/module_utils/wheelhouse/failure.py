"""Says in a sentence why a build failed and what to do, and which lines of its output tell it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Collection, Mapping
from typing import Any

from ..host.foreign import printable
from ..release.artifact import masked
from .inside import NEEDS

# Characters of a line, and of an output, that are kept: a package chooses what its build prints, and the patterns below
# are matched against no more.
_WIDEST, _MOST_OUTPUT = 500, 4 << 20


def _lacks(headers: str) -> str:
    """Return a pattern of a line that misses one of some headers, and does not only name it."""
    header = rf"\b(?:{headers})\.h\b"
    return (
        rf"{header}.*(?:[Nn]o such file|not found|missing|required|needed|\.\.\. ?no\b)|"
        rf"(?:[Cc]annot|[Cc]an't|[Cc]ould not|[Uu]nable to|[Mm]issing)\b.*{header}"
    )


# What a compiler or a setup.py says, and what is missing then; the names are Debian 12's and 13's.
_MISSING = (
    (rf"pg_config executable not found|{_lacks('libpq-fe')}", ("libpq-dev",)),
    (
        r"mysql_config(: | )?not found|Can not find valid pkg-config name|pkg-config --exists (mysqlclient|mariadb)|"
        rf"{_lacks('mysql')}",
        ("default-libmysqlclient-dev", "pkg-config"),
    ),
    (_lacks("ffi"), ("libffi-dev",)),
    (_lacks("Python"), ("python3-dev",)),
    (rf"{_lacks(r'openssl/[a-z0-9]+')}|OpenSSL (development )?headers", ("libssl-dev",)),
    (rf"{_lacks(r'libx(ml|slt)/[A-Za-z0-9]+')}|libxml2 and libxslt development packages",
     ("libxml2-dev", "libxslt1-dev")),
    (rf"{_lacks('jpeglib')}|dependency,? jpeg\b|headers or library files could not be found for jpeg",
     ("libjpeg-dev",)),
    (rf"{_lacks('zlib')}|headers or library files could not be found for zlib", ("zlib1g-dev",)),
    (_lacks("ldap|lber"), ("libldap-dev", "libsasl2-dev")),
    (_lacks("sasl/sasl"), ("libsasl2-dev",)),
    (_lacks("sqlite3"), ("libsqlite3-dev",)),
    (_lacks("sql"), ("unixodbc-dev",)),
    (rf"{_lacks(r'gssapi/[a-z0-9_]+')}|krb5-config: not found|krb5-config'", ("libkrb5-dev",)),
    (r"\bxmlsec/|xmlsec1", ("libxmlsec1-dev", "pkg-config")),
    (rf"{_lacks('cairo')}|Dependency \"cairo\" not found", ("libcairo2-dev", "pkg-config")),
    (r"[Rr]ust compiler|\brustc\b|\b[Cc]argo\b.*(not found|not installed|PATH)", ("rustc", "cargo")),
    (r"(command|')(x86_64-linux-gnu-|aarch64-linux-gnu-)?g\+\+'?.*(failed: No such file|not found)|"
     r"error trying to exec 'cc1plus'", ("g++",)),
    (r"Unknown compiler\(s\)|(command|')(x86_64-linux-gnu-|aarch64-linux-gnu-)?gcc'?.*(No such file|not found)",
     ("gcc", "libc6-dev")),
    (r"[Cc][Mm]ake.*(not found|No such file|must be installed)", ("cmake",)),
    (r"pkg-config('|:)? .*not found|Did not find pkg-config", ("pkg-config",)),
)  # fmt: skip

_NETWORK = (
    r"Temporary failure in name resolution|Connection refused|Failed to establish a new connection|ConnectTimeout|"
    r"Network is unreachable|No matching distribution|Max retries|CERTIFICATE_VERIFY_FAILED|Failed to fetch|"
    r"HTTP error|dns error"
)
# What ran into a limit says, and the variable that sets it.
_LIMITS = (
    (r"No space left on device|File too large|Disk quota exceeded", "artifact_build_disk_mb"),
    (r"Resource temporarily unavailable|BlockingIOError|can't start new thread|[Cc]annot fork", "artifact_build_tasks"),
    (r"MemoryError|Cannot allocate memory|out of memory|memory exhausted|Killed signal", "artifact_build_memory_mb"),
)
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
# What uv 0.13 says where the build of the project itself fails; of another package it says which one besides.
_OWN, _ANOTHER = "The build backend returned an error", re.compile(r"Failed to (download and )?build\b")
# The bars and arrows with which pip and uv frame what others said.
_FRAME = " \t╰│─>├▶×"
# pip's own words around it.
_NOISE = re.compile(
    r"((note: )?This (error originates from a subprocess|is an issue with the package)|hint: See above|"
    r"\[end of output\]|\[\d+ lines of output\]|See above for output|exit code: \d+|"
    r"\[notice\]|.* did not run successfully)|\W*$"
)
# The last line of a traceback, and what a compiler was at work on.
_RAISED = re.compile(r"(?:\w+\.)*(?:\w*(?:Error|Exception)|SystemExit): \S.*")
_COMPILED = re.compile(r"\berror: command '|\bfatal error:|\bcc1|\bld: |collect2: |ninja: ", re.IGNORECASE)
_TELLING = re.compile(r"\b(error|fatal)\b.*:|not found|No such file|cannot find", re.IGNORECASE)


def missing_packages(output: str) -> list[str]:
    """Return the Debian packages that a failed build asks for, as far as its output tells.

    Args:
        output: everything the build printed.
    """
    lines = _lines(output)
    found = [name for pattern, names in _MISSING if any(re.search(pattern, line) for line in lines) for name in names]
    return list(dict.fromkeys(found))


def present(output: str) -> list[str]:
    """Return those of :func:`missing_packages` that this host has nevertheless, to be called on the build host.

    Args:
        output: everything the build printed.
    """
    asked = missing_packages(output)
    if not asked:
        return []
    command = ["dpkg-query", "--show", "--showformat=${db:Status-Status} ${Package} ${Provides}\n"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, errors="replace")
    except (OSError, subprocess.TimeoutExpired):
        return []
    lines = (line.split(" ", 1)[1] for line in done.stdout.splitlines() if line.startswith("installed "))
    there = {name for line in lines for name in re.findall(r"[a-z0-9][a-z0-9+.-]+", re.sub(r"\([^)]*\)", "", line))}
    return [name for name in asked if name in there]


def telling_lines(output: str, count: int = 12) -> list[str]:
    """Return the lines of an output that name an error and the last ones, less those that say nothing.

    Args:
        output: everything the build printed.
        count: how many at most.
    """
    lines = [line for line in _lines(output) if not _NOISE.match(line)]
    # Each try says why it failed; only the last one matters.
    tries = [number for number, line in enumerate(lines) if line.startswith("WARNING: Retrying")]
    earlier = set(tries[:-1])
    lines = [line for number, line in enumerate(lines) if number not in earlier]
    telling = [number for number, line in enumerate(lines) if _TELLING.search(line)][-count // 2 :]
    last = [number for number in range(len(lines)) if number not in telling][len(telling) - count :]
    return [lines[number] for number in sorted(telling + last)]


def _lines(output: str) -> list[str]:
    """Return the last lines of an output as they may be shown: without frame, cut, and nothing that moves a cursor."""
    cut = (line[: 4 * _WIDEST] for line in output[-_MOST_OUTPUT:].splitlines())
    unframed = (_COLOURS.sub("", line).lstrip(_FRAME).rstrip() for line in cut)
    return [printable(line[:_WIDEST]) for line in unframed]


def build_problem(
    result: Mapping[str, Any], variable: str, host: str, limits: Mapping[str, Any], project: str = ""
) -> str:
    """Say why a build host could not do what it was asked to, and what to do.

    Args:
        result: what the module returned: ``subject``, ``why``, ``said``, and ``installed``, the packages that the
            build asks for although its host has them.
        variable: the variable that named the requirements, with its value.
        host: the build host's name in the inventory.
        limits: the variables that bound a build, with their values.
        project: what the source itself is called where it is built; empty where it is not.
    """
    said, subject = masked(str(result["said"])), str(result["subject"])
    lines = "".join(f"\n    {line}" for line in telling_lines(said))
    own = bool(project) and (subject == project or (_OWN in said and not _ANOTHER.search(said)))
    sentence = _sentence(subject, str(result["why"]), said, variable, host, limits, result.get("installed") or [], own)
    if own and subject != project:
        sentence += (
            ". Or list what it requires in a file (flask_uwsgi_requirements): it is then not built to "
            "be read, and with flask_uwsgi_install=false not at all"
        )
    elif own:
        sentence += (
            ". Where nothing of flask_uwsgi_source has to be installed, set flask_uwsgi_install=false: it is then "
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
    there: Collection[str],
    own: bool,
) -> str:
    fetching = subject in ("the lock", "the requirements")
    package = variable if fetching else f"{subject}, of {variable},"
    if why == "hash":
        return (
            f"{package} has a hash that the package does not have. Make the lock anew, or find out who changed the "
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
            f"{package} needs {' and '.join(needs[:5])} to be built, which artifact_build_lock does not have. Put it "
            "there, with exact version and hashes"
        )
    if packages := [name for name in missing_packages(said) if name not in there]:
        return (
            f"{package} cannot be built on {host}, which lacks a Debian package. Add {' and '.join(packages)} to "
            "flask_uwsgi_build_packages"
        )
    if re.search(_NETWORK, said):
        if not fetching:
            return (
                f"{package} cannot be built on {host}: its build asks the network, which builds do not have. Require "
                "a release that has a wheel, or one that builds from its own files"
            )
        return (
            f"the package registry cannot be reached from {host}, or does not have what the lock ({variable}) names. "
            "Check network, proxy and pip's configuration (/etc/pip.conf) there, then deploy again"
        )
    if backend := re.search(r"BackendUnavailable: Cannot import '([\w.]+)'|No module named '([\w.]+)'", said):
        return (
            f"{package} cannot be built on {host}. If its build requires {backend[1] or backend[2]}, put that into "
            "artifact_build_lock, with exact version and hashes"
        )
    if why == "output":
        return f"{package} built something else than its wheel on {host}. Require another release"
    mend = "Mend its build" if own else "Require a release that has a wheel, or one that builds there"
    raised = [line for line in _lines(said) if _RAISED.match(line)]
    if raised and not _COMPILED.search(said):
        return f"{package} cannot be built on {host}, since its build raised {raised[-1].rstrip('.')}. {mend}"
    if there:
        return f"{package} cannot be built on {host}, although it has {' and '.join(there)}. {mend}"
    return (
        f"{package} cannot be built on {host}. Where a compiler lacks a header, add its package to "
        "flask_uwsgi_build_packages"
    )
