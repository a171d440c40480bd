"""Checks out a git repository on the controller: one commit for all hosts of a run, without its history."""

from __future__ import annotations

import io
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import BinaryIO

from ...module_utils.host import files
from ...module_utils.release.artifact import DEEPEST, ArtifactError, digest, link_problem, masked, plain, quoted
from ..run.once import once
from .folder import Git

# Seconds that one git command may take.
TIMEOUT = 300
# The refs to request from an old server: every commit of the repository.
_ALL = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_EXECUTABLE, _LINK, _SUBMODULE = "100755", "120000", "160000"
_CHUNK = 1 << 20
# Variables that a hook of another repository would leave behind (`git rev-parse --local-env-vars`).
_FOREIGN = {
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_DIR", "GIT_GRAFT_FILE", "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE", "GIT_NAMESPACE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX", "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE", "GIT_WORK_TREE",
}  # fmt: skip
# Settings that determine what git runs or trusts here. The operator's own (proxies, credentials, keys) still apply;
# those of a repository that the playbook was started in do not: git never runs there.
_SAFE = tuple(
    word
    for setting in (
        "core.hooksPath=/dev/null", "core.fsmonitor=false", "fetch.fsckObjects=true", "gc.auto=0",
        "maintenance.auto=false", "safe.bareRepository=explicit", "submodule.recurse=false", "transfer.bundleURI=false",
        "transfer.fsckObjects=true",
    )
    for word in ("-c", setting)
)  # fmt: skip
_REFUSED = re.compile("fsck error")

_CREDENTIALS = (
    "needs credentials that the controller does not have (or does not exist): for ssh, add a key that may read it to "
    "the ssh agent or as a deploy key; for https, configure a credential helper of git. Never write a password into "
    "the address"
)
# The first whose pattern git's output matches is used. The last matches anything.
_REASONS = (
    (
        r"Authentication failed|could not read (Username|Password)|Permission denied|terminal prompts disabled|"
        r"returned error: 40[13]|Invalid username or password",
        _CREDENTIALS,
    ),
    (
        r"Host key verification failed",
        "is on a host whose ssh key the controller does not know: connect to it once manually, or add its key to "
        "known_hosts",
    ),
    (
        r"not found|does not exist|does not appear to be a git repository|[Nn]o such file",
        "does not exist, or is not visible: correct the address",
    ),
    (
        r"Could not resolve|Connection (refused|timed out|reset)|Network is unreachable|unable to access|took longer",
        "cannot be reached from the controller: check the address, the network and git's proxy (http.proxy)",
    ),
    (
        r"fsck error",
        "contains objects that git's own check (git-fsck) refuses: correct it there, or, if you trust it, let your git "
        "ignore that message (fetch.fsck.MESSAGE)",
    ),
    (r"", "cannot be read: see git's message"),
)


class _GitError(Exception):
    """A git command failed; its output is the message."""


def checkout(source: Git, cache: Path) -> tuple[str, Path]:
    """Return the commit that a ref refers to in this run of Ansible, and the folder with its files.

    A branch takes precedence over a tag of the same name, as with pip. The history is not fetched if the server can do
    without it. The files are those of the commit, byte for byte: attributes such as export-ignore are ignored, so that
    a commit and a folder with its files are the same artifact.

    Args:
        source: the repository, the ref and the folder in it.
        cache: a folder on the controller; the files stay there, by commit.

    Raises:
        ArtifactError: repository, ref or subdirectory does not exist or cannot be read, or it has submodules, links
            that lead out, or invalid names.
    """
    commit = once(cache, digest("git", source.url, source.ref), lambda: _fetch(source, cache))
    folder = tree(cache, commit) / source.subdirectory
    if not folder.is_dir():
        raise ArtifactError(
            f"{_named(source)} has no folder {source.subdirectory} at {source.ref} (commit {commit[:12]}): correct "
            "#subdirectory"
        )
    return commit, folder


def tree(cache: Path, commit: str) -> Path:
    """Return the folder of a commit's files."""
    return cache / f"git-{commit}"


def _named(source: Git) -> str:
    return f"flask_uwsgi_source=git+{masked(source.url)}@{source.ref}"


def _fetch(source: Git, cache: Path) -> str:
    try:
        commit = _commit(source)
        if not tree(cache, commit).is_dir():
            with TemporaryDirectory(dir=cache, prefix="git-") as work:
                _export(source, commit, Path(work), tree(cache, commit))
    except FileNotFoundError as error:
        raise ArtifactError(
            f"{_named(source)} is a git repository, but the controller has no git: install the package git there"
        ) from error
    except _GitError as error:
        reason = next(reason for pattern, reason in _REASONS if re.search(pattern, str(error)))
        lines = "".join(f"\n    {line}" for line in masked(str(error)).splitlines()[-4:])
        raise ArtifactError(f"{_named(source)} {reason}:{lines}") from error
    return commit


def _commit(source: Git) -> str:
    if _COMMIT.fullmatch(source.ref):
        return source.ref
    # The target of an annotated tag is listed with the tag's name and ^{}.
    names = [
        name
        for full in (f"refs/heads/{source.ref}", f"refs/tags/{source.ref}", source.ref)
        for name in (f"{full}^{{}}", full)
    ]
    listed = _git("ls-remote", "--", source.url, *names)
    there = {name: commit for commit, name in (line.split("\t", 1) for line in filter(None, listed.split("\n")))}
    if not (found := next((there[name] for name in names if name in there), None)):
        raise ArtifactError(_no_ref(source))
    return found


def _no_ref(source: Git) -> str:
    whole = ", all 40 digits of it" if re.fullmatch(r"[0-9a-f]{7,39}", source.ref) else ""
    return (
        f"{_named(source)} has no {source.ref!r}: set the part after the @ to a branch, a tag or a commit{whole} that "
        "exists there"
    )


def _export(source: Git, commit: str, work: Path, target: Path) -> None:
    at = f"--git-dir={work / 'repository'}"
    # No template, which could contain hooks.
    _git("init", "--quiet", "--bare", "--template=", str(work / "repository"))
    try:
        _git(at, "fetch", "--quiet", "--depth=1", "--no-tags", "--no-write-fetch-head", "--", source.url, commit)
    except _GitError as error:
        if _REFUSED.search(str(error)):
            raise
        # Old servers only send what a branch or tag names, with its history.
        _git(at, "fetch", "--quiet", "--no-write-fetch-head", "--", source.url, *_ALL)
    try:
        _git(at, "cat-file", "-e", f"{commit}^{{commit}}")
    except _GitError as error:
        raise ArtifactError(_no_ref(source)) from error
    entries = list(_entries(source, _git(at, "ls-tree", "-r", "-z", "--full-tree", commit)))
    _write(source, at, entries, work / "tree")
    if not target.is_dir():
        files.place(work / "tree", target)


@dataclass(frozen=True)
class _Entry:
    """A file or a link of a commit."""

    path: PurePosixPath
    mode: str
    blob: str


def _entries(source: Git, listed: str) -> Iterator[_Entry]:
    """Yield the files and links of a commit.

    Raises:
        ArtifactError: it has a submodule, or a name that is not a path below a folder.
    """
    for line in filter(None, listed.split("\0")):
        (mode, _, blob), name = line.partition("\t")[0].split(), line.partition("\t")[2]
        if mode == _SUBMODULE:
            raise ArtifactError(
                f"{_named(source)} has the submodule {name}, which is not fetched: put its files into the "
                "repository, or require it as a package"
            )
        parts = name.split("/")
        if not plain(name) or {"", ".", ".."} & set(parts) or ".git" in map(str.lower, parts):
            raise ArtifactError(
                f"{_named(source)} holds {quoted(name)}, which is not a valid file name: rename it there"
            )
        if len(parts) > DEEPEST:
            raise ArtifactError(
                f"{_named(source)} holds {quoted(name)}, which is nested more than {DEEPEST} folders deep: move it up"
            )
        yield _Entry(PurePosixPath(name), mode, blob)


def _write(source: Git, at: str, entries: list[_Entry], tree: Path) -> None:
    """Write the files of a commit as stored in the repository, without applying attributes or filters of git.

    No link exists while files are written, so none can be written through one; links come last, into folders that
    exist by then.
    """
    tree.mkdir()
    for entry in entries:
        (tree / entry.path.parent).mkdir(parents=True, exist_ok=True)
    links = [entry for entry in entries if entry.mode == _LINK]
    written = [entry for entry in entries if entry.mode != _LINK]
    try:
        with _Blobs(at) as blobs:
            for entry in written:
                mode = 0o755 if entry.mode == _EXECUTABLE else 0o644
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
                with os.fdopen(os.open(tree / entry.path, flags, mode), "wb") as file:
                    blobs.copy(entry.blob, file)
            for entry in links:
                to = io.BytesIO()
                blobs.copy(entry.blob, to)
                (tree / entry.path).symlink_to(os.fsdecode(to.getvalue()))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ArtifactError(
            f"{_named(source)} holds {str(entry.path)!r}, which cannot be written: {reason}. Two names of the "
            "repository may be the same on the controller: rename one there"
        ) from error
    within = Path(os.path.realpath(tree))
    for entry in links:
        if problem := link_problem(tree / entry.path, within):
            raise ArtifactError(f"{_named(source)} holds {str(entry.path)!r}, {problem} there")


class _Blobs:
    """Reads blobs of a repository, all through one process of git."""

    def __init__(self, at: str) -> None:
        self._git = subprocess.Popen(
            ["git", *_SAFE, at, "cat-file", "--batch"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_environment(), cwd="/",
        )  # fmt: skip

    def __enter__(self) -> _Blobs:
        return self

    def __exit__(self, *_: object) -> None:
        self._git.kill()
        self._git.communicate()

    def copy(self, blob: str, target: BinaryIO) -> None:
        """Copy a blob into a file (git-cat-file(1), BATCH OUTPUT).

        Raises:
            ValueError: git does not have it.
        """
        if not (self._git.stdin and self._git.stdout):
            raise AssertionError("both are pipes")
        self._git.stdin.write(f"{blob}\n".encode())
        self._git.stdin.flush()
        header = self._git.stdout.readline().split()
        if len(header) != 3 or header[1] != b"blob":
            raise ValueError(f"git does not have its content, {blob}")
        left = int(header[2])
        while left:
            chunk = self._git.stdout.read(min(left, _CHUNK))
            if not chunk:
                raise ValueError(f"git ended before its content, {blob}")
            target.write(chunk)
            left -= len(chunk)
        self._git.stdout.read(1)


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *_SAFE, *arguments],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="surrogateescape", timeout=TIMEOUT,
            env=_environment(), cwd="/", check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise _GitError(f"git took longer than {TIMEOUT} s") from error
    if done.returncode:
        raise _GitError(done.stderr.strip())
    return done.stdout


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _FOREIGN} | {
        "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_SSH_COMMAND": f"{_ssh()} -o BatchMode=yes",
        "GIT_TERMINAL_PROMPT": "0",
        # Its messages are matched above.
        "LC_ALL": "C",
    }


def _ssh() -> str:
    """Return the command that the operator has chosen for ssh, which may include the key to use."""
    if chosen := os.environ.get("GIT_SSH_COMMAND"):
        return chosen
    done = subprocess.run(
        ["git", "config", "core.sshCommand"], capture_output=True, text=True, errors="replace", cwd="/", check=False
    )
    return done.stdout.strip() or "ssh"
