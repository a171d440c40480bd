"""A service on a host, examined without the product: through systemd, uWSGI and the kernel; and its application."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support import ROOT

# The sample application, as the scenarios deploy it.
APP = "aiops_flask"
PORT = 8040
# The other mode of each mode.
OTHER = {"gevent": "threads", "threads": "gevent"}
# Everything that a deploy writes on a host, and the units that are not just inactive.
TRACES = (
    f"find /opt/{APP} -mindepth 1 -maxdepth 2; find /etc/systemd/system /run/{APP}* -path '*/{APP}*';"
    f" systemctl list-units --plain --no-legend '{APP}*' | awk '{{print $1, $3}}'"
)
# Prints the answer of the stats server on a socket.
READ_STATS = (
    "import socket,sys;s=socket.socket(socket.AF_UNIX);s.connect(sys.argv[1]);"
    "sys.stdout.buffer.write(b''.join(iter(lambda:s.recv(65536),b'')))"
)
# Prints what is in an application's directory and needed by no kept generation.
UNNEEDED = (
    " for name in generations/*; do test -f $name/manifest.json -a -f $name/.served || echo $name; done;"
    " for name in releases/*; do readlink -f generations/*/release | grep -q /$name$ || echo $name; done;"
)


class Service:
    """A service, as seen from its host and from outside.

    Args:
        host: testinfra's host, with root access.
        name: the application's name.
    """

    def __init__(self, host: Any, name: str = APP) -> None:
        self.host = host
        self.name = name

    @property
    def url(self) -> str:
        """The URL of the application."""
        return f"http://{self.host.ansible.get_variables()['ansible_host']}:{PORT}"

    def run(self, command: str, *arguments: str) -> str:
        """Run a shell command as root on the host and return its output; it must succeed."""
        return str(self.host.check_output(command, *arguments))

    @property
    def generation(self) -> str:
        """The generation that `current` names."""
        return self.run(f"readlink /opt/{self.name}/current").rpartition("/")[2]

    @property
    def unit(self) -> str:
        """The unit that serves."""
        return f"{self.name}@{self.generation}.service"

    def show(self, unit: str, name: str) -> str:
        """Return a property of a unit from systemd."""
        return self.run(f"systemctl show '{unit}' --property={name} --value")

    @property
    def master(self) -> int:
        """The process id of the serving master, according to systemd."""
        return int(self.show(self.unit, "MainPID"))

    @property
    def stats(self) -> dict[str, Any]:
        """The answer of uWSGI's stats server."""
        generation = self.generation
        path = f"/run/{self.name}/{generation}/{generation}.stats"
        document: dict[str, Any] = json.loads(self.run(f'python3 -c "{READ_STATS}" {path}'))
        return document


def wait(condition: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """Return a condition's value once it is true.

    Args:
        condition: evaluated repeatedly.
        what: its name, for the error message.
        seconds: the timeout.
    """
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)
    return found


def sample_application(folder: Path, code: str = "") -> Path:
    """Copy the sample application.

    Args:
        folder: where to; the copy is a folder in it.
        code: added to its code.

    Returns:
        the copy.
    """
    copy = folder / "app"
    shutil.copytree(ROOT / "app", copy, ignore=shutil.ignore_patterns("tests", "__pycache__"))
    with (copy / "run.py").open("a") as source:
        source.write(code)
    return copy
