"""Installs the files of a balancer, and its commands: the modules that a module of Ansible has brought along."""

from __future__ import annotations

import inspect
import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

from ..host import files
from . import program as _program
from . import renewal as _renewal

_PREFIX = "ansible_collections.flaskops.uwsgi.plugins.module_utils."
# Run as `python3 -I FOLDER`.
_MAIN = "import sys\n\nfrom utils.balancer.program import main\n\nmain(*sys.argv[1:])\n"


@dataclass(frozen=True)
class Directory:
    """A directory of root.

    Args:
        path: where it is.
        mode: its permissions.
    """

    path: Path
    mode: int
    # What a comparison shows.
    now = text = ""

    @property
    def differs(self) -> bool:
        """Whether it has to be made."""
        if not self.path.is_dir():
            return True
        found = self.path.stat()
        return (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) != (self.mode, os.getuid(), os.getgid())

    def make(self) -> None:
        """Create it, or correct its owner and permissions.

        Raises:
            OSError: it cannot be created.
        """
        self.path.mkdir(exist_ok=True)
        os.chown(self.path, os.getuid(), os.getgid())
        self.path.chmod(self.mode)


@dataclass(frozen=True)
class File:
    """A file of root that everybody may read.

    Args:
        path: where it is.
        text: its content.
        once: whether one that exists is left as it is.
    """

    path: Path
    text: str
    once: bool = False

    @property
    def now(self) -> str:
        """The present content; empty if there is none."""
        return self.path.read_text(errors="replace") if self.path.is_file() else ""

    @property
    def differs(self) -> bool:
        """Whether it has to be written."""
        if not self.path.is_file():
            return True
        found = self.path.stat()
        kept = (stat.S_IMODE(found.st_mode), found.st_uid) == (0o644, os.getuid())
        return not kept or (not self.once and self.now != self.text)

    def make(self) -> None:
        """Write it.

        Raises:
            OSError: it cannot be written.
        """
        files.write(self.path, self.now if self.once and self.path.is_file() else self.text)


def texts() -> dict[str, str]:
    """Return the source of the commands and of each module that they need, by its path in their folder."""
    # The program imports the second only if it renews.
    found, left = {"__main__.py": _MAIN}, [_program.__name__, _renewal.__name__]
    while left:
        name = left.pop()
        path = f"utils/{name.removeprefix(_PREFIX).replace('.', '/')}.py"
        module = sys.modules[name]
        if path in found:
            continue
        # From the archive in which Ansible sends a module, or from a file.
        found[path] = inspect.getsource(module)
        needs = {str(getattr(one, "__module__", "")) for one in vars(module).values()}
        needs |= {one.__name__ for one in vars(module).values() if inspect.ismodule(one)}
        left += [one for one in needs if one.startswith(_PREFIX) and one in sys.modules]
    return found


def program(folder: Path) -> list[Directory | File]:
    """Return the directories and files of the commands.

    Args:
        folder: the directory in which they are.
    """
    wanted = {folder / name: text for name, text in texts().items()}
    folders = {parent for path in wanted for parent in path.parents if parent == folder or folder in parent.parents}
    # The main file last: before it, nothing can be run.
    return [
        *(Directory(path, 0o755) for path in sorted(folders)),
        *(File(path, wanted[path]) for path in sorted(wanted, reverse=True)),
    ]
