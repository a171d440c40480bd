"""The logs are real output of uWSGI 2.0.31 with Python 3.11 and systemd 252.

Those below ``journals`` are complete, with the process of each line: in ``master`` the application was loaded once, in
``workers`` each worker loaded it.
"""

import time
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.failure import remedies
from ansible_collections.flaskops.uwsgi.plugins.module_utils.failure.explain import (
    MOST_READ,
    refusal,
    refused_by,
    relevant_lines,
)
from ansible_collections.flaskops.uwsgi.plugins.module_utils.failure.explain import explain as explained
from ansible_collections.flaskops.uwsgi.plugins.module_utils.failure.tracebacks import Traceback, parse
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.foreign import printable
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.journal import Said
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release.manifest import Health, Manifest, Secrets

MANIFEST = Manifest(
    release="8c11aa20f3b4", venv="0d9e8f7a6b5c", mode="gevent", processes=4, cores=100, listen="0.0.0.0:8040",
    wsgi_file="run.py", callable="app", health=Health("/healthz", 200, 4), start_timeout=15, stop_timeout=60, keep=3,
    checksums={},
)  # fmt: skip
UNABLE = "unable to load app 0 (mountpoint='') (callable not found or import error)"
SYSTEMCTL = "`systemctl start shop-canary@g.service` failed: Job for shop-canary@g.service failed."


def explain(lines: list[str], wsgi_file: str = "run.py", callable_name: str = "app", module: str = "") -> str:
    return explained(lines, replace(MANIFEST, wsgi_file=wsgi_file, callable=callable_name, module=module))


def journal(name: str) -> list[Said]:
    """Return a log as a swap reads it."""
    text = (Path(__file__).parent / "journals" / f"{name}.txt").read_text()
    rows = (line.partition(" | ") for line in text.splitlines())
    return [Said(pid, printable(line)) for pid, _, line in rows]


def loading(raised: str, *frames: str) -> list[str]:
    """Return the log of an application that raises while it is loaded."""
    header = "Traceback (most recent call last):"
    return [header, *(frames or ('  File "run.py", line 1, in <module>',)), *raised.splitlines(), UNABLE]


# Logged on every start before the application is loaded.
BEFORE = """\
Starting shop@3f2a90c1d5e7.service - shop: generation 3f2a90c1d5e7...
[uWSGI] getting INI configuration from /opt/shop/generations/3f2a90c1d5e7/uwsgi.ini
*** Starting uWSGI 2.0.31 (64bit) on [Tue Nov 24 06:36:14 2026] ***
compiled with version: 12.2.0 on 24 November 2026 06:06:16
os: Linux-6.18.44 #1 SMP PREEMPT_DYNAMIC @0
nodename: vm
machine: x86_64
clock source: unix
detected number of CPU cores: 2
current working directory: /
writing pidfile to /run/shop/3f2a90c1d5e7.pid
detected binary path: /opt/shop/venvs/0d9e8f7a6b5c/bin/uwsgi
!!! no internal routing support, rebuild with pcre support !!!
[uwsgi-static] added mapping for /static => /opt/shop/releases/02d618aa430c/static
building mime-types dictionary from file /etc/mime.types...1545 entry found
chdir() to /opt/shop/releases/8c11aa20f3b4
your processes number limit is 96364
your memory page size is 4096 bytes
detected max file descriptor number: 20000
- async cores set to 50 - fd table size: 20000
lock engine: pthread robust mutexes
thunder lock: disabled (you can enable it with --thunder-lock)
uwsgi socket 1 attached to INET address :8040 fd 3
uwsgi socket 0 bound to UNIX address /run/shop/3f2a90c1d5e7.sock fd 5
Python version: 3.11.2 (main, Mar 13 2023, 12:18:29) [GCC 12.2.0]
PEP 405 virtualenv detected: /opt/shop/venvs/0d9e8f7a6b5c
Set PythonHome to /opt/shop/venvs/0d9e8f7a6b5c
Python main interpreter initialized at 0x7f86d3f76ef8
python threads support enabled
your server socket listen backlog is limited to 4096 connections
your mercy for graceful operations on workers is 60 seconds
mapped 1755792 bytes (1714 KB) for 100 cores
*** Operational MODE: preforking+async ***
""".splitlines()

# Logged after a failed load.
AFTER = """\
unable to load app 0 (mountpoint='') (callable not found or import error)
*** no app loaded. GAME OVER ***
VACUUM: pidfile removed.
VACUUM: unix socket /run/shop/3f2a90c1d5e7.sock removed.
unlink(): No such file or directory [core/uwsgi.c line 1687]
shop@3f2a90c1d5e7.service: Main process exited, code=exited, status=22/n/a
shop@3f2a90c1d5e7.service: Failed with result 'exit-code'.
Failed to start shop@3f2a90c1d5e7.service - shop: generation 3f2a90c1d5e7.
""".splitlines()

NO_CALLABLE = ['unable to find "application" callable in file run.py']
NO_FILE = ["failed to open python file run.py"]
NO_MODULE = """\
Traceback (most recent call last):
  File "run.py", line 1, in <module>
    import flask_nowhere
ModuleNotFoundError: No module named 'flask_nowhere'
""".splitlines()
RAISED = """\
Traceback (most recent call last):
  File "run.py", line 4, in <module>
    connect()
  File "run.py", line 3, in connect
    raise RuntimeError("no database at db.example")
RuntimeError: no database at db.example
""".splitlines()
SYNTAX = """\
  File "run.py", line 1
    def app(
           ^
SyntaxError: '(' was never closed
failed to compile run.py
""".splitlines()
DOTTED = """\
Traceback (most recent call last):
  File "run.py", line 2, in <module>
    import settings
  File "/opt/shop/releases/8c11aa20f3b4/settings.py", line 9, in <module>
    raise werkzeug.exceptions.BadRequestKeyError("TOKEN")
werkzeug.exceptions.BadRequestKeyError: 400 Bad Request: TOKEN
""".splitlines()
STRICT = """\
[uWSGI] getting INI configuration from /opt/shop/generations/3f2a90c1d5e7/uwsgi.ini
[strict-mode] unknown config directive: processess
""".splitlines()
NO_KEY = """\
Failed to determine local credential key: No such file or directory
shop@3f2a90c1d5e7.service: Failed to set up credentials: Protocol error
shop@3f2a90c1d5e7.service: Failed at step CREDENTIALS spawning /bin/sh: Protocol error
shop@3f2a90c1d5e7.service: Control process exited, code=exited, status=243/CREDENTIALS
""".splitlines()
EXITED = ["config missing", "TOKEN is not set"]
# An application that was loaded, and failed at its first request.
ASKED = """\
WSGI app 0 (mountpoint='') ready in 0 seconds on interpreter 0x7fad83b76ef8 pid: 21709 (default app)
spawned uWSGI master process (pid: 21709)
spawned uWSGI worker 1 (pid: 21710, cores: 4)
*** Stats server enabled on /run/shop/3f2a90c1d5e7.stats fd: 12 ***
running "unix_signal:15 gracefully_kill_them_all" (master-start)...
Started shop@3f2a90c1d5e7.service - shop: generation 3f2a90c1d5e7.
Traceback (most recent call last):
  File "run.py", line 3, in app
    raise ConnectionError("db is away")
ConnectionError: db is away
0.0.0.0 "GET /healthz HTTP/1.1" 500 0B 0ms worker=2
""".splitlines()


@pytest.mark.parametrize(
    ("log", "explanation"),
    [
        (
            NO_KEY,
            "systemd could not start it (243/CREDENTIALS, Protocol error): the service cannot read or decrypt the "
            "flask_uwsgi_secrets of this generation: has the host lost its key "
            "(/var/lib/systemd/credential.secret)? Deploy to rewrite them",
        ),
        (
            NO_CALLABLE,
            "flask_uwsgi_callable=api: no such name in flask_uwsgi_wsgi_file=run.py. "
            "Set flask_uwsgi_callable to the name of the WSGI application in that file",
        ),
        (
            NO_FILE,
            "flask_uwsgi_wsgi_file=run.py cannot be opened in the release. "
            "Set it to a file below flask_uwsgi_source that the artifact does not exclude",
        ),
        (
            NO_MODULE,
            "flask_uwsgi_wsgi_file=run.py raised while it was loaded: ModuleNotFoundError: No module named "
            "'flask_nowhere'. Add the package that provides flask_nowhere to the application's requirements "
            "(flask_uwsgi_requirements). If flask_nowhere is part of the application, check that flask_uwsgi_source "
            "contains it and artifact_exclude does not leave it out, and add its folder to flask_uwsgi_python_path",
        ),
        (
            RAISED,
            "flask_uwsgi_wsgi_file=run.py raised while it was loaded: RuntimeError: no database at db.example. "
            "Correct the application",
        ),
        (
            SYNTAX,
            "flask_uwsgi_wsgi_file=run.py raised while it was loaded: SyntaxError: '(' was never closed. "
            "Correct the application",
        ),
        (
            DOTTED,
            "flask_uwsgi_wsgi_file=run.py raised while it was loaded: "
            "werkzeug.exceptions.BadRequestKeyError: 400 Bad Request: TOKEN. Correct the application",
        ),
    ],
    ids=["key", "callable", "file", "module", "exception", "syntax", "dotted exception"],
)
def test_a_known_failure_is_explained_with_the_variable_to_change(log: list[str], explanation: str) -> None:
    assert explain([*BEFORE, *log, *AFTER], "run.py", "api") == explanation


def test_a_key_that_uwsgi_does_not_know_is_named() -> None:
    assert (
        refused_by(STRICT)
        == explain(STRICT)
        == ("flask_uwsgi_extra_ini has the key processess, which uWSGI does not know. Correct or remove it")
    )


def test_the_last_of_several_exceptions_is_the_cause() -> None:
    chained = [*RAISED, "", "During handling of the above exception, another exception occurred:", "", *DOTTED]
    assert "BadRequestKeyError" in explain([*BEFORE, *chained, *AFTER], "run.py", "app")


@pytest.mark.parametrize("log", [[], BEFORE, AFTER, EXITED, ["no such luck"]])
def test_an_unknown_failure_is_not_explained(log: list[str]) -> None:
    assert explain(log, "run.py", "app") == ""


def test_an_exception_in_a_request_is_not_attributed_to_loading() -> None:
    assert "while it was loaded" not in explain([*BEFORE, *ASKED], "run.py", "app")


@pytest.mark.parametrize("log", [NO_CALLABLE, NO_FILE, NO_MODULE, RAISED, SYNTAX, DOTTED, EXITED])
def test_the_application_s_lines_and_tracebacks_are_kept_and_uwsgi_s_chatter_is_dropped(log: list[str]) -> None:
    underlines = [line for line in log if set(line) <= set(" ^~")] if log is not SYNTAX else []
    shown = [line.replace("/opt/shop/releases/8c11aa20f3b4/", "") for line in log if line not in underlines]
    assert relevant_lines([*BEFORE, *log, *AFTER]) == [line for line in shown if line != "failed to compile run.py"]


@pytest.mark.parametrize(
    "line",
    [
        "shop@3f2a90c1d5e7.service: start operation timed out. Terminating.",
        "shop@3f2a90c1d5e7.service: A process of this unit has been killed by the OOM killer.",
        "shop@3f2a90c1d5e7.service: Failed with result 'oom-kill'.",
        "shop@3f2a90c1d5e7.service: Main process exited, code=killed, status=31/SYS",
        "shop@3f2a90c1d5e7.service: Main process exited, code=exited, status=226/NAMESPACE",
        "shop@3f2a90c1d5e7.service: Failed at step NAMESPACE spawning /opt/shop/venvs/v/bin/uwsgi: No such file",
        "!!! uWSGI process 21710 got Segmentation Fault !!!",
    ],
)
def test_messages_of_systemd_and_uwsgi_about_the_failure_are_kept(line: str) -> None:
    assert relevant_lines([*BEFORE, line]) == [line]


def test_empty_lines_are_dropped() -> None:
    assert relevant_lines(["", "  ", "a word"]) == ["a word"]


@pytest.mark.parametrize(
    "line",
    [
        "Starting the connection pool: no server answers",
        "Failed to start the scheduler",
        "your licence has expired",
        "detected 2 broken plugins",
        "chdir(): No such file or directory [core/uwsgi.c line 2637]",
    ],
)
def test_an_application_may_use_the_same_words(line: str) -> None:
    assert relevant_lines([line]) == [line]


def test_messages_of_uwsgi_after_the_load_are_dropped() -> None:
    # The canary's own health request as well.
    assert relevant_lines(["- SystemD socket activation detected -", *BEFORE, *ASKED]) == ASKED[6:-1]


def test_the_loader_s_message_is_shown_unchanged() -> None:
    log = ["Traceback (most recent call last):", "EntryError: flask_uwsgi_module=shop:app: shop has no app. Name one"]
    assert explain([*BEFORE, *log, *AFTER], "run.py", "app", "shop:app") == log[1].removeprefix("EntryError: ")
    assert explain([*BEFORE, log[1], *AFTER], "run.py", "app", "shop:app") == log[1].removeprefix("EntryError: ")


def test_an_application_that_exits_is_reported_with_the_remedy() -> None:
    message = "flask_uwsgi_wsgi_file=run.py ended itself with sys.exit(3) while it was loaded"
    assert (
        explain(loading(f"EntryError: {message}")) == f"{message}. A module that is imported must not end its process"
    )
    message = "flask_uwsgi_module=shop:app ended itself with sys.exit('SHOP_MODE is not set') while it was loaded"
    assert explain(loading(f"EntryError: {message}")) == (
        f"{message}. If it reads SHOP_MODE from its environment, set SHOP_MODE in flask_uwsgi_environment"
    )
    # One worker called os._exit, while another had loaded the application.
    log = ["WSGI app 0 (mountpoint='') ready in 0 seconds on interpreter 0x7fad83b76ef8 pid: 11 (default app)"]
    log += ["DAMN ! worker 2 (pid: 12) died, with exit status 7, before it served"]
    assert explain(log).startswith(
        "flask_uwsgi_wsgi_file=run.py ended itself with exit status 7 while it was loaded (sys."
    )


def test_the_requests_that_an_instance_finished_hide_no_cause() -> None:
    began, died = "Mon Nov 30 10:45:37 2026 - ", "DAMN ! worker 4 (pid: 14) died, with exit status 3, before it served"
    log = ["no licence", died, f"{began}graceful shutdown triggered...", "Gracefully killing worker 1 (pid: 11)..."]
    log += [f"{began}stopping gevent signals watchers for worker 1 (pid: 11)..."]
    log += [f"{began}main gevent watchers stopped for worker 1 (pid: 11)..."]
    for core in range(1500):
        log += [f'{began}worker 1 (pid: 11) core {core} is managing "POST /login" for 10.0.0.1']
        log += [f'10.0.0.1 "POST /login?{core} HTTP/1.1" 200 3B 501ms worker=1']
    log += [f"{began}waiting for 1500 running requests on worker 1 (pid: 11)..."]
    assert relevant_lines(log) == ["no licence", died]
    assert len(log) < MOST_READ


def test_an_exception_of_a_module_is_reported_with_the_module() -> None:
    log = ["Traceback (most recent call last):", "ValueError: no such tenant"]
    message = explain([*BEFORE, *log, *AFTER], "run.py", "app", "shop:app")
    assert (
        message
        == "flask_uwsgi_module=shop:app raised while it was loaded: ValueError: no such tenant. Correct the application"
    )


def test_a_missing_callable_is_reported_although_uwsgi_notices_it_at_the_first_request() -> None:
    loaded = "WSGI app 0 (mountpoint='') ready in 0 seconds on interpreter 0x7fb198760018 pid: 21901 (default app)"
    log = [loaded, "spawned uWSGI worker 1 (pid: 2, cores: 1)", "TypeError: 'int' object is not callable"]
    assert explain(log, "run.py", "number").startswith(
        "flask_uwsgi_callable=number of flask_uwsgi_wsgi_file=run.py is int, which cannot be called."
    )
    own = [loaded, "Traceback (most recent call last):", '  File "run.py", line 3', "    x()", log[-1]]
    assert explain(own, "run.py", "app") == ""


@pytest.mark.parametrize(
    "line", ["sqlalchemy.exc.OperationalError: a", "SystemExit: 3", "NotImplementedError", "shop.errors.Broken: no"]
)
def test_the_exception_is_reported_with_its_full_name(line: str) -> None:
    assert f"raised while it was loaded: {line}. " in explain(loading(line))


def test_an_exception_of_a_group_is_reported() -> None:
    log = [
        "  + Exception Group Traceback (most recent call last):",
        '  |   File "run.py", line 1, in <module>',
        "  | ExceptionGroup: two things (2 sub-exceptions)",
        "  +-+---------------- 1 ----------------",
        "    | ValueError: a",
        "    +------------------------------------",
        UNABLE,
    ]
    assert "raised while it was loaded: ExceptionGroup: two things (2 sub-exceptions). " in explain(log)


# The remedy.

MISSING = "Set SHOP_MODE in flask_uwsgi_environment"
SECRET = (
    "Set SECRET_KEY in flask_uwsgi_secrets (with flask_uwsgi_secrets_in_environment=true), or in "
    "flask_uwsgi_environment if it is not secret"
)
OS = ('  File "run.py", line 2, in <module>', '  File "<frozen os>", line 679, in __getitem__')


@pytest.mark.parametrize(
    ("log", "remedy"),
    [
        (loading("KeyError: 'SHOP_MODE'", *OS), MISSING),
        (loading("KeyError: 'home'", *OS), "Set home in flask_uwsgi_environment"),
        (loading("KeyError: 'SECRET_KEY'", *OS), SECRET),
        # A KeyError of the application's own dictionary.
        (loading("KeyError: 'price'"), "Correct the application"),
        (loading("KeyError: 'SECRET_KEY'"), f"If it reads SECRET_KEY from its environment, s{SECRET[1:]}"),
        (
            loading("django.core.exceptions.ImproperlyConfigured: The SECRET_KEY setting must not be empty."),
            f"If it reads SECRET_KEY from its environment, s{SECRET[1:]}",
        ),
        (
            loading("RuntimeError: Either 'SQLALCHEMY_DATABASE_URI' or 'SQLALCHEMY_BINDS' must be set."),
            "If it reads SQLALCHEMY_DATABASE_URI from its environment, set SQLALCHEMY_DATABASE_URI in flask_uwsgi",
        ),
        (
            loading("ImproperlyConfigured: You must either define the environment variable DJANGO_SETTINGS_MODULE or"),
            "Set DJANGO_SETTINGS_MODULE in flask_uwsgi_environment",
        ),
        (loading('environs.exceptions.EnvError: Environment variable "SHOP_MODE" not set'), MISSING),
        (loading("decouple.UndefinedValueError: SHOP_MODE not found. Declare it as envvar or define a"), MISSING),
        (
            loading(
                "pydantic_core._pydantic_core.ValidationError: 1 validation error for Settings\nsecret_key\n"
                "  Field required [type=missing, input_value={}, input_type=dict]"
            ),
            "Set SECRET_KEY in flask_uwsgi_environment, or in flask_uwsgi_secrets",
        ),
        (loading("ModuleNotFoundError: No module named 'PIL'"), "Add Pillow, which provides it, to"),
        (loading("ModuleNotFoundError: No module named 'google.protobuf'"), "Add protobuf, which provides it, to"),
        (
            loading("ImportError: libGL.so.1: cannot open shared object file: No such file or directory"),
            "Add the package of the host's distribution that contains libGL.so.1 to flask_uwsgi_packages",
        ),
        (loading("ImportError: cannot import name 'Flusk' from 'flask' (/x/__init__.py)"), "Correct the application"),
        (
            loading(
                "FileNotFoundError: [Errno 2] No such file or directory: 'convert'",
                '  File "/usr/lib/python3.11/subprocess.py", line 1955, in _execute_child',
            ),
            "Add the package of the host's distribution that contains the program convert to flask_uwsgi_packages",
        ),
        (
            loading("FileNotFoundError: [Errno 2] No such file or directory: '/opt/a/releases/8c1/etc/shop.toml'"),
            "The release does not contain etc/shop.toml: check that flask_uwsgi_source contains it",
        ),
        (
            loading("FileNotFoundError: [Errno 2] No such file or directory: '/etc/shop.toml'"),
            "Create /etc/shop.toml on the host for the account of flask_uwsgi_user, or place it with flask_uwsgi_files",
        ),
        (
            loading("PermissionError: [Errno 13] Permission denied: '/etc/ssl/private/shop.key'"),
            "Give the account of flask_uwsgi_user access to /etc/ssl/private/shop.key",
        ),
        (
            loading("ConnectionRefusedError: [Errno 111] Connection refused"),
            "It cannot reach what it connects to from the host: check that it runs",
        ),
        (
            loading('psycopg2.OperationalError: could not translate host name "db" to address: Name or'),
            "It cannot reach db from the host",
        ),
        (
            loading("pymongo.errors.ServerSelectionTimeoutError: db.example:27017: [Errno 111] Connection refused"),
            "It cannot reach db.example:27017 from the host",
        ),
        (
            loading(
                "requests.exceptions.ConnectionError: HTTPConnectionPool(host='api.example', port=80): Max retries"
            ),
            "It cannot reach api.example:80 from the host",
        ),
        (
            loading("pymysql.err.OperationalError: (2003, \"Can't connect to MySQL server on 'db1' (refused)\")"),
            "It cannot reach db1 from the host",
        ),
        # Reached, and refused there.
        (
            loading("psycopg.OperationalError: connection failed: FATAL:  password authentication failed for user"),
            "Correct the application",
        ),
    ],
)
def test_the_remedy_names_the_variable_to_set(log: list[str], remedy: str) -> None:
    message = explain(log)
    assert message.startswith("flask_uwsgi_wsgi_file=run.py raised while it was loaded: ")
    assert remedy in message


def test_a_secret_that_is_a_file_is_not_expected_in_the_environment() -> None:
    manifest = replace(MANIFEST, secrets=Secrets(("SECRET_KEY",), ""))
    assert explained(loading("KeyError: 'SECRET_KEY'", *OS), manifest).endswith(
        "SECRET_KEY is one of flask_uwsgi_secrets, which are files: read $CREDENTIALS_DIRECTORY/SECRET_KEY, or set "
        "flask_uwsgi_secrets_in_environment=true"
    )


CHAINED = [
    "Traceback (most recent call last):",
    '  File "settings.py", line 3, in <module>',
    *OS[1:],
    "KeyError: 'SHOP_MODE'",
    "During handling of the above exception, another exception occurred:",
    *loading("RuntimeError: the configuration is not whole"),
]


def test_the_exception_handled_before_the_last_one_determines_the_remedy() -> None:
    assert explain(CHAINED).endswith(
        f"RuntimeError: the configuration is not whole (while it handled KeyError: 'SHOP_MODE'). {MISSING}"
    )


def test_a_handled_import_error_is_not_the_remedy() -> None:
    optional = [
        line.replace("KeyError: 'SHOP_MODE'", "ModuleNotFoundError: No module named 'ujson'") for line in CHAINED
    ]
    assert explain(optional).endswith(". Correct the application")


@pytest.mark.parametrize(
    "text", ["", "SHOP_MODE=fast", "the shop is not set up", "ready: HTTP_PROXY is used", "not set", "A_" * 9999]
)
def test_a_message_without_a_missing_name_has_no_remedy(text: str) -> None:
    assert remedies.named(text) == ""


# Several processes.

RAISED = "flask_uwsgi_wsgi_file=run.py raised while it was loaded: "
ENDED = "flask_uwsgi_wsgi_file=run.py ended itself"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "workers-missing",
            RAISED + "ModuleNotFoundError: No module named 'flask_nowhere'. Add the package that provides",
        ),
        ("workers-environ", RAISED + "KeyError: 'SECRET_KEY'. Set SECRET_KEY in flask_uwsgi_secrets (with"),
        (
            "workers-chained",
            RAISED + "RuntimeError: no settings (because of FileNotFoundError: [Errno 2] No such file or directory: "
            "'settings.json'). The release does not contain settings.json: check that",
        ),
        (
            "workers-inuse",
            RAISED
            + "OSError: [Errno 98] Address already in use (while attempting to bind on address ('127.0.0.1', 8047))."
            " Each of flask_uwsgi_processes=4 workers loads the application",
        ),
        (
            "workers-sysexit",
            ENDED
            + " while it was loaded (sys.exit or os._exit): SHOP_TOKEN is not set. If it reads SHOP_TOKEN from its "
            "environment, set SHOP_TOKEN in flask_uwsgi_secrets",
        ),
        (
            "master-sysexit",
            ENDED
            + " with exit status 1 while it was loaded (sys.exit or os._exit): SHOP_TOKEN is not set. If it reads",
        ),
        (
            "master-osexit",
            ENDED
            + " with exit status 7 while it was loaded (sys.exit or os._exit). A module that is imported must not end",
        ),
        ("master-syntax", RAISED + "SyntaxError: invalid syntax. Correct the application."),
        (
            "master-pg",
            RAISED
            + 'psycopg.OperationalError: connection failed: connection to server at "127.0.0.1", port 5432 failed: '
            "Connection refused. It cannot reach 127.0.0.1:5432 from the host: check",
        ),
        (
            "master-redis",
            RAISED + "redis.exceptions.ConnectionError: Error 111 connecting to localhost:6399. Connection refused. "
            "It cannot reach localhost:6399 from the host: check",
        ),
        (
            "master-readonly",
            "a release is read-only to the service: OSError: [Errno 30] Read-only file system: 'data.txt'. Have the",
        ),
        ("master-slow", "it was not ready within flask_uwsgi_start_timeout=15 seconds. Raise it, or move what takes"),
        (
            "master-segv",
            "a process was ended by SIGSEGV: compiled code crashed. Try another version of the package that",
        ),
        ("master-syscall", "a process was ended by SIGSYS: it made a system call that the filter forbids"),
    ],
)
def test_the_cause_is_found_in_a_real_log(name: str, message: str) -> None:
    first, *log = refusal(journal(name), MANIFEST, SYSTEMCTL)
    assert first.startswith(message)
    assert "systemctl" not in first
    assert log[0] == "Its last log lines:" and 1 < len(log) <= 19
    assert not [line for line in log if "entry.py" in line or "importlib" in line or "GAME OVER" in line]
    # Four workers log the same; it is shown once.
    assert len(set(log)) == len(log) or name in ("workers-chained", "master-redis")
    assert "KeyboardInterrupt" not in " ".join(log)


def stands(*frames: str) -> list[Said]:
    """Return the log of an application that was still loading when systemd ended it."""
    root = "/opt/shop/releases/8c11aa20f3b4"
    dumped = [
        "Timeout (0:00:13)!",
        "Thread 0x00007f3a5c1ff6c0 (most recent call first):",
        '  File "/usr/lib/python3.13/threading.py", line 363 in wait',
        "",
        "Thread 0x00007f3a6c3ba040 (most recent call first):",
        *(f'  File "{frame}' for frame in frames),
        '  File "<frozen importlib._bootstrap_external>", line 1026 in exec_module',
        '  File "/opt/shop/generations/3f2a90c1d5e7/entry.py", line 84 in load',
    ]
    lines = [Said("77", line.replace("ROOT", root)) for line in dumped]
    return [*lines, Said("1", "shop-canary@3f2a90c1d5e7.service: start operation timed out. Terminating.")]


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (
            ['ROOT/run.py", line 5 in wait', 'ROOT/run.py", line 9 in <module>'],
            "was not loaded within flask_uwsgi_start_timeout=15 seconds: it was still at run.py:5 (wait), called from "
            "run.py:9. Raise flask_uwsgi_start_timeout, or move what takes long, or waits for something that does not "
            "happen, out of the import.",
        ),
        (
            [
                '/usr/lib/python3.13/socket.py", line 849 in create_connection',
                'ROOT/../../venvs/v/lib/python3.13/site-packages/pg/core.py", line 12 in connect',
                'ROOT/shop/db.py", line 3 in <module>',
            ],
            "was not loaded within flask_uwsgi_start_timeout=15 seconds: it was still at shop/db.py:3, within "
            "socket.py:849 (create_connection). Raise",
        ),
        (
            [
                '/usr/lib/python3.13/socketserver.py", line 235 in serve_forever',
                'ROOT/../../venvs/v/lib/python3.13/site-packages/werkzeug/serving.py", line 1093 in run_simple',
                'ROOT/../../venvs/v/lib/python3.13/site-packages/flask/app.py", line 662 in run',
                'ROOT/run.py", line 8 in <module>',
            ],
            "starts its own server while loading, at run.py:8, and does not get past it. uWSGI is the "
            'server: put that call below `if __name__ == "__main__":`.',
        ),
    ],
)
def test_a_load_that_does_not_end_is_reported_with_its_place(frames: list[str], message: str) -> None:
    first, *log = refusal(stands(*frames), MANIFEST, SYSTEMCTL)
    assert first.startswith(f"flask_uwsgi_wsgi_file=run.py {message}")
    assert log == [
        "Its last log lines:",
        "    shop-canary@3f2a90c1d5e7.service: start operation timed out. Terminating.",
    ]


def test_a_crash_is_reported_with_its_place_and_without_its_stack() -> None:
    log = [
        "Fatal Python error: Segmentation fault",
        "",
        "Current thread 0x00007f3a6c3ba040 (most recent call first):",
        '  File "/usr/lib/python3.13/ctypes/__init__.py", line 519 in string_at',
        '  File "/opt/shop/releases/8c11aa20f3b4/run.py", line 3 in <module>',
        '  File "/opt/shop/generations/3f2a90c1d5e7//entry.py", line 38 in of_file',
        "",
        "Extension modules: gevent.libev.corecext, greenlet._greenlet (total: 2)",
        "!!! uWSGI process 77 got Segmentation Fault !!!",
        "DAMN ! worker 1 (pid: 77) died, with exit status 1, before it served",
    ]
    first, *shown = refusal([Said("77", text) for text in log], MANIFEST, SYSTEMCTL)
    assert first.startswith(
        "a process was ended by SIGSEGV at run.py:3, within ctypes/__init__.py:519 (string_at): compiled code crashed."
    )
    assert shown[1:] == [f"    {text}" for text in log[-2:]]


def test_a_signal_other_than_a_crash_is_reported() -> None:
    log = [Said("9", "DAMN ! worker 1 (pid: 77) died, killed by signal 9, before it served")]
    first, *_ = refusal(log, MANIFEST, SYSTEMCTL)
    assert first.startswith("flask_uwsgi_wsgi_file=run.py was ended by SIGKILL while it was loaded: it sent that")


def test_an_exception_of_a_thread_is_not_attributed_to_the_request() -> None:
    problem = "GET /healthz answered 500 instead of 200: x"
    thread = [
        "Exception in thread Thread-1 (work):",
        "Traceback (most recent call last):",
        '  File "run.py", line 4, in work',
        "    raise RuntimeError('broke')",
        "RuntimeError: broke",
    ]
    ready = "WSGI app 0 (mountpoint='') ready in 0 seconds on interpreter 0x1 pid: 77 (default app)"
    before = [Said("77", text) for text in (*thread, ready)]
    assert explained(before, MANIFEST, problem) == ""
    after = [Said("77", text) for text in (ready, *thread)]
    assert explained(after, MANIFEST, problem).startswith(
        "GET /healthz answered 500 instead of 200. A thread of the application raised RuntimeError: broke."
    )


def test_a_slow_load_is_not_blamed_for_a_later_failure() -> None:
    log = [line for line in stands('ROOT/run.py", line 5 in <module>') if line.pid != "1"]
    after = [Said("77", "WSGI app 0 (mountpoint='') ready in 14 seconds on interpreter 0x1 pid: 77 (default app)")]
    assert explained([*log, *after], MANIFEST, "it ended 0.4 s after it had become healthy") == ""


@pytest.mark.parametrize("name", ["workers-health", "master-health"])
def test_an_error_of_a_request_is_reported_with_its_path(name: str) -> None:
    problem = "GET /healthz answered 500 instead of 200: <!doctype html>"
    assert refusal(journal(name), MANIFEST, problem)[0] == (
        "GET /healthz answered 500 instead of 200. The request raised RuntimeError: the data base is away. "
        "Correct the application."
    )
    # Only the last lines of a long log are read, and the application answered anyway.
    late = [line for line in journal(name) if not line.text.startswith(("WSGI app ", "spawned uWSGI master"))]
    assert refusal(late, MANIFEST, problem)[0] == refusal(journal(name), MANIFEST, problem)[0]
    shown = relevant_lines(journal(name))
    assert shown[0].endswith("ERROR in app: Exception on /healthz [GET]")
    assert shown[1:] == [
        "Traceback (most recent call last):",
        "  … 4 more",
        '  File "run.py", line 6, in healthz',
        "    raise RuntimeError('the data base is away')",
        "RuntimeError: the data base is away",
    ]
    # What is not about the request's error is not blamed for it.
    assert explained(journal(name), MANIFEST, "a worker died, no later than 0.4 s after the first good response") == ""


def test_an_invalid_answer_is_reported_once() -> None:
    ready = "WSGI app 0 (mountpoint='') ready in 0 seconds on interpreter 0x7fad83b76ef8 pid: 11 (default app)"
    log = [ready, *["TypeError: 'NoneType' object is not iterable"] * 20]
    lines = refusal(log, MANIFEST, "GET /healthz answered 500 instead of 200: Internal Server Error")
    assert lines[0].startswith(
        "GET /healthz answered 500 instead of 200. The request raised TypeError: 'NoneType' object"
    )
    assert lines[1:] == ["Its last log lines:", f"    {log[1]}"]


def test_the_traceback_of_one_worker_is_complete_although_others_wrote_in_between() -> None:
    tracebacks = [item for item in parse(journal("workers-inuse")) if isinstance(item, Traceback)]
    assert [one.last.kind for one in tracebacks] == ["OSError", *["KeyboardInterrupt"] * 3]
    assert all(one.fatal and one.loading and one.last.frames[0].file.endswith("entry.py") for one in tracebacks)


def test_a_worker_that_fails_after_another_has_loaded_is_not_a_request_error() -> None:
    ready = "WSGI app 0 (mountpoint='') ready in 0 seconds on interpreter 0x7fad83b76ef8 pid: 11 (default app)"
    log = [Said("10", "spawned uWSGI master process (pid: 10)"), Said("11", ready)]
    log += [Said("12", line) for line in loading("OSError: [Errno 98] Address already in use")]
    assert "raised while it was loaded: OSError: [Errno 98]" in explained(log, MANIFEST)
    # Once the master has loaded it, its workers load nothing.
    once = [Said("10", ready), Said("10", "spawned uWSGI master process (pid: 10)"), *(log[2:-1])]
    assert explained(once, MANIFEST, "it ended 0.3 s after it had become healthy") == ""


def test_an_exception_of_a_thread_is_not_the_reason_of_a_failed_load() -> None:
    thread = ["Exception in thread Thread-1 (run):", *loading("ValueError: of a thread")[:-1]]
    exited = "shop@g.service: Main process exited, code=exited, status=3/NOTIMPLEMENTED"
    assert "ended itself with exit status 3" in explained([*thread, exited], MANIFEST)


# How it is shown.


def test_an_exception_in_the_loader_is_shown_once() -> None:
    message = "flask_uwsgi_module=shop:app: shop has no app. Name one that it has"
    assert refusal(loading(f"uwsgi_file_entry.EntryError: {message}"), MANIFEST, SYSTEMCTL) == [f"{message}."]
    ended = "flask_uwsgi_wsgi_file=run.py ended itself with sys.exit(3) while it was loaded"
    cause = "The above exception was the direct cause of the following exception:"
    log = [*loading("SystemExit: 3")[:-1], cause, *loading(f"uwsgi_file_entry.EntryError: {ended}")]
    assert refusal(log, MANIFEST, SYSTEMCTL) == [
        f"{ended}. A module that is imported must not end its process.",
        "Its last log lines:",
        "    Traceback (most recent call last):",
        '      File "run.py", line 1, in <module>',
        "    SystemExit: 3",
    ]


def test_a_log_without_lines_of_the_application_says_so() -> None:
    assert refusal(BEFORE, MANIFEST, "GET /healthz got no answer: timed out") == [
        "GET /healthz got no answer: timed out. It had flask_uwsgi_health_timeout=4 seconds: raise it, or set "
        "flask_uwsgi_health_path to a path that answers faster.",
        "It logged nothing of its own.",
    ]
    assert refusal([], MANIFEST, "it ended.") == ["it ended.", "It logged nothing of its own."]


def test_a_long_traceback_shows_the_application_s_own_frames() -> None:
    library = [
        f'  File "/opt/a/venvs/v/lib/python3.11/site-packages/lib/m{n}.py", line 1, in f\n    g()' for n in range(30)
    ]
    own = ['  File "/opt/a/releases/r/shop/db.py", line 7, in connect', "    raise_it()"]
    log = loading("ValueError: no", *"\n".join([*library[:15], *own, *library[15:]]).splitlines())
    assert relevant_lines(log) == [
        "Traceback (most recent call last):",
        "  … 15 more",
        '  File "shop/db.py", line 7, in connect',
        "    raise_it()",
        "  … 14 more",
        '  File "lib/m29.py", line 1, in f',
        "    g()",
        "ValueError: no",
    ]


@pytest.mark.parametrize("frames", [1, 5, 20, 300])
def test_few_lines_of_a_long_log_are_shown_including_the_cause(frames: int) -> None:
    deep = [f'  File "run.py", line {n}, in f' for n in range(frames)]
    lines = [f"line {n}" for n in range(50)]
    message = "ValueError: a\n" + "\n".join(f"  {n}" for n in range(frames))
    shown = relevant_lines([*lines, *loading(message, *deep), *lines])
    assert len(shown) <= 18 and "ValueError: a" in shown and shown[-1] == "line 49"


def test_repeated_lines_of_health_requests_are_shown_once_and_counted() -> None:
    assert relevant_lines([Said("7", "caf\ufffd")] * 18) == ["caf\ufffd", "  … 17 more times"]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            '{"status": "error", "error": "[Errno 2] No such file or directory: \'/proc/meminfo\'"}',
            "GET /healthz answered 500 instead of 200: /proc shows the service only its own processes",
        ),
        (
            "[Errno 30] Read-only file system: '/opt/shop/releases/8c11aa20f3b4/instance/app.db'",
            "GET /healthz answered 500 instead of 200: a release is read-only to the service",
        ),
        ("no such table: users", ""),
    ],
)
def test_the_answer_shows_a_denial_by_the_sandbox_that_the_log_does_not(said: str, message: str) -> None:
    found = explained([], MANIFEST, f"GET /healthz answered 500 instead of 200: {said}", {}, "/opt/shop")
    assert found.startswith(message) and bool(found) == bool(message)


def test_lines_that_the_application_logs_twice_are_shown_twice() -> None:
    once = [Said("1", "trying"), Said("1", "trying")]
    assert relevant_lines(once) == ["trying", "trying"]
    assert relevant_lines([*once, Said("2", "trying"), Said("2", "other")]) == ["trying", "trying", "other"]


def test_a_request_that_the_sandbox_denied_is_reported_with_its_path() -> None:
    ready = "WSGI app 0 (mountpoint='') ready in 0 seconds on interpreter 0x7fad83b76ef8 pid: 11 (default app)"
    log = [ready, *loading("OSError: [Errno 30] Read-only file system: 'instance/shop.db'")[:-1]]
    message = explained(log, MANIFEST, "GET /healthz answered 500 instead of 200: ")
    assert message.startswith(
        "GET /healthz answered 500 instead of 200: a release is read-only to the service: OSError: "
    )
    assert message.count("Read-only") == 1 and "flask_uwsgi_persistent: [instance]" in message


def test_the_cause_of_a_worker_s_end_is_reported_with_the_symptom() -> None:
    log = ["DAMN ! worker 1 (pid: 7) died, killed by signal 11 :( trying respawn ..."]
    problem = "a worker died, no later than 0.4 s after the first good response"
    assert explained(log, MANIFEST, problem).startswith(f"{problem}: a process was ended by SIGSEGV")
    # systemctl does not give the reason.
    assert explained(log, MANIFEST, SYSTEMCTL).startswith("a process was ended by SIGSEGV")


def test_the_sandbox_is_not_blamed_when_another_worker_was_asked_to_end() -> None:
    log = [Said("2", line) for line in loading("KeyError: 'SECRET_KEY'", *OS)]
    log += [Said("3", line) for line in loading("KeyboardInterrupt", "    os.nice(5)")]
    assert "Set SECRET_KEY" in explained(log, MANIFEST)


def test_the_step_is_named_at_which_systemd_cannot_start_a_unit() -> None:
    log = [
        "shop@g.service: Failed to set up mount namespacing: /run/systemd/unit-root/srv/shop: No such file",
        "shop@g.service: Failed at step NAMESPACE spawning /opt/shop/venvs/v/bin/uwsgi: No such file or directory",
        "shop@g.service: Main process exited, code=exited, status=226/NAMESPACE",
        "shop@g.service: Failed with result 'exit-code'.",
    ]
    lines = refusal(log, MANIFEST, SYSTEMCTL)
    assert lines[0].startswith("systemd could not start it (226/NAMESPACE, /srv/shop: No such file)")
    assert "flask_uwsgi_unit_overrides" in lines[0]
    assert [line.strip() for line in lines[2:]] == log[:3]


@pytest.mark.parametrize(
    "piece",
    ["a", "a.", ".", "Error", "AError.", "Errors", "_", "@", "Started @", "unable to find \"", "x.service: ",
     "ModuleNotFoundError: ", "EntryError: flask_uwsgi_", " ", "TypeError: '", "\ufffd", "\u202e", "GET ", "(", "/(",
     '  File "', "/releases/", "A_", "ERROR", " failed with", "a:1", "host='", "x.so", "[ |"],
)  # fmt: skip
def test_a_long_line_is_read_quickly(piece: str) -> None:
    line = (piece * 65536)[:65536]
    started = time.monotonic()
    for log in ([line] * 3, loading(line), loading(f"OperationalError: refused {line}"), loading("E: a", f"  {line}")):
        explain(log)
        relevant_lines(log)
    remedies.named(f"not set {line}")
    assert time.monotonic() - started < 15
