"""The command line: ``python3 -m sandbox COMMAND``."""

import argparse
import dataclasses
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sandbox import checks, image, inventory
from sandbox.errors import SandboxError
from sandbox.host import Hosts, Record, Spec, answering, parse_publish, parse_spec, records
from sandbox.network import Network
from sandbox.paths import PRESERVED_VARIABLES, Layout
from sandbox.podman import Podman
from sandbox.process import run, step

NEED_ROOT = {"up", "down", "reboot", "exec", "clean", "doctor"}


class Sandbox:
    """The commands."""

    def __init__(self) -> None:
        self.layout = Layout()
        self.podman = Podman(self.layout)
        self.network = Network(self.layout)
        self.hosts = Hosts(self.layout, self.podman, self.network)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Let one command at a time change things."""
        self.layout.make_directories()
        with (self.layout.state / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                with step("waiting for another sandbox command"):
                    fcntl.flock(file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                if self.layout.state.exists():
                    self.layout.hand_over()

    def up(self, specs: Sequence[Spec], inventory_file: Path | None) -> None:
        """Bring hosts up; those that are as asked for are left alone."""
        checks.programs()
        with self.lock():
            images = {suite: image.Image(suite, self.layout) for suite in {spec.suite for spec in specs}}
            known = records(self.layout)
            fresh = [s for s in specs if not self._is_up(s, known.get(s.name), images[s.suite].name)]
            if fresh:
                self._create(fresh, images)
            owner = str(inventory_file.resolve()) if inventory_file else None
            known = records(self.layout)
            wanted = [dataclasses.replace(known[s.name], group=s.group, inventory=owner) for s in specs]
            for record in wanted:
                if record != known[record.name]:
                    self.hosts.save(record)
            if inventory_file:
                inventory_file.parent.mkdir(parents=True, exist_ok=True)
                inventory_file.write_text(inventory.as_yaml(wanted, self.layout))

    def _is_up(self, spec: Spec, record: Record | None, image_name: str) -> bool:
        return bool(record and record.satisfies(spec, image_name) and record.address in answering())

    def _create(self, specs: Sequence[Spec], images: dict[str, image.Image]) -> None:
        if self.podman.prepare():
            self.network.remove()
        for spec in specs:
            self.podman.remove_container(spec.name)
        checks.before_up(specs, self.layout)
        image.ensure((images[suite] for suite in {spec.suite for spec in specs}), self.podman)
        with step(f"starting {', '.join(spec.name for spec in specs)}"):
            for record in [self.hosts.create(spec, images[spec.suite]) for spec in specs]:
                self.hosts.wait(record)

    def down(self, names: Sequence[str]) -> None:
        """Remove hosts; those that are not there are fine."""
        with self.lock():
            known = [name for name in names if name in records(self.layout)]
            if known:
                self.podman.prepare()
                with step(f"removing {', '.join(known)}"):
                    for name in known:
                        self.hosts.remove(name)

    def reboot(self, names: Sequence[str]) -> None:
        """Shut hosts down and boot them again; files and addresses stay."""
        with self.lock():
            for record in [self.running_record(name) for name in names]:
                with step(f"rebooting {record.name}"):
                    self.hosts.reboot(record)

    def list(self) -> None:
        """Print a table of the hosts."""
        rows = [("NAME", "SUITE", "GROUP", "ADDRESS", "STATE", "PUBLISHED")]
        up = answering()
        for host in records(self.layout).values():
            state = "running" if host.address in up else "stopped"
            rows.append((host.name, host.suite, host.group, host.address, state, " ".join(host.publish)))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())

    def exec(self, name: str, command: Sequence[str]) -> int:
        """Run a command as root in a host, without SSH."""
        self.running_record(name)
        terminal = ["--tty"] if sys.stdin.isatty() else []
        full = self.podman.command("exec", "--interactive", *terminal, name, *command, host=name)
        return subprocess.run(full, check=False).returncode

    def ssh(self, name: str, command: Sequence[str]) -> int:
        """Log in to a host, or run a command over SSH."""
        address = self.running_record(name).address
        options = [*inventory.ssh_options(self.layout), "-i", str(self.layout.key)]
        return subprocess.run(["ssh", *options, f"ansible@{address}", *command], check=False).returncode

    def clean(self, images: bool) -> None:
        """Remove every trace, from whatever state things are in."""
        checks.programs()
        with self.lock(), step("removing all hosts, the network, keys and state"):
            self.podman.prepare()
            # podman may be what is broken, and none of the rest depends on it.
            for kind in ("rm", "rmi"):
                command = self.podman.command(kind, "--force", "--all")
                subprocess.run(command, capture_output=True, check=False)
            self.network.remove()
            if self.podman.namespace:
                self.podman.namespace.remove()
            shutil.rmtree(self.layout.runtime, ignore_errors=True)
            run(["rm", "-rf", str(self.layout.state)], "removing the state directory")
            if images:
                shutil.rmtree(self.layout.images)

    def running_record(self, name: str) -> Record:
        """Return a running host's record.

        Raises:
            SandboxError: there is no such host, or it is not running.
        """
        record = records(self.layout).get(name)
        if not record:
            raise SandboxError(f"there is no host {name}", f"`python3 -m sandbox up {name}` makes it")
        if record.address not in answering():
            again = ":".join((record.name, record.suite, record.group))
            raise SandboxError(f"{name} is not running", f"`python3 -m sandbox up {again}` makes it afresh")
        return record


def parser() -> argparse.ArgumentParser:
    """Return the command line's grammar."""
    top = argparse.ArgumentParser(prog="python3 -m sandbox", description="Hosts to deploy to, as containers.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="bring hosts up")
    up.add_argument("specs", nargs="+", metavar="NAME[:SUITE[:GROUP]]")
    up.add_argument("--publish", action="append", default=[], metavar="ADDRESS:PORT:CONTAINERPORT")
    up.add_argument("--inventory", type=Path, metavar="FILE", help="write an inventory of just these hosts")
    for name, text in {"down": "remove hosts", "reboot": "shut hosts down and boot them again"}.items():
        commands.add_parser(name, help=text).add_argument("names", nargs="+", metavar="NAME")
    commands.add_parser("list", help="show all hosts")
    for name, text in {"exec": "run a command as root, without SSH", "ssh": "log in over SSH"}.items():
        sub = commands.add_parser(name, help=text)
        sub.add_argument("name", metavar="NAME")
        sub.add_argument("remote", nargs=argparse.REMAINDER, metavar="COMMAND")
    clean = commands.add_parser("clean", help="remove every trace")
    clean.add_argument("--images", action="store_true", help="the cached images too")
    commands.add_parser("doctor", help="check this machine")
    packages = commands.add_parser("packages", help="list the Debian packages needed")
    packages.add_argument("--missing", action="store_true", help="only the missing ones, on one line")
    return top


def become_root() -> None:
    """Start again under sudo unless root runs this.

    Raises:
        SandboxError: there is no sudo.
    """
    if os.geteuid() == 0:
        return
    sudo = shutil.which("sudo")
    if not sudo:
        raise SandboxError("containers with systemd need root, and there is no sudo", "run this as root")
    preserved = f"--preserve-env={','.join(PRESERVED_VARIABLES)}"
    os.execv(sudo, ["sudo", preserved, sys.executable, "-m", "sandbox", *sys.argv[1:]])


def execute(arguments: argparse.Namespace) -> int:
    """Carry out a parsed command line and return the exit status."""
    if arguments.command == "packages":
        missing = checks.missing_packages()
        if arguments.missing:
            print(" ".join(missing))
        else:
            for package in checks.PACKAGES:
                print(package, "missing" if package in missing else "installed")
        return 0
    if arguments.command in NEED_ROOT:
        become_root()
    sandbox = Sandbox()
    match arguments.command:
        case "up":
            for publish in arguments.publish:
                parse_publish(publish)
            first, *others = map(parse_spec, arguments.specs)
            first = dataclasses.replace(first, publish=tuple(arguments.publish))
            sandbox.up([first, *others], arguments.inventory)
        case "down":
            sandbox.down(arguments.names)
        case "reboot":
            sandbox.reboot(arguments.names)
        case "list":
            sandbox.list()
        case "exec":
            return sandbox.exec(arguments.name, [*arguments.remote[arguments.remote[:1] == ["--"] :]])
        case "ssh":
            return sandbox.ssh(arguments.name, [*arguments.remote[arguments.remote[:1] == ["--"] :]])
        case "clean":
            sandbox.clean(arguments.images)
        case "doctor":
            sandbox.layout.make_directories()
            print(f"sandbox: {checks.report(sandbox.layout)}")
    return 0


def main() -> int:
    """Run the command line; errors are one message, without a traceback."""
    try:
        return execute(parser().parse_args())
    except SandboxError as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
