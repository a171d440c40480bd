#!/usr/bin/env python3
"""Ansible inventory of the sandbox's running hosts, empty with a hint when there are none."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sandbox import inventory
from sandbox.paths import Layout


def main() -> None:
    """Answer ``--list`` and ``--host NAME`` as Ansible's inventory script interface demands."""
    if "--host" in sys.argv:
        print(json.dumps({}))
        return
    layout = Layout()
    hosts = inventory.running(layout)
    if not hosts:
        print(inventory.HINT, file=sys.stderr)
    print(inventory.as_script_output(hosts, layout))


if __name__ == "__main__":
    main()
