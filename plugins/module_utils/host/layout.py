"""Where an application lives on a host: the one place that knows the paths."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from . import address as addresses
from . import kinds


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
        """Symbolic link to the serving generation."""
        return self.root / "current"

    @property
    def runtime(self) -> Path:
        """The pidfiles, and a directory for each running generation; only root can write here."""
        return Path("/run") / self.app

    def runtime_of(self, kind: kinds.Kind) -> Path:
        """Return the runtime directory of a kind of unit; the service's has one below it for each generation."""
        return self.runtime.with_name(f"{self.app}{kind.suffix}")

    @property
    def check_runtime(self) -> Path:
        """The sockets of a generation whose gevent mode is being checked, and the result of the check."""
        return self.runtime_of(kinds.CHECK)

    @property
    def pidfile(self) -> Path:
        """Always names the serving master; absent while nothing serves."""
        return self.runtime / f"{self.app}.pid"

    @property
    def lock(self) -> Path:
        """The lock held by the run that changes the application on this host."""
        return Path("/run") / f"{self.app}.deploy"

    @property
    def trial(self) -> Path:
        """Names the generation to return to while another serves temporarily."""
        return Path("/run") / f"{self.app}.trial"

    @property
    def tried(self) -> Path:
        """Symbolic link to the generation that serves in a trial; like the trial, it does not survive a reboot."""
        return Path("/run") / f"{self.app}.tried"

    @property
    def sysctl(self) -> Path:
        """Raises the kernel's limit on the backlog, if the operator chose that."""
        return Path("/etc/sysctl.d") / f"60-{self.app}.conf"

    @property
    def mark(self) -> Path:
        """Marks the application as this role's, and records what was created for it; only root can read it."""
        return Path("/var/lib/flaskops") / f"{self.app}.json"

    @property
    def commands(self) -> Path:
        """Says, on one host for all, for which generations the commands of a deploy have run."""
        return self.mark.with_name(f"{self.app}.commands.json")

    @property
    def data(self) -> tuple[Path, ...]:
        """Where systemd's StateDirectory, CacheDirectory and LogsDirectory are."""
        return tuple(Path("/var") / name / self.app for name in ("lib", "cache", "log"))

    @property
    def persistent(self) -> Path:
        """The folders that are kept across releases, each owned by the account; root owns the directory itself."""
        return self.data[0].with_name(f"{self.app}-persistent")

    @property
    def unit_folders(self) -> tuple[Path, ...]:
        """Every directory from which systemd loads units (systemd 252, ``systemd-analyze unit-paths``)."""
        volatile = (
            "system.control",
            "system",
            "system.attached",
            "transient",
            "generator.early",
            "generator",
            "generator.late",
        )
        return (
            self.units,
            *(Path("/etc/systemd") / name for name in ("system.control", "system.attached")),
            *(Path("/run/systemd") / name for name in volatile),
            *(Path(top) / "systemd/system" for top in ("/usr/local/lib", "/usr/lib", "/lib")),
        )

    @property
    def units(self) -> Path:
        """The directory of the application's unit files."""
        return Path("/etc/systemd/system")

    @property
    def volatile_units(self) -> Path:
        """The directory of unit files that do not survive a reboot."""
        return Path("/run/systemd/system")

    @property
    def socket_template(self) -> str:
        """The unit that owns a listening socket of IPv4; its instance is the address."""
        return f"{self.app}@.socket"

    def socket(self, address: str) -> str:
        """Return the unit that listens on an address (``0.0.0.0:8040``); ``*`` matches all of them."""
        return f"{self.app}@{addresses.instance(address)}.socket"

    def socket_file(self, address: str) -> Path:
        """Return the file of that unit: the template if systemd itself writes the address so, else one of its own."""
        return self.units / (self.socket_template if addresses.is_instance(address) else self.socket(address))

    def socket_dropin(self, address: str) -> Path:
        """Names the generation that a socket starts when a connection finds none running."""
        return self.dropin(self.socket(address))

    def unit(self, kind: kinds.Kind, generation: str) -> str:
        """Return the unit of a kind for a generation; ``*`` matches all of them, an empty name gives the template."""
        return f"{self.app}{kind.suffix}@{generation}.service"

    def service(self, generation: str) -> str:
        """Return the unit that runs a generation."""
        return self.unit(kinds.SERVICE, generation)

    def canary(self, generation: str) -> str:
        """Return the unit that tries a generation without traffic."""
        return self.unit(kinds.CANARY, generation)

    def check(self, generation: str) -> str:
        """Return the unit that runs a generation to check its gevent mode."""
        return self.unit(kinds.CHECK, generation)

    def relief(self, generation: str) -> str:
        """Return the unit that serves in place of a generation's own unit while that is restarted."""
        return self.unit(kinds.RELIEF, generation)

    def trial_dropin(self, address: str) -> Path:
        """Return the drop-in that names a socket's generation in a trial; systemd reads it after the permanent one."""
        return self.volatile_units / f"{self.socket(address)}.d" / "trial.conf"

    def dropin(self, unit: str, name: str = "generation") -> Path:
        """Return the file of the settings of one unit alone."""
        return self.units / f"{unit}.d" / f"{name}.conf"

    def current_generation(self) -> str | None:
        """Return the serving generation: the one on trial, else the deployed one."""
        return _named(self.tried) or self.deployed_generation()

    def deployed_generation(self) -> str | None:
        """Return the generation that ``current`` points to, or None before the first deploy."""
        return _named(self.current)


def _named(link: Path) -> str | None:
    return link.readlink().name if link.is_symlink() else None
