"""Prints the resources that a systemd unit uses: ``python3 usage.py UNIT``. Runs on the host as root."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def main(unit: str) -> None:
    """Print a unit's CPU seconds, MB (shared pages counted once), processes, threads; the machine's ticks."""
    command = ["systemctl", "show", unit, "--property=ControlGroup,CPUUsageNSec"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    properties = dict(line.split("=", 1) for line in output.splitlines())
    pids = Path("/sys/fs/cgroup", properties["ControlGroup"].lstrip("/"), "cgroup.procs").read_text().split()
    shares = [line for pid in pids for line in Path("/proc", pid, "smaps_rollup").read_text().splitlines()]
    # user, nice, system, idle, iowait, irq, softirq, steal: of all cores and all processes.
    ticks = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    used = {
        "cpu_s": int(properties["CPUUsageNSec"]) / 1e9,
        "memory_mb": round(sum(int(line.split()[1]) for line in shares if line.startswith("Pss:")) / 1024, 1),
        "processes": len(pids),
        "busy_ticks": sum(ticks) - ticks[3] - ticks[4],
        "all_ticks": sum(ticks),
        "threads": sum(len(list(Path("/proc", pid, "task").iterdir())) for pid in pids),
    }
    print(json.dumps(used))


if __name__ == "__main__":
    main(sys.argv[1])
