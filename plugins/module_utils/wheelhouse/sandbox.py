"""Runs foreign code on a build host in a transient unit, as an account that exists only as long as the unit.

A unit sees its inputs read-only and writes to a file system in memory that ends with it; its results come back through
a pipe. So it leaves nothing behind, whatever it does, and cannot fill a disk.
"""

from __future__ import annotations

import fcntl
import inspect
import ipaddress
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ..host.facts import systemd_version
from ..host.interpreter import Interpreter
from . import inside

# The last bytes of a unit's output to keep.
_KEPT = 2**18
# Seconds beyond the unit's own limit, after which to stop waiting for systemd.
_GRACE = 60
# The variables of this process that a unit with network gets, with which pip reaches the registry.
_NETWORK = ("http_proxy", "https_proxy", "no_proxy", "all_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")

# Where clouds serve what a machine may know and do. No registry is there, but the resolver of some clouds is.
_METADATA = ("169.254.0.0/16", "fe80::/64")
_RESOLVERS = Path("/etc/resolv.conf")

# The first systemd that has it.
PRIVATE_IPC = 248
# See systemd.exec(5) and systemd.resource-control(5). DynamicUser implies NoNewPrivileges, RestrictSUIDSGID, RemoveIPC,
# and a private /tmp on the host's disk, which is made inaccessible; TMPDIR is in memory.
_PROPERTIES = (
    "DynamicUser=yes", "ProtectSystem=strict", "ProtectHome=yes", "PrivateDevices=yes", "DevicePolicy=closed",
    "NoNewPrivileges=yes", "CapabilityBoundingSet=", "AmbientCapabilities=", "ProtectProc=invisible", "ProcSubset=pid",
    "ProtectClock=yes", "ProtectHostname=yes", "ProtectKernelLogs=yes", "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes", "ProtectControlGroups=yes", "RestrictNamespaces=yes", "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes", "LockPersonality=yes", "RemoveIPC=yes", "KeyringMode=private",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK", "SystemCallArchitectures=native",
    "SystemCallFilter=@system-service", "SystemCallErrorNumber=EPERM", "UMask=0022", "LimitCORE=0",
    "InaccessiblePaths=/tmp /var/tmp", "KillMode=control-group", "TimeoutStopSec=5", "OOMPolicy=kill",
)  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """What a unit may use: seconds, mebibytes of memory and of files, and processes."""

    seconds: int
    memory_mb: int
    disk_mb: int
    tasks: int


class StepError(Exception):
    """A step failed: its subject, why (``timeout``, ``memory``, ``output`` or ``failed``), and its output."""

    def __init__(self, subject: str, why: str, said: str) -> None:
        super().__init__(f"{subject}: {why}\n{said}")
        self.subject, self.why, self.said = subject, why, said


@contextmanager
def workspace() -> Iterator[Path]:
    """Provide a folder owned by root, and remove it at the end, together with those of killed runs."""
    # Units read what root puts there, below a folder that only root can access.
    os.umask(0o022)
    root = inside.ROOT
    root.mkdir(mode=0o700, exist_ok=True)
    with (root / ".lock").open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        for path in root.glob("*-*"):
            if _abandoned(path):
                shutil.rmtree(path)
        work = Path(tempfile.mkdtemp(prefix="work-", dir=root))
        held = os.open(work, os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_EX)
    try:
        yield work
    finally:
        shutil.rmtree(work)
        os.close(held)


def _abandoned(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


@dataclass(frozen=True)
class Sandbox:
    """Where units run, their limits, and the interpreter that they build for, if it is another than this one."""

    work: Path
    limits: Limits
    python: Interpreter | None = None

    def run(
        self, subject: str, verb: str, *words: str, given: Mapping[str, Path], tools: Path | None = None,
        network: bool = False,
    ) -> Path:  # fmt: skip
        """Run a verb of :mod:`inside`, and return the tar that it wrote.

        Args:
            subject: its subject, for messages.
            verb: which function of ``build_inside``.
            words: the verb's arguments.
            given: names below ``in`` to a file or a folder.
            tools: the virtual environment of the build tools.
            network: whether it may use the network.

        Raises:
            StepError: it failed, or reached a limit.
        """
        program = self.work / "inside.py"
        if not program.is_file():
            program.write_text(inspect.getsource(inside))
        unit = f"flaskops-build-{self.work.name.removeprefix('work-').replace('_', '-')}-{verb}.service"
        output = self.work / f"{verb}.tar"
        executable = self.python.path if self.python else sys.executable
        environment = {**(self.python.environment if self.python else {}), **(_environment() if network else {})}
        command = ["systemd-run", "--quiet", "--wait", "--pipe", "--service-type=exec", f"--unit={unit}"]
        inner = {program: "inside.py"} | {path: f"in/{name}" for name, path in given.items()}
        command += [f"--property={text}" for text in self._properties(inner, tools, network)]
        with output.open("wb") as stream:
            command += [executable, "-I", f"{inside.ROOT}/inside.py", verb, *words]
            said = self._wait(unit, command, environment, stream)
        why = self._result(unit, output, said)
        if why != "success":
            raise StepError(subject, why, said + (_unreachable_resolver() if network else ""))
        return output

    def _properties(self, inner: Mapping[Path, str], tools: Path | None, network: bool) -> Iterator[str]:
        limits, root = self.limits, inside.ROOT
        yield from _PROPERTIES
        # An older one refuses what it does not know. The account is the unit's own, and RemoveIPC ends what it shares.
        if systemd_version() >= PRIVATE_IPC:
            yield "PrivateIPC=yes"
        yield f"RuntimeMaxSec={limits.seconds}"
        yield f"MemoryMax={limits.memory_mb}M"
        yield "MemorySwapMax=0"
        yield f"TasksMax={limits.tasks}"
        # These work without control groups as well: per account, and per process.
        yield f"LimitNPROC={limits.tasks}"
        yield f"LimitDATA={limits.memory_mb}M"
        yield f"LimitFSIZE={limits.disk_mb}M"
        yield f"TemporaryFileSystem={root}:mode=1777,size={limits.disk_mb}M /dev/shm:mode=1777,size=64M /run:size=1M"
        yield f"WorkingDirectory={root}"
        yield from (f"BindReadOnlyPaths={path}:{root}/{name}" for path, name in inner.items())
        if tools:
            yield f"BindReadOnlyPaths={tools}:{inside.TOOLS}"
        if network:
            # Where resolv.conf may point to.
            yield "BindReadOnlyPaths=-/run/systemd/resolve"
            yield f"IPAddressDeny={' '.join(_METADATA)}"
        else:
            yield "PrivateNetwork=yes"
            # It may contain the registry's password.
            yield "InaccessiblePaths=-/etc/pip.conf -/etc/xdg/pip -/etc/uv"

    def _wait(self, unit: str, command: list[str], environment: dict[str, str], output: IO[bytes]) -> str:
        """Run a command to its end; return the end of its output."""
        most = self.limits.disk_mb * 2**20
        said = bytearray()
        # If this process is killed, standard input closes, and the unit ends.
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if not (process.stdin and process.stdout and process.stderr):
            raise AssertionError("each of them is a pipe")

        def listen(stream: IO[bytes]) -> None:
            for chunk in iter(lambda: stream.read1(2**16), b""):  # type: ignore[attr-defined]
                said.extend(chunk)
                del said[:-_KEPT]

        listener = threading.Thread(target=listen, args=(process.stderr,), daemon=True)
        guard = threading.Timer(self.limits.seconds + _GRACE, self._stop, (unit, process))
        listener.start()
        guard.start()
        try:
            # Not as Environment=, which anyone on the host may read.
            with suppress(BrokenPipeError):
                process.stdin.write(json.dumps(environment).encode() + b"\n")
                process.stdin.flush()
            while chunk := process.stdout.read1(2**16):  # type: ignore[attr-defined]
                if output.tell() + len(chunk) > most:
                    self._stop(unit, process)
                    break
                output.write(chunk)
            process.wait()
        finally:
            guard.cancel()
            if process.poll() is None:
                self._stop(unit, process)
        listener.join(timeout=5)
        return said.decode(errors="replace")

    @staticmethod
    def _stop(unit: str, process: subprocess.Popen[bytes]) -> None:
        subprocess.run(["systemctl", "kill", "--signal=SIGKILL", unit], capture_output=True, timeout=30, check=False)
        process.kill()

    def _result(self, unit: str, output: Path, said: str) -> str:
        """Return why a unit ended (Result= of systemctl show), and let systemd forget it."""
        show = ["systemctl", "show", "--property=LoadState,Result", unit]
        done = subprocess.run(show, capture_output=True, text=True, timeout=30, check=False)
        shown = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
        subprocess.run(["systemctl", "reset-failed", unit], capture_output=True, timeout=30, check=False)
        # systemd forgets a unit that succeeded; one that it never started has printed why.
        result = shown.get("Result", "")
        if shown.get("LoadState") == "not-found" and not output.stat().st_size:
            return "failed"
        if result == "success":
            return "success" if tarfile.is_tarfile(output) else "output"
        return {"timeout": "timeout", "oom-kill": "memory"}.get(result, "failed")


def _unreachable_resolver() -> str:
    """Return what to do if this host asks only such resolvers for names as a unit cannot reach; empty otherwise.

    It explains a failure and prevents nothing: behind a proxy a unit asks for no name.
    """
    text = _RESOLVERS.read_text(errors="replace") if _RESOLVERS.is_file() else ""
    named = re.findall(r"^nameserver\s+([^\s%]+)", text, re.MULTILINE)
    if not named or not all(map(_is_metadata, named)):
        return ""
    return (
        f"\nERROR: {_RESOLVERS} of the build host names {' and '.join(named)} alone. Build steps cannot reach it, "
        "because a cloud serves the machine's credentials there: install systemd-resolved on the build host, or name "
        "another resolver\n"
    )


def _is_metadata(address: str) -> bool:
    with suppress(ValueError):
        return any(ipaddress.ip_address(address) in ipaddress.ip_network(network) for network in _METADATA)
    return False


def _environment() -> dict[str, str]:
    """Return the variables with which pip reaches the registry: its own, proxies and certificate authorities."""
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith("PIP_") or name in _NETWORK or name.lower() in _NETWORK
    }


def members(archive: Path, most: int) -> Iterable[tuple[tarfile.TarInfo, tarfile.TarFile]]:
    """Yield the entries of a tar that foreign code may have written, limited in number.

    Args:
        archive: the tar.
        most: maximum number of entries.

    Raises:
        ValueError: it is not a tar, or has more.
    """
    try:
        with tarfile.open(archive, "r:") as tar:
            for count, member in enumerate(tar):
                if count >= most:
                    raise ValueError(f"more than {most} files")
                yield member, tar
    except tarfile.TarError as error:
        raise ValueError(str(error)) from error
