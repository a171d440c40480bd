"""Prints the resources that a systemd unit uses: ``python3 usage.py UNIT [begin|end]``. Runs on the host as root.

From ``begin`` to ``end`` the memory is watched, and ``end`` prints the most that the unit had.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

WATCH = "bench-watch.service"
MOST = Path("/run/bench-watch")
# Reading the memory of a server costs some milliseconds.
INTERVAL_S = 0.5


def shown(unit: str) -> dict[str, str]:
    """Return the control group and the CPU time of a unit, as systemd shows them."""
    command = ["systemctl", "show", unit, "--property=ControlGroup,CPUUsageNSec"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return dict(line.split("=", 1) for line in output.splitlines())


def processes(group: str) -> list[str]:
    """Return the processes of a control group and of those below it."""
    files = Path("/sys/fs/cgroup", group.lstrip("/")).rglob("cgroup.procs")
    return [pid for file in files for pid in file.read_text().split()]


def memory_mb(pids: list[str]) -> float:
    """Return the memory of processes; what they share counts once."""
    total = 0
    for pid in pids:
        try:
            lines = Path("/proc", pid, "smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return round(total / 1024, 1)


def watch(unit: str) -> None:
    """Write the most memory that the unit has had, again and again."""
    group, most = shown(unit)["ControlGroup"], 0.0
    while True:
        most = max(most, memory_mb(processes(group)))
        MOST.write_text(str(most))
        time.sleep(INTERVAL_S)


def used(unit: str) -> dict[str, float]:
    """Return a unit's CPU seconds, MB, processes and threads, and the machine's ticks."""
    found = shown(unit)
    pids = processes(found["ControlGroup"])
    # user, nice, system, idle, iowait, irq, softirq, steal: of all cores and all processes.
    ticks = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return {
        "cpu_s": int(found["CPUUsageNSec"]) / 1e9,
        "memory_mb": memory_mb(pids),
        "processes": len(pids),
        "busy_ticks": sum(ticks) - ticks[3] - ticks[4],
        "all_ticks": sum(ticks),
        "threads": sum(len(list(Path("/proc", pid, "task").iterdir())) for pid in pids),
    }


def main(unit: str, step: str = "") -> None:
    """Print what a unit uses; begin or end to watch its memory, or watch it."""
    if step == "watch":
        watch(unit)
    if step == "begin":
        command = [sys.executable, str(Path(__file__).resolve()), unit, "watch"]
        subprocess.run(["systemd-run", "--quiet", "--collect", f"--unit={WATCH}", *command], check=True)
    found = used(unit)
    if step == "end":
        subprocess.run(["systemctl", "stop", WATCH], check=True)
        found["most_mb"] = max(found["memory_mb"], float(MOST.read_text()))
        MOST.unlink()
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
