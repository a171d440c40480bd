"""Runs uv on the controller to create a lock, and explains failures in a sentence.

uv runs no code of a package here: builds are disabled, it reads only those files of the application from which options
were removed, and it looks for configuration where the operator keeps it, never beside the application.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from ...module_utils.release.artifact import masked
from ...module_utils.wheelhouse.failure import relevant_lines

# Seconds that uv may take.
TIMEOUT = 600
_NETWORK = re.compile(
    r"Failed to fetch|error sending request|[Cc]onnect(ion)? (error|refused|timed out)|dns error|tcp connect"
)
_LOCK = "a lock with exact versions and hashes"
# uv 0.13's messages if it would have to build to continue.
_NO_BUILD = re.compile(
    r"[Bb]uilding (from source|source distributions?)\b.* is disabled|"
    r"because building from source is disabled|Wheels are required for"
)
# A trace of its resolver, the only sign that it skipped a release: with --no-build it silently uses an older one that
# has a wheel.
_TRACE = "uv_resolver::candidate_selector=trace"
_PASSED_OVER = re.compile(
    r"Found candidate for package (\S+) with range .* after \d+ steps: (\S+) version\n"
    r"TRACE Returning incompatible candidate for package \1 with "
)
# The variables that uv gets from the operator's environment: its own path, how to reach and verify the registry, and
# credentials for it. Neither Ansible's variables nor any other secret.
_ENVIRONMENT = re.compile(
    r"PATH|HOME|USER|LOGNAME|LANG|LC_\w+|TMPDIR|XDG_(CONFIG|DATA|RUNTIME|STATE)_\w+|DBUS_SESSION_BUS_ADDRESS|NETRC|"
    r"(?i:https?_proxy|all_proxy|no_proxy)|SSL_CERT_(FILE|DIR)|SSL_CLIENT_CERT|"
    r"UV_(DEFAULT_INDEX|INDEX|INDEX_URL|EXTRA_INDEX_URL|INDEX_\w+_(USERNAME|PASSWORD)|INDEX_STRATEGY|FIND_LINKS|"
    r"NO_INDEX|KEYRING_PROVIDER|NATIVE_TLS|SYSTEM_CERTS|INSECURE_HOST|HTTP_\w+|REQUEST_TIMEOUT|OFFLINE|"
    r"CONFIG_FILE|NO_CONFIG|EXCLUDE_NEWER|CREDENTIALS_DIR)"
)


class UvError(Exception):
    """No lock could be created; the message says why and what to do, and follows the variable's name."""


class BuildNeeded(Exception):
    """Only a build can determine the requirements."""


def compile_lock(
    requirements: Iterable[str], constraints: Iterable[str], overrides: Iterable[str], preferred: str, platform: str,
    cache: Path,
) -> str:  # fmt: skip
    """Return a lock of requirements for a platform, as a requirements file.

    A release without a wheel is skipped if another one fits; nothing is built.

    Args:
        requirements: the requirements, or the ``file://`` address of a distribution.
        constraints: constraints for them.
        overrides: requirements that replace all others of the same name, whatever requires them.
        preferred: a lock whose versions are used if they fit.
        platform: distribution, architecture and Python, such as ``debian-12-x86_64-py3.11``.
        cache: a folder on the controller; uv's own cache, which may contain locally built wheels, is not used.

    Raises:
        BuildNeeded: there is no lock without a build.
        UvError: uv is missing or fails.
    """
    _, _, architecture, python = platform.rsplit("-", 3)
    with TemporaryDirectory(dir=cache, prefix="uv-") as work:
        output = Path(work) / "lock.txt"
        # uv keeps the versions that are already in its output file.
        output.write_text(preferred)
        for name, lines in (("constraints", constraints), ("overrides", overrides)):
            (Path(work) / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
        static = (
            "pip", "compile", "--no-build", "--no-sources", "--python", sys.executable, "--python-version",
            python.removeprefix("py"), "--python-platform", f"{architecture}-unknown-linux-gnu",
        )  # fmt: skip
        done = _run(
            Path(work), cache, *static, "--generate-hashes", "--no-header", "--no-annotate", "--no-emit-index-url",
            "--no-emit-find-links", "--constraints", "constraints.txt", "--overrides", "overrides.txt",
            "--output-file", str(output), "-",
            text="".join(f"{requirement}\n" for requirement in requirements),
        )  # fmt: skip
        for name, version in sorted(set(_PASSED_OVER.findall(done.stderr))):
            # It fails if the release would have needed a build.
            _run(Path(work), cache, *static, "--no-deps", "-", text=f"{name}=={version}\n", refused=True)
        return output.read_text()


def export_lock(project: str, lock: str, cache: Path) -> str:
    """Return a uv.lock as a requirements file.

    Args:
        project: the text of a pyproject.toml that names the project, and nothing else.
        lock: the text of the uv.lock.
        cache: a folder on the controller.

    Raises:
        UvError: uv is missing or fails.
    """
    with TemporaryDirectory(dir=cache, prefix="uv-") as work:
        for name, text in (("pyproject.toml", project), ("uv.lock", lock)):
            (Path(work) / name).write_text(text)
        return _run(
            Path(work), cache,
            "export", "--frozen", "--no-emit-project", "--no-dev", "--format=requirements-txt", "--no-header",
            "--no-annotate", "--offline", "--python", sys.executable,
        ).stdout  # fmt: skip


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """Return the part of an environment that uv gets."""
    return {name: value for name, value in given.items() if _ENVIRONMENT.fullmatch(name)} | {
        "UV_PYTHON_DOWNLOADS": "never",
        "NO_COLOR": "1",
    }


def _run(
    work: Path, cache: Path, *arguments: str, text: str = "", refused: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run uv.

    Args:
        work: the folder to run it in.
        cache: a folder on the controller.
        arguments: the words after ``uv``.
        text: its standard input.
        refused: whether uv may refuse the request, as long as no build is needed.
    """
    beside = Path(sysconfig.get_path("scripts")) / "uv"
    uv = str(beside) if beside.is_file() else shutil.which("uv")
    if not uv:
        raise UvError(
            "is not a lock, and none can be created because the controller has no uv: install it beside Ansible (pip "
            f"install uv), or set flask_uwsgi_requirements to {_LOCK}"
        )
    # uv uses the nearest project's configuration, which is empty here. The operator's own also applies.
    (work / "uv.toml").touch()
    try:
        done = subprocess.run(
            [uv, *arguments, "--quiet", "--no-progress", "--cache-dir", str(cache / "uv")],
            cwd=work, input=text, capture_output=True, text=True, errors="replace", timeout=TIMEOUT, check=False,
            env=environment(os.environ) | {"RUST_LOG": _TRACE},
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise UvError(f"could not be locked within {TIMEOUT} s: try again, or provide {_LOCK}") from error
    if done.returncode:
        said = masked(done.stderr)
        if _NO_BUILD.search(said):
            raise BuildNeeded
        if refused:
            return done
        said = "\n".join(line for line in said.splitlines() if not line.startswith("TRACE "))
        raise UvError(_reason(said) + ":" + "".join(f"\n    {line}" for line in relevant_lines(said, 8)))
    return done


def _reason(said: str) -> str:
    if _NETWORK.search(said):
        return (
            "cannot be locked: the package registry cannot be reached from the controller. Check network, proxy and "
            f"uv's configuration there (UV_DEFAULT_INDEX; uv does not read pip's), or provide {_LOCK}"
        )
    return "cannot be locked: correct what it requires"
