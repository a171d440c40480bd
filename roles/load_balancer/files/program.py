"""Commands that HAProxy's unit and timers run on a load balancer. Beside it are the collection's own modules."""

import sys
from pathlib import Path

from utils.balancer import servers
from utils.balancer.runtime import Runtime, RuntimeAPIError


def main(command: str, socket: str, master: str, folder: str, settings: str = "") -> None:
    """Run a command.

    ``keep`` writes the states of the servers to where the next process reads them; ``alive`` fails if HAProxy does not
    answer; ``renew`` renews certificates.
    """
    # keepalived asks all the time: what the other commands need takes longer to load than the question itself.
    if command == "renew":
        renew(Path(socket), Path(master), Path(folder), Path(settings))
        return
    runtime = Runtime(Path(socket), Path(master))
    try:
        if command == "keep":
            servers.keep(runtime, Path(folder) / "servers")
        elif command == "alive":
            runtime.ask("show info")
        else:
            sys.exit(f"{command} is no command")
    except (RuntimeAPIError, OSError) as error:
        sys.exit(str(error))


def renew(socket: Path, master: Path, folder: Path, settings: Path) -> None:
    """Renew the certificates that are due."""
    from utils.balancer.renewal import Renewal, RenewalError
    from utils.host.files import DamagedError

    try:
        failures = Renewal.configured(Runtime(socket, master), settings, folder).run()
    except (RuntimeAPIError, RenewalError, DamagedError, OSError) as error:
        failures = [str(error)]
    if failures:
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main(*sys.argv[1:])
