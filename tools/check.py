"""Runs the project's checks stage by stage, with one line for each, and shows the output only of failed ones.

``python -m tools.check quick`` is `make test-quick`; with ``hosts`` it is `make test`. With ``matrix`` as well, and
FLASKOPS_FULL=1 for the cases that the scenarios otherwise skip, it is `make test-full`.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TextIO

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / "reports" / "test"
# Without compiled files, each of the many Python programs takes a second longer to start.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | {
    "NO_COLOR": "1", "PY_COLORS": "0", "ANSIBLE_NOCOLOR": "1",
}  # fmt: skip
PYTHON_FOLDERS = "app benchmarks plugins roles sandbox tests tools docs molecule"


@dataclass(frozen=True)
class Stage:
    """A command and its name."""

    name: str
    command: str

    @property
    def subject(self) -> str:
        """The scenario, whose hosts have the same names in each of its stages; otherwise the stage itself."""
        return self.command.partition("--scenario-name ")[2] or self.name


# Seconds for a stage. What waits for something that never comes must end early enough to be seen in its log. With all
# cases and beside two others the longest stage has taken 3,725 s.
LIMIT = 7200 if os.environ.get("FLASKOPS_FULL") else 2400
# Those that run, each in a group of its own that ends as a whole.
RUNNING: set[subprocess.Popen[bytes]] = set()
# Held while one starts, so that an interruption finds it there.
STARTING = threading.Lock()
# Stages in the same parentheses run at the same time, only a few of them: two cores can run no more.
AT_A_TIME = 3
STAGES: dict[str, tuple[Stage | tuple[Stage, ...], ...]] = {
    "quick": (
        Stage("ruff", f"ruff check {PYTHON_FOLDERS}"),
        Stage("ruff format", f"ruff format --check {PYTHON_FOLDERS}"),
        Stage("mypy app", "env MYPYPATH=app mypy app"),
        Stage(
            "mypy sandbox, tools, tests",
            "mypy -p sandbox -p tools -p benchmarks -p tests.support",
        ),
        # The longest come first. ansible-lint needs one core; the others share the second.
        (
            Stage("ansible-lint", "ansible-lint --offline --strict"),
            Stage(
                "plugins and repository",
                "pytest tests/unit tests/repo -m 'not playbook and not slow' --numprocesses 2 --dist worksteal",
            ),
            Stage("ansible-test sanity", "python -m tools.sanity"),
            Stage("mypy plugins", "mypy -p ansible_collections.flaskops.uwsgi.plugins"),
            Stage("yamllint", "yamllint --strict ."),
            Stage("app", "pytest app --numprocesses 2"),
            Stage("sandbox", "pytest sandbox -m 'not host'"),
        ),
    ),
    "hosts": (
        Stage("molecule gevent (Debian 12)", "molecule test --scenario-name gevent"),
        Stage("molecule threads (Debian 13)", "molecule test --scenario-name threads"),
        # None of them measures performance, so they may share the machine. What takes longest with all cases comes
        # first: if it came last, it would run alone.
        (
            Stage("molecule faults", "molecule test --scenario-name faults"),
            Stage("molecule edge", "molecule test --scenario-name edge"),
            Stage("molecule hostile", "molecule test --scenario-name hostile"),
            Stage("molecule real", "molecule test --scenario-name real"),
            Stage("molecule http", "molecule test --scenario-name http"),
            Stage("molecule must_fail", "molecule test --scenario-name must_fail"),
            Stage("molecule apps (Debian 13)", "molecule test --scenario-name apps"),
            Stage("playbooks on this machine", "pytest tests -m '(playbook or slow) and not full' --numprocesses 2"),
            Stage("molecule runbook", "molecule test --scenario-name runbook"),
            Stage("molecule life", "molecule test --scenario-name life"),
            Stage("molecule collection", "molecule test --scenario-name collection"),
            Stage("molecule zoo", "molecule test --scenario-name zoo"),
            Stage("molecule secrets", "molecule test --scenario-name secrets"),
            Stage("pages in a browser", "pytest tests/integration/pages"),
        ),
    ),
    # Each mode on the other distribution, and the sandbox that every scenario uses.
    "matrix": (
        Stage("sandbox on real hosts", "pytest sandbox -m host"),
        Stage("more playbooks on this machine", "pytest tests -m full --numprocesses 2"),
        Stage("make fleet", "sh -c 'make fleet; result=$?; make fleet-down; exit $result'"),
        Stage("molecule gevent (Debian 13)", "env FLASKOPS_SUITE=trixie molecule test --scenario-name gevent"),
        Stage("molecule platforms", "molecule test --scenario-name platforms"),
        Stage("molecule platforms (threads)", "env FLASKOPS_MODE=threads molecule test --scenario-name platforms"),
        Stage("molecule threads (Debian 12)", "env FLASKOPS_SUITE=bookworm molecule test --scenario-name threads"),
        (
            Stage("molecule edge (Debian 13)", "env FLASKOPS_SUITE=trixie molecule test --scenario-name edge"),
            Stage("molecule real (Debian 13)", "env FLASKOPS_SUITE=trixie molecule test --scenario-name real"),
            Stage("molecule binds (Debian 13)", "env FLASKOPS_SUITE=trixie molecule test --scenario-name binds"),
            Stage("molecule binds (Debian 12)", "molecule test --scenario-name binds"),
            Stage("molecule apps (Debian 12)", "env FLASKOPS_SUITE=bookworm molecule test --scenario-name apps"),
            Stage(
                "molecule life (threads, Debian 13)",
                "env FLASKOPS_MODE=threads FLASKOPS_SUITE=trixie molecule test --scenario-name life",
            ),
            # Cases that only the full run has time for choose their modes themselves, and ran above.
            Stage(
                "molecule http (Debian 13)",
                "env FLASKOPS_FULL= FLASKOPS_SUITE=trixie molecule test --scenario-name http",
            ),
            Stage("molecule python (Debian 13)", "molecule test --scenario-name python"),
            Stage(
                "molecule hostile (threads, Debian 13)",
                "env FLASKOPS_FULL= FLASKOPS_MODE=threads FLASKOPS_SUITE=trixie molecule test --scenario-name hostile",
            ),
            Stage(
                "molecule secrets (threads, Debian 13)",
                "env FLASKOPS_MODE=threads FLASKOPS_SUITE=trixie molecule test --scenario-name secrets",
            ),
            Stage(
                "molecule secrets (Debian 11)",
                "env FLASKOPS_SUITE=bullseye molecule test --scenario-name secrets",
            ),
            Stage(
                "molecule secrets (testing)",
                "env FLASKOPS_SUITE=forky molecule test --scenario-name secrets",
            ),
            Stage("molecule zoo (Debian 13)", "env FLASKOPS_SUITE=trixie molecule test --scenario-name zoo"),
        ),
        Stage("molecule fleet (Debian 12)", "env FLASKOPS_SUITE=bookworm molecule test --scenario-name fleet"),
        Stage("molecule fleet (Debian 13)", "env FLASKOPS_SUITE=trixie molecule test --scenario-name fleet"),
        Stage("table of operations", "python docs/operations.py"),
        Stage("table of real applications", "python docs/real_apps.py"),
    ),
}


def run(stage: Stage, *, alone: bool = True) -> bool:
    """Run a stage, show its result, and return whether it passed.

    Args:
        stage: the stage to run.
        alone: whether to print the beginning of its line before it ends.
    """
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / (stage.name.replace(" ", "-").replace(",", "") + ".log")
    begun = f"{stage.name:<34} "
    print(begun if alone else "", end="", flush=True)
    started = time.monotonic()
    with log.open("w") as output:
        passed = execute(stage.command, output)
    print(f"{'' if alone else begun}{'ok' if passed else 'FAILED':<8} {time.monotonic() - started:6.1f} s", flush=True)
    if not passed:
        print(f"\n--- {stage.command}\n{tail(log)}\n--- full log: {log.relative_to(ROOT)}\n", flush=True)
    return passed


def execute(command: str, output: TextIO, limit: float = LIMIT) -> bool:
    """Run a command with its children, all of which end with it, and return whether it passed.

    Args:
        command: the command.
        output: file for what it prints.
        limit: seconds that it may take.
    """
    with STARTING:
        process = subprocess.Popen(
            shlex.split(command),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=ENVIRONMENT,
            start_new_session=True,
        )
        RUNNING.add(process)
    with process:
        try:
            return process.wait(limit) == 0
        except subprocess.TimeoutExpired:
            output.write(f"\n{command} was ended after {limit:.0f} s.\n")
            os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            return False
        finally:
            RUNNING.discard(process)


def interrupt(number: int, _: object) -> NoReturn:
    """End the stages that run, and this program: a signal for it, such as Ctrl-C, reaches only its own group.

    It runs in the main thread, which starts no stage itself.
    """
    STARTING.acquire()
    for process in tuple(RUNNING):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
    os._exit(128 + number)


def together(stages: tuple[Stage, ...]) -> list[bool]:
    """Run stages at the same time, those of one scenario one after another, and return whether each passed."""
    queues: dict[str, list[Stage]] = defaultdict(list)
    for stage in stages:
        queues[stage.subject].append(stage)
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        done = pool.map(lambda queue: [run(stage, alone=len(stages) == 1) for stage in queue], queues.values())
        return [passed for queue in done for passed in queue]


def tail(log: Path, lines: int = 80) -> str:
    """Return the last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def main() -> int:
    """Run the groups named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.check", description=__doc__.partition("\n")[0])
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"{', '.join(STAGES)}; all of them by default")
    groups = parser.parse_args().groups or list(STAGES)
    for group in groups:
        if group not in STAGES:
            parser.error(f"there is no group {group!r}; choose from {', '.join(STAGES)}")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    # Files of an earlier run say nothing about this one.
    for name in ("operations", "real"):
        shutil.rmtree(ROOT / "reports" / name, ignore_errors=True)
    started = time.monotonic()
    results: list[bool] = []
    for stage in (stage for group in groups for stage in STAGES[group]):
        results += together(stage if isinstance(stage, tuple) else (stage,))
    print(f"\n{time.monotonic() - started:.0f} s in total; the logs are in {LOGS.relative_to(ROOT)}/")
    print(f"{results.count(True)} passed, {results.count(False)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
