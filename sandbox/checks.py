"""What the sandbox needs of a machine, checked before anything is done."""

import re
import shutil
import socket
import subprocess
from collections.abc import Iterable
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.host import Spec, parse_publish
from sandbox.paths import Layout
from sandbox.podman import Podman

# Debian package -> a program of it, or a file where it is no program of the search path.
PACKAGES = {
    "crun": "crun",
    "iproute2": "ip",
    "iptables": "iptables",
    "mmdebstrap": "mmdebstrap",
    "netavark": "/usr/lib/podman/netavark",
    "openssh-client": "ssh-keygen",
    "podman": "podman",
    "util-linux": "nsenter",
}
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
GIB = 1 << 30
# An image is 0.3 GiB as a tar file and again unpacked; the rest is what a deploy adds to a host.
NEEDED_FOR_IMAGE = GIB
NEEDED_FOR_HOST = GIB // 2


def missing_packages() -> list[str]:
    """Return the Debian packages that are not installed."""
    return [package for package, program in PACKAGES.items() if not shutil.which(program, path=SYSTEM_PATH)]


def programs() -> None:
    """Check that all programs are there.

    Raises:
        SandboxError: some are missing.
    """
    if missing := missing_packages():
        raise SandboxError(f"programs are missing: {', '.join(missing)}", f"apt-get install {' '.join(missing)}")


def port_is_free(publish: str) -> None:
    """Check that a port to be published is not in use.

    Raises:
        SandboxError: another program has it.
    """
    address, port, _ = parse_publish(publish)
    try:
        socket.create_server((address, port)).close()
    except OSError as error:
        holder = port_holder(port)
        raise SandboxError(
            f"port {port} on {address} cannot be published: {error.strerror}" + (f", by {holder}" if holder else ""),
            "stop that program, or publish another port",
        ) from error


def port_holder(port: int) -> str:
    """Return the name and process id of what listens on a port, or an empty string."""
    command = ["ss", "-Hltnp", f"sport = :{port}"]
    listening = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    holders = re.findall(r'\("([^"]+)",pid=(\d+)', listening)
    return ", ".join(sorted({f"{name} (process {pid})" for name, pid in holders}))


def disk(directory: Path, needed: int, purpose: str) -> None:
    """Check that a file system has room.

    Raises:
        SandboxError: it has not.
    """
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise SandboxError(
            f"{directory} has {free / GIB:.1f} GiB free, {purpose} needs {needed / GIB:.1f} GiB",
            "free some space, or point XDG_STATE_HOME and XDG_CACHE_HOME to another file system",
        )


def before_up(specs: Iterable[Spec], layout: Layout) -> None:
    """Check everything that starting these hosts needs, their old containers being removed.

    Raises:
        SandboxError: something is missing or taken.
    """
    specs = list(specs)
    disk(layout.images, NEEDED_FOR_IMAGE, "building an image")
    disk(layout.state, NEEDED_FOR_IMAGE + NEEDED_FOR_HOST * len(specs), f"running {len(specs)} hosts")
    for spec in specs:
        for publish in spec.publish:
            port_is_free(publish)


def report(layout: Layout) -> str:
    """Check the whole machine and return what was found, for people.

    Raises:
        SandboxError: the first thing that is wrong.
    """
    programs()
    before_up([Spec("any")], layout)
    podman = Podman(layout)
    podman.prepare()
    podman.run("info", what="asking podman")
    kind = "in a private mount namespace, with a cgroup for each host" if podman.namespace else "plainly"
    return f"all programs are there; podman runs {kind}; state is in {layout.state}, images are in {layout.images}"
