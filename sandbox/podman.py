"""Calls podman with its own storage, directly or in the private namespace."""

import shutil
import subprocess
from pathlib import Path

from sandbox import restricted
from sandbox.paths import Layout
from sandbox.process import run

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Podman:
    """podman with its own storage, runtime state and networks, separate from the operator's."""

    def __init__(self, layout: Layout) -> None:
        self._runtime = layout.runtime
        self.namespace = restricted.Namespace(layout) if restricted.needed() else None
        self._options = [
            f"--root={layout.storage}",
            f"--runroot={layout.runtime}",
            f"--tmpdir={layout.runtime}/tmp",
            f"--network-config-dir={layout.networks}",
            "--runtime=crun",
            "--events-backend=none",
        ]
        if not Path("/run/systemd/system").exists():
            self._options.append("--cgroup-manager=cgroupfs")

    def prepare(self) -> bool:
        """Ensure that podman can run and has no containers from before a reboot.

        Returns:
            Whether it starts without the state of what ran before.
        """
        if self.namespace:
            return self.namespace.ensure()
        marker = self._runtime / "boot_id"
        if marker.exists() and marker.read_bytes() == BOOT_ID.read_bytes():
            return False
        # /run need not be a tmpfs, and podman would mistake files left there for running containers.
        shutil.rmtree(self._runtime, ignore_errors=True)
        self._runtime.mkdir(parents=True)
        marker.write_bytes(BOOT_ID.read_bytes())
        return True

    def command(self, *arguments: str, host: str | None = None) -> list[str]:
        """Return the full command line of a podman call.

        Args:
            arguments: podman's subcommand and options.
            host: the host that a new process will belong to.
        """
        prefix = self.namespace.enter(host) if self.namespace else []
        return [*prefix, "podman", *self._options, *arguments]

    def run(self, *arguments: str, what: str, host: str | None = None, stdin: bytes | None = None) -> str:
        """Call podman and return its output.

        Raises:
            SandboxError: it failed.
        """
        return run(self.command(*arguments, host=host), what, stdin)

    def succeeds(self, *arguments: str) -> bool:
        """Call podman quietly, and return whether it succeeded."""
        return subprocess.run(self.command(*arguments), capture_output=True, check=False).returncode == 0

    def create_options(self) -> list[str]:
        """Return what ``podman create`` needs on this machine."""
        return restricted.create_options() if self.namespace else []

    def remove_container(self, name: str) -> None:
        """Remove a container in any state, if it exists."""
        remove = ("rm", "--force", "--ignore", "--time=0", name)
        # If the processes were killed without podman, the first attempt fails, and podman notices.
        if not self.succeeds(*remove):
            self.run(*remove, what=f"removing {name}")
        if self.namespace:
            self.namespace.remove_cgroup(name)
