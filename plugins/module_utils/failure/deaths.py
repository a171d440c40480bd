"""Names what of the sandbox, or of systemd, kept an application from running, and what to set."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

# What ``explain`` wants to know of the unit that failed (``systemctl show``).
PROPERTIES = ("Result", "ExecMainCode", "ExecMainStatus", "TasksMax", "MemoryMax", "LimitNOFILE")

_OVERRIDE = "flask_uwsgi_unit_overrides: {{{}}}"
# SIGCHLD's si_code of a process that a signal ended, without or with a core dump (siginfo_t, sigaction(2)).
_BY_SIGNAL = ("2", "3")
_TRACEBACK = "Traceback (most recent call last):"
_CHAINED = re.compile(
    r"(?:During handling of the above exception, another exception occurred"
    r"|The above exception was the direct cause of the following exception):"
)
# Lines of a traceback that are an application's own statements, of its innermost frames.
_FRAMES = 8


@dataclass(frozen=True)
class _Found:
    """A line that a rule matched, and what is known besides.

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


# Of the unit itself.

_STEPS = {
    "CHDIR": (
        "cannot enter its directory. WorkingDirectory of flask_uwsgi_unit_overrides has to exist on the host, and be "
        "open to the account of flask_uwsgi_user"
    ),
    "EXEC": (
        "cannot be executed: the release or its virtual environment is damaged, or lies on a file system that is "
        "mounted noexec (flask_uwsgi_base_dir). Deploy, which writes it anew"
    ),
    "LIMITS": (
        f"asks for a limit that this host does not allow. Lower it, with {_set('LimitNOFILE: NUMBER')} for open files, "
        "or raise the host's"
    ),
    "USER": (
        "finds no account of the name in flask_uwsgi_user. Deploy, which makes one, or have the host know it before "
        "its services start"
    ),
    "GROUP": (
        "finds no group of the name in flask_uwsgi_group, which a deploy makes, or in SupplementaryGroups of "
        "flask_uwsgi_unit_overrides: correct that name, or create the group on the host"
    ),
    "CAPABILITIES": (
        "cannot give up its capabilities on this host, a container without CAP_SETPCAP. Give that to the container"
    ),
    "NAMESPACE": (
        "cannot get its view of the file system. Either a path in flask_uwsgi_persistent, or in a path directive of "
        "flask_uwsgi_unit_overrides, does not exist on the host; or the host is a container that may not mount: allow "
        "nesting (CAP_SYS_ADMIN, no restriction by AppArmor)"
    ),
    "NO_NEW_PRIVILEGES": "cannot be kept from new privileges: the kernel is older than Linux 3.5",
    "SECCOMP": (
        "cannot get its filter of system calls: the kernel was built without seccomp, or a container forbids it"
    ),
    "ADDRESS_FAMILIES": "cannot get its filter of address families (RestrictAddressFamilies)",
    "RUNTIME_DIRECTORY": "cannot get its directory in /run. Is something else in its place, or /run full?",
    "STATE_DIRECTORY": (
        "cannot get its directory in /var/lib. Is something else in its place, or the disk full or read-only?"
    ),
    "CACHE_DIRECTORY": (
        "cannot get its directory in /var/cache. Is something else in its place, or the disk full or read-only?"
    ),
    "LOGS_DIRECTORY": (
        "cannot get its directory in /var/log. Is something else in its place, or the disk full or read-only?"
    ),
    "KEYRING": "cannot get a keyring of its own: a container forbids it. Set " + _set("KeyringMode: inherit"),
    "CREDENTIALS": (
        "cannot read or decrypt the flask_uwsgi_secrets of this generation: has the host lost its key "
        "(/var/lib/systemd/credential.secret)? Deploy, which writes them anew"
    ),
}
# Exit statuses of what systemd could not start (systemd.exec(5), "Process Exit Codes").
_STATUSES = {
    200: "CHDIR", 203: "EXEC", 205: "LIMITS", 216: "GROUP", 217: "USER", 218: "CAPABILITIES", 226: "NAMESPACE",
    227: "NO_NEW_PRIVILEGES", 228: "SECCOMP", 232: "ADDRESS_FAMILIES", 233: "RUNTIME_DIRECTORY", 237: "KEYRING",
    238: "STATE_DIRECTORY", 239: "CACHE_DIRECTORY", 240: "LOGS_DIRECTORY", 243: "CREDENTIALS",
}  # fmt: skip
# systemd's own word for it, without which a program may have chosen the number.
_STATUS = re.compile(
    r"\S+\.service: (?:Main|Control) process exited, code=exited, status=(?P<number>2\d\d)/(?P<name>[A-Z_]+)$"
)
_COMMAND = re.compile(r"\S+\.service: Control process exited, code=exited, status=(?P<status>1?\d?\d)/")
_STEP = re.compile(r"\S+\.service: Failed at step (?P<name>[A-Z_]+) spawning (?P<program>.*?): (?P<why>.*)$")
_SETUP = re.compile(
    r"\S+\.service: Failed to set up (?:mount namespacing|credentials|[a-z ]*director\w+): (?P<why>.*)$"
)

# What the unit itself starts.
_OWN_PROGRAM = re.compile(r"/venv/bin/(?:uwsgi|python)$|^/usr/bin/env$")
_MISSING = re.compile(r"(?P<path>/\S+): No such file or directory")
# Where systemd builds the service's view of the file system.
_VIEW = re.compile(r"/run/systemd/(?:unit-root|mount-rootfs)(?=/)")


def _unit(lines: Sequence[str]) -> str:
    """Return why systemd could not even start the program."""
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
    # Without its own word for it this says which restriction it is.
    what = _STEPS.get(name, "cannot be set up as its unit says (flask_uwsgi_unit_overrides?)")
    what = _of_overrides(name, steps[-1]["program"] if steps else "", reasons[0] if reasons else "") or what
    return f"systemd could not start it ({status}{name}{f', {reasons[0]}' if reasons else ''}): the service {what}"


def _of_overrides(name: str, program: str, reason: str) -> str:
    """Return what is missing on the host that only an operator can have named."""
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


# Of a process that was ended.

_SIGNALS = {
    4: (
        "SIGILL, an instruction that this processor does not have: a compiled package was built for a newer one. Use "
        "another version of the package"
    ),
    6: "SIGABRT: compiled code gave up, commonly with a line above",
    7: "SIGBUS: a file that is mapped into memory was cut, or a disk is full (/dev/shm)",
    8: "SIGFPE, an arithmetic error in compiled code",
    11: "SIGSEGV: compiled code crashed. Try another version of the package that brought it",
    31: (
        "SIGSYS: it called what the filter of system calls forbids, and an override has that kill instead of refuse. "
        "Remove SystemCallErrorNumber from flask_uwsgi_unit_overrides, or allow the call with "
        + _set("SystemCallFilter: NAME")
    ),
}
# uWSGI handles this one itself, and ends with status 1.
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
    """Return what ended a process, if it was a signal that tells a cause."""
    if state.get("Result") == "oom-kill" or any(_OOM.match(line) for line in lines):
        return _memory(state)
    numbers = [int(match["number"]) for line in lines if (match := _DAMN.search(line) or _ENDED.match(line))]
    numbers += [11 for line in lines if _CRASHED.search(line)]
    if state.get("ExecMainCode") in _BY_SIGNAL and state.get("ExecMainStatus", "").isdecimal():
        numbers.append(int(state["ExecMainStatus"]))
    return next(
        (f"a process was ended by {_SIGNALS[number]}" for number in reversed(numbers) if number in _SIGNALS), ""
    )


# Of what an application was refused.

_EXECUTABLE = _set('MemoryDenyWriteExecute: "no"')
_RESOURCES = "nice|setpriority|sched_set\\w+|cpu_affinity|ionice|ioprio_set|setrlimit|mbind|set_mempolicy|migrate_pages"
_ACCOUNTS = "setuid|setgid|setre[su]\\w*|setgroups|initgroups"
_CALLS = re.compile(
    rf"\b(?:(?P<resources>{_RESOURCES})|(?P<chown>[fl]?chown|chown_\w+)|(?P<accounts>{_ACCOUNTS})"
    r"|(?P<mode>[lf]?chmod|mkdir|makedirs)|(?P<mmap>mmap|mprotect))\b"
)


def _call(found: _Found) -> str | None:
    """Name the call of an EPERM; None where it need not be the sandbox's."""
    named = list(_CALLS.finditer(found.code))
    if not named:
        return None
    call = named[-1]
    if call["mmap"]:
        return _write_execute(found)
    if call["mode"]:
        return (
            f"the sandbox refuses the set-group-ID and set-user-ID bits in the mode of {call[0]} (RestrictSUIDSGID). "
            "Leave them out, or set " + _set('RestrictSUIDSGID: "no"')
        )
    if call["accounts"]:
        return (
            f"the sandbox refuses {call[0]} (EPERM): the service runs as flask_uwsgi_user from its start. Leave out "
            "the application's own change of account"
        )
    group = "@resources" if call["resources"] else "@chown"
    return f"the sandbox refuses the system call of {call[0]} (EPERM). Leave it out, or allow it with " + _set(
        f'SystemCallFilter: "{group}"'
    )


def _write_execute(found: _Found) -> str:
    return (
        f"the sandbox refuses memory that is both writable and executable (MemoryDenyWriteExecute), which code needs "
        f"that is made at run time: {_shown(found)}. Use a package without it, or set {_EXECUTABLE}"
    )


def _mapped(found: _Found) -> str | None:
    return _write_execute(found) if re.search(r"\b(?:mmap|mprotect)\b", found.code) else None


def _library(found: _Found) -> str | None:
    # A release on a file system without execution is refused by the plan.
    return _write_execute(found)


def _proc(found: _Found) -> str:
    return f"/proc shows the service nothing but its own processes (ProcSubset=pid): {_shown(found)}. Set " + _set(
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
            # A folder such as var/shop-instance, where Flask has the instance folder of an installed package.
            inside = ("venv/" + "/".join(inside[:2]),) if inside[:1] == ("var",) and len(inside) > 1 else ()
    else:
        return f"the host is read-only to the service: {_shown(found)}. Have the application {state}, or set " + _set(
            f"ReadWritePaths: {path.parent if path.suffix else path}"
        )
    folders = [part for part in inside[:1] if part not in (".", "..")]
    # The last part of a path that has no other one may be a file or a folder.
    if folders and (len(inside) > 1 or "." not in inside[0] or inside[0].startswith("venv/")):
        remedy = f"Name its folder in flask_uwsgi_persistent: [{folders[0]}], or {state}"
    else:
        remedy = f"Have the application {state}, or in a folder that flask_uwsgi_persistent names"
    return f"a release is read-only to the service: {_shown(found)}. {remedy}"


def _denied(found: _Found) -> str | None:
    """Name what hides or closes a path; None where only its mode does."""
    path = found.match["path"]
    if re.match(r"/(?:home|root|run/user)(?:/|$)", path):
        return (
            f"the service sees nothing of /home, /root and /run/user (ProtectHome): {_shown(found)}. Have the "
            "application use $HOME or $STATE_DIRECTORY, or set " + _set("ProtectHome: read-only")
        )
    # Of a file that is there, the mode is asked before the file system is.
    inside = not path.startswith("/") or (found.root and path.startswith((f"{found.root}/rel", f"{found.root}/venv")))
    return _read_only(found) if inside else None


def _device(found: _Found) -> str:
    return f"the service has no devices but those such as /dev/null (PrivateDevices): {_shown(found)}. Set " + _set(
        'PrivateDevices: "no"', f'DeviceAllow: "{found.match["path"]} rw"'
    )


def _sqlite(found: _Found) -> str:
    return (
        f"SQLite cannot write its data base: {_shown(found)}. A release is read-only to the service. Put the data base "
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
        f"the host lets the account have no more processes or threads: {_shown(found)}. Have it start fewer, or raise "
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
    """Name the limit where EAGAIN is a new process's; of a socket it means something else."""
    forks = re.search(r"\b(?:fork\w*|_fork_exec|posix_spawn\w*|forkpty)\(", found.code)
    return _tasks(found) if forks or found.match["fork"] else None


def _family(found: _Found) -> str:
    families = re.findall(r"\bAF_[A-Z0-9]+\b", found.code)
    family = families[-1] if families else "AF_NAME"
    return (
        f"the sandbox knows no such address family (RestrictAddressFamilies): {_shown(found)}. Set "
        + _set(f"RestrictAddressFamilies: {family}")
        + "; of AF_INET6, it is the host that has no IPv6"
    )


_Rule = tuple[re.Pattern[str], Callable[[_Found], str | None]]
# Wherever they are logged: nobody prints them who goes on undisturbed.
_ANYWHERE: tuple[_Rule, ...] = (
    (re.compile(r"Cannot allocate write\+execute memory"), _write_execute),
    (re.compile(r"cannot enable executable stack|cannot make segment writable for relocation"), _library),
    (re.compile(r"LLVM ERROR: (?:Unable to allocate section memory|.*[Pp]ermission|.*not permitted)"), _write_execute),
    (re.compile(r"pthread_create failed for thread \d|libgomp: Thread creation failed"), _tasks),
    (re.compile(r"(?:^|\s)fork\(\): Resource temporarily unavailable"), _tasks),
)
# Of the exception that ended the application, or one that led to it.
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
    # systemd has had the kernel refuse it since version 256, with another error (PR_SET_MDWE).
    (re.compile(r"\[Errno 13\] Permission denied$"), _mapped),
    (re.compile(r"\[Errno 1\] Operation not permitted|psutil\.AccessDenied"), _call),
)


def explain(lines: Sequence[str], state: Mapping[str, str], root: str = "") -> str:
    """Return what of the sandbox or of systemd kept an application from running, and the variable to set.

    Args:
        lines: what the unit logged, systemd's own lines included.
        state: the properties of the unit that ``PROPERTIES`` names; what is missing is not known.
        root: the application's directory on the host, such as ``/opt/shop``.

    Returns:
        a sentence without its period, or an empty string where it was something else.
    """
    return (
        _unit(lines)
        or _by(_ANYWHERE, lines, state, root)
        or _by(_RAISED, _last_traceback(lines), state, root)
        or _ended(lines, state)
    )


def answered(text: str, state: Mapping[str, str], root: str = "") -> str:
    """Return what kept an application from answering, as :func:`explain` does.

    Args:
        text: what its answer says, for want of a log.
        state: see :func:`explain`.
        root: see :func:`explain`.
    """
    return _by(_RAISED, [text], state, root)


def _by(rules: Sequence[_Rule], lines: Sequence[str], state: Mapping[str, str], root: str) -> str:
    for number in range(len(lines) - 1, -1, -1):
        # Statements and places of a traceback only quote.
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
    """Return the last traceback with those that led to it, or the errors that were logged where there is none."""
    starts = [number for number, line in enumerate(lines) if line.startswith(_TRACEBACK)]
    if not starts:
        return [line for line in lines if re.search(r"(?i)error|cannot|unable", line)]
    start = starts.pop()
    while starts and any(_CHAINED.match(line) for line in lines[starts[-1] : start]):
        start = starts.pop()
    return lines[start:]
