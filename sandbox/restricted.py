"""The fallback for machines that are containers or small VMs themselves.

There crun finds cgroup v1 controllers, or may not raise limits, and refuses to start anything. It works in a
mount namespace that has a plain cgroup v2 tree; the machine's own mounts stay as they are. Cgroups are then
not managed by podman, so each host gets one made here: two systemds in one cgroup would stop each other's
units.
"""

import re
import resource
from pathlib import Path

from sandbox.paths import Layout
from sandbox.process import run

CAP_SYS_RESOURCE = 24
CGROUPS = "/sys/fs/cgroup"
MANAGED_BY_SYSTEMD_OR_ROOT = {"cpu", "memory", "pids"}

ENTER_CGROUP = 'mkdir -p "$0" && echo $$ > "$0/cgroup.procs" && exec "$@"'
# A killed process leaves its cgroup a moment later, and only an empty cgroup can be removed.
REMOVE_CGROUP = """
[ -d "$0" ] || exit 0
[ "$(find "$0" -name cgroup.procs -exec cat {} +)" ] && echo 1 > "$0/cgroup.kill"
for _ in $(seq 100); do
    find "$0" -depth -type d -exec rmdir {} + 2>/dev/null
    [ -d "$0" ] || exit 0
    sleep 0.05
done
echo "processes in $0 do not end" >&2; exit 1
"""


def needed(mountinfo: str | None = None, controllers: str | None = None, process_status: str | None = None) -> bool:
    """Tell whether podman can only run in the private namespace.

    Args:
        mountinfo: text of /proc/self/mountinfo, read when not given; likewise the other two.
        controllers: text of cgroup.controllers at the root of /sys/fs/cgroup.
        process_status: text of /proc/self/status.

    Returns:
        False on an ordinary machine: cgroup v2 with its controllers, and root may raise limits.
    """
    if mountinfo is None:
        mountinfo = Path("/proc/self/mountinfo").read_text()
    if controllers is None:
        file = Path(CGROUPS, "cgroup.controllers")
        controllers = file.read_text() if file.exists() else ""
    if process_status is None:
        process_status = Path("/proc/self/status").read_text()
    mounted = re.findall(rf" {CGROUPS} .* - (\S+) ", mountinfo)
    effective = re.search(r"^CapEff:\s*([0-9a-f]+)$", process_status, re.MULTILINE)
    may_raise_limits = effective is not None and int(effective[1], 16) >> CAP_SYS_RESOURCE & 1 == 1
    unified = mounted[-1:] == ["cgroup2"] and set(controllers.split()) >= MANAGED_BY_SYSTEMD_OR_ROOT
    return not (unified and may_raise_limits)


class Namespace:
    """The private mount namespace, kept alive by a bind mount in the state directory.

    podman's runtime state is on file systems that exist only in it: when the namespace is gone, so is
    everything that would be stale.
    """

    def __init__(self, layout: Layout) -> None:
        self._storage = layout.storage
        self._directory = layout.state / "namespace"
        self._file = self._directory / "mnt"
        self._private = [str(layout.runtime), "/run/netns", "/run/crun", "/run/containers"]
        self._cgroups = f"{CGROUPS}/flaskops-{layout.tag}"

    def exists(self) -> bool:
        """Tell whether the namespace is there."""
        return f" {self._file} rw - nsfs " in _mounts()

    def ensure(self) -> bool:
        """Create the namespace if it is missing, or has outlived the storage, ending what still runs.

        Returns:
            Whether it had to be made.
        """
        if self.exists() and self._storage.exists():
            return False
        self._unmount()
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file.touch()
        for path in self._private:
            Path(path).mkdir(parents=True, exist_ok=True)
        directory = str(self._directory)
        # A namespace can only be bound below a mount that does not propagate into it.
        run(["mount", "--bind", directory, directory], "making the mount namespace")
        run(["mount", "--make-private", directory], "making the mount namespace")
        setup = f"""set -e
            umount --lazy {CGROUPS} 2>/dev/null || true
            mount -t cgroup2 cgroup2 {CGROUPS}
            for path in "$@"; do mount -t tmpfs -o mode=755 tmpfs "$path"; done"""
        run(
            [
                "unshare",
                f"--mount={self._file}",
                "--propagation=slave",
                "sh",
                "-c",
                setup,
                "sh",
                *self._private,
            ],
            "mounting a cgroup v2 tree in a private mount namespace",
        )
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
        """End everything that runs in it, and drop the namespace."""
        self.ensure()
        self.remove_cgroup()
        self._unmount()

    def _unmount(self) -> None:
        for path in (self._file, self._directory):
            while f" {path} " in _mounts():
                run(["umount", "--lazy", str(path)], "removing the mount namespace")


def _mounts() -> str:
    return Path("/proc/self/mountinfo").read_text().replace("\\040", " ")


def run_options() -> list[str]:
    """Return what ``podman create`` needs here: limits as they are, cgroups left alone."""
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    # podman lowers its own limit of processes to this, if it may not raise it (containers/common,
    # getDefaultProcessLimits), and cannot give more than it has.
    pid_max = int(Path("/proc/sys/kernel/pid_max").read_text())
    processes = min(pid_max, resource.getrlimit(resource.RLIMIT_NPROC)[1])
    return [
        "--cgroups=disabled",
        "--cgroupns=private",
        f"--ulimit=nofile=1024:{files}",
        f"--ulimit=nproc={processes}:{processes}",
    ]
