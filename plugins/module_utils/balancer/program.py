"""The commands that HAProxy's unit, the timer and keepalived run on a balancer, without Ansible."""

from __future__ import annotations

import sys
from pathlib import Path

from ..host.files import DamagedError
from . import servers
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
            renew(runtime, Path(folder), Path(settings))
        else:
            sys.exit(f"{command} is no command")
    except (RuntimeAPIError, DamagedError, OSError) as error:
        sys.exit(str(error))


def renew(runtime: Runtime, folder: Path, settings: Path) -> None:
    """Renew the certificates that will expire soon; exit with a message if one fails."""
    # Imported here because ``alive`` runs every second.
    from .renewal import Renewal, RenewalError

    try:
        failures = Renewal.configured(runtime, settings, folder).run()
    except RenewalError as error:
        sys.exit(str(error))
    if failures:
        sys.exit("\n".join(failures))
