"""The paths of state, cache and runtime files, all outside the repository."""

import hashlib
import os
import pwd
from pathlib import Path


def invoking_user() -> pwd.struct_passwd:
    """Return the user who runs the command; under sudo, the user who called it."""
    return pwd.getpwuid(int(os.environ.get("SUDO_UID", os.getuid())))


def hand_over(top: Path) -> None:
    """Give a file, or a directory with everything in it, to the invoking user."""
    user = invoking_user()
    for path in [top, *top.rglob("*")]:
        os.chown(path, user.pw_uid, user.pw_gid)


def make_directory(directory: Path) -> None:
    """Create a directory and its parents, owned by the invoking user even if root creates them."""
    for missing in [path for path in [*reversed(directory.parents), directory] if not path.exists()]:
        missing.mkdir(mode=0o700, exist_ok=True)
        hand_over(missing)


class Layout:
    """Every path that the sandbox uses, derived from the XDG directories of the invoking user."""

    def __init__(self) -> None:
        home = Path(invoking_user().pw_dir)
        self.state = Path(os.environ.get("XDG_STATE_HOME") or home / ".local" / "state") / "flaskops-sandbox"
        self.images = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "flaskops" / "images"
        # Distinguishes sandboxes with different state directories wherever names are machine-wide.
        self.tag = hashlib.sha256(str(self.state).encode()).hexdigest()[:8]
        # podman refuses long paths here, so this cannot live in the state directory.
        self.runtime = Path("/run") / f"flaskops-{self.tag}"
        self.lock = self.runtime.with_suffix(".lock")
        self.storage = self.state / "storage"
        self.networks = self.state / "networks"
        self.hosts = self.state / "hosts"
        self.key = self.state / "ssh" / "id_ed25519"
        self.known_hosts = self.state / "ssh" / "known_hosts"
