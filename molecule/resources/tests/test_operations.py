"""Operations on a service with many clients; no client may notice."""

from __future__ import annotations

import itertools
import os
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.playbook import variables
from tests.support.service import APP, OTHER, sample_application
from tests.support.witness import Report, Witness

# As many clients as docs/OPERATIONS.md reports use both cores, and make each operation half as long again.
CLIENTS = 200 if os.environ.get("FLASKOPS_FULL") else 30
# The promise is enforced exactly where it is measured for docs/OPERATIONS.md, on a quiet machine. Elsewhere other work
# may take the cores for a moment; a faulty swap costs several times that.
PATIENCE = 1 if os.environ.get("FLASKOPS_FULL") else 2
# An earlier version of a dependency, as a lock file pins it.
OLDER = """\
itsdangerous==2.1.2 \\
    --hash=sha256:2c2349112351b88699d8d4b6b075022c0808887cb7ad10069318a8b0bc88db44
"""

pytestmark = pytest.mark.timeout(360)


@pytest.fixture(scope="module")
def witness(host: Any) -> Iterator[Witness]:
    address = host.ansible.get_variables()["ansible_host"]
    with Witness(f"http://{address}:8040", clients=CLIENTS) as witness:
        yield witness


@pytest.fixture(scope="module")
def evidence(publish: Any, mode: str) -> Iterator[dict[str, Report]]:
    """Reports by operation, written at the end for the table in docs/OPERATIONS.md."""
    reports: dict[str, Report] = {}
    yield reports
    publish(mode, mode=mode, operations=[report.as_dict() for report in reports.values()])


@pytest.fixture
def unnoticed(service: Any, witness: Witness, evidence: dict[str, Report], play: Any) -> Callable[..., str]:
    """Run a playbook under load, compare what the clients saw with the promise, and return the generation."""

    def run(name: str, playbook: str, *arguments: str) -> str:
        with witness.window(name) as window:
            done = play(playbook, *arguments)
        assert done.returncode == 0, done.stdout
        report = evidence[name] = window.report()
        print(report.describe())
        generation = service.generation
        assert report.failures == {}, report.examples
        assert report.requests > 0
        assert report.longest_gap_s < 0.5 * PATIENCE
        assert report.during.max_ms < 3 * PATIENCE * report.before.p99_ms, report.describe()
        assert any(answered.startswith(generation) for answered in report.answered), report.answered
        return str(generation)

    return run


@pytest.fixture
def deploy(mode: str, unnoticed: Callable[..., str]) -> Callable[..., str]:
    def run(name: str, *arguments: str, to: str = mode) -> str:
        return unnoticed(name, "deploy", "-e", f"mode={to}", *arguments)

    return run


@pytest.fixture(scope="module")
def found(host: Any) -> str:
    """The generation that the scenario deployed."""
    return str(host.check_output(f"readlink /opt/{APP}/current").rpartition("/")[2])


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a copy of the sample application with new code."""

    def copy(name: str) -> Path:
        return sample_application(tmp_path_factory.mktemp(name), f"\n# {name}\n")

    return copy


def test_new_code(found: str, deploy: Any, application: Any) -> None:
    assert deploy("new code", *variables(flask_uwsgi_source=str(application("new code")))) != found


@pytest.mark.full
def test_new_dependencies(service: Any, deploy: Any, play: Any, application: Any) -> None:
    folder = application("new dependencies")
    lock = folder / "requirements.txt"
    lock.write_text(re.sub(r"^itsdangerous==[^#]*?(?=^\S|^    #)", OLDER, lock.read_text(), flags=re.M))
    assert OLDER in lock.read_text()
    chosen = variables(flask_uwsgi_source=str(folder))
    # Compiling uses the two cores that server and clients share; it happens once, and not on the host that serves.
    built = play("../molecule/resources/build", *chosen)
    assert built.returncode == 0, built.stdout
    before = service.run(f"readlink -f /opt/{APP}/current/venv")
    deploy("new dependencies", *chosen)
    assert service.run(f"readlink -f /opt/{APP}/current/venv") != before


@pytest.mark.once
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("processes", {"flask_uwsgi_processes": 3}),
        pytest.param("wait", {"flask_uwsgi_environment": {"APP_WAIT_SECONDS": 0.15}}, marks=pytest.mark.full),
        pytest.param("environment", {"flask_uwsgi_environment": {"APP_LOG_LEVEL": "WARNING"}}, marks=pytest.mark.full),
        pytest.param("unit content", {"flask_uwsgi_unit_overrides": {"OOMScoreAdjust": 10}}, marks=pytest.mark.full),
    ],
)
def test_changed_configuration(deploy: Any, name: str, values: dict[str, Any]) -> None:
    deploy(name, *variables(**values))


def test_another_mode_and_back(deploy: Any, mode: str, found: str) -> None:
    deploy(f"{mode} to {OTHER[mode]}", to=OTHER[mode])
    assert deploy(f"{OTHER[mode]} to {mode}") == found, "the same configuration is the same generation"


@pytest.mark.once
def test_rollbacks(service: Any, unnoticed: Any, play: Any) -> None:
    newest, previous, *_, older = service.status["kept"]
    assert unnoticed("rollback to the previous", "rollback") == previous
    again = play("rollback")
    assert "changed=0" in again.stdout and service.generation == previous, "a repeated rollback changes nothing"
    assert unnoticed("rollback of a rollback", "rollback", "-e", f"to={newest}") == newest
    assert unnoticed("rollback to a named one", "rollback", "-e", f"to={older}") == older


def test_a_restart_replaces_every_process(service: Any, unnoticed: Any) -> None:
    generation = service.generation
    before = {service.show(service.unit, "MainPID"), *(worker["pid"] for worker in service.stats["workers"])}
    assert unnoticed("restart", "restart") == generation
    after = {service.show(service.unit, "MainPID"), *(worker["pid"] for worker in service.stats["workers"])}
    assert not before & after
    assert service.run(f"cat /run/{APP}/{APP}.pid") == service.show(service.unit, "MainPID")
    assert service.host.run(f"systemctl is-active '{APP}-relief@*'").stdout.strip() in ("", "inactive")


def test_a_restart_loses_and_tears_no_request_line(service: Any, play: Any) -> None:
    answered: list[int] = []
    numbers, stopped = itertools.count(), threading.Event()

    def ask() -> None:
        while not stopped.is_set():
            number = next(numbers)
            requests.get(f"{service.url}/line/{number}", timeout=30)
            answered.append(number)

    with ThreadPoolExecutor(20) as pool:
        clients = [pool.submit(ask) for _ in range(20)]
        done = play("restart")
        stopped.set()
        for client in clients:
            client.result()
    assert done.returncode == 0, done.stdout
    assert len(answered) > 1000
    # All that it logs until then is in the journal.
    service.run("journalctl --sync")
    journal = service.run(f"journalctl -t {APP} --output cat --since -10min --grep /line/").splitlines()
    line = re.compile(r'[\d.]+ "GET /line/(\d+) HTTP/1\.[01]" 404 \d+B \d+ms worker=\d+')
    assert sorted(int(found[1]) for found in map(line.fullmatch, journal) if found) == sorted(answered)
    # A stop names the requests that it waits for.
    assert [text for text in journal if not line.fullmatch(text) and " is managing " not in text] == []


@pytest.mark.full
def test_pruning(service: Any, deploy: Any) -> None:
    deploy("pruning", *variables(flask_uwsgi_keep_releases=2))
    assert len(service.status["kept"]) == len(service.run(f"ls /opt/{APP}/generations").split()) == 2
    named = service.run(f"readlink -f /opt/{APP}/generations/*/release | sort -u | wc -l")
    assert service.run(f"ls /opt/{APP}/releases | wc -l") == named


def test_back_to_the_configuration(deploy: Any, found: str) -> None:
    assert deploy("back to the configuration") == found


def test_no_request_failed_between_the_operations_either(witness: Witness, evidence: Any, mode: str) -> None:
    # By default the second mode leaves out operations that test nothing new in it.
    few = mode == "threads" and not os.environ.get("FLASKOPS_FULL")
    assert len(evidence) >= (5 if few else 7)
    assert not [report.name for report in witness.reports().values() if report.failures]
