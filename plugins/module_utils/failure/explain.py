"""Finds the cause of a failed start in the journal, the variable to change, and the lines that show it."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from ..host.journal import Said
from ..release.manifest import Manifest
from . import deaths, remedies, stacks
from .tracebacks import Traceback, parse

# Lines of a log to read, and to show. Each worker may have a long traceback, and then as many as it finishes requests.
MOST_READ = 10_000
MOST = 18
_MOST_TRACEBACK = 15

# What uWSGI 2.0.31 and systemd print, and the remedy in the role's terms.
_CAUSES = (
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
        r"\[strict-mode\] unknown config directive: (?P<detail>\S+)",
        "flask_uwsgi_extra_ini has the key {detail}, which uWSGI does not know. Correct or remove it",
    ),
    (
        r"start operation timed out",
        "it was not ready within flask_uwsgi_start_timeout={start} seconds. Raise it, or move what takes long out of "
        "the import",
    ),
)
# How systemd says that the main process ended: uWSGI itself exits with 22 if there is no application.
_EXITED = re.compile(
    r"DAMN ! worker \d+ \(pid: \d+\) died, (?:with exit status (?P<worker>\d+)|killed by signal (?P<signal>\d+))"
    r", before it served"
    r"|Main process exited, code=exited, status=(?!22/)(?P<main>\d+)/"
)
_WORKER_ENDED = re.compile(r"DAMN ! worker (?=\d+ \(pid: \d+\) died(?: :\(|, with exit status|, killed by signal))")
# Errors for which uWSGI has no traceback, such as a response that is not one.
_ERROR = re.compile(r"[A-Za-z_][\w.]{0,200}(?:Error|Exception): ")
_ENDED_ITSELF = re.compile(r"flask_uwsgi_\w+=\S+ ended itself with sys\.exit")
# uWSGI only notices at the first request that the object is not callable: a line without a traceback above it.
_NO_CALLABLE = re.compile(r"TypeError: '(?P<type>\w+)' object is not callable")
_TIMED_OUT = re.compile(r"\S+\.service: start operation timed out")
_SIGNAL_NAMES = {one.value: one.name for one in signal.Signals}
_CRASH = re.compile(r"a process was ended by SIG[A-Z]+")
_ANSWERED = re.compile(r"GET \S+ answered ")
_PROBLEM = re.compile(r"GET \S+ (?:answered 5\d\d instead of \d+|got no answer)")


def said(lines: Iterable[Said | str]) -> list[Said]:
    """Return lines with the process that logged each; plain texts are all from one process."""
    return [Said("", line) if isinstance(line, str) else line for line in lines]


def explain(
    lines: Iterable[Said | str],
    manifest: Manifest,
    problem: str = "",
    unit: Mapping[str, str] | None = None,
    root: str = "",
) -> str:
    """Return the most likely cause of a failed start, with variable, value and remedy.

    Args:
        lines: what the instance logged.
        manifest: the generation that failed.
        problem: how the failure was noticed, such as ``GET /healthz answered 500 instead of 200: …``.
        unit: the unit's properties listed in ``deaths.PROPERTIES``.
        root: the application's directory on the host.

    Returns:
        one or more sentences without the last full stop, or an empty string if nothing in the log is known.
    """
    seen = stacks.split(said(lines))
    log, entry = seen.rest, entry_of(manifest)
    serves = bool(_ANSWERED.match(problem))
    items = parse(log, serves=serves)
    found = cause(items)
    if found and found.loading and found.last.kind == "EntryError":
        message = found.last.text.rstrip(".")
        return f"{message}. {_not_to_end(message)}" if _ENDED_ITSELF.match(message) else message
    asked = _PROBLEM.match(problem)
    death = deaths.explain(list(_untangled(items, found)), unit or {}, root)
    # Many applications report on their health page what failed, and log nothing.
    if not death and asked and not found:
        death = deaths.answered(problem[asked.end() :].removeprefix(": "), unit or {}, root)
    if death:
        if seen.crashed:
            death = _CRASH.sub(rf"\g<0> at {stacks.within(seen.crashed)}", death)
        noticed = asked[0] if asked else "" if problem.startswith("`systemctl ") else problem.rstrip(".")
        return f"{noticed}: {death}" if noticed and not (found and found.loading) else death
    if found and found.loading:
        return f"{entry} raised while it was loaded: {remedies.explain(found, manifest)}"
    if seen.hanging and any(_TIMED_OUT.match(line.text) for line in log):
        return stacks.unfinished(seen.hanging, entry, manifest.start_timeout)
    # A process that logs such a line later has already loaded the application, and reports something else.
    if refused := refused_by([] if serves else log[: _first_ready(log)], manifest) or ended_itself(log, entry):
        return refused
    if asked and found:
        who = "A thread of the application" if found.aside else "The request"
        return f"{asked[0]}. {who} raised {remedies.explain(found, manifest)}"
    lines_alone = [item.text for item in items if isinstance(item, Said)]
    if asked and (bare := [text for text in lines_alone if _ERROR.match(text) and not _NO_CALLABLE.match(text)]):
        return f"{asked[0]}. The request raised {bare[-1].rstrip('.')}. {remedies.MEND}"
    for item in items:
        if isinstance(item, Said) and (match := _NO_CALLABLE.fullmatch(item.text)):
            return (
                f"flask_uwsgi_callable={manifest.callable} of {entry} is {match['type']}, which cannot be called. "
                "Set it to the name of the WSGI application in that file"
            )
    if "got no answer" in problem:
        return (
            f"{problem.rstrip('.')}. It had flask_uwsgi_health_timeout={manifest.health.timeout:g} seconds: raise it, "
            "or set flask_uwsgi_health_path to a path that answers faster"
        )
    return ""


def refused_by(lines: Iterable[Said | str], manifest: Manifest | None = None) -> str:
    """Return what uWSGI or systemd refused, like :func:`explain`.

    Args:
        lines: what was logged before an application was loaded.
        manifest: the generation; None if there is none yet, and uWSGI only reads its configuration.
    """
    texts = [line.text for line in said(lines)]
    known = {
        "wsgi_file": manifest.wsgi_file if manifest else "",
        "callable": manifest.callable if manifest else "",
        "start": f"{manifest.start_timeout:g}" if manifest else "",
    }
    for pattern, remedy in _CAUSES:
        for text in reversed(texts):
            if match := re.search(pattern, text):
                return remedy.format(**known, **match.groupdict()).rstrip(".")
    return ""


def cause(items: Sequence[Said | Traceback]) -> Traceback | None:
    """Return the traceback that made a start fail, if any: one that stopped loading, else the last one of a request."""
    tracebacks = [item for item in items if isinstance(item, Traceback) and not item.interrupted and item.last.name]
    fatal = [one for one in tracebacks if one.fatal]
    asked = [one for one in tracebacks if not one.loading]
    # An exception in a thread need not belong to the request.
    asked = [one for one in asked if not one.aside] or asked
    loading = [one for one in tracebacks if one.loading and not one.aside]
    ready = any(isinstance(item, Said) and item.text.startswith("WSGI app ") for item in items)
    # The first one that stopped loading: another worker may have failed because of what the first had begun.
    return next(iter([*fatal[:1], *asked[-1:], *([] if ready else loading[-1:])]), None)


def _first_ready(log: Sequence[Said]) -> int:
    return next((number for number, line in enumerate(log) if line.text.startswith("WSGI app ")), len(log))


def _untangled(items: Sequence[Said | Traceback], found: Traceback | None) -> Iterator[str]:
    """Yield the lines of a log with each traceback in one piece, once, with the decisive one last."""
    seen = set()
    for item in items:
        if isinstance(item, Said):
            yield item.text
        elif item is not found and item.key not in seen and not item.interrupted:
            seen.add(item.key)
            yield from item.whole()
    if found:
        yield from found.whole()


def entry_of(manifest: Manifest) -> str:
    """Return the variable that names the application, with its value."""
    module = manifest.module
    return f"flask_uwsgi_module={module}" if module else f"flask_uwsgi_wsgi_file={manifest.wsgi_file}"


def ended_itself(log: Sequence[Said], entry: str) -> str:
    """Return how a process ended itself while the application was loaded; an empty string if it did not.

    Args:
        log: what the instance logged.
        entry: the variable that names the application, with its value.
    """
    texts = [line.text for line in log]
    ended = next((match for text in texts if (match := _EXITED.search(text))), None)
    if not ended and not any(map(_WORKER_ENDED.match, texts)):
        return ""
    # Another worker may have loaded it by then.
    if _first_ready(log) < len(log) and not (ended and (ended["worker"] or ended["signal"])):
        return ""
    if ended and ended["signal"]:
        name = _SIGNAL_NAMES.get(int(ended["signal"]), f"signal {ended['signal']}")
        memory = ", or the host did because it ran out of memory" if name == "SIGKILL" else ""
        return (
            f"{entry} was ended by {name} while it was loaded: it sent that to itself{memory}. A module that is "
            "imported must not end its process"
        )
    own = [line.text.strip() for line in log if line.pid != "1" and not _dull(line.text)]
    last = next((text for text in reversed(own) if not _WORKER_ENDED.match(text)), "").rstrip(".")
    how = f" with exit status {ended['worker'] or ended['main']}" if ended else ""
    return (
        f"{entry} ended itself{how} while it was loaded (sys.exit or os._exit){f': {last}' if last else ''}. "
        f"{_not_to_end(last)}"
    )


def _not_to_end(said_last: str) -> str:
    remedy = remedies.named(said_last)
    return f"{remedy[0].upper()}{remedy[1:]}" if remedy else "A module that is imported must not end its process"


def raised(lines: Iterable[str], manifest: Manifest | None) -> str:
    """Return the exception that ended a program, and what to do; an empty string if there was none.

    Args:
        lines: what it printed.
        manifest: the generation it belongs to.
    """
    tracebacks = [item for item in parse(said(lines)) if isinstance(item, Traceback) and item.last.name]
    return remedies.explain(tracebacks[-1], manifest) if manifest and tracebacks else ""


# What uWSGI and systemd say at every start and stop, which says nothing about a failure.
_CHATTER = re.compile(
    r"VACUUM: |unlink\(\): |mapped \d|your (?:processes number|memory page|server socket|mercy for) "
    r"|detected (?:number of CPU|max file|binary path)|\*\*\* (?:Operational MODE|Starting uWSGI|Stats |running )"
    r"|compiled with version|os: |nodename: |machine: |clock source: |current working directory|writing pidfile"
    r"|chdir\(\) to |- async cores|- SystemD socket|lock engine|thunder lock|uwsgi socket \d|Python version|PEP 405"
    r"|Set PythonHome|Python main interpreter|python threads support|!!! no internal routing|\[uWSGI\] getting INI"
    r'|WSGI app \d|spawned uWSGI |running "|goodbye to |\[uwsgi-daemons\]|Respawned uWSGI |worker respawning too fast'
    r"|unable to load app \d|\*\*\* no app loaded|OOPS ! failed loading app|[\w :]{0,40} - need-app requested"
    r"|--- no python application found|SIGINT/SIGTERM received|Gracefully killing "
    r"|[\w :]{0,40} - (?:graceful shutdown triggered|stopping gevent |main gevent watchers |waiting for \d+ running "
    r"|worker \d+ \(pid: \d+\) core \d+ is managing )"
    r"|worker \d+ (?:buried|killed)|[\w :]{0,40} - uWSGI worker \d+ error: the master disconnected"
    r"|gateway \d|\.\.\.The work of process"
    r"|\[uwsgi-static\] added mapping |building mime-types dictionary |failed to compile "
    r"|(?:Starting|Started|Stopping|Stopped|Failed to start) [^\s@]+@\S+\.service"
    # Its reasons are kept: a failed step, how the main process ended, a timeout, lack of memory.
    r"|\S+\.service: (?!.*(?:timed out|OOM|oom|Failed (?:to|at)|process exited))"
    r"|\S+\.service: Main process exited, code=exited, status=22/"
)
# In an instance without traffic, each request is one of ours; elsewhere they may be others'.
_REQUEST = re.compile(r'.*"?[A-Z]{3,7} \S+ HTTP/\d(?:\.\d)?["\]]? \d{3}\b')
_BACKTRACE = re.compile(
    r"\*\*\* (?:backtrace of \d+|end of backtrace) \*\*\*|/\S{1,300}?\([^)]{0,300}\) \[0x[0-9a-f]+\]"
)


def relevant_lines(lines: Iterable[Said | str], most: int = MOST) -> list[str]:
    """Return the lines of a log that are the application's own, or show why it failed.

    Args:
        lines: what the instance logged.
        most: lines to return.

    Returns:
        the complete cause, and the last lines around it. Identical lines of several workers appear once.
    """
    items = parse(stacks.split(said(lines)).rest)
    found = cause(items)
    shown: set[object] = set()
    first: dict[str, str] = {}
    kept: list[tuple[bool, list[str]]] = []
    for item in items:
        if isinstance(item, Traceback):
            # The other workers are interrupted because of the one that failed.
            if item.key not in shown and not ((item.interrupted or item.cut) and found):
                kept.append((found is not None and item.key == found.key, item.show(_MOST_TRACEBACK)))
            shown.add(item.key)
        elif not _dull(item.text):
            # The same line of another worker. Repeated lines of one process are the application's own.
            died = _WORKER_ENDED.match(item.text)
            text, pid = (died[0], "") if died else (item.text, item.pid)
            again = died or _ERROR.match(text)
            if text not in first or (first[text] == pid and not again):
                kept.append((False, [item.text]))
            first.setdefault(text, pid)
    return _within(list(_counted(kept)), most)


def _counted(kept: Iterable[tuple[bool, list[str]]]) -> Iterator[tuple[bool, list[str]]]:
    """Yield what to show, with anything repeated more than twice in a row shown once and counted."""
    for (causes, lines), same in groupby(kept):
        if (times := len(list(same))) > 2:
            yield causes, [*lines, f"  … {times - 1} more times"]
        else:
            yield from [(causes, lines)] * times


def _dull(text: str) -> bool:
    return not text.strip() or any(one.match(text) for one in (_CHATTER, _REQUEST, _BACKTRACE))


def _within(kept: Sequence[tuple[bool, list[str]]], most: int) -> list[str]:
    """Return the lines of the cause, and as many of the last other lines as there is room for."""
    room = most - sum(len(lines) for causes, lines in kept if causes)
    shown: list[list[str]] = []
    for causes, lines in reversed(kept):
        room -= 0 if causes else len(lines)
        if causes or room >= 0:
            shown.append(lines)
    return [line for lines in reversed(shown) for line in lines]


def refusal(
    lines: Iterable[Said | str],
    manifest: Manifest,
    problem: str,
    unit: Mapping[str, str] | None = None,
    root: str = "",
) -> list[str]:
    """Return a description of a failed start: its cause, and its log.

    Args:
        lines: what the instance logged, in printable characters.
        manifest: the generation that failed.
        problem: how the failure was noticed.
        unit: see :func:`explain`.
        root: see :func:`explain`.

    Returns:
        lines of text: the cause, and the log, if there is any.
    """
    lines = said(lines)
    shown = relevant_lines(lines)
    known = explain(lines, manifest, problem, unit, root)
    log = ["Its last log lines:", *(f"    {line}" for line in shown)] if shown else []
    # The exception that entry.py raised is the cause, and is not shown again.
    if not shown and cause(parse(lines)) is None:
        log = ["It logged nothing of its own."]
    message = (known or problem).rstrip(".")
    return [message if message.endswith(("?", "!")) else f"{message}.", *log]
