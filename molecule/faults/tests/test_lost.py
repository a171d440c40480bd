"""A host is lost during a deploy of two: in every phase, this is a failure like any other.

The other host is reverted or finished, reservations on hosts that can be reached are released, and the last message
names the hosts in each state. Each test deploys its own release and takes over what the one before left behind on
the lost host. The last test restores the state in which the first one began.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from tests.support import ROOT, connections, console
from tests.support.two_hosts import APP, FIRST, NOBODY, RESERVATION, SECOND, Fleet, variables_of
from tests.support.witness import Witness

pytestmark = pytest.mark.timeout(240)
full = pytest.mark.full

RESERVE = "Reserve the application"
COMMANDS = "Run the commands of the deploy: pre"
# Once per batch.
SWAP = "Swap traffic to the generation"
COMMANDS_AFTER = "Run the commands of the deploy: post"
CANARY = f"{APP}-canary@*"
# With these options a dead connection is detected after two seconds. One of an earlier run would have other options.
QUICK = "-o ControlMaster=auto -o ControlPersist=20s -o ServerAliveInterval=1 -o ServerAliveCountMax=2"


@dataclass(frozen=True)
class Loss:
    """A way to lose a host and to get it back."""

    ends: Callable[[str], list[str]]
    returns: Callable[[str], list[str]]
    serves: bool = True


def shell(command: str) -> Callable[[str], list[str]]:
    return lambda host: console.words(host, command)


def power(word: str) -> Callable[[str], list[str]]:
    return lambda host: [*console.SANDBOX, word, host]


LOSSES = {
    "sshd": Loss(shell(console.STOP_SSH), shell(console.START_SSH)),
    # Connections stay open, and the host does not answer.
    "hangs": Loss(shell("pkill -STOP ^sshd"), shell("pkill -CONT ^sshd")),
    "power": Loss(power("off"), power("on"), serves=False),
}


# How long a booting host may take to answer.
SOON_S = 30


@pytest.fixture
def cut(fleet: Fleet, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Lose a host in the next run of Ansible, while clients keep sending requests to the others."""
    folder = tmp_path_factory.getbasetemp() / "cp"
    for name, value in {
        "ANSIBLE_SSH_ARGS": QUICK,
        "ANSIBLE_TIMEOUT": "3",
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder),
        "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "tests/support/callback"),
    }.items():
        monkeypatch.setenv(name, value)

    @contextlib.contextmanager
    def lose(loss: str, host: str, task: str, *, time: int = 1, unit: str = "") -> Iterator[None]:
        way = LOSSES[loss]
        command = shlex.join(way.ends(host))
        if unit:
            # On the host itself, while the task runs.
            listed = f"systemctl list-units --plain --no-legend '{unit}.service' | grep -v @{fleet.serving[host]}"
            wait = f'timeout 60 sh -c "until {listed}; do sleep 0.02; done"'
            command = f"({shlex.join(console.words(host, wait))} && {command}) >/dev/null 2>&1 &"
        monkeypatch.setenv("ANSIBLE_CALLBACKS_ENABLED", "interruption")
        monkeypatch.setenv("INTERRUPTION_TASK", task)
        monkeypatch.setenv("INTERRUPTION_TIME", str(time))
        monkeypatch.setenv("INTERRUPTION_COMMAND", command)
        with watched(fleet, [name for name in (FIRST, SECOND) if way.serves or name != host]):
            try:
                yield
            finally:
                monkeypatch.delenv("ANSIBLE_CALLBACKS_ENABLED")
                subprocess.run(way.returns(host), cwd=ROOT, check=True, capture_output=True)
                connections.forget()

    return lose


@contextlib.contextmanager
def watched(fleet: Fleet, names: list[str]) -> Iterator[None]:
    """Assert that no request to these hosts fails."""
    with contextlib.ExitStack() as stack:
        witnesses = [stack.enter_context(Witness(fleet.urls[name], clients=10, timeout_s=60)) for name in names]
        with contextlib.ExitStack() as during:
            windows = [during.enter_context(witness.window("loss", steady=0.5)) for witness in witnesses]
            yield
        reports = [window.report() for window in windows]
        print(*(report.describe() for report in reports), sep="\n")
        assert [report.failures for report in reports] == [{}] * len(names), reports


@pytest.fixture
def new(application: Any) -> list[str]:
    """A release for this test."""
    return list(application("lost"))


@pytest.fixture(scope="module", autouse=True)
def found(fleet: Fleet, play: Any) -> Iterator[None]:
    """Assert that the hosts serve the same at the end as at the start."""
    before = fleet.serving
    yield
    assert play("deploy").returncode == 0
    assert fleet.serving == before and fleet.reservations == NOBODY


def serving(fleet: Fleet) -> dict[str, str]:
    """Return the generations that answer, once both hosts do."""
    deadline = time.monotonic() + SOON_S
    while True:
        try:
            return fleet.serving
        except (requests.RequestException, ValueError):
            assert time.monotonic() < deadline
            time.sleep(0.2)


def added(fleet: Fleet, host: str, before: set[str]) -> list[str]:
    """Return what is new on a host. The file of the reservation stays, empty, until a boot.

    A deploy may also remove something: what an earlier one left on this host when it was lost.
    """
    return [line for line in fleet.traces - before if line.startswith(host) and RESERVATION not in line]


def listed(hosts: Iterable[str], otherwise: str) -> str:
    return ", ".join(hosts) or otherwise


def ended(lost: str, serve: tuple[str, ...] | None, unknown: bool = False) -> str:
    """Return the last message of a deploy.

    Args:
        lost: the host.
        serve: the hosts that serve the new generation; None before the first swap.
        unknown: whether the host was lost during its swap.
    """
    said = [f"The deploy ends with the failure above, of {lost}."]
    if serve is None:
        said += ["What serves was not changed, on any host."]
    else:
        unchanged = [SECOND] if lost == FIRST else []
        said += [
            f"Serve the new generation: {listed(serve, 'none')}.",
            f"Not changed: {listed(unchanged, 'none, this was the last batch')}.",
        ]
        if unknown:
            said += [
                "The connection was lost at the swap, so the old or the new generation serves, and the next deploy "
                f"settles it: {lost}."
            ]
    return " ".join([*said, still(lost)])


def still(lost: str) -> str:
    return (
        f"Reserved until the lease ends (flask_uwsgi_lease), because the reservation could not be given back: {lost}."
    )


def case(loss: str, lost: str, task: str, *rest: Any, everyday: bool = False, **how: Any) -> Any:
    name = f"{task.lower()}-{'leader' if lost == FIRST else 'other'}-{loss}{how.get('time', '')}{how.get('unit', '')}"
    return pytest.param(loss, lost, task, *rest, how, id=name, marks=() if everyday else full)


@full
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("lost", [FIRST, SECOND])
def test_a_host_lost_before_the_plan_refuses_the_deploy(
    fleet: Fleet, cut: Any, run: Any, new: list[str], loss: str, lost: str
) -> None:
    before, reserved = fleet.serving, fleet.reservations
    with cut(loss, lost, "Plan"):
        said = run("deploy", *new, code=2)
    assert f"{lost}: ansible_host=" in said and "cannot be reached over SSH as " in said
    assert "Nothing was changed." in said and RESERVE not in said
    assert serving(fleet) == before
    (other,) = {FIRST, SECOND} - {lost}
    assert fleet.reservations[other] == reserved[other]


@pytest.mark.parametrize(
    ("loss", "lost", "task", "how"),
    [
        case("sshd", SECOND, RESERVE, everyday=True),
        case("hangs", FIRST, RESERVE),
        case("power", SECOND, RESERVE),
        case("sshd", FIRST, "Install what the host lacks"),
        case("sshd", FIRST, "Ship and unpack the release"),
        case("power", SECOND, "Ship and unpack the release"),
        case("hangs", FIRST, "Ship and unpack the release"),
        case("sshd", SECOND, "Write the generation"),
        case("power", FIRST, "Write the generation"),
        case("sshd", FIRST, COMMANDS),
        case("power", FIRST, COMMANDS),
    ],
)
def test_a_host_lost_before_the_first_swap_removes_the_release_from_all(
    fleet: Fleet, cut: Any, run: Any, new: list[str], loss: str, lost: str, task: str, how: dict[str, Any]
) -> None:
    before, (other,), traces = fleet.serving, {FIRST, SECOND} - {lost}, fleet.traces
    with cut(loss, lost, task, **how):
        said = run("deploy", *new, "-e", json.dumps({"flask_uwsgi_pre_activate": ["true"]}), code=2)
    end = f"Nothing was changed. {still(lost)}" if task == RESERVE else ended(lost, None)
    assert end in said, said
    assert serving(fleet) == before
    assert added(fleet, other, traces) == []
    assert fleet.reservations[other] == ""


@pytest.mark.parametrize(
    ("loss", "lost", "task", "serve", "how"),
    [
        # It runs no proof: the loss is noticed when its turn comes.
        case("sshd", SECOND, COMMANDS, (FIRST,)),
        case("sshd", FIRST, SWAP, ()),
        case("power", FIRST, SWAP, ()),
        case("hangs", FIRST, SWAP, ()),
        case("hangs", SECOND, SWAP, (FIRST,)),
        case("sshd", SECOND, SWAP, (FIRST,), time=2),
        case("power", SECOND, SWAP, (FIRST,), time=2),
    ],
)
def test_a_host_lost_before_its_swap_ends_the_deploy_there(
    fleet: Fleet,
    cut: Any,
    run: Any,
    new: list[str],
    loss: str,
    lost: str,
    task: str,
    serve: tuple[str, ...],
    how: dict[str, Any],
) -> None:
    before, (other,), traces = fleet.serving, {FIRST, SECOND} - {lost}, fleet.traces
    with cut(loss, lost, task, **how):
        said = run("deploy", *new, "-e", json.dumps({"flask_uwsgi_pre_activate": ["true"]}), code=2)
    assert ended(lost, serve, unknown=True) in said, said
    now = serving(fleet)
    assert [name for name in now if now[name] != before[name]] == list(serve)
    assert other in serve or added(fleet, other, traces) == []
    assert fleet.reservations[other] == ""


@pytest.mark.parametrize(
    ("loss", "lost", "time", "unit"),
    [
        pytest.param("sshd", FIRST, 1, f"{APP}@*", id="sshd-start"),
        *(
            pytest.param(*given, marks=full)
            for given in (
                ("sshd", FIRST, 1, CANARY),
                ("power", FIRST, 1, f"{APP}@*"),
                ("power", FIRST, 1, CANARY),
                ("sshd", SECOND, 2, f"{APP}@*"),
                ("power", SECOND, 2, f"{APP}@*"),
                ("hangs", SECOND, 2, CANARY),
            )
        ),
    ],
)
def test_a_host_lost_during_its_swap_serves_one_or_the_other_until_the_next_deploy(
    fleet: Fleet, cut: Any, run: Any, new: list[str], loss: str, lost: str, time: int, unit: str
) -> None:
    before, (other,) = fleet.serving, {FIRST, SECOND} - {lost}
    serve = () if lost == FIRST else (FIRST,)
    with cut(loss, lost, SWAP, time=time, unit=unit):
        said = run("deploy", *new, code=2)
    assert ended(lost, serve, unknown=True) in said, said
    assert fleet.reservations[other] == ""
    now = serving(fleet)
    assert (now[other] != before[other]) == (other in serve)
    # The module continues without its connection.
    with watched(fleet, [FIRST, SECOND]):
        run("deploy", *new)
    (generation,) = set(fleet.serving.values())
    assert generation not in before.values() and now[lost] in (before[lost], generation)
    assert fleet.reservations == NOBODY


@pytest.mark.parametrize(
    ("loss", "lost", "time"),
    [pytest.param(*given, marks=full) for given in (("sshd", FIRST, 1), ("power", FIRST, 1), ("sshd", SECOND, 2))],
)
def test_a_host_lost_after_its_swap_ends_the_deploy_too(
    fleet: Fleet, cut: Any, run: Any, new: list[str], loss: str, lost: str, time: int
) -> None:
    before, (other,) = fleet.serving, {FIRST, SECOND} - {lost}
    with cut(loss, lost, COMMANDS_AFTER, time=time):
        said = run("deploy", *new, "-e", json.dumps({"flask_uwsgi_post_activate": ["true"]}), code=2)
    serve = (FIRST,) if lost == FIRST else (FIRST, SECOND)
    assert ended(lost, serve) in said, said
    now = serving(fleet)
    assert [name for name in now if now[name] != before[name]] == list(serve)
    assert fleet.reservations[other] == ""


# The role in a play of another project.


@full
@pytest.mark.parametrize(("lost", "serial"), [(SECOND, "100%"), (FIRST, 1)], ids=["at once", "serial"])
def test_a_host_lost_in_another_projects_play_is_a_failure_too(
    fleet: Fleet, cut: Any, own_play: Any, new: list[str], lost: str, serial: int | str
) -> None:
    before, reserved, (other,) = fleet.serving, fleet.reservations, {FIRST, SECOND} - {lost}
    with cut("sshd", lost, SWAP):
        done = own_play(variables_of(new), serial=serial)
    assert done.returncode == 2, done.stdout + done.stderr
    serve = () if lost == FIRST else (FIRST,)
    assert ended(lost, serve, unknown=True) in " ".join(done.stdout.split()), done.stdout
    now = serving(fleet)
    assert [name for name in now if now[name] != before[name]] == list(serve)
    # With `serial`, it was not in a batch yet.
    assert fleet.reservations[other] == (reserved[other] if serial == 1 else "")
