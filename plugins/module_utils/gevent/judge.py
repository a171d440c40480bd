"""Decides from the recorded evidence whether gevent mode will work for an application.

There are three checks, each ``ok``, ``warning`` or ``blocks``: how the modules were imported, what is known of the
libraries, and whether requests overlap. Measurements count more than suspicions: a finding of level ``note`` does not
affect the verdict.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any

from ..host.distributions import normalised
from ..host.health_answer import gist
from .probe import FAST_MS, LONG_MS, OVERLAPS, Measured
from .processes import BLOCKS, Use

LEVELS = ("ok", "warning", "blocks")
CHECKS = ("imports", "libraries", "cooperation")

_HARDLY = 0.3
# Without these, no request in gevent mode yields.
_CORE = {"socket.socket", "time.sleep", "threading.Lock", "threading.Thread", "select.select", "ssl.SSLContext"}
# Where a greenlet waits for another part of the same process.
_INSIDE = re.compile(r"/(threading|queue|concurrent/futures/_base)\.py:\d+ ")
_SHOWN = 6

_LATER = (
    "Import it later: a .pth file, a sitecustomize (PYTHONPATH) or a shared-import of flask_uwsgi_extra_ini imports it "
    "before gevent can patch"
)
_YIELD = (
    "Call something that gevent replaces (socket, time.sleep, subprocess) or hand it to a thread "
    "(gevent.get_hub().threadpool.apply), or set flask_uwsgi_mode=threads"
)
_PATH = "flask_uwsgi_gevent_check_path"


@dataclass(frozen=True)
class Finding:
    """A finding.

    Args:
        level: ``note``, ``warning`` or ``blocks``.
        what: a sentence.
        evidence: files with lines, innermost first, or lines of a log.
        remedy: what to do; empty if nothing needs to be done.
    """

    level: str
    what: str
    evidence: tuple[str, ...] = ()
    remedy: str = ""


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Args:
        verdict: ``ok``, ``warning`` or ``blocks``.
        findings: what was found, the worst first.
    """

    verdict: str
    findings: list[Finding]


@dataclass(frozen=True)
class Verdict:
    """The result of all checks.

    Args:
        verdict: the worst of their verdicts.
        checks: the checks by name.
    """

    verdict: str
    checks: dict[str, Check]


@dataclass(frozen=True)
class Compiled:
    """A compiled module that accesses the network itself.

    Args:
        module: its name.
        why: what shows it.
    """

    module: str
    why: list[str]


@dataclass(frozen=True)
class Evidence:
    """Everything that a verdict is based on.

    Args:
        loaded: what the hook recorded while the application was loaded.
        activity: what blocked the hub, what waited, and what ran an asyncio loop.
        measured: what the probe found, or None if the instance never responded.
        failure: why it never responded (``hangs``, ``memory``, ``ended``), or None.
        cause: the most likely cause, in words.
        trace: the stack in which it hangs or crashed, or its last log lines.
        common: whether it fails for a reason other than gevent, so that it would fail in threads mode as well.
        chosen: whether the operator has chosen the path of the requests, instead of the health path.
        died: whether its worker died during the requests.
        installed: distributions with their versions.
        network: compiled modules that access the network themselves.
        processes: where the application's own code uses the parts of ``multiprocessing`` that do not yield.
        roots: folders to leave out when files are shown.
    """

    loaded: Mapping[str, Any] = field(default_factory=dict)
    activity: Mapping[str, Any] = field(default_factory=dict)
    measured: Measured | None = None
    failure: str | None = None
    cause: str = ""
    trace: Sequence[str] = ()
    common: bool = False
    chosen: bool = False
    died: bool = False
    installed: Mapping[str, str] = field(default_factory=dict)
    network: Sequence[Compiled] = ()
    processes: Sequence[Use] = ()
    roots: Sequence[str] = ()

    def rows(self, key: str) -> list[Mapping[str, Any]]:
        """Return a list from the hook without unexpected entries, since the application can write there."""
        found = self.loaded.get(key) or self.activity.get(key) or []
        return [row for row in found if isinstance(row, Mapping)] if isinstance(found, list) else []

    def stacks(self, key: str) -> list[tuple[str, ...]]:
        """Return the recorded stacks, most frequent first, without empty ones."""
        stacks = (row.get("stack") for row in self.rows(key))
        return [tuple(map(str, stack)) for stack in stacks if stack and isinstance(stack, list)]

    def names(self, key: str) -> list[str]:
        """Return a list of names from the hook."""
        found = self.loaded.get(key)
        return [name for name in found if isinstance(name, str)] if isinstance(found, list) else []

    def short(self, text: Any) -> str:
        """Return a text without the folders of the release."""
        shown = str(text)
        for root in self.roots:
            shown = shown.replace(root.rstrip("/") + "/", "")
        return shown


def judge(evidence: Evidence, catalogue: Mapping[str, Any]) -> Verdict:
    """Return the verdict.

    Args:
        evidence: the evidence.
        catalogue: the known libraries, in the format of ``roles/flask_uwsgi/files/gevent_libraries.yml``.
    """
    findings = {
        "imports": list(imports(evidence)),
        "libraries": [*libraries(evidence, catalogue), *multiprocessing(evidence)],
        "cooperation": list(cooperation(evidence)),
    }
    checks = {
        name: Check(
            worst(finding.level for finding in found),
            [
                replace(finding, evidence=tuple(map(evidence.short, finding.evidence)))
                for finding in sorted(found, key=lambda one: -_rank(one.level))
            ],
        )
        for name, found in findings.items()
    }
    return Verdict(worst(check.verdict for check in checks.values()), checks)


def worst(levels: Iterable[str]) -> str:
    """Return the worst of several levels; a note counts as ok."""
    return LEVELS[max(map(_rank, levels), default=0)]


def _rank(level: str) -> int:
    return LEVELS.index(level) if level in LEVELS else 0


def imports(evidence: Evidence) -> Iterator[Finding]:
    """Yield what is wrong with how the application was loaded."""
    yield from _not_loaded(evidence)
    for row in evidence.rows("warnings"):
        message = str(row.get("message", ""))
        files = re.findall(r"\(([^()\s]+\.py)\)", message)
        owners = re.findall(r"<class '([\w.]+)\.\w+'>", message)
        files += [str(early.get("file")) for early in evidence.rows("early") if early.get("module") in owners]
        named = tuple(dict.fromkeys(files)) or (str(row.get("where")),)
        yield Finding("warning", f"gevent warns: {message.strip()}", named, _LATER)
    for early in evidence.rows("early"):
        yield from _early(early)
    yield from _threads_before(evidence)
    if back := evidence.names("unpatched"):
        level = "blocks" if set(back) & _CORE else "warning"
        yield Finding(level, f"undid what gevent had patched: {', '.join(back)}", (), "Do not reload these modules")
    if native := tuple(str(row.get("where")) for row in evidence.rows("locks") if row.get("kind") == "native"):
        what = "asks gevent for a lock of the unpatched kind: it blocks every request of its worker"
        yield Finding("warning", what, native, _YIELD)
    again = tuple(str(row.get("where")) for row in evidence.rows("patches"))
    if again:
        yield Finding("note", "also patches itself, which changes nothing", again)


def _not_loaded(evidence: Evidence) -> Iterator[Finding]:
    trace = tuple(evidence.trace)
    if evidence.failure == "hangs" and not evidence.common:
        yield Finding(
            "blocks",
            "the application does not finish loading",
            trace,
            "Move what waits out of the import, or raise flask_uwsgi_gevent_check_timeout",
        )
    if evidence.failure == "memory":
        yield Finding(
            "warning",
            "no result: the kernel killed it because it used too much memory",
            trace,
            "Raise flask_uwsgi_gevent_check_memory_mb",
        )
    if evidence.failure in ("ended", "hangs") and evidence.common:
        yield Finding(
            "blocks",
            f"the application cannot be loaded in either mode: {evidence.cause}",
            trace,
            "Correct this first: gevent is not the cause",
        )
    elif evidence.failure == "ended":
        yield Finding(
            "blocks",
            f"the application cannot be loaded in gevent mode: {evidence.cause or 'see its log'}",
            trace,
            "Try flask_uwsgi_mode=threads: if it loads there, gevent's patching is the cause",
        )


def _early(early: Mapping[str, Any]) -> Iterator[Finding]:
    name, file = str(early.get("module")), str(early.get("file"))
    parts = {key: early.get(key) for key in ("originals", "locks", "pools")}
    kept = {
        key: [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []
        for key, rows in parts.items()
    }
    pools = [str(row.get("where")) for row in kept["pools"]]
    if kept["originals"]:
        names = ", ".join(sorted({str(row.get("what")) for row in kept["originals"]}))
        where = tuple(str(row.get("where")) for row in kept["originals"])
        yield Finding("warning", f"{name} was imported before gevent patched, and still uses {names}", where, _LATER)
    if kept["locks"]:
        where = tuple(str(row.get("where")) for row in kept["locks"])
        what = f"{name} was imported before gevent patched; its lock hangs forever if it is held while something waits"
        yield Finding("warning", what, where, _LATER)
    if pools:
        what = f"{name} started a pool of threads before gevent patched; its threads do not exist in the workers"
        yield Finding("warning", what, tuple(pools), _LATER)
    if not kept["originals"] and not kept["locks"] and not pools and file:
        yield Finding("note", f"{name} was imported before gevent patched", (file,))


def _threads_before(evidence: Evidence) -> Iterator[Finding]:
    # Those of a pool are reported with it.
    where = [str(row["where"]) for row in evidence.rows("threads_before") if row.get("where")]
    if where:
        yield Finding(
            "warning",
            "started a thread before gevent patched; it does not exist in the workers",
            tuple(where),
            f"Start it in a worker (uwsgidecorators.postfork). {_LATER}",
        )


def libraries(evidence: Evidence, catalogue: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what is known about the installed libraries, and which compiled ones are unknown."""
    loaded = set(evidence.names("modules"))
    known = {"gevent", "greenlet", "zope"}
    for entry in catalogue["libraries"]:
        known |= set(modules(entry))
        if found := installed(entry, evidence.installed):
            known |= {found[0].replace("-", "_")}
            yield from _library(entry, found, bool(loaded & set(modules(entry))), evidence)
    for one in evidence.network:
        if (name := one.module.partition(".")[0]) not in known and name.lower() not in known:
            what = f"unknown: {one.module} is compiled and accesses the network itself"
            yield Finding("note", what, (", ".join(one.why),))
    loops = tuple(str(row.get("where")) for row in evidence.rows("loops"))
    if loops:
        yield Finding(
            "warning",
            "runs an asyncio loop in a request: Python has one for each thread, and greenlets share a thread",
            loops,
            "Use a client without asyncio, or run the loop in a thread (gevent.get_hub().threadpool.apply)",
        )


def modules(entry: Mapping[str, Any]) -> list[str]:
    """Return the names under which an entry of the catalogue is imported."""
    return list(entry.get("modules") or [str(entry["name"]).replace("-", "_")])


def installed(entry: Mapping[str, Any], distributions: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the distribution and version that an entry of the catalogue is about, or None.

    Args:
        entry: the entry; ``since`` is its first version, ``until`` the first one after it.
        distributions: normalized names with versions.
    """
    for name in entry.get("distributions") or [entry["name"]]:
        version = distributions.get(normalised(str(name)))
        if version is None:
            continue
        since, until = entry.get("since"), entry.get("until")
        if (not since or numbers(version) >= numbers(since)) and (not until or numbers(version) < numbers(until)):
            return str(name), version
    return None


def numbers(version: str) -> tuple[int, ...]:
    """Return the numbers that a version begins with; the rest, such as ``rc1``, is ignored."""
    # Dependencies choose their versions: of a number longer than any date, only the first digits count.
    parts = takewhile(bool, (re.match(r"[0-9]{0,18}", part)[0] for part in str(version).split(".")))  # type: ignore[index]
    return tuple(map(int, parts))


def _library(entry: Mapping[str, Any], found: tuple[str, str], loaded: bool, evidence: Evidence) -> Iterator[Finding]:
    label = f"{found[0]} {found[1]}"
    reference = (f"{entry['reference']}",)
    if entry["verdict"] == "ok":
        return
    helper = entry.get("remedied_by")
    if helper and normalised(helper) in evidence.installed:
        yield Finding("note", f"{label} with {helper}", reference, str(entry["remedy"]))
        return
    if not loaded:
        yield Finding("note", f"{label} is installed but was not imported: {entry['symptom']}", reference)
        return
    level = str(entry["verdict"])
    # The operator's path waits, and it did overlap, so the known problem must be with another use of the library.
    if level == "blocks" and _overlaps(evidence.measured):
        level = "warning"
    yield Finding(level, f"{label}: {entry['symptom']}", reference, str(entry["remedy"]))


def _overlaps(measured: Measured | None) -> bool:
    return bool(
        measured and measured.least_ms >= FAST_MS and (measured.overlap or 0) >= OVERLAPS and not measured.unfinished
    )


def multiprocessing(evidence: Evidence) -> Iterator[Finding]:
    """Yield the application's uses of ``multiprocessing`` that do not yield."""
    places: dict[str, list[str]] = {}
    for use in evidence.processes:
        places.setdefault(use.what, []).append(f"{use.file}:{use.line}")
    for what in BLOCKS:
        if where := places.pop(what, []):
            yield Finding(
                "blocks",
                f"multiprocessing.{what} hangs in gevent mode, together with its worker: its threads and pipes do not "
                "yield",
                tuple(where[:_SHOWN]),
                "Use concurrent.futures.ProcessPoolExecutor, which yields, or set flask_uwsgi_mode=threads",
            )
    if places:
        names = ", ".join(f"multiprocessing.{what}" for what in sorted(places))
        yield Finding(
            "warning",
            f"waiting for {names} stops all requests of the worker",
            tuple(place for where in places.values() for place in where)[:_SHOWN],
            "Wait for it in a separate thread (gevent.get_hub().threadpool.apply), or set flask_uwsgi_mode=threads",
        )


def cooperation(evidence: Evidence) -> Iterator[Finding]:
    """Yield what the probe found."""
    measured = evidence.measured
    if measured is None:
        yield Finding("warning", "no result: the application was not loaded")
        return
    asked = f"GET {measured.path}"
    if evidence.died:
        yield Finding("blocks", f"the worker died while it answered {asked}", tuple(evidence.trace)[:_SHOWN], _YIELD)
    elif measured.single_ms is None:
        yield from _alone(evidence, measured, asked)
    else:
        yield from _together(evidence, measured, asked)


def _together(evidence: Evidence, measured: Measured, asked: str) -> Iterator[Finding]:
    bad = {status: count for status, count in measured.statuses.items() if not measured.good(int(status))}
    if measured.unfinished:
        what = f"{measured.unfinished} of {measured.requests} simultaneous requests for {asked[4:]} never ended"
        yield Finding("blocks", what, _culprit(evidence), _YIELD)
    elif bad:
        counts = ", ".join(f"{count} × {status if status != '0' else 'no answer'}" for status, count in bad.items())
        what = f"{asked} answers a single request, but {measured.requests} at once: {counts}. {gist(measured.said)}"
        loops = tuple(str(row.get("where")) for row in evidence.rows("loops"))
        yield Finding("blocks", what.strip(), loops or _culprit(evidence), _YIELD)
    elif measured.least_ms < FAST_MS:
        # This is expected of a health path.
        if evidence.chosen:
            what = f"{_PATH}={measured.path} answers too fast for a result ({measured.least_ms:.1f} ms)"
            yield Finding("note", what, (), "Set it to a path that waits, such as one that queries the database")
    # On a busy host, a path that computes can take so long for one request that many seem to overlap.
    elif (measured.overlap or 0) < OVERLAPS or measured.cpu_ms >= LONG_MS:
        yield from _in_turns(evidence, measured, asked)


def _alone(evidence: Evidence, measured: Measured, asked: str) -> Iterator[Finding]:
    last = measured.alone[-1]
    if evidence.common:
        what = f"no result: {evidence.cause}"
        yield Finding("warning", what, (), "Correct this first: gevent is not the cause")
        return
    wanted = measured.wanted or "a status below 500"
    if last.status == 0:
        waiting = next((stack for stack in evidence.stacks("waiting") if _INSIDE.search(stack[0])), ())
        if waiting:
            what = f"{asked} never ends, even alone: it waits for another part of the process, which never responds"
            yield Finding("blocks", what, waiting, "Start pools and threads in the workers (uwsgidecorators.postfork)")
        else:
            what = f"no result: {asked} got no answer, even alone ({last.said})"
            yield Finding("warning", what, _culprit(evidence), f"Correct the path, or set {_PATH} to another")
    elif last.location:
        what = f"no result: {asked} answers {last.status} and redirects to {last.location}"
        yield Finding("warning", what, (), f"Set {_PATH} to a path that answers {wanted} without a redirect or a login")
    else:
        what = f"no result: {asked} answers {last.status} instead of {wanted}, even alone"
        yield Finding("warning", what, (gist(last.said),), f"Set {_PATH} to a path that answers {wanted}")


def _in_turns(evidence: Evidence, measured: Measured, asked: str) -> Iterator[Finding]:
    # The shortest of each: other load on the host can only have made them longer.
    single = measured.least_ms
    took = f"{measured.requests} at once took {measured.burst_ms:.0f} ms, one {single:.0f} ms"
    if measured.starved:
        what = f"no result: the host was too busy to run the worker ({took})"
        yield Finding("warning", what, (), "Check again when the host has less to do")
    elif measured.busy:
        level = "warning" if single >= LONG_MS else "note"
        what = f"{asked} computes while others wait: {took}"
        remedy = (
            "Threads mode would not help; make it faster, hand it to "
            "concurrent.futures.ProcessPoolExecutor (multiprocessing.Pool hangs in gevent mode), or raise "
            "flask_uwsgi_processes"
        )
        yield Finding(level, what, _blocking(evidence), remedy if level == "warning" else "")
    elif culprit := _blocking(evidence):
        level = "blocks" if (measured.overlap or 0) < _HARDLY else "warning"
        yield Finding(level, f"{asked} waits without yielding to others: {took}", culprit, _YIELD)
    else:
        what = f"requests for {asked[4:]} wait for each other, but nothing was seen to block: {took}"
        yield Finding("warning", what, _culprit(evidence), "Look for a lock, or a pool with one connection")


def _culprit(evidence: Evidence) -> tuple[str, ...]:
    """Return the most informative stack: what blocks, else what waits."""
    return _blocking(evidence) or next(iter(evidence.stacks("waiting")), ())[:_SHOWN]


def _blocking(evidence: Evidence) -> tuple[str, ...]:
    return next(iter(evidence.stacks("blocked")), ())[:_SHOWN]
