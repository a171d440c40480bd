"""Determines an application's source: a folder, a distribution, a package of the registry, or a git repository."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs

from ...module_utils.release.artifact import ArtifactError, masked

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_PACKAGE = re.compile(rf"(?P<name>{_NAME})\s*(?P<extras>\[[\w\s.,-]*\])?\s*===?\s*(?P<version>[A-Za-z0-9][\w.!+-]*)")
# A package without a version or with a range or pattern as its version, but not a path.
_LOOSE_PACKAGE = re.compile(rf"(?P<name>{_NAME})\s*(\[[^/]*\])?\s*(?P<range>[=<>~!][^/]*)?")
_DISTRIBUTIONS = (".whl", ".tar.gz", ".zip")
_GIT_URL = re.compile(r"(?P<start>(https?|ssh|git|file)://(?P<host>[^/]*)|(?=[/~.]))(?P<path>.*)")
# Refs that git-check-ref-format(1) forbids, or that would be an option.
_NO_REF = re.compile(r"^-|\.\.|[\s~^:?*\[\\\x00-\x1f]|^/|/$|//|^$")


@dataclass(frozen=True)
class Folder:
    """A folder on the controller."""

    path: Path


@dataclass(frozen=True)
class Distribution:
    """A wheel or an sdist on the controller."""

    path: Path


@dataclass(frozen=True)
class Package:
    """A package of the registry: its normalised name, its version, and both as a requirement with its extras."""

    name: str
    version: str
    requirement: str


@dataclass(frozen=True)
class Git:
    """A commit, branch or tag of a git repository, and the folder in it that holds the application."""

    url: str
    ref: str
    subdirectory: str


Source = Folder | Distribution | Package | Git


def local(variable: str, text: str) -> Path:
    """Return a path on the controller as given, without checking whether it exists.

    Args:
        variable: the variable with this value, for the message.
        text: the path; ``~`` and ``~NAME`` are home directories.

    Raises:
        ArtifactError: it is not a valid path.
    """
    try:
        path = Path(text).expanduser()
        # Only the file system reports a name that is too long.
        path.is_dir()
    except (OSError, RuntimeError) as error:
        shown = text if len(text) <= 80 else f"{text[:80]}… ({len(text)} characters)"
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ArtifactError(f"{variable}={masked(shown)} is not a valid path: {reason}. Correct it") from error
    return path


def parse(text: str) -> Source:
    """Return what ``flask_uwsgi_source`` names.

    Args:
        text: the variable's value. The notation of git repositories is pip's
            (https://pip.pypa.io/en/stable/topics/vcs-support/), in which a ref is required here.

    Raises:
        ArtifactError: it is empty or not a source, or a folder or file that does not exist.
    """
    from packaging.utils import canonicalize_name

    if not text:
        raise ArtifactError(
            "flask_uwsgi_source is not set: set it to your application: a folder, a wheel or an sdist on the "
            "controller, a package as NAME==VERSION, or a git repository as git+URL@REF"
        )
    if text.startswith("git+"):
        return _git(text)
    path = local("flask_uwsgi_source", text)
    if path.is_dir():
        return Folder(path)
    if "://" in text or re.match(r"[\w.-]+@[\w.-]+:", text):
        raise ArtifactError(
            f"flask_uwsgi_source={masked(text)} is an address: write a git repository as git+https://HOST/PATH@REF "
            "or git+ssh://git@HOST/PATH@REF, and download anything else to the controller first"
        )
    if text.endswith(_DISTRIBUTIONS):
        if not path.is_file():
            raise ArtifactError(
                f"flask_uwsgi_source={text} does not exist on the controller: set it to a wheel (.whl) or an sdist "
                "(.tar.gz, .zip)"
            )
        return Distribution(path.absolute())
    if package := _PACKAGE.fullmatch(text):
        name, extras, version = package["name"], re.sub(r"\s", "", package["extras"] or ""), package["version"]
        return Package(canonicalize_name(name), version, f"{name}{extras}=={version}")
    if (loose := _LOOSE_PACKAGE.fullmatch(text)) and loose["range"]:
        raise ArtifactError(
            f"flask_uwsgi_source={text} has no exact version: set it to {loose['name']}==VERSION, so that every "
            "deploy of it is the same"
        )
    package_too = f", or to {text}==VERSION if you mean the package" if loose else ""
    raise ArtifactError(
        f"flask_uwsgi_source={text} is not a directory on the controller: "
        f"set it to the folder that holds your application{package_too}"
    )


def _git(text: str) -> Git:
    address, _, fragment = text.removeprefix("git+").partition("#")
    found = _GIT_URL.fullmatch(address)
    if not found or re.search(r":[^@\d]+$", found["host"] or ""):
        raise ArtifactError(
            "flask_uwsgi_source=git+… is not the address of a git repository: write git+https://HOST/PATH@REF, "
            "git+ssh://git@HOST/PATH@REF or git+file:///PATH@REF, and special characters of a password as %XX"
        )
    path, _, ref = found["path"].rpartition("@")
    if not path:
        raise ArtifactError(
            f"flask_uwsgi_source={masked(text)} names no ref: add @ and a branch, tag or commit after the path"
        )
    if _NO_REF.search(ref):
        raise ArtifactError(
            f"flask_uwsgi_source={masked(text)} has the ref {ref!r}, which git does not allow: set it to a branch, "
            "tag or commit"
        )
    options = parse_qs(fragment, keep_blank_values=True)
    subdirectory = Path(options.pop("subdirectory", ["."])[-1])
    options.pop("egg", None)
    if options or subdirectory.is_absolute() or ".." in subdirectory.parts:
        raise ArtifactError(
            f"flask_uwsgi_source={masked(text)} ends with #{fragment}: only #subdirectory=DIR is allowed, and DIR "
            "must be a folder in the repository"
        )
    url = f"{found['start']}{path}" if found["start"] else str(local("flask_uwsgi_source", path).absolute())
    return Git(url, ref, str(subdirectory))
