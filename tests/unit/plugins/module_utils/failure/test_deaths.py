"""The lines are real output of Python 3.11, uWSGI 2.0.31, systemd 252 and the libraries."""

from __future__ import annotations

import time

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.failure.deaths import explain

ROOT = "/opt/shop"
RELEASE = f"{ROOT}/releases/8c11aa20f3b4"
UNIT = "shop-canary@3f2a90c1d5e7.service"
AFTER = """\
unable to load app 0 (mountpoint='') (callable not found or import error)
*** no app loaded. GAME OVER ***
""".splitlines()

# In two pieces, because no file may contain a path of a machine.
HOME = "/" + "home/ann"


def traceback(statement: str, error: str, *above: str) -> list[str]:
    """Return the traceback of an error, as in the journal."""
    return [
        *above,
        "Traceback (most recent call last):",
        '  File "run.py", line 2, in <module>',
        f"    {statement}",
        error,
        *AFTER,
    ]


EROFS = "OSError: [Errno 30] Read-only file system"
EPERM = "PermissionError: [Errno 1] Operation not permitted"
CFFI = (
    "MemoryError: Cannot allocate write+execute memory for ffi.callback(). You might be running on a system that "
    "prevents this. For more information, see https://cffi.readthedocs.io/en/latest/using.html#callbacks"
)
TASKS = {"TasksMax": "320", "LimitNOFILE": "1024", "Result": "exit-code", "ExecMainCode": "1", "ExecMainStatus": "22"}


@pytest.mark.parametrize(
    ("lines", "remedy"),
    [
        # Memory that is writable and executable.
        (traceback("ffi.callback('int(int)', f)", CFFI), '{MemoryDenyWriteExecute: "no"}'),
        (traceback("mmap.mmap(-1, 4096, prot=7)", EPERM), '{MemoryDenyWriteExecute: "no"}'),
        # systemd 257.
        (
            traceback("mmap.mmap(-1, 4096, prot=7)", "PermissionError: [Errno 13] Permission denied"),
            '{MemoryDenyWriteExecute: "no"}',
        ),
        (
            traceback(
                "import fast",
                "ImportError: libfast.so: cannot enable executable stack as shared object requires: "
                "Operation not permitted",
            ),
            '{MemoryDenyWriteExecute: "no"}',
        ),
        (
            traceback("import fast", "ImportError: libfast.so: failed to map segment from shared object"),
            '{MemoryDenyWriteExecute: "no"}',
        ),
        (["LLVM ERROR: Unable to allocate section memory!"], '{MemoryDenyWriteExecute: "no"}'),
        # /proc.
        (
            traceback(
                "open('/proc/meminfo')", "FileNotFoundError: [Errno 2] No such file or directory: '/proc/meminfo'"
            ),
            "{ProcSubset: all}",
        ),
        (
            traceback(
                'with open_binary(f"{procfs_path}/stat") as f:',
                "FileNotFoundError: [Errno 2] No such file or directory: '/proc/stat'",
            ),
            "{ProcSubset: all}",
        ),
        (traceback("os.getloadavg()", "OSError: Load averages are unobtainable"), "{ProcSubset: all}"),
        # A read-only file system.
        (
            traceback("os.makedirs(app.instance_path)", f"{EROFS}: '{RELEASE}/instance'"),
            "flask_uwsgi_persistent: [instance]",
        ),
        (traceback("os.makedirs('uploads/a')", f"{EROFS}: 'uploads'"), "flask_uwsgi_persistent: [uploads]"),
        (
            traceback("os.makedirs(app.instance_path)", f"{EROFS}: '{ROOT}/venvs/0d9e8f7a6b5c/var/shop-instance'"),
            "flask_uwsgi_persistent: [venv/var/shop-instance]",
        ),
        (
            traceback("os.makedirs(app.instance_path)", f"{EROFS}: '{ROOT}/venvs/0d9e8f7a6b5c/var'"),
            "write below $STATE_DIRECTORY",
        ),
        (traceback("open('shop.log', 'w')", f"{EROFS}: 'shop.log'"), "write below $STATE_DIRECTORY"),
        (traceback("open('/srv/x/shop.log', 'w')", f"{EROFS}: '/srv/x/shop.log'"), "{ReadWritePaths: /srv/x}"),
        (
            traceback("execute('create table x(a)')", "sqlite3.OperationalError: unable to open database file"),
            "flask_uwsgi_persistent",
        ),
        (
            traceback("execute('insert …')", "sqlite3.OperationalError: attempt to write a readonly database"),
            "flask_uwsgi_persistent",
        ),
        (
            traceback(
                "cursor.execute(statement)",
                "sqlalchemy.exc.OperationalError: (sqlite3.OperationalError) unable to open database file",
            ),
            "flask_uwsgi_persistent",
        ),
        # A file of the release: its mode is checked before the file system.
        (
            traceback(
                "open(path, 'r+')", f"PermissionError: [Errno 13] Permission denied: '{RELEASE}/instance/a.json'"
            ),
            "flask_uwsgi_persistent: [instance]",
        ),
        (
            traceback("open('data/a', 'w')", "PermissionError: [Errno 13] Permission denied: 'data/a'"),
            "flask_uwsgi_persistent: [data]",
        ),
        (
            traceback(f"open('{HOME}/x')", f"PermissionError: [Errno 13] Permission denied: '{HOME}/x'"),
            "{ProtectHome: read-only}",
        ),
        (
            traceback("open('/dev/ttyS0')", "FileNotFoundError: [Errno 2] No such file or directory: '/dev/ttyS0'"),
            '{PrivateDevices: "no", DeviceAllow: "/dev/ttyS0 rw"}',
        ),
        # System calls.
        (traceback("os.mkdir(folder, 0o2755)", f"{EPERM}: 'uploads'"), '{RestrictSUIDSGID: "no"}'),
        (traceback("os.nice(5)", EPERM), '{SystemCallFilter: "@resources"}'),
        (traceback("os.sched_setaffinity(0, {0})", EPERM), '{SystemCallFilter: "@resources"}'),
        (
            traceback("psutil.Process().nice(10)", "psutil.AccessDenied: (pid=17, name='uwsgi')"),
            '{SystemCallFilter: "@resources"}',
        ),
        (traceback("os.chown('x', -1, 33)", f"{EPERM}: 'x'"), '{SystemCallFilter: "@chown"}'),
        (traceback("os.setgid(33)", EPERM), "Remove the application's own change of account"),
        # Processes and threads.
        (traceback("self._handle = start()", "RuntimeError: can't start new thread"), "{TasksMax: 640}"),
        (traceback("open(path)", "OSError: [Errno 24] Too many open files: 'a'"), "{LimitNOFILE: 2048}"),
        (
            traceback("pid = os.fork()", "BlockingIOError: [Errno 11] Resource temporarily unavailable"),
            "{TasksMax: 640}",
        ),
        (
            [
                "OpenBLAS blas_thread_init: pthread_create failed for thread 3 of 8: Resource temporarily unavailable",
                "OpenBLAS blas_thread_init: RLIMIT_NPROC -1 current, -1 max",
            ],
            "{TasksMax: 640}",
        ),
        (["fork(): Resource temporarily unavailable [core/master_utils.c line 789]"], "{TasksMax: 640}"),
        # Address families.
        (
            traceback(
                "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
                "OSError: [Errno 97] Address family not supported by protocol",
            ),
            "{RestrictAddressFamilies: AF_PACKET}",
        ),
    ],
)
def test_an_operation_that_the_sandbox_denied_is_named_with_the_override(lines: list[str], remedy: str) -> None:
    said = explain(lines, TASKS, ROOT)
    assert remedy in said
    # One sentence follows another, and the message ends it.
    assert not said.endswith((".", "…")) and "\n" not in said


@pytest.mark.parametrize(
    ("lines", "state", "part"),
    [
        # A worker, and the master while it loads the application.
        (
            ["DAMN ! worker 1 (pid: 412) died, killed by signal 31 :( trying respawn ..."],
            {},
            "Remove SystemCallErrorNumber",
        ),
        ([], {"Result": "core-dump", "ExecMainCode": "3", "ExecMainStatus": "31"}, "SIGSYS"),
        ([f"{UNIT}: Main process exited, code=dumped, status=31/SYS"], {}, "SystemCallFilter: NAME"),
        ([], {"Result": "core-dump", "ExecMainCode": "3", "ExecMainStatus": "11"}, "SIGSEGV"),
        (["!!! uWSGI process 4165 got Segmentation Fault !!!", "*** backtrace of 4165 ***"], {}, "SIGSEGV"),
        (["DAMN ! worker 2 (pid: 9) died, killed by signal 4 :( trying respawn ..."], {}, "this processor"),
        ([], {"Result": "oom-kill", "MemoryMax": "268435456"}, "raise flask_uwsgi_memory_mb=256 "),
        ([f"{UNIT}: A process of this unit has been killed by the OOM killer."], {"MemoryMax": "infinity"}, "host's"),
    ],
)
def test_the_cause_of_a_process_s_end_is_named(lines: list[str], state: dict[str, str], part: str) -> None:
    assert part in explain(lines, state, ROOT)


@pytest.mark.parametrize(
    ("lines", "status", "part"),
    [
        (
            [
                f"{UNIT}: Failed to set up mount namespacing: /run/systemd/unit-root/srv/x: No such file or directory",
                f"{UNIT}: Failed at step NAMESPACE spawning {ROOT}/venv/bin/uwsgi: No such file or directory",
                f"{UNIT}: Main process exited, code=exited, status=226/NAMESPACE",
            ],
            "226/NAMESPACE, /srv/x: No such file or directory",
            "names the path /srv/x, which does not exist on the host, in flask_uwsgi_persistent or in a path directive",
        ),
        (
            [f"{UNIT}: Failed at step NAMESPACE spawning {ROOT}/venv/bin/uwsgi: Operation not permitted"],
            "226/NAMESPACE, Operation not permitted",
            "allow nesting",
        ),
        (
            [f"{UNIT}: Failed at step EXEC spawning /bin/nosuch: No such file or directory"],
            "203/EXEC, No such file or directory",
            "names the program /bin/nosuch, which cannot be executed on the host",
        ),
        (
            [f"{UNIT}: Control process exited, code=exited, status=1/FAILURE"],
            "ended with status 1",
            "ExecStartPre or ExecStartPost in flask_uwsgi_unit_overrides",
        ),
        ([f"{UNIT}: Main process exited, code=exited, status=216/GROUP"], "216/GROUP", "SupplementaryGroups"),
        (
            [
                f"{UNIT}: Failed to execute {ROOT}/venv/bin/uwsgi: No such file or directory",
                f"{UNIT}: Failed at step EXEC spawning {ROOT}/venv/bin/uwsgi: No such file or directory",
            ],
            "203/EXEC, No such file or directory",
            "Deploy to rewrite it",
        ),
        ([f"{UNIT}: Main process exited, code=exited, status=217/USER"], "217/USER", "flask_uwsgi_user"),
        ([f"{UNIT}: Main process exited, code=exited, status=218/CAPABILITIES"], "218/CAP", "CAP_SETPCAP"),
        ([f"{UNIT}: Main process exited, code=exited, status=238/STATE_DIRECTORY"], "238/STATE", "/var/lib"),
        ([f"{UNIT}: Main process exited, code=exited, status=239/CACHE_DIRECTORY"], "239/CACHE", "/var/cache"),
        ([f"{UNIT}: Main process exited, code=exited, status=200/CHDIR"], "200/CHDIR", "WorkingDirectory of"),
        # A step that is not in the table.
        ([f"{UNIT}: Failed at step OOM_ADJUST spawning x: Permission denied"], "OOM_ADJUST, Perm", "unit_overrides"),
    ],
)
def test_the_reason_from_systemd_is_named(lines: list[str], status: str, part: str) -> None:
    said = explain(lines, {"Result": "exit-code", "ExecMainCode": "1", "ExecMainStatus": "226"}, ROOT)
    assert status in said and part in said


def test_only_the_cause_of_the_last_exception_counts() -> None:
    handled = traceback("os.makedirs('instance')", f"{EROFS}: 'instance'")[:-2]
    last = traceback("import shop", "ModuleNotFoundError: No module named 'shop'")
    assert explain([*handled, *last], {}, ROOT) == ""
    chain = "The above exception was the direct cause of the following exception:"
    assert "[instance]" in explain([*handled, chain, *traceback("raise X", "RuntimeError: no data base")], {}, ROOT)


@pytest.mark.parametrize(
    "lines",
    [
        # Of the health request, or of a socket under gevent.
        traceback("sock.recv(1)", "BlockingIOError: [Errno 11] Resource temporarily unavailable"),
        # A file of the application, or of another process.
        traceback("open('/proc/self/x')", "FileNotFoundError: [Errno 2] No such file or directory: '/proc/self/x'"),
        traceback("open('x')", "FileNotFoundError: [Errno 2] No such file or directory: 'x'"),
        traceback("os.kill(1, 15)", EPERM),
        traceback("os.listdir(folder)", "PermissionError: [Errno 13] Permission denied"),
        traceback("open('/etc/shadow')", "PermissionError: [Errno 13] Permission denied: '/etc/shadow'"),
        traceback("open('/dev/shm/x')", "FileNotFoundError: [Errno 2] No such file or directory: '/dev/shm/x'"),
        # Quoted in source lines only.
        traceback("raise SystemExit('Read-only file system')", "SystemExit: 3"),
        ["the disk is a Read-only file system, says the shop", *AFTER],
        # The application's own exit status, which systemd uses for its own reasons as well.
        ["bye", "shop@g1.service: Failed with result 'exit-code'."],
        # Canaries and checks are ended in this way.
        [f"{UNIT}: Main process exited, code=killed, status=9/KILL"],
        [],
    ],
)
def test_other_causes_are_not_attributed_to_the_sandbox(lines: list[str]) -> None:
    assert explain(lines, {"Result": "exit-code", "ExecMainCode": "1", "ExecMainStatus": "203"}, ROOT) == ""


def test_a_limit_of_the_host_is_distinguished_from_one_of_the_unit() -> None:
    lines = traceback("thread.start()", "RuntimeError: can't start new thread")
    assert "nproc" in explain(lines, {"TasksMax": "infinity"}, ROOT)


def test_a_long_log_is_read_quickly() -> None:
    lines = ["x" * 10_000 + " Error "] * 200 + ["    a" * 1000] * 200
    started = time.process_time()
    explain(lines, {}, ROOT)
    assert time.process_time() - started < 2
