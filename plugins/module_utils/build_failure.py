"""What a failed build of a wheel tells: its last telling lines, and the Debian packages that it lacks."""

from __future__ import annotations

import re

from .foreign import printable

# Characters.
_MOST_LINE, _MOST_OUTPUT = 2000, 4 << 20

# What a compiler or a setup.py says, and what is missing then; the names are Debian 12's and 13's.
_MISSING = (
    (r"pg_config executable not found|libpq-fe\.h", ("libpq-dev",)),
    (
        r"mysql_config(: | )?not found|Can not find valid pkg-config name|pkg-config --exists (mysqlclient|mariadb)|"
        r"mysql\.h",
        ("default-libmysqlclient-dev", "pkg-config"),
    ),
    (r"\bffi\.h", ("libffi-dev",)),
    (r"\bPython\.h", ("python3-dev",)),
    (r"openssl/\w+\.h|OpenSSL (development )?headers", ("libssl-dev",)),
    (r"libxml/\w+\.h|libxslt/\w+\.h|libxml2 and libxslt development packages", ("libxml2-dev", "libxslt1-dev")),
    (r"jpeglib\.h|dependency, jpeg\b|dependency jpeg\b|headers or library files could not be found for jpeg",
     ("libjpeg-dev",)),
    (r"\bzlib\.h|headers or library files could not be found for zlib", ("zlib1g-dev",)),
    (r"\bldap\.h|\blber\.h", ("libldap-dev", "libsasl2-dev")),
    (r"\bsasl/sasl\.h", ("libsasl2-dev",)),
    (r"\bsqlite3\.h", ("libsqlite3-dev",)),
    (r"\bsql\.h", ("unixodbc-dev",)),
    (r"gssapi/\w+\.h|krb5-config: not found|krb5-config'", ("libkrb5-dev",)),
    (r"\bxmlsec/|xmlsec1", ("libxmlsec1-dev", "pkg-config")),
    (r"\bcairo\.h|Dependency \"cairo\" not found", ("libcairo2-dev", "pkg-config")),
    (r"[Rr]ust compiler|\brustc\b|\b[Cc]argo\b.*(not found|not installed|PATH)", ("rustc", "cargo")),
    (r"(command|')(x86_64-linux-gnu-|aarch64-linux-gnu-)?g\+\+'?.*(failed: No such file|not found)|"
     r"error trying to exec 'cc1plus'", ("g++",)),
    (r"Unknown compiler\(s\)|(command|')(x86_64-linux-gnu-|aarch64-linux-gnu-)?gcc'?.*(No such file|not found)",
     ("gcc", "libc6-dev")),
    (r"[Cc][Mm]ake.*(not found|No such file|must be installed)", ("cmake",)),
    (r"pkg-config('|:)? .*not found|Did not find pkg-config", ("pkg-config",)),
)  # fmt: skip

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
# The bars and arrows with which pip and uv frame what others said.
_FRAME = " \t╰│─>├▶×"
# pip's own words around it.
_NOISE = re.compile(
    r"((note: )?This (error originates from a subprocess|is an issue with the package)|hint: See above|"
    r"\[end of output\]|\[\d+ lines of output\]|See above for output|exit code: \d+|"
    r"\[notice\]|.* did not run successfully)|\W*$"
)
_TELLING = re.compile(r"\b(error|fatal)\b.*:|not found|No such file|cannot find", re.IGNORECASE)


def missing_packages(output: str) -> list[str]:
    """Return the Debian packages that a failed build lacks, as far as its output tells.

    Args:
        output: everything the build printed.
    """
    lines = _lines(output)
    found = [name for pattern, names in _MISSING if any(re.search(pattern, line) for line in lines) for name in names]
    return list(dict.fromkeys(found))


def telling_lines(output: str, count: int = 12) -> list[str]:
    """Return the lines of an output that name an error and the last ones, less those that say nothing.

    Args:
        output: everything the build printed.
        count: how many at most.
    """
    unframed = (_COLOURS.sub("", line).lstrip(_FRAME).rstrip() for line in _lines(output))
    lines = [line for line in unframed if not _NOISE.match(line)]
    # Each try says why it failed; only the last one matters.
    tries = [number for number, line in enumerate(lines) if line.startswith("WARNING: Retrying")]
    lines = [line for number, line in enumerate(lines) if number not in tries[:-1]]
    telling = [number for number, line in enumerate(lines) if _TELLING.search(line)][-count // 2 :]
    last = [number for number in range(len(lines)) if number not in telling][len(telling) - count :]
    return [printable(lines[number]) for number in sorted(telling + last)]


def _lines(output: str) -> list[str]:
    """Return the last lines of an output, each cut: a package chooses what its build prints."""
    return [line[:_MOST_LINE] for line in output[-_MOST_OUTPUT:].splitlines()]
