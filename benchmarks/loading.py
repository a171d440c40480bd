"""Measures the cost of loading an application in each worker: ``python -m benchmarks.loading`` writes loading.json.

An application that takes five seconds of CPU to load serves 20 clients on a sandbox host, in both modes, loaded by each
worker or loaded once. Meanwhile new code is deployed, and a worker is killed.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import yaml

from benchmarks.deploys import BUILD, REPORTS, ROOT, sandbox
from tests.support.remote import root
from tests.support.witness import Phase, Report, Witness

APP, HOST, PORT = "slow_import", "bench-loading", 8070
IMPORT_S = 5
CLIENTS = 20
SWAPS, KILLS = 3, 3
# A killed worker is restarted after two seconds, and then loads.
RESPAWN_S = 2 + 2 * IMPORT_S
SETTINGS = {
    "flask_uwsgi_app_name": APP,
    "flask_uwsgi_port": PORT,
    "flask_uwsgi_health_path": "/",
    "flask_uwsgi_environment": {"IMPORT_S": IMPORT_S},
    "flask_uwsgi_start_timeout": 300,
    "flask_uwsgi_log_requests": False,
}


class Bench:
    """The host, with the application in one mode and one way of loading."""

    def __init__(self, folder: Path, inventory: Path, mode: str, preload: bool) -> None:
        self.source = folder / f"{mode}-{preload}"
        shutil.copytree(ROOT / "benchmarks" / "slow_import", self.source)
        self.inventory = inventory
        groups = yaml.safe_load(inventory.read_text())["all"]["children"]
        (self.host,) = groups["flask"]["hosts"].values()
        self.settings = SETTINGS | {
            "flask_uwsgi_source": str(self.source), "flask_uwsgi_mode": mode, "flask_uwsgi_preload": preload,
        }  # fmt: skip

    def deploy(self) -> None:
        """Deploy new code.

        Raises:
            RuntimeError: it failed; with its output.
        """
        with (self.source / "run.py").open("a") as code:
            code.write("# another release\n")
        done = subprocess.run(
            ["ansible-playbook", "--inventory", str(self.inventory), "deploy.yml", "-e", json.dumps(self.settings)],
            cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "ANSIBLE_NOCOLOR": "1"},
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{done.stdout}\n{done.stderr}")

    def started_s(self) -> float:
        """Return the seconds from the start of the serving process until it was ready."""
        names = "ExecMainStartTimestampMonotonic", "ActiveEnterTimestampMonotonic"
        shown = self.root(f"systemctl show {self.unit()} --property={','.join(names)}")
        begun, ready = (int(dict(line.split("=") for line in shown.splitlines())[name]) for name in names)
        return (ready - begun) / 1e6

    def used(self) -> dict[str, Any]:
        """Return the resources that the instance uses, as benchmarks/usage.py reports them."""
        code = (ROOT / "benchmarks" / "usage.py").read_text()
        found: dict[str, Any] = json.loads(self.root(f"python3 - {self.unit()} <<'CODE'\n{code}\nCODE"))
        return found

    def kill_a_worker(self) -> None:
        """Kill one worker."""
        main = self.root(f"systemctl show {self.unit()} --property=MainPID --value")
        self.root(f"kill -KILL $(pgrep --parent {main} --exact uwsgi | head -n 1)")

    def unit(self) -> str:
        """Return the unit that serves."""
        return f"{APP}@{self.root(f'basename $(readlink /opt/{APP}/current)')}.service"

    def root(self, command: str) -> str:
        """Run a command on the host as root."""
        return root(self.host, command)


def measure(bench: Bench) -> dict[str, Any]:
    """Measure one mode and one way of loading."""
    bench.deploy()
    starts, swaps, kills = [], [], []
    with Witness(f"http://{bench.host['ansible_host']}:{PORT}", clients=CLIENTS, path="/", method="GET") as witness:
        for number in range(SWAPS):
            with witness.window(f"swap {number}", steady=3) as window:
                bench.deploy()
            swaps.append(window.report())
            starts.append(bench.started_s())
        for number in range(KILLS):
            with witness.window(f"kill {number}", steady=3, after=RESPAWN_S) as window:
                bench.kill_a_worker()
            kills.append(window.report())
    used = bench.used()
    return {
        "mode": bench.settings["flask_uwsgi_mode"],
        "preload": bench.settings["flask_uwsgi_preload"],
        "memory_mb": used["memory_mb"],
        "start_s": round(statistics.median(starts), 2),
        "steady_p99_ms": middle([report.before for report in swaps]),
        "swap_p99_ms": middle([report.during for report in swaps]),
        "respawn_p99_ms": middle([report.after for report in kills]),
        "swaps_failed": failed(swaps),
        # Requests of the killed worker.
        "kills_failed": failed(kills),
        "requests": sum(report.requests for report in swaps),
    }


def middle(phases: list[Phase]) -> float:
    """Return the median of the 99th percentiles, in milliseconds."""
    return round(statistics.median(phase.p99_ms for phase in phases if phase.p99_ms is not None), 1)


def failed(reports: list[Report]) -> int:
    """Return the number of failed requests."""
    return sum(sum(report.failures.values()) for report in reports)


def main() -> None:
    """Measure, and write the results."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        inventory = Path(folder, "sandbox.yml")
        sandbox("up", f"{HOST}:bookworm", BUILD, "--inventory", str(inventory))
        try:
            for mode in ("gevent", "threads"):
                for preload in (False, True):
                    found.append(measure(Bench(Path(folder), inventory, mode, preload)))
                    print(json.dumps(found[-1]), flush=True)
        finally:
            sandbox("down", HOST, BUILD.partition(":")[0])
    (REPORTS / "loading.json").write_text(json.dumps({"import_s": IMPORT_S, "runs": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
