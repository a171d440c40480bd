"""Search for the secrets of a running service in places where they do not belong; root runs it on the service's host.

It reads them from systemd, because a command line would reveal them. Prints the places as JSON.

    python3 search.py APP
"""

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

FOLDERS = ("/opt", "/etc", "/var", "/run", "/tmp", "/home", "/root", "/dev/shm", "/usr/local")
# What systemd created for the service, which is where they belong.
HANDED_OVER = Path("/run/credentials")
COMMANDS = {
    "journal": ["journalctl", "--no-pager", "--all", "--output=export"],
    "systemctl show": ["systemctl", "show", "*"],
    "systemctl cat": ["systemctl", "cat", "*"],
}


def needles(app: str) -> list[bytes]:
    """Return each line of each secret that is long enough to be identified, and the whole as base64."""
    values = [path.read_bytes() for path in HANDED_OVER.glob(f"{app}@*/*")]
    lines = {line for value in values for line in value.splitlines() if len(line) > 7}
    # Without its end, which depends on what follows.
    return [*lines, *(base64.b64encode(value)[: len(value) * 4 // 3 // 4 * 4] for value in values)]


def contents() -> Iterator[tuple[str, bytes]]:
    """Yield the name and the content of every place."""
    folders = (path for folder in FOLDERS for path in Path(folder).rglob("*"))
    processes = chain.from_iterable(Path("/proc").glob(f"[0-9]*/{name}") for name in ("cmdline", "environ"))
    for path in chain(folders, processes):
        if HANDED_OVER in path.parents:
            continue
        try:
            if path.is_file():
                yield str(path), path.read_bytes()
        except OSError:
            # The process has just ended, or cannot be read.
            continue
    for name, command in COMMANDS.items():
        yield name, subprocess.run(command, capture_output=True, check=False).stdout


def main() -> None:
    """Search, and print the places."""
    wanted = needles(sys.argv[1])
    assert wanted, "no service with secrets runs"
    found = [name for name, content in contents() if any(needle in content for needle in wanted)]
    print(json.dumps(sorted(found)))


main()
