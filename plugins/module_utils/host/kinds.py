"""The kinds of units that an application has beside its socket: the one list that others go by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .layout import Layout


@dataclass(frozen=True)
class Kind:
    """A kind of unit, of which each generation can have an instance.

    Args:
        name: what stands between the application's name and the generation; nothing for the service itself.
        what: what it is, for people.
        temporary: whether it runs only while a module is at work, which ends it.
        lasting_files: whether its unit files stay on the host when it does not run.
    """

    name: str
    what: str
    temporary: bool
    lasting_files: bool

    def unit(self, layout: Layout, generation: str) -> str:
        """Return the unit of a generation, or of all with ``*``."""
        return f"{self._prefix(layout)}@{generation}.service"

    def runtime(self, layout: Layout) -> Path:
        """Return its runtime directory."""
        return layout.runtime.with_name(self._prefix(layout))

    def _prefix(self, layout: Layout) -> str:
        return f"{layout.app}-{self.name}" if self.name else layout.app


SERVICE = Kind("", "service", temporary=False, lasting_files=True)
# It ends with the restart that it belongs to, but never by itself: it can be all that serves.
RELIEF = Kind("relief", "relief of a restart", temporary=False, lasting_files=True)
CANARY = Kind("canary", "canary", temporary=True, lasting_files=True)
CHECK = Kind("check", "gevent check", temporary=True, lasting_files=False)
PRE = Kind("pre", "command list of flask_uwsgi_pre_activate", temporary=True, lasting_files=False)
POST = Kind("post", "command list of flask_uwsgi_post_activate", temporary=True, lasting_files=False)
VALIDATE = Kind("validate", "check of a configuration", temporary=True, lasting_files=False)
TASKS = (PRE, POST)
KINDS = (SERVICE, RELIEF, CANARY, CHECK, *TASKS, VALIDATE)
TEMPORARY = tuple(kind for kind in KINDS if kind.temporary)
