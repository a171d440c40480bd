"""The commands that HAProxy's unit, the timer and keepalived run on a balancer, without Ansible."""

from __future__ import annotations

import sys
from pathlib import Path

from ..host.files import DamagedError
from . import servers
from .renewal import Renewal, RenewalError
from .runtime import Runtime, RuntimeAPIError

CONFIGURATION = Path("/etc/haproxy/haproxy.cfg")


def main(command: str, socket: str, master: str, folder: str, settings: str = "") -> None:
    """Run a command; exit with a message if it fails.

    Args:
        command: ``keep`` writes the states of the servers to where the next process reads them; ``settle`` corrects
            these states before HAProxy starts; ``alive`` fails if HAProxy does not answer; ``renew`` renews
            certificates.
        socket: HAProxy's runtime socket.
        master: the socket of its master.
        folder: where the balancer keeps its states.
        settings: the settings of renewals.
    """
    runtime = Runtime(Path(socket), Path(master))
    try:
        if command == "keep":
            servers.keep(runtime, Path(folder) / "servers", CONFIGURATION)
        elif command == "settle":
            servers.settle(Path(folder) / "servers", CONFIGURATION)
        elif command == "alive":
            runtime.ask("show info")
        elif command == "renew":
            if failures := Renewal.configured(runtime, Path(settings), Path(folder)).run():
                sys.exit("\n".join(failures))
        else:
            sys.exit(f"{command} is no command")
    except (RuntimeAPIError, RenewalError, DamagedError, OSError) as error:
        sys.exit(str(error))
