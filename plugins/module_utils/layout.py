"""Where an application lives on a host: the one place that knows the paths."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """Paths and unit names of one application.

    Args:
        app: the application's name, also the name of its systemd units.
        base: directory that holds one directory per application (default ``/opt``).
    """

    app: str
    base: Path = Path("/opt")

    @property
    def root(self) -> Path:
        """The application's own directory."""
        return self.base / self.app

    @property
    def releases(self) -> Path:
        """Unpacked code, one read-only directory per artifact."""
        return self.root / "releases"

    @property
    def venvs(self) -> Path:
        """Virtual environments, shared by releases with the same lock and Python."""
        return self.root / "venvs"

    @property
    def generations(self) -> Path:
        """A release with its configuration, one directory per generation."""
        return self.root / "generations"

    @property
    def current(self) -> Path:
        """Symbolic link to the generation that serves."""
        return self.root / "current"

    @property
    def runtime(self) -> Path:
        """Pidfiles and private sockets of the running generations."""
        return Path("/run") / self.app

    @property
    def canary_runtime(self) -> Path:
        """The same for generations that are being tried off the traffic."""
        return Path("/run") / f"{self.app}-canary"

    @property
    def pidfile(self) -> Path:
        """Names the serving master at every moment; absent while nothing serves."""
        return self.runtime / f"{self.app}.pid"

    @property
    def lock(self) -> Path:
        """Held by whoever changes the application on this host."""
        return Path("/run/lock") / f"{self.app}.deploy"

    @property
    def units(self) -> Path:
        """Where the application's unit files live."""
        return Path("/etc/systemd/system")

    @property
    def socket_unit(self) -> str:
        """The unit that owns the listening socket."""
        return f"{self.app}.socket"

    @property
    def socket_dropin(self) -> Path:
        """Tells the socket which generation to start when a connection finds none running."""
        return self.units / f"{self.socket_unit}.d" / "generation.conf"

    def service(self, generation: str) -> str:
        """Return the unit that runs a generation."""
        return f"{self.app}@{generation}.service"

    def canary(self, generation: str) -> str:
        """Return the unit that tries a generation off the traffic."""
        return f"{self.app}-canary@{generation}.service"

    def service_dropin(self, generation: str) -> Path:
        """Return the unit settings that belong to one generation alone."""
        return self.units / f"{self.service(generation)}.d" / "generation.conf"

    def canary_dropin(self, generation: str) -> Path:
        """Return the same settings for the generation's canary."""
        return self.units / f"{self.canary(generation)}.d" / "generation.conf"

    def current_generation(self) -> str | None:
        """Return the generation that ``current`` names, or None before the first deploy."""
        if not self.current.is_symlink():
            return None
        return self.current.readlink().name
