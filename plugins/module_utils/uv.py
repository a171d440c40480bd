"""Runs uv on the controller to make a lock, and says in a sentence why it cannot."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from ansible_collections.flaskops.uwsgi.plugins.module_utils.artifact import masked
from ansible_collections.flaskops.uwsgi.plugins.module_utils.build_failure import missing_packages, telling_lines

# Seconds that it may take.
TIMEOUT = 600
_NETWORK = re.compile(
    r"Failed to fetch|error sending request|[Cc]onnect(ion)? (error|refused|timed out)|dns error|tcp connect"
)
_LOCK = "a lock, with exact versions and hashes"


class UvError(Exception):
    """No lock could be made; the message says why and what to do, for the variable to stand before it."""


def compile_lock(file: Path | None, roots: Iterable[str], preferred: str, platform: str) -> str:
    """Return a lock of requirements for a platform, as a requirements file.

    Args:
        file: a requirements file or pyproject.toml; None for the roots alone.
        roots: further requirements.
        preferred: a lock whose versions are taken where they fit.
        platform: distribution, architecture and Python, such as ``debian-12-x86_64-py3.11``.

    Raises:
        UvError: uv is missing or fails.
    """
    _, _, architecture, python = platform.rsplit("-", 3)
    with TemporaryDirectory() as work:
        output = Path(work) / "lock.txt"
        # uv keeps the versions that its output has.
        output.write_text(preferred)
        _run(
            file,
            "pip", "compile", "--generate-hashes", "--no-header", "--no-annotate", "--no-emit-index-url",
            "--no-emit-find-links", "--python", sys.executable, "--python-version", python.removeprefix("py"),
            "--python-platform", f"{architecture}-unknown-linux-gnu", "--output-file", str(output),
            *([file.name] if file else []), "-",
            text="".join(f"{root}\n" for root in roots),
        )  # fmt: skip
        return output.read_text()


def export_lock(project: Path) -> str:
    """Return the uv.lock beside a pyproject.toml as a requirements file.

    Raises:
        UvError: uv is missing or fails.
    """
    return _run(
        project,
        "export", "--frozen", "--no-emit-project", "--no-dev", "--format=requirements-txt", "--no-header",
    )  # fmt: skip


def _run(file: Path | None, *arguments: str, text: str = "") -> str:
    beside = Path(sysconfig.get_path("scripts")) / "uv"
    uv = str(beside) if beside.is_file() else shutil.which("uv")
    if not uv:
        raise UvError(
            "is no lock, and none can be made, for the controller has no uv: install it beside Ansible (pip install "
            f"uv), or set flask_uwsgi_requirements to {_LOCK}"
        )
    try:
        done = subprocess.run(
            [uv, *arguments, "--quiet", "--no-progress"],
            # Names in the file are relative to it.
            cwd=file.parent if file else None,
            input=text, capture_output=True, text=True, timeout=TIMEOUT, check=False,
            env={**os.environ, "UV_PYTHON_DOWNLOADS": "never", "NO_COLOR": "1"},
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise UvError(f"could not be locked in {TIMEOUT} s: try again, or give {_LOCK}") from error
    if done.returncode:
        said = masked(done.stderr)
        raise UvError(_reason(said) + ":" + "".join(f"\n    {line}" for line in telling_lines(said, 8)))
    return done.stdout


def _reason(said: str) -> str:
    if packages := missing_packages(said):
        return (
            "cannot be locked: the controller builds a package without a wheel to see what it requires, and lacks "
            f"{' '.join(packages)}. Install that there, or give {_LOCK}"
        )
    if _NETWORK.search(said):
        return (
            "cannot be locked: the package registry cannot be reached from the controller. Check network, proxy and "
            f"uv's configuration there (UV_DEFAULT_INDEX; uv does not read pip's), or give {_LOCK}"
        )
    return "cannot be locked: correct what it requires"
