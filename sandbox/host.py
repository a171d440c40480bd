"""A host: what is asked for, what is recorded of it, and its container's life."""

import dataclasses
import io
import json
import re
import shutil
import tarfile
import time
from pathlib import Path

from sandbox import controller
from sandbox.errors import SandboxError
from sandbox.image import DEFAULT_SUITE, SUITES, Image
from sandbox.network import Network
from sandbox.paths import Layout
from sandbox.podman import Podman
from sandbox.process import run

DEFAULT_GROUP = "flask"
USER = "ansible"
BOOT_SECONDS = 60
HOST_KEY = "ssh_host_ed25519_key"


@dataclasses.dataclass(frozen=True)
class Spec:
    """A host that somebody asks for."""

    name: str
    suite: str = DEFAULT_SUITE
    group: str = DEFAULT_GROUP
    publish: tuple[str, ...] = ()


def parse_spec(text: str) -> Spec:
    """Read ``NAME[:SUITE[:GROUP]]``.

    Raises:
        SandboxError: it has another form, or no such suite is known.
    """
    name, suite, group, *rest = [*text.split(":"), "", ""] if text.count(":") < 2 else text.split(":")
    if rest and any(rest) or not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?", name):
        raise SandboxError(
            f"{text!r} is no host: a name has lower-case letters, digits and hyphens",
            "write NAME[:SUITE[:GROUP]], for example app1:bookworm:flask",
        )
    if suite and suite not in SUITES:
        raise SandboxError(f"{text!r}: there is no suite {suite!r}", f"take one of {', '.join(SUITES)}")
    if group and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", group):
        raise SandboxError(f"{text!r}: {group!r} is no Ansible group name", "use letters, digits, underscores")
    return Spec(name, suite or DEFAULT_SUITE, group or DEFAULT_GROUP)


def parse_publish(text: str) -> tuple[str, int, int]:
    """Read ``HOSTADDR:PORT:CONTAINERPORT``.

    Raises:
        SandboxError: it has another form.
    """
    found = re.fullmatch(r"(\d+\.\d+\.\d+\.\d+):(\d{1,5}):(\d{1,5})", text)
    if not found or not all(0 < int(port) < 65536 for port in found.groups()[1:]):
        raise SandboxError(f"{text!r} is no published port", "write it like 127.0.0.1:8040:8040")
    return found[1], int(found[2]), int(found[3])


@dataclasses.dataclass(frozen=True)
class Record:
    """A host that has been brought up.

    ``inventory`` names the inventory file that it was brought up for, if any.
    """

    name: str
    suite: str
    group: str
    address: str
    image: str
    publish: tuple[str, ...] = ()
    inventory: str | None = None

    def satisfies(self, spec: Spec, image: str) -> bool:
        """Tell whether this is what a spec asks for."""
        return self.suite == spec.suite and self.image == image and set(spec.publish) <= set(self.publish)


def records(layout: Layout) -> dict[str, Record]:
    """Return the records of all hosts, by name."""
    found = {}
    for file in sorted(layout.hosts.glob("*/host.json")):
        data = json.loads(file.read_text())
        found[data["name"]] = Record(**{**data, "publish": tuple(data["publish"])})
    return found


def answering() -> set[str]:
    """Return the addresses at which some container's sshd listens.

    Looks into the network namespaces of all systemds. A connection would leave a complaint in the host's
    journal each time, and a packet to the address of a dead host could leave this machine.
    """
    found: set[str] = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "comm").read_text() != "systemd\n":
                continue
            # proc(5), /proc/net/tcp: 16 is port 22, 0A is LISTEN.
            if re.search(r": \w+:0016 \w+:\w+ 0A ", (process / "net" / "tcp").read_text()):
                found.update(re.findall(r"-- (\S+)\n +/32 host LOCAL", (process / "net" / "fib_trie").read_text()))
        except OSError:
            # It has just ended.
            continue
    return found


class Hosts:
    """Starts, restarts and removes hosts. Callers hold the lock."""

    def __init__(self, layout: Layout, podman: Podman, network: Network) -> None:
        self._layout = layout
        self._podman = podman
        self._network = network

    def save(self, record: Record) -> None:
        """Write a host's record, and the list of host keys that follows from all records."""
        directory = self._layout.hosts / record.name
        text = json.dumps(dataclasses.asdict(record), indent=2)
        _replace(directory / "host.json", text)
        self._write_known_hosts()

    def create(self, spec: Spec, image: Image) -> Record:
        """Make a host afresh and start it; whatever bore its name must be gone."""
        known = records(self._layout)
        previous = known[spec.name].address if spec.name in known else None
        address = self._network.address(self._network.ensure(), previous, {r.address for r in known.values()})
        self._make_key(self._layout.key)
        self._make_key(self._layout.hosts / spec.name / HOST_KEY)
        self._podman.run(
            "create",
            f"--name={spec.name}",
            f"--hostname={spec.name}",
            f"--network={self._network.name}",
            f"--ip={address}",
            *(f"--publish={publish}" for publish in spec.publish),
            "--systemd=always",
            # A reboot ends the container; conmon then starts it again, its files kept.
            "--restart=always",
            "--pids-limit=-1",
            "--shm-size=0",
            # Units set up file systems of their own (ProtectSystem=, PrivateTmp= …) as on any server.
            "--cap-add=SYS_ADMIN",
            # systemd looks at the processes that it hides (PrivateUsers= with ProtectProc=).
            "--cap-add=SYS_PTRACE",
            "--security-opt=apparmor=unconfined",
            "--security-opt=label=disable",
            # sshd records logins.
            "--cap-add=AUDIT_WRITE",
            "--log-driver=k8s-file",
            *self._podman.create_options(),
            image.name,
            "/usr/local/sbin/sandbox-init",
            what=f"creating {spec.name}",
        )
        self._podman.run("cp", "-", f"{spec.name}:/", what=f"filling {spec.name}", stdin=self._files(spec))
        self.start(spec.name)
        record = Record(spec.name, spec.suite, spec.group, address, image.name, spec.publish)
        self.save(record)
        return record

    def start(self, name: str) -> None:
        """Boot a host that is shut down."""
        self._podman.run("start", name, host=name, what=f"starting {name}")

    def reboot(self, record: Record) -> None:
        """Shut a host down as systemd does, and boot it again with its files."""
        self._podman.run("stop", f"--time={BOOT_SECONDS}", record.name, what=f"shutting down {record.name}")
        self.start(record.name)
        self.wait(record)

    def wait(self, record: Record) -> None:
        """Wait until sshd answers.

        Raises:
            SandboxError: it has not within a minute.
        """
        deadline = time.monotonic() + BOOT_SECONDS
        while record.address not in answering():
            if time.monotonic() > deadline:
                console = self._podman.run("logs", "--tail=12", record.name, what="reading the console")
                raise SandboxError(
                    f"{record.name} does not answer on port 22 after {BOOT_SECONDS} s; its console:\n{console}",
                    f"look inside with `python3 -m sandbox exec {record.name} -- journalctl --boot`",
                )
            time.sleep(0.05)

    def remove(self, name: str) -> None:
        """Remove a host and its record."""
        self._podman.remove_container(name)
        shutil.rmtree(self._layout.hosts / name, ignore_errors=True)
        self._write_known_hosts()

    def _make_key(self, file: Path) -> None:
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "sandbox", "-f", str(file)],
                "making a key",
            )

    def _files(self, spec: Spec) -> bytes:
        key = self._layout.hosts / spec.name / HOST_KEY
        files = controller.inherited_files(spec.suite) | {
            f"/etc/ssh/{HOST_KEY}": key.read_bytes(),
            f"/etc/ssh/{HOST_KEY}.pub": key.with_suffix(".pub").read_bytes(),
            f"/etc/ssh/authorized_keys/{USER}": self._layout.key.with_suffix(".pub").read_bytes(),
        }
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for path, content in files.items():
                entry = tarfile.TarInfo(path.lstrip("/"))
                entry.size = len(content)
                entry.mode = 0o600 if path.endswith("_key") else 0o644
                tar.addfile(entry, io.BytesIO(content))
        return buffer.getvalue()

    def _write_known_hosts(self) -> None:
        lines = []
        for record in records(self._layout).values():
            kind, key, *_ = (self._layout.hosts / record.name / f"{HOST_KEY}.pub").read_text().split()
            lines.append(f"{record.address} {kind} {key}\n")
        _replace(self._layout.known_hosts, "".join(lines))


def _replace(file: Path, text: str) -> None:
    new = file.with_suffix(".new")
    new.write_text(text)
    new.rename(file)
