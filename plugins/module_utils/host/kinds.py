"""The one definition of an application's kinds of service units; everything else goes by this list."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A kind of unit, of which each generation can have an instance.

    Args:
        name: what it is called here and, but for the service, in the names of its units.
        what: what it is, as its unit's description says it (systemd.unit(5): ``%j`` is the name).
        role: what its processes are given as ``FLASK_UWSGI_ROLE``.
        temporary: whether it runs only while a module is at work, which ends it; left behind, it is drift. What is not
            temporary serves: it inherits the listening socket.
        lasting_files: whether its unit files stay on the host when it does not run.
        stop_signal: what systemd sends it first to stop it.
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
        """The file name that its unit has in a generation; all tasks share one."""
        return f"app{'-task' if self.role == 'task' else self.suffix}@.service"


SERVICE = Kind("service", "", "service", lasting_files=True)
# It ends with the restart that it belongs to, but never by itself: it can be all that serves.
RELIEF = Kind("relief", "relief", "service", lasting_files=True)
# Neither has traffic to end, and a worker of gevent that has just been started can miss a graceful stop.
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
