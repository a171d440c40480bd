"""Images of plain Debian servers: the recipe, the build and the cache."""

import fcntl
import hashlib
import platform
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from sandbox import controller
from sandbox.paths import Layout
from sandbox.podman import Podman
from sandbox.process import run, step

REPOSITORY = "localhost/flaskops-sandbox"
SUITES = {
    "bookworm": "Debian 12", "trixie": "Debian 13", "bullseye": "Debian 11", "forky": "Debian testing",
}  # fmt: skip
PACKAGES = "ca-certificates,dbus,iproute2,openssh-server,procps,python3,python3-apt,sudo,systemd,systemd-sysv"
# A build takes half a minute, but a package mirror that stops in the middle can keep apt waiting for ever.
BUILD_SECONDS = 900
SETUP = Path(__file__).with_name("image-setup.sh")
# dpkg syncs thousands of files; in memory that costs nothing. /dev/shm is not used because it may be nodev.
IN_MEMORY = 'mount -t tmpfs tmpfs "$0" && TMPDIR="$0" exec "$@"'


def recipe(suite: str) -> list[str]:
    """Return the mmdebstrap command that builds a suite, without the output file and the mirror."""
    setup = f'--customize-hook=chroot "$1" sh -eu < {SETUP}'
    return ["mmdebstrap", "--variant=minbase", f"--include={PACKAGES}", setup, "--format=tar", suite]


def identity(command: list[str], setup: bytes) -> str:
    """Return the name of a recipe's image, which is different for every recipe."""
    portable = [part.replace(str(SETUP), SETUP.name) for part in [*command, platform.machine()]]
    return hashlib.sha256("\0".join(portable).encode() + setup).hexdigest()[:12]


class Image:
    """A suite built by the current recipe."""

    def __init__(self, suite: str, layout: Layout) -> None:
        self.suite = suite
        self._command = recipe(suite)
        version = f"{suite}-{identity(self._command, SETUP.read_bytes())}"
        self.name = f"{REPOSITORY}:{version}"
        self.tar = layout.images / f"{version}.tar"

    def build(self) -> None:
        """Build the cached tar file, completely or not at all."""
        partial = self.tar.with_suffix(".partial")
        # Sandboxes of other state directories share the cache.
        with self.tar.with_name(f"{self.suite}.lock").open("w") as lock, TemporaryDirectory() as work:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self.tar.exists():
                return
            options = [f"--aptopt={setting}" for setting in controller.apt_settings()]
            command = [*self._command, *options, str(partial), *controller.apt_sources(self.suite)]
            program = ["unshare", "--mount", "sh", "-c", IN_MEMORY, work, *command]
            run(program, f"building {SUITES[self.suite]}", limit=BUILD_SECONDS)
            for old in self.tar.parent.glob(f"{self.suite}-*.tar"):
                old.unlink()
            partial.rename(self.tar)

    def load(self, podman: Podman) -> None:
        """Put the image into podman's storage, in place of those from older recipes."""
        podman.run("import", "--quiet", str(self.tar), self.name, what=f"importing {self.tar}")
        stored = podman.run("images", "--format={{.Repository}}:{{.Tag}}", what="listing images").split()
        for old in stored:
            if old.startswith(f"{REPOSITORY}:{self.suite}-") and old != self.name:
                # podman refuses while a host uses it; it is removed next time.
                podman.succeeds("rmi", old)


def ensure(images: Iterable[Image], podman: Podman) -> None:
    """Ensure that podman has these images, building missing ones in parallel."""
    missing = [image for image in images if not podman.succeeds("image", "exists", image.name)]
    unbuilt = [image for image in missing if not image.tar.exists()]
    if unbuilt:
        names = " and ".join(SUITES[image.suite] for image in unbuilt)
        with step(f"building {names} (about {20 + 10 * len(unbuilt)} s, once)"), ThreadPoolExecutor() as pool:
            list(pool.map(Image.build, unbuilt))
    for image in missing:
        with step(f"unpacking {SUITES[image.suite]}"):
            image.load(podman)
