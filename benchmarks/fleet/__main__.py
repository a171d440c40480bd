"""Measures deploys to 10, 100 and 1,000 recorded hosts: ``python -m benchmarks.fleet``.

The hosts answer immediately, from a recording (see ``benchmarks.fleet.record``). The controller's work is real:
inventory, templates, plugins, a process for each task and host, the module's archive, results, output. SSH and the
hosts' Python are left out.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.fleet import recording, usage
from benchmarks.results import REPORTS, ROOT
from benchmarks.tables import fleet_rows
from benchmarks.targets import CORES, FLEET, NOTHING, fleet

# Imported here, because benchmarks.results makes the collection importable.
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.report.table import Table  # isort: skip

HERE = Path(__file__).parent
FOLDER = REPORTS / "fleet"
# What a kind of deploy does not find on the hosts, and the module that it runs last on each of them.
KINDS: dict[str, tuple[Sequence[str], str]] = {
    NOTHING: ((), recording.STATE),
    "new configuration": (("generation", "digest"), recording.SWAP),
    "new code": (("generation", "digest", "release", "release_digest"), recording.SWAP),
}


def environment() -> dict[str, str]:
    """Return the environment variables with which Ansible reaches recorded hosts."""
    return {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_CONNECTION_PLUGINS": str(HERE / "connection"),
        "ANSIBLE_NOCOLOR": "1",
        # Read by the connection plugin.
        "PYTHONPATH": str(ROOT),
        # Otherwise every process may compile the collection again.
        "PYTHONDONTWRITEBYTECODE": "",
    }


@dataclass(frozen=True)
class Fleet:
    """Hosts that answer from a recording.

    Args:
        folder: for the inventory, the output and the measurements of the runs.
        forks: how many hosts Ansible asks at the same time; 0 for what ansible.cfg says.
    """

    folder: Path
    forks: int = 0

    def inventory(self, hosts: int, values: Mapping[str, str]) -> dict[str, Any]:
        """Return an inventory.

        Args:
            hosts: the number of hosts.
            values: the generation that they serve.
        """
        first = ipaddress.IPv4Address("10.0.0.1")
        return {
            "flask": {
                "hosts": {f"app{number:04}": {"ansible_host": str(first + number)} for number in range(1, hosts + 1)},
                "vars": {
                    "ansible_connection": "recorded",
                    "recorded_answers": str(recording.ANSWERS),
                    "recorded_calls": str(self.folder / "calls"),
                    "recorded_values": dict(values),
                    "flask_uwsgi_source": str(ROOT / "app"),
                },
            }
        }

    def play(
        self, playbook: Path, hosts: int, values: Mapping[str, str], *words: str, module: str = recording.STATE
    ) -> usage.Usage:
        """Run a playbook on so many hosts; each of them must be asked.

        Args:
            playbook: its file.
            hosts: the number of hosts.
            values: what is on them.
            words: further arguments of the command line.
            module: what each host must be asked.

        Raises:
            RuntimeError: it failed, or left a host out; with the end of its output.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        inventory, output, calls = (self.folder / name for name in ("hosts.json", "output", "calls"))
        inventory.write_text(json.dumps(self.inventory(hosts, values), indent=2) + "\n")
        calls.write_text("")
        forks = ("--forks", str(self.forks)) if self.forks else ()
        words = ("--inventory", str(inventory), *forks, "-e", "mode=gevent", *words)
        command = ("ansible-playbook", str(playbook), *words)
        status, used = usage.run(command, ROOT, environment(), output)
        asked = Counter(calls.read_text().split())
        if status or asked[module] < hosts:
            last = "\n".join(output.read_text(errors="replace").splitlines()[-30:])
            raise RuntimeError(f"{' '.join(command)} ended with {status} and asked {dict(asked)}:\n{last}")
        return used

    def named(self) -> dict[str, str]:
        """Return what the controller would deploy, as values for a recording's placeholders."""
        file = self.folder / "named.json"
        self.play(HERE / "name.yml", 1, other(recording.NAMES), "-e", f"fleet_named={file}")
        found: dict[str, str] = json.loads(file.read_text())
        return found

    def measure(self, kind: str, hosts: int, values: Mapping[str, str]) -> dict[str, Any]:
        """Deploy to so many hosts and return the cost.

        Args:
            kind: one of ``KINDS``.
            hosts: the number of hosts.
            values: what the controller would deploy.
        """
        lacks, module = KINDS[kind]
        used = self.play(ROOT / "deploy.yml", hosts, {**values, **other(lacks)}, module=module)
        return {"kind": kind, "hosts": hosts, **{name: round(value, 2) for name, value in asdict(used).items()}}


def other(names: Iterable[str]) -> dict[str, str]:
    """Return values that nothing of the controller's has."""
    return {name: "0" * (64 if "digest" in name else 12) for name in names}


def shown(rows: Sequence[Mapping[str, str]]) -> str:
    """Return rows of texts by column as a table for a terminal."""
    columns = list(rows[0])
    table = Table(columns, right=columns[1:])
    texts = [list(row.values()) for row in rows]
    sizes = table.sizes([columns, *texts])
    return "\n".join((*table.head(sizes), *(table.line(row, sizes).rstrip() for row in texts)))


def main() -> None:
    """Measure, write the results, and print them beside the targets.

    Raises:
        SystemExit: a deploy failed; with the end of its output.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__.partition("\n")[0])
    parser.add_argument("--hosts", nargs="+", type=int, default=FLEET, metavar="N", help="numbers of hosts")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="kinds of deploys")
    parser.add_argument("--forks", type=int, default=0, metavar="N", help="as in ansible.cfg by default")
    arguments = parser.parse_args()
    # The targets are defined for this number of cores, however many the machine has.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    file = REPORTS / "fleet.json"
    file.unlink(missing_ok=True)
    fleet_of = Fleet(FOLDER, arguments.forks)
    runs = []
    try:
        values = fleet_of.named()
        for kind, hosts in product(arguments.kinds, arguments.hosts):
            print(f"{kind}, hosts: {hosts:,}", file=sys.stderr, flush=True)
            runs.append(fleet_of.measure(kind, hosts, values))
    except RuntimeError as error:
        raise SystemExit(str(error)) from error
    cores = len(os.sched_getaffinity(0))
    document = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "cores": cores, "forks": arguments.forks}
    file.write_text(json.dumps({**document, "runs": runs}, indent=2) + "\n")
    goals = fleet(runs)
    print(shown(fleet_rows(runs)), shown([goal.row() for goal in goals]), sep="\n\n")


if __name__ == "__main__":
    main()
