"""Installs wheels into a virtual environment of a host, as root, with the library ``installer``.

The module ``release`` runs this file as ``python -I -S -c SOURCE VENV INSTALLER WHEEL…``. It imports nothing of the
collection, and nothing of the environment: no code of a wheel runs. INSTALLER is the wheel of that library, which it
is imported from.
"""

from __future__ import annotations

import configparser
import io
import sys
import warnings
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

_METADATA = {"INSTALLER": b"flaskops\n"}


def main(venv: Path, library: str, wheels: list[str]) -> None:
    """Install the wheels.

    Args:
        venv: the virtual environment, at its final path, which its commands contain.
        library: the wheel of ``installer``.
        wheels: the paths of the others.

    Raises:
        SystemExit: one cannot be installed; with the reason.
    """
    sys.path.insert(0, library)
    from installer import install
    from installer.destinations import SchemeDictionaryDestination
    from installer.sources import WheelFile

    class Source(WheelFile):  # type: ignore[misc,unused-ignore]
        @cached_property
        def data_dir(self) -> str:
            # As pip finds it, and the controller: the library expects the spelling of the file's name.
            tops = {name.partition("/")[0] for name in self._zipfile.namelist()}
            return next((top for top in tops if top.endswith(".data")), f"{self.distribution}-{self.version}.data")

        def read_dist_info(self, filename: str) -> str:
            text: str = super().read_dist_info(filename)
            return commands(text) if filename == "entry_points.txt" else text

    class Destination(SchemeDictionaryDestination):  # type: ignore[misc,unused-ignore]
        @cached_property
        def made(self) -> dict[str, Any]:
            return {}

        def write_script(self, name: str, *words: Any, **named: Any) -> Any:
            self.made[name] = super().write_script(name, *words, **named)
            return self.made[name]

        def write_file(self, scheme: Any, path: Any, stream: Any, is_executable: bool) -> Any:
            # A script in the wheel is the former form of a command, which pip leaves out, too.
            if scheme == "scripts" and path in self.made:
                return self.made[path]
            return super().write_file(scheme, path, stream, is_executable)

        def write_to_fs(self, scheme: Any, path: str, stream: Any, is_executable: bool) -> Any:
            # The controller has refused such a name already. Versions before 1.0, for Python 3.9, do not look.
            if path.startswith("/") or ".." in PurePosixPath(path).parts:
                raise ValueError(f"{path!r} leads out of its folder")
            # The library refuses a file that exists. The controller has: where two wheels have it, it may not differ.
            Path(self.scheme_dict[scheme], path).unlink(missing_ok=True)
            return super().write_to_fs(scheme, path, stream, is_executable)

    # Bytecode in a wheel is left out, with a warning.
    warnings.simplefilter("ignore", RuntimeWarning)
    site = next((venv / "lib").glob("python*/site-packages"))
    headers = venv / "include/site" / site.parent.name
    schemes = {"purelib": str(site), "platlib": str(site), "scripts": str(venv / "bin"), "data": str(venv)}
    for wheel in wheels:
        try:
            with Source.open(Path(wheel)) as source:
                folders = {**schemes, "headers": str(headers / source.distribution)}
                install(source, Destination(folders, str(venv / "bin/python"), "posix"), _METADATA)
        except Exception as error:
            sys.exit(f"{Path(wheel).name} cannot be installed: {str(error) or type(error).__name__}")


def commands(text: str) -> str:
    """Return the commands of a wheel's entry points, each once, as pip and the controller read them.

    Args:
        text: its entry_points.txt.
    """
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    for section in set(parser.sections()) - {"console_scripts", "gui_scripts"}:
        parser.remove_section(section)
    parser.write(written := io.StringIO())
    return written.getvalue()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
