"""Runs the project's checks stage by stage: one line each while they run, the output only of what failed.

``python -m tools.check lint unit`` is `make test-quick`; with ``hosts`` it is `make test`. With ``matrix`` as well, and
FLASKOPS_FULL=1 for what the scenarios otherwise leave out, it is `make test-full`.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / "reports" / "test"
PYTHON_FOLDERS = "app plugins roles sandbox tests tools docs molecule"


@dataclass(frozen=True)
class Stage:
    """One command and what it is called."""

    name: str
    command: str


STAGES = {
    "lint": (
        Stage("ruff", f"ruff check {PYTHON_FOLDERS}"),
        Stage("ruff format", f"ruff format --check {PYTHON_FOLDERS}"),
        Stage("mypy plugins", "mypy -p ansible_collections.flaskops.uwsgi.plugins"),
        Stage("mypy app", "env MYPYPATH=app mypy app"),
        Stage("mypy sandbox, tools", "mypy -p sandbox -p tools"),
        Stage("yamllint", "yamllint --strict ."),
        Stage("ansible-lint", "ansible-lint --offline --strict"),
    ),
    "unit": (
        Stage("app", "pytest app"),
        Stage("plugins and repository", "pytest tests"),
        Stage("sandbox", "pytest sandbox -m 'not host'"),
    ),
    "hosts": (
        Stage("sandbox on real hosts", "pytest sandbox -m host"),
        Stage("molecule gevent (Debian 12)", "molecule test --scenario-name gevent"),
        Stage("molecule threads (Debian 13)", "molecule test --scenario-name threads"),
        Stage("molecule must_fail", "molecule test --scenario-name must_fail"),
        Stage("molecule faults", "molecule test --scenario-name faults"),
    ),
    # Each mode on the other distribution.
    "matrix": (
        Stage("molecule gevent (Debian 13)", "env FLASKOPS_SUITE=trixie molecule test --scenario-name gevent"),
        Stage("molecule threads (Debian 12)", "env FLASKOPS_SUITE=bookworm molecule test --scenario-name threads"),
        Stage("table of operations", "python docs/operations.py"),
    ),
}


def run(stage: Stage) -> bool:
    """Run a stage, show how it went, and return whether it passed."""
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / (stage.name.replace(" ", "-").replace(",", "") + ".log")
    print(f"{stage.name:<34} ", end="", flush=True)
    started = time.monotonic()
    with log.open("w") as output:
        done = subprocess.run(
            shlex.split(stage.command),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "NO_COLOR": "1", "PY_COLORS": "0", "ANSIBLE_NOCOLOR": "1"},
            check=False,
        )
    passed = done.returncode == 0
    print(f"{'ok' if passed else 'FAILED':<8} {time.monotonic() - started:6.1f} s", flush=True)
    if not passed:
        print(f"\n--- {stage.command}\n{tail(log)}\n--- all of it: {log.relative_to(ROOT)}\n", flush=True)
    return passed


def tail(log: Path, lines: int = 80) -> str:
    """Return the last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def main() -> int:
    """Run the groups named on the command line."""
    groups = sys.argv[1:] or list(STAGES)
    # What an earlier run left is no evidence of this one.
    shutil.rmtree(ROOT / "reports" / "operations", ignore_errors=True)
    started = time.monotonic()
    results = [run(stage) for group in groups for stage in STAGES[group]]
    print(f"\n{time.monotonic() - started:.0f} s in all; the logs are in {LOGS.relative_to(ROOT)}/")
    print(f"{results.count(True)} passed, {results.count(False)} failed")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
