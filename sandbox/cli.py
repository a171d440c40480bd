"""The command line: ``python3 -m sandbox COMMAND``."""

import argparse
import dataclasses
import os
import shutil
import sys
from pathlib import Path

from sandbox import checks, inventory
from sandbox.controller import PIP_VARIABLES
from sandbox.errors import SandboxError
from sandbox.fleet import Fleet
from sandbox.host import parse_publish, parse_spec
from sandbox.paths import Layout

NEED_ROOT = {"up", "down", "reboot", "reset", "off", "on", "exec", "clean", "doctor"}
PRESERVED_VARIABLES = ("XDG_STATE_HOME", "XDG_CACHE_HOME", "PYTHONPATH", *PIP_VARIABLES)


def parser() -> argparse.ArgumentParser:
    """Return the command line's grammar."""
    top = argparse.ArgumentParser(prog="python3 -m sandbox", description="Hosts to deploy to, as containers.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="bring hosts up; running ones are left alone")
    up.add_argument("hosts", nargs="+", metavar="NAME[:SUITE[:GROUP]]")
    up.add_argument("--publish", action="append", default=[], metavar="HOSTADDR:PORT:CONTAINERPORT")
    up.add_argument("--inventory", type=Path, metavar="FILE", help="write an inventory of just these hosts")
    verbs = {
        "down": "remove hosts",
        "reboot": "shut hosts down and boot them again",
        "reset": "cut the hosts' power and boot them again",
        "off": "cut the hosts' power",
        "on": "boot hosts that are off",
    }
    for name, text in verbs.items():
        commands.add_parser(name, help=text).add_argument("hosts", nargs="+", metavar="NAME")
    commands.add_parser("list", help="show all hosts")
    for name, text in {"exec": "run a command as root, without SSH", "ssh": "log in over SSH"}.items():
        command = commands.add_parser(name, help=text)
        command.add_argument("host", metavar="NAME")
        command.add_argument("words", nargs=argparse.REMAINDER, metavar="[--] COMMAND")
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
    if not (sudo := shutil.which("sudo")):
        raise SandboxError("hosts need root, and there is no sudo", "run this as root, or apt-get install sudo")
    preserve = f"--preserve-env={','.join(PRESERVED_VARIABLES)}"
    os.execv(sudo, ["sudo", preserve, sys.executable, "-m", "sandbox", *sys.argv[1:]])


def execute(arguments: argparse.Namespace) -> int:
    """Carry out a parsed command line and return the exit status."""
    if arguments.command in NEED_ROOT:
        become_root()
    layout = Layout()
    fleet = Fleet(layout)
    match arguments.command:
        case "up":
            for publish in arguments.publish:
                parse_publish(publish)
            first, *others = map(parse_spec, arguments.hosts)
            first = dataclasses.replace(first, publish=tuple(arguments.publish))
            fleet.up([first, *others], arguments.inventory)
        case "down":
            fleet.down(arguments.hosts)
        case "reboot":
            fleet.reboot(arguments.hosts)
        case "reset":
            fleet.reset(arguments.hosts)
        case "off":
            fleet.off(arguments.hosts)
        case "on":
            fleet.on(arguments.hosts)
        case "list":
            print(inventory.as_table(layout))
        case "exec" | "ssh" as command:
            return int(getattr(fleet, command)(arguments.host, arguments.words[arguments.words[:1] == ["--"] :]))
        case "clean":
            fleet.clean(arguments.images)
        case "doctor":
            print(f"sandbox: {checks.doctor(layout)}")
        case "packages":
            missing = checks.missing_packages()
            states = [f"{name} {'missing' if name in missing else 'installed'}" for name in checks.needed_packages()]
            print(" ".join(missing) if arguments.missing else "\n".join(states))
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
