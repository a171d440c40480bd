"""Brings hosts up and down."""

import dataclasses
import fcntl
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from sandbox import checks, controller, image, inventory
from sandbox.errors import SandboxError
from sandbox.host import USER, Record, Spec, answering, records
from sandbox.network import Network, ipv6_address, mac_address
from sandbox.paths import Layout, hand_over, make_directory
from sandbox.podman import Podman
from sandbox.process import run, step

BOOT_SECONDS = 60
HOST_KEY = "ssh_host_ed25519_key"
OPTIONS = (
    "--systemd=always",
    # A reboot ends the container; conmon then restarts it with its files.
    "--restart=always",
    # podman allows 2048 threads, uWSGI may need 12,000.
    "--pids-limit=-1",
    # Half of the memory, as on any server.
    f"--shm-size={os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') // 2}b",
    "--log-driver=k8s-file",
    # Units set up file systems of their own (ProtectSystem=, PrivateTmp= …) as on any server,
    "--cap-add=SYS_ADMIN",
    "--security-opt=apparmor=unconfined",
    "--security-opt=label=disable",
    # and see the processes that they hide (PrivateUsers= with ProtectProc=).
    "--cap-add=SYS_PTRACE",
    # Logins are recorded.
    "--cap-add=AUDIT_WRITE",
)
# A wheel is found again by everything that its build could see (module_utils/wheelhouse/cache.py), on whichever host.
BUILD_OPTIONS = ("--volume=wheels:/var/cache/flaskops-build",)
# A pair of balancers moves an address between them (VRRP).
BALANCER_OPTIONS = ("--cap-add=NET_ADMIN", "--cap-add=NET_RAW")
GROUP_OPTIONS = {"build": BUILD_OPTIONS, "load_balancer": BALANCER_OPTIONS}


class Fleet:
    """The hosts of one state directory."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._podman = Podman(layout)
        self._network = Network(layout)

    def up(self, specs: Sequence[Spec], inventory_file: Path | None) -> None:
        """Bring hosts up; those that already match are not changed.

        Args:
            specs: the hosts.
            inventory_file: where to write an inventory of just these hosts.

        Raises:
            SandboxError: the machine lacks something, or a host does not start.
        """
        checks.programs()
        with self._lock():
            images = {suite: image.Image(suite, self._layout) for suite in {spec.suite for spec in specs}}
            known, up = records(self._layout), answering()
            running = {name: record for name, record in known.items() if record.address in up}
            fresh = [
                spec
                for spec in specs
                if spec.name not in running or not running[spec.name].satisfies(spec, images[spec.suite].name)
            ]
            if fresh:
                checks.before_up(fresh, running, self._layout)
                self._prepare()
                image.ensure([images[suite] for suite in {spec.suite for spec in fresh}], self._podman)
                with step(f"starting {', '.join(spec.name for spec in fresh)}"), self._network.claimed():
                    for record in [self._create(spec, images[spec.suite].name) for spec in fresh]:
                        self._wait(record)
            known = records(self._layout)
            owner = str(inventory_file.resolve()) if inventory_file else None
            wanted = [dataclasses.replace(known[s.name], group=s.group, inventory=owner) for s in specs]
            for record in wanted:
                self._save(record)
            if inventory_file:
                make_directory(inventory_file.resolve().parent)
                inventory_file.write_text(inventory.as_yaml(wanted, self._layout))
                hand_over(inventory_file)

    def down(self, names: Sequence[str]) -> None:
        """Remove hosts, if they exist."""
        with self._lock():
            there = [name for name in names if (self._layout.hosts / name).exists()]
            if there:
                self._prepare()
                with step(f"removing {', '.join(there)}"):
                    for name in there:
                        self._podman.remove_container(name)
                        shutil.rmtree(self._layout.hosts / name)
                self._write_known_hosts()

    def reboot(self, names: Sequence[str]) -> None:
        """Shut hosts down as systemd does, and boot them again; files and addresses are kept."""
        self._stop(names, BOOT_SECONDS, "shutting down")
        self.on(names)

    def reset(self, names: Sequence[str]) -> None:
        """Cut the power of hosts, and boot them again."""
        self.off(names)
        self.on(names)

    def off(self, names: Sequence[str]) -> None:
        """Kill every process of hosts at once.

        Files stay as the last process saw them: a host with its own disks would lose what it had not synced.
        """
        # Without any time to end, podman kills at once.
        self._stop(names, 0, "cutting the power of")

    def on(self, names: Sequence[str]) -> None:
        """Boot hosts that are off; files and addresses stay."""
        with self._lock():
            known = records(self._layout)
            for record in [known.get(name) or self._running(name) for name in names]:
                with step(f"booting {record.name}"):
                    self._start(record.name)
                    self._wait(record)

    def _stop(self, names: Sequence[str], patience: int, what: str) -> None:
        with self._lock():
            for record in [self._running(name) for name in names]:
                with step(f"{what} {record.name}"):
                    self._podman.run("stop", f"--time={patience}", record.name, what=f"{what} {record.name}")

    def exec(self, name: str, command: Sequence[str]) -> int:
        """Run a command as root in a host, without SSH, and return its exit status."""
        self._running(name, sshd=False)
        options = ["--interactive", *(["--tty"] if sys.stdin.isatty() else [])]
        full = self._podman.command("exec", *options, name, *command, host=name)
        return subprocess.run(full, check=False).returncode

    def ssh(self, name: str, command: Sequence[str]) -> int:
        """Log in to a host, or run a command over SSH, and return its exit status."""
        address = self._running(name).address
        options = [*inventory.ssh_options(self._layout), "-i", str(self._layout.key)]
        return subprocess.run(["ssh", *options, f"{USER}@{address}", *command], check=False).returncode

    def clean(self, images: bool) -> None:
        """Remove every trace, whatever state things are in.

        Args:
            images: remove the cached images as well.
        """
        checks.programs()
        hosts = ", ".join(sorted(path.name for path in self._layout.hosts.glob("*"))) or "what is left"
        with self._lock(), step(f"removing {hosts}, the network, keys and {self._layout.state}"):
            # If podman cannot run at all, it has left nothing running.
            with suppress(SandboxError):
                self._podman.prepare()
                self._podman.succeeds("rm", "--force", "--all", "--time=0")
                self._podman.succeeds("rmi", "--force", "--all")
            if self._podman.namespace:
                self._podman.namespace.remove()
            self._network.remove()
            gone = [self._layout.state, self._layout.runtime, self._layout.lock]
            run(["rm", "-rf", *map(str, gone + [self._layout.images] * images)], "removing files")

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Let only one command at a time change anything."""
        with self._layout.lock.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                with step("waiting for another sandbox command"):
                    fcntl.flock(file, fcntl.LOCK_EX)
            owned = (self._layout.hosts, self._layout.key.parent)
            for directory in (*owned, self._layout.images):
                make_directory(directory)
            try:
                yield
            finally:
                for directory in owned:
                    if directory.exists():
                        hand_over(directory)

    def _prepare(self) -> None:
        if self._podman.prepare():
            self._network.remove()

    def _running(self, name: str, sshd: bool = True) -> Record:
        record = records(self._layout).get(name)
        if record and record.address in answering(sshd):
            return record
        spec = record or Spec(name)
        remedy = f"`python3 -m sandbox up {spec.name}:{spec.suite}:{spec.group}` makes it afresh"
        raise SandboxError(f"{name} is not running" if record else f"there is no host {name}", remedy)

    def _create(self, spec: Spec, image_name: str) -> Record:
        """Create a host and start it."""
        known = records(self._layout)
        previous = known[spec.name].address if spec.name in known else None
        address = self._network.address(previous, {record.address for record in known.values()})
        self._make_key(self._layout.key)
        self._make_key(self._layout.hosts / spec.name / HOST_KEY)
        self._podman.remove_container(spec.name)
        self._podman.run(
            "create",
            f"--name={spec.name}",
            f"--hostname={spec.name}",
            f"--network={self._network.name}",
            f"--ip={address}",
            *([f"--ip6={ipv6_address(address)}"] if self._network.has_ipv6 else []),
            f"--mac-address={mac_address(address)}",
            *(f"--publish={publish}" for publish in spec.publish),
            *OPTIONS,
            *GROUP_OPTIONS.get(spec.group, ()),
            *self._podman.create_options(),
            image_name,
            "/usr/local/sbin/sandbox-init",
            what=f"creating {spec.name}",
        )
        self._podman.run("cp", "-", f"{spec.name}:/", what=f"filling {spec.name}", stdin=self._files(spec))
        self._start(spec.name)
        record = Record(**dataclasses.asdict(spec), address=address, image=image_name)
        self._save(record)
        return record

    def _start(self, name: str) -> None:
        self._podman.run("start", name, host=name, what=f"starting {name}")

    def _wait(self, record: Record) -> None:
        """Wait until sshd responds."""
        deadline = time.monotonic() + BOOT_SECONDS
        while record.address not in answering():
            if time.monotonic() > deadline:
                console = self._podman.run("logs", "--tail=12", record.name, what="reading the console")
                raise SandboxError(
                    f"{record.name} did not answer on port 22 within {BOOT_SECONDS} s\n{console}".rstrip(),
                    f"look inside: `python3 -m sandbox exec {record.name} -- journalctl --boot`",
                )
            time.sleep(0.05)

    def _make_key(self, file: Path) -> None:
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            run(["ssh-keygen", "-q", "-ted25519", "-N", "", "-Csandbox", "-f", str(file)], "making a key")

    def _files(self, spec: Spec) -> bytes:
        """Return an archive of the files that turn the image into this host."""
        key = self._layout.hosts / spec.name / HOST_KEY
        files = controller.inherited_files(spec.suite) | {
            f"/etc/ssh/{HOST_KEY}": key.read_bytes(),
            f"/etc/ssh/{HOST_KEY}.pub": key.with_suffix(".pub").read_bytes(),
            f"/etc/ssh/authorized_keys/{USER}": self._layout.key.with_suffix(".pub").read_bytes(),
        }
        return archive(files)

    def _save(self, record: Record) -> None:
        text = json.dumps(dataclasses.asdict(record), indent=2)
        _replace(self._layout.hosts / record.name / "host.json", text)
        self._write_known_hosts()

    def _write_known_hosts(self) -> None:
        keys = {r.address: self._layout.hosts / r.name / f"{HOST_KEY}.pub" for r in records(self._layout).values()}
        lines = (f"{address},{ipv6_address(address)} {key.read_text()}" for address, key in keys.items())
        _replace(self._layout.known_hosts, "".join(lines))


def archive(files: Mapping[str, bytes]) -> bytes:
    """Return an archive of files for `podman cp`; only root can read private keys.

    Args:
        files: contents by absolute path.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, content in files.items():
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size = len(content)
            entry.mode = 0o600 if path.endswith("_key") else 0o644
            tar.addfile(entry, io.BytesIO(content))
        end = tar.offset + 2 * tarfile.BLOCKSIZE
    # Without the padding of the last record: podman stops reading where the archive ends, and a busy machine then fails
    # the copy with "broken pipe" (https://github.com/containers/buildah/issues/6573).
    return buffer.getvalue()[:end]


def _replace(file: Path, text: str) -> None:
    """Write a file that others may be reading."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.rename(file)
