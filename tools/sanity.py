"""Runs `ansible-test sanity` on the collection as `ansible-galaxy` builds it, without a network.

``python -m tools.sanity`` runs every test but those of `LEFT_OUT`. Arguments are passed to ansible-test, so
``python -m tools.sanity --test validate-modules plugins/modules/status.py`` runs one test on one file. What cannot be
met is listed in tests/sanity, with the reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from tests.support.clone import copy

ROOT = Path(__file__).resolve().parent.parent
# They would download their own linters; here ruff and mypy check style and errors.
LEFT_OUT = ("pep8", "pylint")


def collection(folder: Path) -> Path:
    """Build the collection from what git would commit, and return where it is unpacked.

    Args:
        folder: an empty folder.
    """
    copy(folder / "repository")
    galaxy = ["ansible-galaxy", "collection", "build", str(folder / "repository"), "--output-path", str(folder)]
    subprocess.run(galaxy, check=True, stdout=subprocess.DEVNULL)
    (built,) = folder.glob("*.tar.gz")
    unpacked = folder / "ansible_collections" / "flaskops" / "uwsgi"
    unpacked.mkdir(parents=True)
    subprocess.run(["tar", "--extract", "--file", str(built), "--directory", str(unpacked)], check=True)
    shutil.copytree(ROOT / "tests" / "sanity", unpacked / "tests" / "sanity")
    return unpacked


def link(_settings: Any, python: Any, commands: list[Any], _connection: Any) -> None:
    """Give a test's environment links to the installed packages that pip would download.

    Raises:
        PackageNotFoundError: a test needs a package that requirements/dev.in does not name.
    """
    (packages,) = Path(python.path).parents[1].glob("lib/python*/site-packages")
    for line in "\n".join(text for command in commands for _, text in getattr(command, "requirements", ())).split("\n"):
        if line and not line.startswith("#"):
            found = distribution(Requirement(line).name)
            for name in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
                (packages / name).symlink_to(str(found.locate_file(name)))


def main() -> None:
    """Run the tests, and exit with ansible-test's status."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(collection(Path(folder)))
        # ansible-test keeps the tests' environments there, named after the versions that pip would install.
        os.environ["HOME"] = folder
        # It searches the working directory for the collection as soon as it is imported.
        from ansible_test._internal import main as ansible_test
        from ansible_test._internal.commands import sanity

        sanity.run_pip = link
        left_out = [word for name in LEFT_OUT for word in ("--skip-test", name)]
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        ansible_test(["ansible-test", "sanity", "--python", python, *left_out, *sys.argv[1:]])


if __name__ == "__main__":
    main()
