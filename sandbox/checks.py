"""Checks what the sandbox needs from a machine before anything is done."""

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.host import Record, Spec, parse_publish
from sandbox.paths import Layout, make_directory
from sandbox.podman import Podman

NETAVARK = "/usr/lib/podman/netavark"
# Debian package -> one of its programs, or a file if the program is not on the search path.
PACKAGES = {
    "crun": "crun",
    "iproute2": "ip",
    "iptables": "iptables",
    "mmdebstrap": "mmdebstrap",
    "netavark": NETAVARK,
    "nftables": "nft",
    "openssh-client": "ssh-keygen",
    "podman": "podman",
    "util-linux": "nsenter",
}
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
GIB = 1 << 30
# Building an image takes 0.3 GiB for the tar file and as much unpacked; a deploy adds the rest to a host.
NEEDED_FOR_IMAGES = GIB
NEEDED_FOR_HOST = GIB // 2


def needed_packages() -> list[str]:
    """Return the Debian packages that the sandbox needs here."""
    unused = set()
    if Path(NETAVARK).exists():
        # Debian 12's calls iptables and does not say so; Debian 13's calls nft.
        facts = subprocess.run([NETAVARK, "version"], capture_output=True, check=False).stdout or b"{}"
        unused = {"iptables", "nftables"} - {json.loads(facts).get("default_fw_driver", "iptables")}
    return [package for package in PACKAGES if package not in unused]


def missing_packages() -> list[str]:
    """Return the packages that are not installed."""
    return [name for name in needed_packages() if not shutil.which(PACKAGES[name], path=SYSTEM_PATH)]


def programs() -> None:
    """Check that all programs are installed.

    Raises:
        SandboxError: some are missing.
    """
    if missing := missing_packages():
        raise SandboxError(f"not installed: {', '.join(missing)}", f"apt-get install {' '.join(missing)}")


def port_is_free(publish: str) -> None:
    """Check that a port to be published is not in use.

    Raises:
        SandboxError: another program has it.
    """
    address, port = parse_publish(publish)
    try:
        socket.create_server((address, port)).close()
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise SandboxError(
            f"port {port} on {address} cannot be published: {reason}{port_holder(port)}",
            "stop that program, or publish another port",
        ) from error


def port_holder(port: int) -> str:
    """Return " by PROGRAM (process ID)" for what listens on a port, or an empty string if that is hidden."""
    command = ["ss", "-Hltnp", f"sport = :{port}"]
    listening = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    holders = set()
    for program, process in re.findall(r'\("([^"]+)",pid=(\d+)', listening):
        # conmon listens for a container, and its command line has the container's name.
        words = Path("/proc", process, "cmdline").read_text().split("\0") if program == "conmon" else []
        name = f"container {words[words.index('-n') + 1]}" if "-n" in words else program
        holders.add(f"{name} (process {process})")
    return f" by {', '.join(sorted(holders))}" if holders else ""


def disk(directory: Path, needed: int, purpose: str) -> None:
    """Check that a file system has enough space.

    Raises:
        SandboxError: it does not.
    """
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise SandboxError(
            f"{directory} has {free / GIB:.1f} GiB free, {purpose} needs {needed / GIB:.1f} GiB",
            "free some space, or point XDG_STATE_HOME and XDG_CACHE_HOME to another file system",
        )


def before_up(specs: Iterable[Spec], running: Mapping[str, Record], layout: Layout) -> None:
    """Check everything that starting hosts needs.

    Args:
        specs: the hosts to start.
        running: the running hosts, which hold the ports that they publish.
        layout: the directories, which exist.

    Raises:
        SandboxError: something is missing or taken.
    """
    specs = list(specs)
    disk(layout.images, NEEDED_FOR_IMAGES, "building images")
    disk(layout.state, NEEDED_FOR_IMAGES + NEEDED_FOR_HOST * len(specs), f"running {len(specs)} hosts")
    for spec in specs:
        held = running[spec.name].publish if spec.name in running else ()
        for publish in set(spec.publish) - set(held):
            port_is_free(publish)


def doctor(layout: Layout) -> str:
    """Check the whole machine and return a summary for people.

    Raises:
        SandboxError: something is wrong.
    """
    programs()
    for directory in (layout.state, layout.images):
        make_directory(directory)
    before_up([Spec("any")], {}, layout)
    podman = Podman(layout)
    podman.prepare()
    podman.run("info", what="asking podman")
    kind = "in a private mount namespace, with a cgroup for each host" if podman.namespace else "plainly"
    return f"all is well; podman runs {kind}\n  state: {layout.state}\n  images: {layout.images}"
