"""The fallback for machines that are themselves containers or small virtual machines.

There crun finds cgroup v1 controllers, or may not raise limits, and does not start anything. It works in a mount
namespace with a plain cgroup v2 tree; the machine's own mounts stay unchanged. podman does not manage cgroups then, so
each host gets one that is created here: two systemds in one cgroup would stop each other's units.
"""

import os
import re
import resource
import subprocess
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.paths import Layout, make_directory
from sandbox.process import run

CAP_SYS_RESOURCE = 24
CGROUPS = "/sys/fs/cgroup"
MAKE_NAMESPACE = f"""set -e
umount --lazy {CGROUPS} 2>/dev/null || true
mount -t cgroup2 cgroup2 {CGROUPS}
for path in "$@"; do mount -t tmpfs -o mode=755 tmpfs "$path"; done
"""
ELSEWHERE = "use a virtual machine, or a container with CAP_SYS_ADMIN; or pass -i your/inventory to Ansible"
ENTER_CGROUP = 'mkdir -p "$0" && echo $$ > "$0/cgroup.procs" && exec "$@"'
# A killed process leaves its cgroup a moment later, and only an empty cgroup can be removed.
REMOVE_CGROUP = """
[ -d "$0" ] || exit 0
echo 1 > "$0/cgroup.kill"
for _ in $(seq 200); do
    find "$0" -depth -type d -exec rmdir {} + 2>/dev/null
    [ -d "$0" ] || exit 0
    sleep 0.05
done
echo "processes in $0 do not end" >&2; exit 1
"""


def needed(root: Path = Path("/")) -> bool:
    """Return whether podman can only run in the private namespace.

    Args:
        root: the directory of /proc and /sys.

    Returns:
        False on an ordinary machine: cgroup v2 with its controllers, and root may raise limits.
    """
    mounted = re.findall(rf" {CGROUPS} .* - (\S+) ", (root / "proc/self/mountinfo").read_text())
    controllers = root / "sys/fs/cgroup/cgroup.controllers"
    unified = mounted[-1:] == ["cgroup2"] and "memory" in controllers.read_text().split()
    capabilities = re.findall(r"^CapEff:\s*(\w+)$", (root / "proc/self/status").read_text(), re.MULTILINE)
    return not (unified and int(capabilities[0], 16) >> CAP_SYS_RESOURCE & 1)


class Namespace:
    """The private mount namespace, kept alive by a bind mount in the state directory.

    podman's runtime state is on file systems that exist only in it: when the namespace ends, so does everything that
    would be stale.
    """

    def __init__(self, layout: Layout) -> None:
        self._storage = layout.storage
        self._directory = layout.state / "namespace"
        self._file = self._directory / "mnt"
        self._private = [str(layout.runtime), "/run/netns", "/run/crun", "/run/containers"]
        self._cgroups = f"{CGROUPS}/flaskops-{layout.tag}"

    def ensure(self) -> bool:
        """Create the namespace if it is missing, or is older than the storage, ending what still runs.

        Returns:
            Whether it had to be created.

        Raises:
            SandboxError: this machine does not let root mount.
        """
        if os.path.ismount(self._file) and self._storage.exists():
            return False
        self._unmount()
        make_directory(self._directory)
        self._file.touch()
        for path in self._private:
            Path(path).mkdir(parents=True, exist_ok=True)
        directory = str(self._directory)
        unshare = ["unshare", f"--mount={self._file}", "--propagation=slave", "sh", "-c", MAKE_NAMESPACE, "sh"]
        # A namespace can only be bound where mounts do not propagate.
        bind, private = ["mount", "--bind", directory, directory], ["mount", "--make-private", directory]
        try:
            for command in (bind, private, [*unshare, *self._private]):
                run(command, "making a mount namespace with cgroup v2", remedy=ELSEWHERE)
        except SandboxError:
            self._unmount()
            raise
        self.remove_cgroup()
        return True

    def enter(self, host: str | None = None) -> list[str]:
        """Return the command prefix that runs a program in the namespace.

        Args:
            host: run it in this host's cgroup as well.
        """
        prefix = ["nsenter", f"--mount={self._file}"]
        return [*prefix, "sh", "-c", ENTER_CGROUP, f"{self._cgroups}/{host}"] if host else prefix

    def remove_cgroup(self, host: str = "") -> None:
        """End every process of a host, or of all of them, and remove its cgroup."""
        cgroup = f"{self._cgroups}/{host}".rstrip("/")
        run([*self.enter(), "sh", "-c", REMOVE_CGROUP, cgroup], f"ending what runs in {cgroup}")

    def remove(self) -> None:
        """End everything that runs in the namespace, if there is one, and remove it."""
        if os.path.ismount(self._file):
            self.remove_cgroup()
        self._unmount()

    def _unmount(self) -> None:
        for path in (self._file, self._directory):
            while subprocess.run(["umount", "--lazy", path], capture_output=True, check=False).returncode == 0:
                pass


def create_options() -> list[str]:
    """Return what ``podman create`` needs here: unchanged limits, and no management of cgroups."""
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    # podman lowers its own limit of processes to pid_max if it may not raise it (containers/common,
    # getDefaultProcessLimits), and cannot grant more than it has.
    pid_max = int(Path("/proc/sys/kernel/pid_max").read_text())
    processes = min(pid_max, resource.getrlimit(resource.RLIMIT_NPROC)[1])
    limits = [f"--ulimit=nofile=1024:{files}", f"--ulimit=nproc={processes}:{processes}"]
    return ["--cgroups=disabled", "--cgroupns=private", *limits]
