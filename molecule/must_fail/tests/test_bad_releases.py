"""Bad releases under load: each is refused with the application's own error, and no client notices."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.service import APP
from tests.support.witness import Witness

# Measured with as many as in docs/OPERATIONS.md; other runs use fewer, because other scenarios need the cores.
CLIENTS = 100 if os.environ.get("FLASKOPS_FULL") else 20
# The longest that a refusal may take; a third of it is usual.
BOUND_S = 60

pytestmark = pytest.mark.timeout(180)

AFTER_HEALTH = """
import os, signal, threading, time

@app.after_request
def dies_soon(response):
    def die():
        time.sleep(0.5)
        print("the licence is void", flush=True)
        {how}
    threading.Thread(target=die, daemon=True).start()
    return response
"""


@dataclass(frozen=True)
class Release:
    """A release that must never serve.

    Args:
        name: what is wrong with it.
        message: how the message must begin after the generation's name.
        logged: a line of the application that the message has to quote; empty if it writes none.
        code: what is added to run.py; empty if uWSGI's configuration is refused before anything runs.
        settings: variables of the deploy.
        full: whether only `make test-full` tries it; a similar one is always tried.
    """

    name: str
    message: str
    logged: str
    code: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    full: bool = False

    def change(self, app: Path) -> None:
        """Break a copy of the application."""
        with (app / "run.py").open("a") as source:
            source.write(f"\n# {self.name}\n{self.code}\n")


RAISED = "flask_uwsgi_wsgi_file=run.py raised while it was loaded: "
RELEASES = (
    Release(
        "import error",
        rf"{RAISED}ImportError: cannot import name 'Flusk' from 'flask' \(.*\)\. Correct the application",
        "ImportError: cannot import name 'Flusk' from 'flask'",
        "from flask import Flusk",
    ),
    Release(
        "exception in the factory",
        rf"{RAISED}RuntimeError: no such tenant\. Correct the application",
        "RuntimeError: no such tenant",
        'def create_app(settings):\n    raise RuntimeError("no such tenant")\n\napp = create_app(settings)',
        full=True,
    ),
    Release(
        "missing dependency",
        rf"{RAISED}ModuleNotFoundError: No module named 'numpy'\. Add the package that provides numpy to the",
        "import numpy",
        "import numpy",
        full=True,
    ),
    Release(
        "health answers 500",
        r"GET /healthz answered 500 instead of 200: ",
        "RuntimeError: the data base is away",
        '@app.before_request\ndef ask():\n    raise RuntimeError("the data base is away")',
        {"flask_uwsgi_health_timeout": 2},
    ),
    Release(
        "health hangs",
        r"GET /healthz got no answer: timed out",
        "waiting for the data base",
        'import time\n\n@app.before_request\ndef ask():\n    print("waiting for the data base", flush=True)\n'
        "    time.sleep(600)",
        {"flask_uwsgi_health_timeout": 2},
        full=True,
    ),
    Release(
        "a variable that is missing, in whichever mode",
        rf"^{RAISED}KeyError: 'SHOP_SECRET_KEY'\. Set SHOP_SECRET_KEY in flask_uwsgi_secrets",
        "KeyError: 'SHOP_SECRET_KEY'",
        'import os\n\napp.secret_key = os.environ["SHOP_SECRET_KEY"]',
        {"mode": "auto", "flask_uwsgi_gevent_check": "enforce"},
        full=True,
    ),
    Release(
        "an ASGI application",
        r"flask_uwsgi_callable=asgi of flask_uwsgi_wsgi_file=run\.py is an ASGI application: .*uvicorn.*a2wsgi",
        "",
        "async def asgi(scope, receive, send):\n    pass",
        # Without a health path, nothing else would notice.
        {"flask_uwsgi_callable": "asgi", "flask_uwsgi_health_path": "", "flask_uwsgi_gevent_check": "off"},
        full=True,
    ),
    Release(
        "no health path, and no page answers",
        r"GET / got no answer: timed out",
        "waiting for the data base",
        'import time\n\n@app.before_request\ndef ask():\n    print("waiting for the data base", flush=True)\n'
        "    time.sleep(600)",
        {"flask_uwsgi_health_path": "", "flask_uwsgi_health_timeout": 2, "flask_uwsgi_gevent_check": "off"},
        full=True,
    ),
    Release(
        "an application that does not know the host",
        r"GET /healthz answered 500 .*Host 'localhost' is not trusted\. Set flask_uwsgi_health_host to a host that the",
        "Host 'localhost' is not trusted",
        # Flask-RESTX looks at the host again while it handles the error.
        'app.config["TRUSTED_HOSTS"] = ["shop.example.org"]',
        {"flask_uwsgi_health_timeout": 2, "flask_uwsgi_gevent_check": "off"},
        full=True,
    ),
    Release(
        "a thread ends every worker a moment after the start",
        r"a worker died, no later than \d\.\d s after the first good response",
        "the licence is void",
        AFTER_HEALTH.format(how="os._exit(1)"),
        {"flask_uwsgi_canary_seconds": 3},
    ),
    Release(
        "the process ends by itself a moment after the start",
        # The stats of a killed master can be gone before systemd notices.
        r"it (ended \d\.\d s|stopped answering) after it had become healthy",
        "the licence is void",
        AFTER_HEALTH.format(how="os.kill(os.getppid(), signal.SIGKILL)"),
        {"flask_uwsgi_canary_seconds": 3},
        full=True,
    ),
    Release(
        "starts in threads mode alone",
        rf"{RAISED}RuntimeError: this application needs real threads\. Correct the application",
        "RuntimeError: this application needs real threads",
        "import sys\n\nmonkey = sys.modules.get('gevent.monkey')\n"
        "if monkey and monkey.is_module_patched('threading'):\n"
        '    raise RuntimeError("this application needs real threads")',
        # The zoo has this fault as well.
        full=True,
    ),
    Release(
        "starts a server of its own",
        r"flask_uwsgi_wsgi_file=run\.py starts its own server while loading, at run\.py:\d+, .*__main__",
        "start operation timed out",
        "app.run(port=8099)",
        {"flask_uwsgi_start_timeout": 6, "flask_uwsgi_gevent_check": "off"},
        full=True,
    ),
    Release(
        "waits for ever while it is loaded",
        r"was not loaded within flask_uwsgi_start_timeout=6 seconds: it was still at run\.py:\d+ \(wait\), called from",
        "start operation timed out",
        "import time\n\ndef wait():\n    while True:\n        time.sleep(1)\n\nwait()",
        {"flask_uwsgi_start_timeout": 6, "flask_uwsgi_gevent_check": "off"},
        full=True,
    ),
    Release(
        "crashes in compiled code",
        r"a process was ended by SIGSEGV at run\.py:\d+, within .*ctypes/__init__\.py:\d+ \(string_at\): compiled code",
        "got Segmentation Fault",
        "import ctypes\n\nctypes.string_at(0)",
        {"flask_uwsgi_gevent_check": "off"},
        full=True,
    ),
    Release(
        "writes beside its code",
        r"a release is read-only to the service: OSError: .*\. Name its folder in flask_uwsgi_persistent: \[instance\]",
        "os.makedirs(app.instance_path)",
        "import os\n\nos.makedirs(app.instance_path)",
        full=True,
    ),
    Release(
        "calls what the sandbox forbids",
        r'the sandbox refuses the system call of nice .*unit_overrides: \{SystemCallFilter: "@resources"\}',
        "os.nice(5)",
        "import os\n\nos.nice(5)",
        full=True,
    ),
    Release(
        "makes code at run time",
        r'.*MemoryDenyWriteExecute.* set flask_uwsgi_unit_overrides: \{MemoryDenyWriteExecute: "no"\}',
        "mmap.mmap(-1, 4096, prot=7)",
        "import mmap\n\nmmap.mmap(-1, 4096, prot=7)",
        full=True,
    ),
    Release(
        "is killed for a system call",
        r"a process was ended by SIGSYS: .* Remove SystemCallErrorNumber from flask_uwsgi_unit_overrides",
        "about to be nice",
        'import os\n\nprint("about to be nice", flush=True)\nos.nice(5)',
        {"flask_uwsgi_unit_overrides": {"SystemCallErrorNumber": "kill"}},
        full=True,
    ),
    Release(
        "reads what /proc does not show",
        r"/proc shows the service .*'/proc/stat'\. Set flask_uwsgi_unit_overrides: \{ProcSubset: all\}",
        "No such file or directory: '/proc/stat'",
        "open('/proc/stat')",
        full=True,
    ),
    Release(
        "a unit with a path that the host lacks",
        r"systemd could not start it \(226/NAMESPACE, .*names the path /srv/nosuch, which does not exist on the host",
        "",
        settings={"flask_uwsgi_unit_overrides": {"ReadWritePaths": "/srv/nosuch"}},
        full=True,
    ),
    Release(
        "an ini that uWSGI refuses",
        r"flask_uwsgi_extra_ini has the key enable-teleport, which uWSGI does not know\. Correct or remove it",
        "",
        settings={"flask_uwsgi_extra_ini": {"enable-teleport": True}},
        full=True,
    ),
)


@pytest.fixture(scope="module")
def witness(host: Any) -> Iterator[Witness]:
    with Witness(f"http://{host.ansible.get_variables()['ansible_host']}:8040", clients=CLIENTS) as witness:
        yield witness


@pytest.fixture(scope="module")
def evidence(publish: Any) -> Iterator[list[dict[str, Any]]]:
    """Rows for the operator's documentation, written at the end of a complete run."""
    rows: list[dict[str, Any]] = []
    yield rows
    if len(rows) == len(RELEASES):
        publish("bad-releases", releases=rows)


def message(output: str) -> list[str]:
    """Return the lines of the first message of a failed playbook; the last message names the hosts not changed."""
    failure = re.search(r"^fatal: .*FAILED!\n((?:    .*\n)+)", output, flags=re.M)
    assert failure, output
    return [line.strip() for line in failure[1].splitlines()]


@pytest.mark.parametrize(
    "release",
    [pytest.param(release, id=release.name, marks=[pytest.mark.full] if release.full else []) for release in RELEASES],
)
def test_a_bad_release_is_refused_and_no_client_notices(
    release: Release,
    serving: str,
    host: Any,
    play: Callable[..., Any],
    application: Any,
    witness: Witness,
    evidence: list[dict[str, Any]],
) -> None:
    variables = {"flask_uwsgi_source": application(release.change), **release.settings}
    with witness.window(release.name, steady=0.5) as window:
        started = time.monotonic()
        done = play("deploy", "-e", json.dumps(variables))
        seconds = time.monotonic() - started
    report = window.report()
    assert done.returncode == 2, done.stdout
    lines = message(done.stdout)
    print(*lines, sep="\n")
    assert re.search(release.message, lines[0]), lines
    if release.logged:
        assert any(release.logged in line for line in lines[lines.index("Its last log lines:") :]), lines
    if release.code:
        assert f"Generation {serving} serves." in lines or "The running release was not changed." in lines[-1]
    else:
        assert "the running service was not changed" in lines[0]
    assert seconds < BOUND_S
    assert report.failures == {}, report.examples
    assert report.requests > 0
    assert set(report.answered) == {f"{serving} (gevent)"}
    # Only the lock file is left, without an owner.
    assert host.file(f"/run/{APP}.deploy").content == b""
    assert host.check_output(f"systemctl list-units --failed --plain --no-legend '{APP}*'") == ""
    evidence.append(
        {
            "release": release.name,
            "requests": report.requests,
            "failures": sum(report.failures.values()),
            "seconds": round(seconds, 1),
            "message": lines[0],
        }
    )


def test_a_good_release_afterwards_serves_and_so_does_the_rollback(
    host: Any, run: Any, application: Any, witness: Witness
) -> None:
    def deployed(name: str, variables: dict[str, Any]) -> str:
        with witness.window(name, steady=0.5) as window:
            status, output = run(variables)
        assert status == 0, output[-3000:]
        report = window.report()
        assert report.failures == {}, report.examples
        generation = str(host.check_output(f"readlink /opt/{APP}/current").rpartition("/")[2])
        assert f"{generation} (gevent)" in report.answered
        return generation

    found = host.check_output(f"readlink /opt/{APP}/current").rpartition("/")[2]
    source = application(lambda app: (app / "release.txt").write_text("a good one"))
    assert deployed("a good release", {"flask_uwsgi_source": source}) != found
    assert deployed("back to the one before", {}) == found


def test_no_request_failed_between_the_deploys_either(witness: Witness) -> None:
    reports = witness.reports().values()
    assert not [report.name for report in reports if report.failures]
