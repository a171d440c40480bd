"""Installs the commands of a balancer: the modules that a module of Ansible has brought along."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

from ..host import files
from . import program

_PREFIX = "ansible_collections.flaskops.uwsgi.plugins.module_utils."
# Run as `python3 -I FOLDER`.
_MAIN = "import sys\n\nfrom utils.balancer.program import main\n\nmain(*sys.argv[1:])\n"


def texts() -> dict[str, str]:
    """Return the source of the program and of each module that it needs, by its path in the program's folder."""
    found, left = {"__main__.py": _MAIN}, [program.__name__]
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


def different(folder: Path) -> dict[str, str]:
    """Return the files that are not yet installed, or not like this.

    Args:
        folder: the program's folder.
    """

    def now(path: Path) -> str | None:
        return path.read_text() if path.is_file() else None

    return {name: text for name, text in texts().items() if now(folder / name) != text}


def install(folder: Path, wanted: dict[str, str]) -> None:
    """Write files of the program.

    Args:
        folder: the program's folder.
        wanted: the text of each file, by its path there.

    Raises:
        OSError: a file cannot be written.
    """
    # The main file last: before it, nothing can be run.
    for name in sorted(wanted, reverse=True):
        path = folder / name
        for parent in reversed([*path.parents][: len(Path(name).parts)]):
            parent.mkdir(mode=0o755, exist_ok=True)
        files.write(path, wanted[name])
