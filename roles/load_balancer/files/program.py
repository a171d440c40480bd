"""Commands that HAProxy's unit and timers run on a load balancer. Beside it are the collection's own modules."""

import sys
from pathlib import Path

from utils.balancer import servers
from utils.balancer.renewal import Renewal, RenewalError
from utils.balancer.runtime import Runtime, RuntimeAPIError
from utils.host.files import DamagedError


def main(command: str, socket: str, master: str, folder: str, settings: str = "") -> None:
    """Run a command.

    ``keep`` writes the states of the servers to where the next process reads them; ``renew`` renews certificates.
    """
    runtime = Runtime(Path(socket), Path(master))
    try:
        if command == "keep":
            servers.keep(runtime, Path(folder) / "servers")
        elif command == "renew":
            if failures := Renewal.configured(runtime, Path(settings), Path(folder)).run():
                sys.exit("\n".join(failures))
        else:
            sys.exit(f"{command} is no command")
    except (RuntimeAPIError, RenewalError, DamagedError, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(*sys.argv[1:])
