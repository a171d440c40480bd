"""The one definition of an application's kinds of service units; everything else uses this list."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A kind of unit, that each generation can have an instance of.

    Args:
        name: its name here and, except for the service, in the names of its units.
        what: its name in its unit's description (systemd.unit(5): ``%j`` is the name).
        role: the value of ``FLASK_UWSGI_ROLE`` in its processes.
        temporary: whether it runs only while a module is at work, and is stopped by it; if left behind, it is drift.
            Other kinds serve: they inherit the listening socket.
        lasting_files: whether its unit files stay on the host while it does not run.
        stop_signal: the first signal that systemd sends to stop it.
    """

    name: str
    what: str
    role: str
    temporary: bool = False
    lasting_files: bool = False
    stop_signal: str = "SIGTERM"

    @property
    def suffix(self) -> str:
        """What follows the application's name in its units and its runtime directory."""
        return "" if self.role == self.name == "service" else f"-{self.name}"

    @property
    def template(self) -> str:
        """The file name of its unit in a generation; all tasks share one."""
        return f"app{'-task' if self.role == 'task' else self.suffix}@.service"


SERVICE = Kind("service", "", "service", lasting_files=True)
# It ends with the restart that it belongs to, never by itself: it may be the only one that serves.
RELIEF = Kind("relief", "relief", "service", lasting_files=True)
# Neither has traffic to finish, and a gevent worker that has just started can miss a graceful stop.
CANARY = Kind("canary", "canary", "canary", temporary=True, lasting_files=True, stop_signal="SIGKILL")
CHECK = Kind("check", "gevent check", "check", temporary=True, stop_signal="SIGKILL")
PRE = Kind("pre", "%j commands", "task", temporary=True)
POST = Kind("post", "%j commands", "task", temporary=True)
VALIDATE = Kind("validate", "check of the configuration", "validate", temporary=True)

KINDS = (SERVICE, RELIEF, CANARY, CHECK, PRE, POST, VALIDATE)
BY_NAME = {kind.name: kind for kind in KINDS}
SUFFIXES = tuple(kind.suffix for kind in KINDS)
TASKS = tuple(kind for kind in KINDS if kind.role == "task")
LASTING = tuple(kind for kind in KINDS if kind.lasting_files)
TEMPORARY = tuple(kind for kind in KINDS if kind.temporary)
