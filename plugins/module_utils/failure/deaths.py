"""Explains how the sandbox or systemd prevented an application from running, and what to set."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Optional

# What ``explain`` needs to know of the failed unit (``systemctl show``).
PROPERTIES = ("Result", "ExecMainCode", "ExecMainStatus", "TasksMax", "MemoryMax", "LimitNOFILE")

_OVERRIDE = "flask_uwsgi_unit_overrides: {{{}}}"
# SIGCHLD's si_code for a process ended by a signal, without or with a core dump (siginfo_t, sigaction(2)).
_BY_SIGNAL = ("2", "3")
_TRACEBACK = "Traceback (most recent call last):"
_CHAINED = re.compile(
    r"(?:During handling of the above exception, another exception occurred"
    r"|The above exception was the direct cause of the following exception):"
)
# The number of an application's own statements to take from the innermost frames of a traceback.
_FRAMES = 8


@dataclass(frozen=True)
class _Found:
    """A line that a rule matched, with its context.

    Args:
        match: the match.
        code: the innermost statements of the traceback that the line ends.
        state: the unit's properties.
        root: the application's directory on the host.
    """

    match: re.Match[str]
    code: str
    state: Mapping[str, str]
    root: str


def _set(*directives: str) -> str:
    return _OVERRIDE.format(", ".join(directives))


# Failures of the unit itself.

_STEPS = {
    "CHDIR": (
        "cannot enter its directory. WorkingDirectory of flask_uwsgi_unit_overrides must exist on the host and be "
        "accessible to the account of flask_uwsgi_user"
    ),
    "EXEC": (
        "cannot be executed: the release or its virtual environment is damaged, or is on a file system that is "
        "mounted noexec (flask_uwsgi_base_dir). Deploy to rewrite it"
    ),
    "LIMITS": (
        f"requests a limit that this host does not allow. Lower it, with {_set('LimitNOFILE: NUMBER')} for open files, "
        "or raise the host's limit"
    ),
    "USER": (
        "cannot find the account named in flask_uwsgi_user. Deploy, which creates one, or make it known to the host "
        "before its services start"
    ),
    "GROUP": (
        "cannot find the group named in flask_uwsgi_group, which a deploy creates, or in SupplementaryGroups of "
        "flask_uwsgi_unit_overrides: correct that name, or create the group on the host"
    ),
    "CAPABILITIES": (
        "cannot drop its capabilities on this host, a container without CAP_SETPCAP. Add that to the container"
    ),
    "NAMESPACE": (
        "cannot set up its view of the file system. Either a path in flask_uwsgi_persistent, or in a path directive of "
        "flask_uwsgi_unit_overrides, does not exist on the host; or the host is a container that may not mount: allow "
        "nesting (CAP_SYS_ADMIN, no restriction by AppArmor)"
    ),
    "NO_NEW_PRIVILEGES": "cannot be prevented from gaining privileges: the kernel is older than Linux 3.5",
    "SECCOMP": (
        "cannot set up its system call filter: the kernel was built without seccomp, or a container forbids it"
    ),
    "ADDRESS_FAMILIES": "cannot set up its address family filter (RestrictAddressFamilies)",
    "RUNTIME_DIRECTORY": "cannot create its directory in /run. Is something else in its place, or is /run full?",
    "STATE_DIRECTORY": (
        "cannot create its directory in /var/lib. Is something else in its place, or is the disk full or read-only?"
    ),
    "CACHE_DIRECTORY": (
        "cannot create its directory in /var/cache. Is something else in its place, or is the disk full or read-only?"
    ),
    "LOGS_DIRECTORY": (
        "cannot create its directory in /var/log. Is something else in its place, or is the disk full or read-only?"
    ),
    "KEYRING": "cannot create its own keyring: a container forbids it. Set " + _set("KeyringMode: inherit"),
    "CREDENTIALS": (
        "cannot read or decrypt the flask_uwsgi_secrets of this generation: has the host lost its key "
        "(/var/lib/systemd/credential.secret)? Deploy to rewrite them"
    ),
}
# Exit statuses of units that systemd could not start (systemd.exec(5), "Process Exit Codes").
_STATUSES = {
    200: "CHDIR", 203: "EXEC", 205: "LIMITS", 216: "GROUP", 217: "USER", 218: "CAPABILITIES", 226: "NAMESPACE",
    227: "NO_NEW_PRIVILEGES", 228: "SECCOMP", 232: "ADDRESS_FAMILIES", 233: "RUNTIME_DIRECTORY", 237: "KEYRING",
    238: "STATE_DIRECTORY", 239: "CACHE_DIRECTORY", 240: "LOGS_DIRECTORY", 243: "CREDENTIALS",
}  # fmt: skip
# systemd's own line; without it, a program may have chosen the number.
_STATUS = re.compile(
    r"\S+\.service: (?:Main|Control) process exited, code=exited, status=(?P<number>2\d\d)/(?P<name>[A-Z_]+)$"
)
_COMMAND = re.compile(r"\S+\.service: Control process exited, code=exited, status=(?P<status>1?\d?\d)/")
_STEP = re.compile(r"\S+\.service: Failed at step (?P<name>[A-Z_]+) spawning (?P<program>.*?): (?P<why>.*)$")
_SETUP = re.compile(
    r"\S+\.service: Failed to set up (?:mount namespacing|credentials|[a-z ]*director\w+): (?P<why>.*)$"
)

# Programs that the unit itself starts.
_OWN_PROGRAM = re.compile(r"/venv/bin/(?:uwsgi|python)$|^/usr/bin/env$")
_MISSING = re.compile(r"(?P<path>/\S+): No such file or directory")
# Where systemd builds the service's view of the file system.
_VIEW = re.compile(r"/run/systemd/(?:unit-root|mount-rootfs)(?=/)")


def _unit(lines: Sequence[str]) -> str:
    """Return why systemd could not start the program."""
    steps = [match for line in lines if (match := _STEP.match(line))]
    statuses = [match for line in lines if (match := _STATUS.match(line))]
    if not steps and not statuses:
        command = next((match for line in lines if (match := _COMMAND.match(line))), None)
        return (
            f"a command that the unit runs before or after its program ended with status {command['status']}: is there "
            "an ExecStartPre or ExecStartPost in flask_uwsgi_unit_overrides? Correct or remove it"
            if command
            else ""
        )
    said = [_VIEW.sub("", match["why"]) for line in lines if (match := _SETUP.match(line))]
    if steps:
        name, reasons = steps[-1]["name"], [*said, steps[-1]["why"]]
    else:
        name, reasons = _STATUSES.get(int(statuses[-1]["number"]), statuses[-1]["name"]), said
    status = next((f"{number}/" for number, known in _STATUSES.items() if known == name), "")
    # Without systemd's own line, this names the restriction.
    what = _STEPS.get(name, "cannot be set up as its unit specifies (flask_uwsgi_unit_overrides?)")
    what = _of_overrides(name, steps[-1]["program"] if steps else "", reasons[0] if reasons else "") or what
    return f"systemd could not start it ({status}{name}{f', {reasons[0]}' if reasons else ''}): the service {what}"


def _of_overrides(name: str, program: str, reason: str) -> str:
    """Return what the operator's settings name but the host lacks."""
    if name == "EXEC" and program and not _OWN_PROGRAM.search(program):
        return (
            f"names the program {program}, which cannot be executed on the host. Install it, or correct the directive "
            "of flask_uwsgi_unit_overrides that names it"
        )
    missing = _MISSING.fullmatch(reason) if name == "NAMESPACE" else None
    if missing:
        path = missing["path"]
        return (
            f"names the path {path}, which does not exist on the host, in flask_uwsgi_persistent or in a path "
            f"directive of flask_uwsgi_unit_overrides. Create it, or write -{path} there if it may be missing"
        )
    return ""


# Causes of a process that was ended by a signal.

_SIGNALS = {
    4: (
        "SIGILL, an instruction that this processor lacks: a compiled package was built for a newer processor. Use "
        "another version of the package"
    ),
    6: "SIGABRT: compiled code aborted, usually with a line above",
    7: "SIGBUS: a file that is mapped into memory was truncated, or a disk is full (/dev/shm)",
    8: "SIGFPE, an arithmetic error in compiled code",
    11: "SIGSEGV: compiled code crashed. Try another version of the package that contains it",
    31: (
        "SIGSYS: it made a system call that the filter forbids, and an override makes that kill it instead of failing. "
        "Remove SystemCallErrorNumber from flask_uwsgi_unit_overrides, or allow the call with "
        + _set("SystemCallFilter: NAME")
    ),
}
# uWSGI handles this signal itself, and ends with status 1.
_CRASHED = re.compile(r"!!! uWSGI process \d+ got Segmentation Fault !!!")
_DAMN = re.compile(r"DAMN ! (?:worker|mule) .*killed by signal (?P<number>\d+)\b")
_ENDED = re.compile(r"\S+\.service: Main process exited, code=(?:killed|dumped), status=(?P<number>\d+)/")
_OOM = re.compile(
    r"\S+\.service: (?:A process of this unit has been killed by the OOM killer|Failed with result 'oom-kill')"
)


def _memory(state: Mapping[str, str]) -> str:
    most = state.get("MemoryMax", "")
    if most.isdecimal() and int(most) < 1 << 62:
        return (
            f"the kernel killed a process because the service's memory was used up: raise flask_uwsgi_memory_mb="
            f"{int(most) >> 20} (0 for no limit), or lower flask_uwsgi_processes"
        )
    return (
        "the kernel killed a process because the host's memory was used up: lower flask_uwsgi_processes, or use a host "
        "with more memory"
    )


def _ended(lines: Sequence[str], state: Mapping[str, str]) -> str:
    """Return what ended a process, if it was a signal with a known cause."""
    if state.get("Result") == "oom-kill" or any(_OOM.match(line) for line in lines):
        return _memory(state)
    numbers = [int(match["number"]) for line in lines if (match := _DAMN.search(line) or _ENDED.match(line))]
    numbers += [11 for line in lines if _CRASHED.search(line)]
    if state.get("ExecMainCode") in _BY_SIGNAL and state.get("ExecMainStatus", "").isdecimal():
        numbers.append(int(state["ExecMainStatus"]))
    return next(
        (f"a process was ended by {_SIGNALS[number]}" for number in reversed(numbers) if number in _SIGNALS), ""
    )


# Causes of what the sandbox refused.

_EXECUTABLE = _set('MemoryDenyWriteExecute: "no"')
_RESOURCES = "nice|setpriority|sched_set\\w+|cpu_affinity|ionice|ioprio_set|setrlimit|mbind|set_mempolicy|migrate_pages"
_ACCOUNTS = "setuid|setgid|setre[su]\\w*|setgroups|initgroups"
_CALLS = re.compile(
    rf"\b(?:(?P<resources>{_RESOURCES})|(?P<chown>[fl]?chown|chown_\w+)|(?P<accounts>{_ACCOUNTS})"
    r"|(?P<mode>[lf]?chmod|mkdir|makedirs)|(?P<mmap>mmap|mprotect))\b"
)


def _call(found: _Found) -> str | None:
    """Return the call that failed with EPERM; None if it may have another cause than the sandbox."""
    named = list(_CALLS.finditer(found.code))
    if not named:
        return None
    call = named[-1]
    if call["mmap"]:
        return _write_execute(found)
    if call["mode"]:
        return (
            f"the sandbox refuses the set-group-ID and set-user-ID bits in the mode of {call[0]} (RestrictSUIDSGID). "
            "Remove them, or set " + _set('RestrictSUIDSGID: "no"')
        )
    if call["accounts"]:
        return (
            f"the sandbox refuses {call[0]} (EPERM): the service runs as flask_uwsgi_user from its start. Remove "
            "the application's own change of account"
        )
    group = "@resources" if call["resources"] else "@chown"
    return f"the sandbox refuses the system call of {call[0]} (EPERM). Remove it, or allow it with " + _set(
        f'SystemCallFilter: "{group}"'
    )


def _write_execute(found: _Found) -> str:
    return (
        "the sandbox refuses memory that is both writable and executable (MemoryDenyWriteExecute), which code "
        f"generated at run time needs: {_shown(found)}. Use a package without it, or set {_EXECUTABLE}"
    )


def _mapped(found: _Found) -> str | None:
    return _write_execute(found) if re.search(r"\b(?:mmap|mprotect)\b", found.code) else None


def _library(found: _Found) -> str | None:
    # The plan refuses a release on a noexec file system.
    return _write_execute(found)


def _proc(found: _Found) -> str:
    return f"/proc shows the service only its own processes (ProcSubset=pid): {_shown(found)}. Set " + _set(
        "ProcSubset: all"
    )


def _shown(found: _Found) -> str:
    return found.match.string.strip()[:200]


def _read_only(found: _Found) -> str:
    path = PurePosixPath(found.match["path"] or "")
    root = PurePosixPath(found.root)
    state = "write below $STATE_DIRECTORY instead"
    if not path.is_absolute():
        inside: tuple[str, ...] = path.parts
    elif found.root and path.is_relative_to(root):
        parts = path.relative_to(root).parts
        # Of releases/ID/… or venvs/ID/…
        inside = parts[2:]
        if parts[:1] == ("venvs",):
            # A folder such as var/shop-instance, where Flask keeps the instance folder of an installed package.
            inside = ("venv/" + "/".join(inside[:2]),) if inside[:1] == ("var",) and len(inside) > 1 else ()
    else:
        return f"the host is read-only to the service: {_shown(found)}. Have the application {state}, or set " + _set(
            f"ReadWritePaths: {path.parent if path.suffix else path}"
        )
    folders = [part for part in inside[:1] if part not in (".", "..")]
    # If the last part is the only one, it may be a file or a folder.
    if folders and (len(inside) > 1 or "." not in inside[0] or inside[0].startswith("venv/")):
        remedy = f"Name its folder in flask_uwsgi_persistent: [{folders[0]}], or {state}"
    else:
        remedy = f"Have the application {state}, or in a folder that flask_uwsgi_persistent names"
    return f"a release is read-only to the service: {_shown(found)}. {remedy}"


def _denied(found: _Found) -> str | None:
    """Return what hides or protects a path; None if only its mode does."""
    path = found.match["path"]
    if re.match(r"/(?:home|root|run/user)(?:/|$)", path):
        return (
            f"the service cannot see /home, /root and /run/user (ProtectHome): {_shown(found)}. Have the "
            "application use $HOME or $STATE_DIRECTORY, or set " + _set("ProtectHome: read-only")
        )
    # For an existing file, the kernel checks the mode before the file system.
    inside = not path.startswith("/") or (found.root and path.startswith((f"{found.root}/rel", f"{found.root}/venv")))
    return _read_only(found) if inside else None


def _device(found: _Found) -> str:
    return f"the service can only use devices such as /dev/null (PrivateDevices): {_shown(found)}. Set " + _set(
        'PrivateDevices: "no"', f'DeviceAllow: "{found.match["path"]} rw"'
    )


def _sqlite(found: _Found) -> str:
    return (
        f"SQLite cannot write its database: {_shown(found)}. A release is read-only to the service. Put the database "
        "below $STATE_DIRECTORY, or name its folder in flask_uwsgi_persistent (such as [instance])"
    )


def _tasks(found: _Found) -> str:
    most = found.state.get("TasksMax", "")
    if most.isdecimal() and int(most) < 1 << 31:
        return (
            f"the service has as many processes and threads as its unit allows (TasksMax={most}): {_shown(found)}. "
            "Have it start fewer, or set " + _set(f"TasksMax: {2 * int(most)}")
        )
    return (
        f"the host allows the account no more processes or threads: {_shown(found)}. Have it start fewer, or raise "
        "the host's limit (nproc, kernel.pid_max)"
    )


def _files(found: _Found) -> str:
    most = found.state.get("LimitNOFILE", "")
    limit, more = (f"LimitNOFILE={most}", str(2 * int(most))) if most.isdecimal() else ("LimitNOFILE", "NUMBER")
    return (
        f"a worker has as many files and connections open as its unit allows ({limit}): {_shown(found)}. Have it close "
        "what it no longer uses, or set " + _set(f"LimitNOFILE: {more}")
    )


def _fork(found: _Found) -> str | None:
    """Return the limit if EAGAIN is about a new process; for a socket it means something else."""
    forks = re.search(r"\b(?:fork\w*|_fork_exec|posix_spawn\w*|forkpty)\(", found.code)
    return _tasks(found) if forks or found.match["fork"] else None


def _family(found: _Found) -> str:
    families = re.findall(r"\bAF_[A-Z0-9]+\b", found.code)
    family = families[-1] if families else "AF_NAME"
    return (
        f"the sandbox does not allow this address family (RestrictAddressFamilies): {_shown(found)}. Set "
        + _set(f"RestrictAddressFamilies: {family}")
        + "; for AF_INET6, the cause is that the host has no IPv6"
    )


_Rule = tuple[re.Pattern[str], Callable[[_Found], Optional[str]]]
# Matched wherever they are logged: a program that prints one of these does not continue normally.
_ANYWHERE: tuple[_Rule, ...] = (
    (re.compile(r"Cannot allocate write\+execute memory"), _write_execute),
    (re.compile(r"cannot enable executable stack|cannot make segment writable for relocation"), _library),
    (re.compile(r"LLVM ERROR: (?:Unable to allocate section memory|.*[Pp]ermission|.*not permitted)"), _write_execute),
    (re.compile(r"pthread_create failed for thread \d|libgomp: Thread creation failed"), _tasks),
    (re.compile(r"(?:^|\s)fork\(\): Resource temporarily unavailable"), _tasks),
)
# Matched in the exception that ended the application, or one that led to it.
_RAISED: tuple[_Rule, ...] = (
    (re.compile(r"failed to map segment from shared object"), _library),
    (re.compile(r"No such file or directory: b?'/proc/(?!self\b|thread-self\b|\d)[^']*'"), _proc),
    (re.compile(r"OSError: Load averages are unobtainable"), _proc),
    (re.compile(r"Read-only file system(?:: b?'(?P<path>[^']*)')?"), _read_only),
    (re.compile(r"\[Errno 13\] Permission denied: b?'(?P<path>[^']*)'"), _denied),
    (re.compile(r"No such file or directory: b?'(?P<path>/dev/(?!shm/)[^']*)'"), _device),
    (re.compile(r"attempt to write a readonly database|unable to open database file"), _sqlite),
    (re.compile(r"can't start new thread"), _tasks),
    (re.compile(r"\[Errno 24\] Too many open files"), _files),
    (re.compile(r"BlockingIOError: \[Errno 11\] (?P<fork>)Resource temporarily unavailable"), _fork),
    (re.compile(r"\[Errno 97\] Address family not supported by protocol"), _family),
    # Since version 256, systemd has the kernel refuse it, with another error (PR_SET_MDWE).
    (re.compile(r"\[Errno 13\] Permission denied$"), _mapped),
    (re.compile(r"\[Errno 1\] Operation not permitted|psutil\.AccessDenied"), _call),
)


def explain(lines: Sequence[str], state: Mapping[str, str], root: str = "") -> str:
    """Return how the sandbox or systemd prevented an application from running, and the variable to set.

    Args:
        lines: what the unit logged, systemd's own lines included.
        state: the unit's properties listed in ``PROPERTIES``; missing ones are unknown.
        root: the application's directory on the host, such as ``/opt/shop``.

    Returns:
        a sentence without its period, or an empty string if the cause was something else.
    """
    return (
        _unit(lines)
        or _by(_ANYWHERE, lines, state, root)
        or _by(_RAISED, _last_traceback(lines), state, root)
        or _ended(lines, state)
    )


def answered(text: str, state: Mapping[str, str], root: str = "") -> str:
    """Return what prevented an application from answering, like :func:`explain`.

    Args:
        text: the text of its answer, if there is no log.
        state: see :func:`explain`.
        root: see :func:`explain`.
    """
    return _by(_RAISED, [text], state, root)


def _by(rules: Sequence[_Rule], lines: Sequence[str], state: Mapping[str, str], root: str) -> str:
    for number in range(len(lines) - 1, -1, -1):
        # The code and places in a traceback are only quotations.
        if lines[number].startswith(("  File ", "    ")):
            continue
        for pattern, said in rules:
            if match := pattern.search(lines[number]):
                found = said(_Found(match, _code(lines[:number]), state, root))
                if found:
                    return found
    return ""


def _code(before: Sequence[str]) -> str:
    """Return the innermost statements of the traceback that a line ends."""
    statements: list[str] = []
    for line in reversed(before):
        if line.startswith(_TRACEBACK) or len(statements) == _FRAMES:
            break
        if line.startswith("    "):
            statements.append(line.strip())
    return "\n".join(reversed(statements))


def _last_traceback(lines: Sequence[str]) -> Sequence[str]:
    """Return the last traceback with those that led to it, or the logged errors if there is none."""
    starts = [number for number, line in enumerate(lines) if line.startswith(_TRACEBACK)]
    if not starts:
        return [line for line in lines if re.search(r"(?i)error|cannot|unable", line)]
    start = starts.pop()
    while starts and any(_CHAINED.match(line) for line in lines[starts[-1] : start]):
        start = starts.pop()
    return lines[start:]
