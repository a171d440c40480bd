"""Where things are kept: state, cache and runtime files, all outside the repository."""

import hashlib
import os
import pwd
from pathlib import Path

PRESERVED_VARIABLES = ("XDG_STATE_HOME", "XDG_CACHE_HOME", "PYTHONPATH")


def invoking_user() -> pwd.struct_passwd:
    """Return the person at the keyboard, who under sudo is not root."""
    return pwd.getpwuid(int(os.environ.get("SUDO_UID", os.getuid())))


def _base(variable: str, default: str) -> Path:
    return Path(os.environ.get(variable) or Path(invoking_user().pw_dir, default))


class Layout:
    """Every path that the sandbox uses, derived from the XDG directories of the invoking user."""

    def __init__(self) -> None:
        self.state = _base("XDG_STATE_HOME", ".local/state") / "flaskops-sandbox"
        self.images = _base("XDG_CACHE_HOME", ".cache") / "flaskops" / "images"
        # Tells sandboxes of different state directories apart wherever names are machine-wide:
        # interfaces, cgroups, /run.
        self.tag = hashlib.sha256(str(self.state).encode()).hexdigest()[:8]
        # podman refuses long paths here, so this cannot live under the state directory.
        self.runtime = Path("/run") / f"flaskops-{self.tag}"
        self.storage = self.state / "storage"
        self.networks = self.state / "networks"
        self.hosts = self.state / "hosts"
        self.key = self.state / "ssh" / "id_ed25519"
        self.known_hosts = self.state / "ssh" / "known_hosts"

    def make_directories(self) -> None:
        """Create the directories, owned by the invoking user even when root creates them."""
        user = invoking_user()
        for directory in (self.hosts, self.key.parent, self.images):
            for missing in [p for p in [*reversed(directory.parents), directory] if not p.exists()]:
                missing.mkdir(mode=0o700, exist_ok=True)
                os.chown(missing, user.pw_uid, user.pw_gid)

    def hand_over(self) -> None:
        """Give keys and records to the invoking user; podman's storage stays with root."""
        user = invoking_user()
        for top in (self.hosts, self.key.parent):
            for path in [top, *top.rglob("*")]:
                os.chown(path, user.pw_uid, user.pw_gid)
