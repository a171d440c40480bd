"""The logs are what uWSGI 2.0.31 with Python 3.11 and systemd 252 really print."""

import time

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.explain import explain, telling

# What comes before an application is loaded, on every start.
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

# What comes after it could not be loaded.
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
# An application that was loaded, and failed when it was asked.
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
            "systemd cannot read or decrypt the flask_uwsgi_secrets of this generation: has the host lost its key "
            "(/var/lib/systemd/credential.secret)? Deploy, which writes them anew",
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
            "ModuleNotFoundError: No module named 'flask_nowhere': add the package that brings it to the lock "
            "(flask_uwsgi_requirements), or the file to flask_uwsgi_source",
        ),
        (
            RAISED,
            "flask_uwsgi_wsgi_file=run.py raised while it was loaded: RuntimeError: no database at db.example. "
            "Mend the application",
        ),
        (
            SYNTAX,
            "flask_uwsgi_wsgi_file=run.py raised while it was loaded: SyntaxError: '(' was never closed. "
            "Mend the application",
        ),
        (
            DOTTED,
            "flask_uwsgi_wsgi_file=run.py raised while it was loaded: "
            "werkzeug.exceptions.BadRequestKeyError: 400 Bad Request: TOKEN. Mend the application",
        ),
    ],
    ids=["key", "callable", "file", "module", "exception", "syntax", "dotted exception"],
)
def test_a_known_failure_is_explained_by_the_variable_to_change(log: list[str], explanation: str) -> None:
    assert explain([*BEFORE, *log, *AFTER], "run.py", "api") == explanation
    # `_refuse` hands over what telling() leaves.
    assert explain(telling([*BEFORE, *log, *AFTER]), "run.py", "api") == explanation


def test_a_key_that_uwsgi_does_not_know_is_named() -> None:
    assert explain(STRICT, "", "") == (
        "flask_uwsgi_extra_ini has the key processess, which uWSGI does not know. Correct or remove it"
    )


def test_the_last_of_several_exceptions_is_the_cause() -> None:
    chained = [*RAISED, "", "During handling of the above exception, another exception occurred:", "", *DOTTED]
    assert "BadRequestKeyError" in explain([*BEFORE, *chained, *AFTER], "run.py", "app")


@pytest.mark.parametrize("log", [[], BEFORE, AFTER, EXITED, ["no such luck"]])
def test_what_is_not_known_is_not_explained(log: list[str]) -> None:
    assert explain(log, "run.py", "app") == ""


def test_an_exception_in_a_request_is_not_said_to_have_come_while_loading() -> None:
    assert "while it was loaded" not in explain([*BEFORE, *ASKED], "run.py", "app")


@pytest.mark.parametrize("log", [NO_CALLABLE, NO_FILE, NO_MODULE, RAISED, SYNTAX, DOTTED, EXITED])
def test_the_application_s_own_lines_and_tracebacks_are_kept_and_chatter_is_dropped(log: list[str]) -> None:
    assert telling([*BEFORE, *log, *AFTER]) == [*log, *AFTER[:2]]


@pytest.mark.parametrize(
    "line",
    [
        "shop@3f2a90c1d5e7.service: start operation timed out. Terminating.",
        "shop@3f2a90c1d5e7.service: A process of this unit has been killed by the OOM killer.",
        "shop@3f2a90c1d5e7.service: Failed with result 'oom-kill'.",
        "!!! uWSGI process 21710 got Segmentation Fault !!!",
    ],
)
def test_what_systemd_and_uwsgi_say_of_the_failure_is_kept(line: str) -> None:
    assert telling([*BEFORE, line]) == [line]


def test_empty_lines_are_dropped() -> None:
    assert telling(["", "  ", "a word"]) == ["a word"]


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
    assert telling([line]) == [line]


def test_what_uwsgi_says_once_the_application_is_loaded_is_dropped() -> None:
    assert telling(["- SystemD socket activation detected -", *BEFORE, *ASKED]) == ASKED[6:]


def test_the_loader_s_own_words_are_told_as_they_are() -> None:
    log = ["Traceback (most recent call last):", "EntryError: flask_uwsgi_module=shop:app: shop has no app. Name one"]
    assert explain([*BEFORE, *log, *AFTER], "run.py", "app", "shop:app") == log[1].removeprefix("EntryError: ")


def test_what_a_module_raises_is_told_with_the_module() -> None:
    log = ["Traceback (most recent call last):", "ValueError: no such tenant"]
    told = explain([*BEFORE, *log, *AFTER], "run.py", "app", "shop:app")
    assert (
        told
        == "flask_uwsgi_module=shop:app raised while it was loaded: ValueError: no such tenant. Mend the application"
    )


def test_a_callable_that_is_none_is_told_though_uwsgi_learns_it_at_the_first_request() -> None:
    loaded = "WSGI app 0 (mountpoint='') ready in 0 seconds on interpreter 0x7fb198760018 pid: 21901 (default app)"
    log = [loaded, "spawned uWSGI worker 1 (pid: 2, cores: 1)", "TypeError: 'int' object is not callable"]
    assert explain(log, "run.py", "number").startswith(
        "flask_uwsgi_callable=number of flask_uwsgi_wsgi_file=run.py is int, which cannot be called."
    )
    own = [loaded, "Traceback (most recent call last):", '  File "run.py", line 3', "    x()", log[-1]]
    assert explain(own, "run.py", "app") == ""


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        ("sqlalchemy.exc.OperationalError: refused", "sqlalchemy.exc.OperationalError: refused"),
        ("SystemExit: 3", "SystemExit: 3"),
        ("raised KeyError", "KeyError"),
        ("  | ValueError: a", "ValueError: a"),
    ],
)
def test_the_exception_is_told_from_the_beginning_of_its_name(line: str, detail: str) -> None:
    assert f"raised while it was loaded: {detail}. " in explain([line], "run.py", "app")


@pytest.mark.parametrize(
    "piece",
    ["a", "a.", ".", "Error", "AError.", "Errors", "_", "@", "Started @", "unable to find \"", "x.service: ",
     "ModuleNotFoundError: ", "EntryError: flask_uwsgi_", " ", "TypeError: '", "\ufffd", "\u202e"],
)  # fmt: skip
def test_a_long_line_takes_no_time(piece: str) -> None:
    line = (piece * 65536)[:65536]
    started = time.monotonic()
    explain([line] * 3, "run.py", "app")
    telling([line] * 3)
    assert time.monotonic() - started < 15
