"""An application that runs with another Python than the system's, and gets there and back without a failed request."""

from __future__ import annotations

import itertools
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from tests.support.playbook import variables
from tests.support.service import APP
from tests.support.witness import Witness

HOME = "/opt/python3.11"
OTHER = f"{HOME}/bin/python3.11"
BUILD_HOST = "mol-python-build"
INVENTORY = os.environ["SANDBOX_INVENTORY"]
# Of the system, and of the other one.
SYSTEM, CHOSEN = "3.13", "3.11"
# What the witness calls a run of a playbook has to be new.
NUMBERS = itertools.count()

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def witness(host: Any) -> Iterator[Witness]:
    with Witness(f"http://{host.ansible.get_variables()['ansible_host']}:8040", clients=20) as witness:
        yield witness


@pytest.fixture
def unnoticed(service: Any, witness: Witness, play: Any) -> Callable[..., str]:
    """Run a playbook while clients send requests, none of which may fail; return its output and what then serves."""

    def run(playbook: str, *arguments: str) -> tuple[str, dict[str, Any]]:
        with witness.window(f"{playbook} {next(NUMBERS)}") as window:
            done = play(playbook, *arguments)
        assert done.returncode == 0, done.stdout[-3000:]
        report = window.report()
        assert report.failures == {}, report.examples
        assert report.requests > 0
        return " ".join(done.stdout.split()), requests.get(f"{service.url}/healthz", timeout=10).json()

    return run


@pytest.fixture
def refused(service: Any, play: Any) -> Iterator[Callable[[str], str]]:
    """Deploy with an interpreter that is refused, and return the output; what serves stays."""
    before = service.master

    def run(python: str) -> str:
        done = play("deploy", *variables(flask_uwsgi_python=python))
        assert done.returncode != 0, done.stdout[-3000:]
        return " ".join((done.stdout + done.stderr).split())

    yield run
    assert service.master == before


@pytest.fixture
def copy(host: Any) -> Iterator[str]:
    """A copy of the other Python in another folder, on the application host alone."""
    host.check_output(f"cp -a {HOME} /opt/copy")
    yield "/opt/copy"
    host.check_output("rm -rf /opt/copy")


@pytest.mark.parametrize("mode", ["gevent", "threads"])
def test_an_application_changes_its_python_and_goes_back(service: Any, unnoticed: Any, mode: str) -> None:
    _, health = unnoticed("deploy", *variables(mode=mode))
    assert health["mode"] == mode and health["versions"]["python"].startswith(f"{SYSTEM}.")
    before = service.generation

    said, health = unnoticed("deploy", *variables(mode=mode, flask_uwsgi_python=OTHER))
    assert f"flask_uwsgi_python={OTHER}: Python {CHOSEN}." in said
    assert health["mode"] == mode and health["versions"]["python"].startswith(f"{CHOSEN}.")
    assert health["generation"] == service.generation != before
    mapped = service.run(f"grep -oh '/.*libpython.*' /proc/{service.master}/maps | sort -u")
    assert mapped == f"{HOME}/lib/libpython{CHOSEN}.so.1.0"
    assert service.run(f"/opt/{APP}/current/venv/bin/python -c 'import sys; print(sys.base_prefix)'") == HOME
    assert service.run(f"find /opt/{APP}/current/release/ -name 'run.*.pyc'").endswith("run.cpython-311.pyc")
    assert not service.host.package(f"libpython{CHOSEN}").is_installed

    said, _ = unnoticed("deploy", *variables(mode=mode, flask_uwsgi_python=OTHER))
    assert "nothing to do" in said

    _, health = unnoticed("rollback")
    assert health["generation"] == service.generation == before
    assert health["versions"]["python"].startswith(f"{SYSTEM}.")


def test_the_system_s_own_python_is_no_other_one(unnoticed: Any, service: Any) -> None:
    _, health = unnoticed("deploy", *variables(mode="gevent"))
    before = health["generation"]
    said, health = unnoticed("deploy", *variables(mode="gevent", flask_uwsgi_python="/usr/bin/python3"))
    # Only the setting is new: wheels and code are on the host.
    assert "to build" not in said and health["versions"]["python"].startswith(f"{SYSTEM}.")
    assert health["generation"] == before == service.generation


@pytest.mark.parametrize(
    ("prepare", "python", "said"),
    [
        ("", "python3.11", "flask_uwsgi_python=python3.11 is not valid: set it to the absolute path of"),
        ("", "/opt/none/bin/python3", r"flask_uwsgi_python=\S+ does not exist on this host, .* install the same"),
        ("", "/usr/bin/env", r"flask_uwsgi_python=/usr/bin/env cannot be run as nobody: .* Install one that runs"),
        (
            "chmod g+w /opt/copy/lib/python3.11/os.py",
            "/opt/copy/bin/python3.11",
            r"cannot be trusted: /opt/copy/lib/python3.11/os.py has the mode 0664, .* `chmod -R go-w` it",
        ),
        (
            "chown nobody /opt/copy",
            "/opt/copy/bin/python3.11",
            r"cannot be trusted: /opt/copy belongs to nobody, who could run code as root\. .* `chown -R root:root` it",
        ),
        (
            "rm /opt/copy/lib/libpython3.11.so*",
            "/opt/copy/bin/python3.11",
            r"has no shared library, which uWSGI needs: there is no libpython3.11.so.1.0 in /opt/copy/lib, .*"
            "Install the package libpython3.11, or a Python that was built with --enable-shared",
        ),
        (
            "mv /opt/copy /var/tmp/copy && mkdir -p /opt/copy/bin && ln -s /var/tmp/copy/bin/python3.11 /opt/copy/bin/",
            "/opt/copy/bin/python3.11",
            "leads to /var/tmp/copy/bin/python3.11, which is in /var/tmp, which the service cannot see .* below /opt",
        ),
        (
            "chmod 0700 /opt/copy",
            "/opt/copy/bin/python3.11",
            r"cannot be run as nobody: .*Permission denied.* every account can read \(`chmod -R go\+rX`\)",
        ),
    ],
    ids=["relative", "missing", "no Python", "writable", "of another", "static", "hidden", "unreadable"],
)
def test_an_interpreter_that_cannot_serve_is_refused(
    host: Any, copy: str, refused: Any, prepare: str, python: str, said: str
) -> None:
    host.check_output(prepare or "true")
    output = refused(python)
    host.check_output("rm -rf /var/tmp/copy")
    assert re.search(rf"flask_uwsgi_python={re.escape(python)} ", output)
    assert re.search(said, output), output[-3000:]
    assert "Nothing was changed." in output


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        ("true", r"/opt/copy/bin/python3\.11 does not exist on this host"),
        ("mkdir -p /opt/copy/bin && ln -s /usr/bin/python3 /opt/copy/bin/python3.11", r"it is debian-13-\w+-py3\.13"),
        (f"cp -a {HOME} /opt/copy && rm -r /opt/copy/include", r"there are no headers \(Python.h\)"),
    ],
    ids=["missing", "another version", "without headers"],
)
def test_a_build_host_without_the_same_interpreter_is_named(
    host: Any, copy: str, refused: Any, prepare: str, said: str
) -> None:
    build = host.get_host(f"ansible://{BUILD_HOST}", ansible_inventory=INVENTORY, sudo=True)
    build.check_output(prepare)
    try:
        output = refused(f"{copy}/bin/python3.11")
    finally:
        build.check_output("rm -rf /opt/copy")
    assert re.search(
        rf"artifact_build_group=build has no host that can build for flask_uwsgi_python={copy}/bin/python3.11 on "
        rf"debian-13-\S+-py3\.11 \({BUILD_HOST}: {said}.*\). Install the same interpreter there at the same path",
        output,
    ), output[-3000:]


def test_an_interpreter_that_is_removed_is_reported(service: Any, unnoticed: Any, play: Any) -> None:
    chosen = variables(mode="gevent", flask_uwsgi_python=OTHER)
    unnoticed("deploy", *chosen)
    service.run(f"mv {HOME} {HOME}.away")
    try:
        drift = json.dumps(service.status["drift"])
        assert f"/bin/python leads to {OTHER}, which is missing" in drift
        planned = play("deploy", *chosen, "--check")
        assert planned.returncode != 0
        assert f"flask_uwsgi_python={OTHER} does not exist on this host" in " ".join(planned.stdout.split())
        # It goes on with what it has loaded, and there is a way out.
        _, health = unnoticed("deploy", *variables(mode="gevent"))
        assert health["versions"]["python"].startswith(f"{SYSTEM}.")
        output = play("rollback")
        assert output.returncode != 0
        said = " ".join((output.stdout + output.stderr).split())
        assert f"{OTHER}, which is missing" in said, said[-3000:]
    finally:
        service.run(f"mv {HOME}.away {HOME}")
    time.sleep(1)
    assert requests.get(f"{service.url}/healthz", timeout=10).json()["versions"]["python"].startswith(f"{SYSTEM}.")
