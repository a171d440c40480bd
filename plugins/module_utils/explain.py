"""Turns what a failed start left in the journal into the variable to change."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise, takewhile

# What uWSGI 2.0.31 and Python print, and the remedy in the role's own words.
_CAUSES = (
    (r"EntryError: (?P<detail>flask_uwsgi_.*)", "{detail}"),
    (
        r'unable to find "application" callable in file|unable to find "[^"]*" callable',
        "flask_uwsgi_callable={callable}: no such name in flask_uwsgi_wsgi_file={wsgi_file}. "
        "Set flask_uwsgi_callable to the name of the WSGI application in that file",
    ),
    (
        r"failed to open python file",
        "flask_uwsgi_wsgi_file={wsgi_file} cannot be opened in the release. "
        "Set it to a file below flask_uwsgi_source that the artifact does not exclude",
    ),
    (
        r"(?P<detail>ModuleNotFoundError: No module named .*)",
        "{detail}: add the package that brings it to the lock (flask_uwsgi_requirements), or the file to "
        "flask_uwsgi_source",
    ),
    (
        r"\[strict-mode\] unknown config directive: (?P<detail>\S+)",
        "flask_uwsgi_extra_ini has the key {detail}, which uWSGI does not know. Correct or remove it",
    ),
    (
        r"Failed to set up credentials",
        "systemd cannot read or decrypt the flask_uwsgi_secrets of this generation: has the host lost its key "
        "(/var/lib/systemd/credential.secret)? Deploy, which writes them anew",
    ),
    (
        # Only where a name begins: from each of its letters it would be searched anew.
        r"(?<![\w.])(?P<detail>[\w.]*(?:Error|Exception|Exit)\b.*)",
        "{entry} raised while it was loaded: {detail}. Mend the application",
    ),
)


# Of a callable that is none uWSGI learns at the first request: a line without a traceback above it.
_NO_CALLABLE = re.compile(r"TypeError: '(?P<type>\w+)' object is not callable")


def explain(lines: Iterable[str], wsgi_file: str, callable_name: str, module: str = "") -> str:
    """Return the likeliest cause of a failed start, naming variable, value and remedy.

    Args:
        lines: what the instance logged.
        wsgi_file: the value of ``flask_uwsgi_wsgi_file``.
        callable_name: the value of ``flask_uwsgi_callable``.
        module: the value of ``flask_uwsgi_module``.

    Returns:
        a sentence, or an empty string where the log tells nothing we know.
    """
    # All of them keep an application from being loaded: what it logs later is about something else.
    lines = list(lines)
    logged = list(takewhile(lambda line: not line.startswith("WSGI app "), lines))
    entry = f"flask_uwsgi_module={module}" if module else f"flask_uwsgi_wsgi_file={wsgi_file}"
    for pattern, remedy in _CAUSES:
        for line in reversed(logged):
            if match := re.search(pattern, line):
                detail = match.groupdict().get("detail") or ""
                return remedy.format(wsgi_file=wsgi_file, callable=callable_name, entry=entry, detail=detail.strip())
    for before, line in pairwise(lines):
        if (match := _NO_CALLABLE.fullmatch(line)) and not before.startswith(" "):
            return (
                f"flask_uwsgi_callable={callable_name} of {entry} is {match['type']}, which cannot be called. "
                "Set it to the name of the WSGI application in that file"
            )
    return ""


# What uWSGI and systemd say at every start and stop, which tells nothing of a failure.
_CHATTER = re.compile(
    r"VACUUM: |unlink\(\): |mapped \d|your (?:processes number|memory page|server socket|mercy for) "
    r"|detected (?:number of CPU|max file|binary path)|\*\*\* (?:Operational MODE|Starting uWSGI|Stats |running )"
    r"|compiled with version|os: |nodename: |machine: |clock source: |current working directory|writing pidfile"
    r"|chdir\(\) to |- async cores|- SystemD socket|lock engine|thunder lock|uwsgi socket \d|Python version|PEP 405"
    r"|Set PythonHome|Python main interpreter|python threads support|!!! no internal routing|\[uWSGI\] getting INI"
    r'|WSGI app \d|spawned uWSGI |running "|goodbye to '
    r"|(?:Starting|Started|Stopping|Stopped|Failed to start) [^\s@]+@\S+\.service"
    r"|\S+\.service: (?!.*(?:timed out|OOM|oom|set up credentials))"
)


def telling(lines: Iterable[str]) -> list[str]:
    """Return the lines of a journal that are the application's own, or tell why it failed."""
    return [line for line in lines if line.strip() and not _CHATTER.match(line)]
