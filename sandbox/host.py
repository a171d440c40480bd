"""A host: its specification, its record, and whether it is running."""

import json
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.image import SUITES
from sandbox.paths import Layout

USER = "ansible"


@dataclass(frozen=True)
class Spec:
    """The specification of a host."""

    name: str
    suite: str = "bookworm"
    group: str = "flask"
    publish: tuple[str, ...] = ()


@dataclass(frozen=True)
class Record(Spec):
    """A host that has been brought up; ``inventory`` is the file that was written for it, if any."""

    address: str = ""
    image: str = ""
    inventory: str | None = None

    def satisfies(self, spec: Spec, image: str) -> bool:
        """Return whether this host matches a specification and an image."""
        return self.suite == spec.suite and self.image == image and set(spec.publish) <= set(self.publish)


def parse_spec(text: str) -> Spec:
    """Read ``NAME[:SUITE[:GROUP]]``.

    Raises:
        SandboxError: it has another format, or there is no such suite.
    """
    form = r"(?P<name>[a-z0-9][a-z0-9-]{0,40})(:(?P<suite>[^:]*)(:(?P<group>[A-Za-z_]\w*))?)?"
    if not (found := re.fullmatch(form, text, re.ASCII)):
        raise SandboxError(f"{text!r} is not NAME[:SUITE[:GROUP]]", "write it like app1 or app1:bookworm:flask")
    if found["suite"] and found["suite"] not in SUITES:
        raise SandboxError(f"{text!r}: there is no suite {found['suite']!r}", f"use one of {', '.join(SUITES)}")
    return Spec(found["name"], found["suite"] or Spec.suite, found["group"] or Spec.group)


def parse_publish(text: str) -> tuple[str, int]:
    """Read ``HOSTADDR:PORT:CONTAINERPORT``.

    Returns:
        The controller's address and port.

    Raises:
        SandboxError: it has another format.
    """
    found = re.fullmatch(r"(\d+\.\d+\.\d+\.\d+):(\d+):(\d+)", text, re.ASCII)
    if not found or not all(0 < int(port) < 65536 for port in found.groups()[1:]):
        raise SandboxError(f"{text!r} is not HOSTADDR:PORT:CONTAINERPORT", "write it like 127.0.0.1:8040:8040")
    return found[1], int(found[2])


def records(layout: Layout) -> dict[str, Record]:
    """Return the records of all hosts, by name."""
    found = {}
    for file in sorted(layout.hosts.glob("*/host.json")):
        # One that is damaged, or from another version, counts as missing: `up` recreates the host.
        with suppress(ValueError, TypeError):
            record = Record(**json.loads(file.read_text()))
            found[record.name] = replace(record, publish=tuple(record.publish))
    return found


def answering(sshd: bool = True) -> set[str]:
    """Return the addresses on which the sshd of a container listens.

    It reads the network namespaces of all systemds. A connection would leave a message in the host's journal each time,
    and a packet to the address of a dead host could leave this machine.

    Args:
        sshd: without it, those of all containers that have booted.
    """
    found: set[str] = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "comm").read_text() != "systemd\n":
                continue
            # proc(5), /proc/net/tcp: 16 is port 22, 0A is LISTEN.
            if not sshd or re.search(r": \w+:0016 \w+:\w+ 0A ", (process / "net/tcp").read_text()):
                found.update(re.findall(r"-- (\S+)\n +/32 host LOCAL", (process / "net/fib_trie").read_text()))
        except OSError:
            # It has just ended.
            continue
    return found
