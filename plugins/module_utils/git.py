"""Checks a git repository out on the controller: one commit for all hosts of a run, without its history."""

from __future__ import annotations

import os
import re
import subprocess
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from ansible_collections.flaskops.uwsgi.plugins.module_utils.artifact import ArtifactError, digest, masked
from ansible_collections.flaskops.uwsgi.plugins.module_utils.once import once
from ansible_collections.flaskops.uwsgi.plugins.module_utils.source import Git

# Seconds that one command of git may take.
TIMEOUT = 300
# What an old server is asked for: every commit of the repository.
_ALL = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
# What a hook of another repository would leave behind.
_FOREIGN = {
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_WORK_TREE",
}  # fmt: skip

_CREDENTIALS = (
    "needs credentials that the controller does not have (or does not exist): for ssh, add a key that may read it to "
    "the ssh agent or as a deploy key; for https, configure a credential helper of git. Never write a password into "
    "the address"
)
# The first that git's words match. The last fits anything.
_REASONS = (
    (
        r"Authentication failed|could not read (Username|Password)|Permission denied|terminal prompts disabled|"
        r"returned error: 40[13]|Invalid username or password",
        _CREDENTIALS,
    ),
    (
        r"Host key verification failed",
        "is on a host whose ssh key the controller does not know: connect to it once by hand, or add its key to "
        "known_hosts",
    ),
    (
        r"not found|does not exist|does not appear to be a git repository|[Nn]o such file",
        "does not exist, or may not be seen: correct the address",
    ),
    (
        r"Could not resolve|Connection (refused|timed out|reset)|Network is unreachable|unable to access|took longer",
        "cannot be reached from the controller: check the address, the network and git's proxy (http.proxy)",
    ),
    (r"", "cannot be read: git says why"),
)


class _GitError(Exception):
    """A command of git failed; its words are the message."""


def checkout(source: Git, cache: Path) -> tuple[str, Path]:
    """Return the commit that a ref means in this run of Ansible, and the folder that holds its files.

    A branch of the name comes before a tag, as with pip. The history is not fetched where the server
    can do without it.

    Args:
        source: the repository and what of it is wanted.
        cache: a folder on the controller; the files stay there, by commit.

    Raises:
        ArtifactError: repository, ref or subdirectory does not exist or cannot be read, or it has submodules.
    """
    commit = once(cache, digest("git", source.url, source.ref), lambda: _fetch(source, cache))
    folder = _tree(cache, commit) / source.subdirectory
    if not folder.is_dir():
        raise ArtifactError(
            f"{_named(source)} has no folder {source.subdirectory} at {source.ref} (commit {commit[:12]}): correct "
            "#subdirectory"
        )
    return commit, folder


def _tree(cache: Path, commit: str) -> Path:
    return cache / f"git-{commit}"


def _named(source: Git) -> str:
    return f"flask_uwsgi_source=git+{masked(source.url)}@{source.ref}"


def _fetch(source: Git, cache: Path) -> str:
    try:
        commit = _commit(source)
        if not _tree(cache, commit).is_dir():
            with TemporaryDirectory(dir=cache, prefix="git-") as work:
                _export(source, commit, Path(work), _tree(cache, commit))
    except FileNotFoundError as error:
        raise ArtifactError(
            f"{_named(source)} is a git repository, and the controller has no git: install the package git there"
        ) from error
    except _GitError as error:
        reason = next(reason for pattern, reason in _REASONS if re.search(pattern, str(error)))
        lines = "".join(f"\n    {line}" for line in masked(str(error)).splitlines()[-4:])
        raise ArtifactError(f"{_named(source)} {reason}:{lines}") from error
    return commit


def _commit(source: Git) -> str:
    if _COMMIT.fullmatch(source.ref):
        return source.ref
    # What an annotated tag points to has its name and ^{}.
    names = [
        name
        for full in (f"refs/heads/{source.ref}", f"refs/tags/{source.ref}", source.ref)
        for name in (f"{full}^{{}}", full)
    ]
    listed = _git("ls-remote", "--", source.url, *names)
    there = {name: commit for commit, name in (line.split("\t") for line in listed.splitlines())}
    if not (found := next((there[name] for name in names if name in there), None)):
        raise ArtifactError(_no_ref(source))
    return found


def _no_ref(source: Git) -> str:
    whole = ", all 40 digits of it" if re.fullmatch(r"[0-9a-f]{7,39}", source.ref) else ""
    return (
        f"{_named(source)} has no {source.ref!r}: set what follows the @ to a branch, a tag or a commit{whole} that "
        "exists there"
    )


def _export(source: Git, commit: str, work: Path, target: Path) -> None:
    at = f"--git-dir={work / 'repository'}"
    _git("init", "--quiet", "--bare", str(work / "repository"))
    try:
        _git(at, "fetch", "--quiet", "--depth=1", "--no-tags", "--no-write-fetch-head", "--", source.url, commit)
    except _GitError:
        # Old servers give only what a branch or tag names, and only with its history.
        _git(at, "fetch", "--quiet", "--no-write-fetch-head", "--", source.url, *_ALL)
    try:
        _git(at, "cat-file", "-e", f"{commit}^{{commit}}")
    except _GitError as error:
        raise ArtifactError(_no_ref(source)) from error
    listed = _git(at, "ls-tree", "-r", commit)
    if modules := [line.partition("\t")[2] for line in listed.splitlines() if line.startswith("160000")]:
        raise ArtifactError(
            f"{_named(source)} has the submodule {modules[0]}, which is not fetched: put its files into the "
            "repository, or require it as a package"
        )
    _git(at, "archive", f"--output={work / 'tree.tar'}", commit)
    with tarfile.open(work / "tree.tar") as tar:
        tar.extraction_filter = getattr(tarfile, "data_filter", None)
        try:
            tar.extractall(work / "tree")
        except tarfile.TarError as error:
            raise ArtifactError(f"{_named(source)} cannot be unpacked: {error}. Correct it there") from error
    _insist_that_links_stay_inside(work / "tree", source)
    if not target.is_dir():
        (work / "tree").rename(target)


def _insist_that_links_stay_inside(tree: Path, source: Git) -> None:
    """Refuse what would ship files of the controller that are none of the repository's."""
    root = tree.resolve()
    for path in tree.rglob("*"):
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            raise ArtifactError(
                f"{_named(source)} holds {path.relative_to(tree)}, a link that leads out of the repository: remove it "
                "there"
            )


def _git(*arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in _FOREIGN} | {
        "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
        "GIT_SSH_COMMAND": f"{_ssh()} -o BatchMode=yes",
        "GIT_TERMINAL_PROMPT": "0",
        # Its words are read above.
        "LC_ALL": "C",
    }
    try:
        done = subprocess.run(
            ["git", *arguments],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT, env=environment, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise _GitError(f"git took longer than {TIMEOUT} s") from error
    if done.returncode:
        raise _GitError(done.stderr.strip())
    return done.stdout


def _ssh() -> str:
    """Return the command that the operator has chosen for ssh, which may hold the key to use."""
    if chosen := os.environ.get("GIT_SSH_COMMAND"):
        return chosen
    done = subprocess.run(["git", "config", "core.sshCommand"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "ssh"
