"""How podman is called: with storage of its own, plainly or in the private namespace."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from sandbox import restricted
from sandbox.paths import Layout
from sandbox.process import run

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Podman:
    """podman with its storage, runtime state and networks below the sandbox's directories.

    Nothing of the operator's own podman is read or written.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.namespace = restricted.Namespace(layout) if restricted.needed() else None
        self._global_options = [
            f"--root={layout.storage}",
            f"--runroot={layout.runtime}",
            f"--tmpdir={layout.runtime}/tmp",
            f"--network-config-dir={layout.networks}",
            "--runtime=crun",
            "--events-backend=none",
        ]
        if not Path("/run/systemd/system").exists():
            self._global_options.append("--cgroup-manager=cgroupfs")

    def prepare(self) -> bool:
        """Make sure that podman can run and knows of no container from before a reboot.

        Returns:
            Whether it starts without knowledge of what ran before.
        """
        if self.namespace:
            return self.namespace.ensure()
        marker = self._layout.runtime / "boot_id"
        # /run need not be a tmpfs, and podman takes files left there for running containers.
        if marker.exists() and marker.read_bytes() == BOOT_ID.read_bytes():
            return False
        shutil.rmtree(self._layout.runtime, ignore_errors=True)
        self._layout.runtime.mkdir(parents=True)
        marker.write_bytes(BOOT_ID.read_bytes())
        return True

    def command(self, *arguments: str, host: str | None = None) -> list[str]:
        """Return the full command line of a podman call.

        Args:
            arguments: podman's subcommand and options.
            host: the host that a new process belongs to.
        """
        prefix = self.namespace.enter(host) if self.namespace else []
        return [*prefix, "podman", *self._global_options, *arguments]

    def run(self, *arguments: str, what: str, host: str | None = None, stdin: bytes | None = None) -> str:
        """Call podman and return its output.

        Raises:
            SandboxError: it failed.
        """
        return run(self.command(*arguments, host=host), what, stdin)

    def create_options(self) -> Sequence[str]:
        """Return what ``podman create`` needs on this kind of machine."""
        return restricted.run_options() if self.namespace else []

    def remove_container(self, name: str) -> None:
        """Remove a container in whatever state it is, or none."""
        remove = self.command("rm", "--force", "--ignore", "--time=0", name)
        # When the processes were killed behind podman's back, the first attempt fails, and learns of it.
        if subprocess.run(remove, capture_output=True, check=False).returncode:
            run(remove, f"removing {name}")
        if self.namespace:
            self.namespace.remove_cgroup(name)
