"""Measures what a deploy costs on 1, 2, 4 and 8 sandbox hosts: ``python -m benchmarks.deploys`` writes deploys.json.

Each number of hosts starts with empty hosts. Every deploy is a process of its own, like an operator's; its
round trips are counted by the ssh that Ansible calls.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tools.round_trips import counted

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / "reports" / "bench"
COUNTS = (1, 2, 4, 8)
# How often each kind is measured: a host is only new once.
NEW_CODE, NOTHING, TEN_TASKS = 2, 5, 3
BUILD = "bench-build:bookworm:build"


def sandbox(*words: str) -> None:
    """Run a command of the sandbox."""
    subprocess.run([sys.executable, "-m", "sandbox", *words], cwd=ROOT, check=True)


@contextmanager
def hosts(count: int, inventory: Path) -> Iterator[list[str]]:
    """Start so many empty hosts, yield their inventory, and remove them afterwards."""
    names = [f"bench-{number}" for number in range(1, count + 1)]
    sandbox("up", *(f"{name}:bookworm" for name in names), BUILD, "--inventory", str(inventory))
    try:
        yield names
    finally:
        sandbox("down", *names)


def timed(playbook: str, inventory: Path, *words: str) -> dict[str, Any]:
    """Run a playbook and return its seconds, its round trips, and whether it changed nothing.

    Raises:
        RuntimeError: it failed; with what it printed.
    """
    with counted() as trips:
        command = ["ansible-playbook", "--inventory", str(inventory), playbook, *words]
        started = time.monotonic()
        done = subprocess.run(
            [*command, *trips.arguments],
            cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "ANSIBLE_NOCOLOR": "1"},
        )  # fmt: skip
        seconds = time.monotonic() - started
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        asked = trips.count()
    return {"seconds": round(seconds, 2), "round_trips": asked, "unchanged": "changed=0" in done.stdout}


def measure(count: int, inventory: Path, source: Path) -> list[dict[str, Any]]:
    """Measure every kind of deploy on so many hosts.

    Args:
        count: hosts.
        inventory: theirs.
        source: a copy of the application, which is modified.
    """
    deploy = ("deploy.yml", inventory, "-e", f"flask_uwsgi_source={source}")
    kinds: list[tuple[str, int, Sequence[Any]]] = [
        ("first", 1, deploy),
        ("new code", NEW_CODE, deploy),
        ("nothing to do", NOTHING, deploy),
        ("ten tasks", TEN_TASKS, (str(Path("benchmarks", "ten_tasks.yml")), inventory)),
    ]
    found = []
    with hosts(count, inventory):
        for kind, times, arguments in kinds:
            if kind == "ten tasks":
                timed(*arguments)
            for number in range(1, times + 1):
                if kind == "new code":
                    with (source / "run.py").open("a") as code:
                        code.write(f"# {count} hosts, {number}\n")
                run = {"hosts": count, "kind": kind, **timed(*arguments)}
                print(f"hosts: {count}, {kind}: {run['seconds']:.1f} s, {run['round_trips']} round trips", flush=True)
                found.append(run)
    return found


def main() -> None:
    """Measure, and write the results."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        source, inventory = Path(folder, "app"), Path(folder, "sandbox.yml")
        shutil.copytree(ROOT / "app", source)
        try:
            with hosts(1, inventory):
                # Build and cache the wheels.
                timed("deploy.yml", inventory, "-e", f"flask_uwsgi_source={source}")
            runs = [run for count in COUNTS for run in measure(count, inventory, source)]
        finally:
            sandbox("down", BUILD.partition(":")[0])
    document = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "runs": runs}
    (REPORTS / "deploys.json").write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
