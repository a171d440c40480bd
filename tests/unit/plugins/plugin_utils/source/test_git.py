import re
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release.artifact import ArtifactError
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source import git
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source.folder import Git

Run = Callable[..., str]


@pytest.fixture(autouse=True)
def own_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing of the developer's git, ssh or proxy count."""
    for name in ("GIT_SSH_COMMAND", "http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Make a repository with a commit on the branch ``main``."""
    path = tmp_path / "repository"
    run(path.parent, "init", "--quiet", "--initial-branch=main", str(path))
    (path / "svc").mkdir()
    (path / "svc" / "run.py").write_text("app = print\n")
    commit(path, "first")
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Return an empty cache."""
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


def run(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "protocol.file.allow=always")
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(repository: Path, text: str) -> str:
    (repository / "version.txt").write_text(text)
    run(repository, "add", "--all")
    run(repository, "commit", "--quiet", "--message", text)
    return run(repository, "rev-parse", "HEAD")


def head(repository: Path) -> str:
    return run(repository, "rev-parse", "HEAD")


def source(repository: Path | str, ref: str = "main", subdirectory: str = ".") -> Git:
    return Git(repository if isinstance(repository, str) else repository.as_uri(), ref, subdirectory)


def problem(wanted: Git, cache: Path) -> str:
    with pytest.raises(ArtifactError) as caught:
        git.checkout(wanted, cache)
    # Nothing half-made stays.
    assert not [path for path in cache.iterdir() if not path.name.startswith("once-")]
    return str(caught.value)


@pytest.mark.parametrize("path", ["address", "folder"])
def test_a_branch_is_checked_out_with_all_its_files(repository: Path, cache: Path, path: str) -> None:
    wanted = source(repository if path == "address" else str(repository))
    found, folder = git.checkout(wanted, cache)
    assert found == head(repository)
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert names == ["svc/run.py", "version.txt"]
    assert sorted(path.name[:5] for path in cache.iterdir()) == ["git-" + found[0], "once-"]


def test_a_folder_of_the_repository_may_hold_the_application(repository: Path, cache: Path) -> None:
    found, folder = git.checkout(source(repository, subdirectory="svc"), cache)
    assert folder == cache / f"git-{found}" / "svc" and (folder / "run.py").is_file()


def test_tags_and_commits_are_found_after_the_branch_went_on(repository: Path, cache: Path) -> None:
    first = head(repository)
    run(repository, "tag", "light")
    run(repository, "tag", "--annotate", "--message", "text", "annotated")
    run(repository, "branch", "feature/a")
    second = commit(repository, "second")
    for ref in ("light", "annotated", "feature/a", "refs/tags/annotated", "refs/heads/feature/a", first):
        found, folder = git.checkout(source(repository, ref), cache)
        assert (folder / "version.txt").read_text() == "first", ref
        assert found == first, ref
    assert git.checkout(source(repository), cache)[0] == second


def test_a_commit_that_no_branch_ends_in_any_more_is_found(repository: Path, cache: Path) -> None:
    first = head(repository)
    commit(repository, "second")
    # As older servers, which give nothing but what they name.
    run(repository, "config", "uploadpack.allowAnySHA1InWant", "false")
    (Path(cache.parent) / "gitconfig").write_text("[protocol]\n    version = 0\n")
    assert git.checkout(source(repository, first), cache)[0] == first


def test_a_branch_comes_before_a_tag_of_its_name(repository: Path, cache: Path) -> None:
    run(repository, "tag", "both")
    run(repository, "checkout", "--quiet", "-b", "both")
    second = commit(repository, "second")
    assert git.checkout(source(repository, "both"), cache)[0] == second


def test_a_branch_whose_name_holds_a_line_separator_is_no_other_branch(repository: Path, cache: Path) -> None:
    # The server lists whatever ends like what was asked for.
    run(repository, "branch", "evil\u2028x/refs/heads/main")
    assert git.checkout(source(repository), cache)[0] == head(repository)


def test_a_branch_that_moves_means_one_commit_in_a_run(repository: Path, cache: Path) -> None:
    first, _ = git.checkout(source(repository), cache)
    second = commit(repository, "second")
    assert git.checkout(source(repository), cache)[0] == first != second
    # What a later run finds.
    next(cache.glob("once-*")).unlink()
    assert git.checkout(source(repository), cache)[0] == second


def test_a_commit_that_is_there_asks_nobody(repository: Path, cache: Path) -> None:
    wanted = source(repository, head(repository))
    git.checkout(wanted, cache)
    next(cache.glob("once-*")).unlink()
    repository.rename(repository.with_name("away"))
    assert (git.checkout(wanted, cache)[1] / "version.txt").is_file()


@pytest.mark.parametrize(
    ("ref", "hint"), [("v9", "a commit that exists"), ("abc1234", "all 40 digits of it"), ("b" * 40, "a commit that")]
)
def test_a_ref_that_does_not_exist_is_reported(repository: Path, cache: Path, ref: str, hint: str) -> None:
    message = problem(source(repository, ref), cache)
    assert message.startswith(
        f"flask_uwsgi_source=git+{repository.as_uri()}@{ref} has no {ref!r}: set the part after the @"
    )
    assert hint in message


def test_a_repository_that_does_not_exist_is_reported(tmp_path: Path, cache: Path) -> None:
    message = problem(source(tmp_path / "none"), cache)
    assert "/none@main does not exist, or is not visible: correct the address:\n    fatal: " in message


def test_a_folder_that_is_not_in_the_repository_is_reported(repository: Path, cache: Path) -> None:
    with pytest.raises(ArtifactError, match=r"@main has no folder web at main \(commit [0-9a-f]{12}\): correct #sub"):
        git.checkout(source(repository, subdirectory="web"), cache)


def test_folders_in_folders_have_an_end(repository: Path, cache: Path) -> None:
    folder = repository.joinpath(*["a"] * 101)
    folder.mkdir(parents=True)
    (folder / "x").touch()
    commit(repository, "deep")
    assert "which is nested more than 100 folders deep: move it up" in problem(source(repository), cache)


def test_a_submodule_is_refused(repository: Path, cache: Path) -> None:
    run(repository, "submodule", "add", "--quiet", repository.as_uri(), "svc/vendored")
    commit(repository, "with a submodule")
    assert "has the submodule svc/vendored, which is not fetched: put its files" in problem(source(repository), cache)


@pytest.mark.parametrize("target", ["/etc/hostname", "../../../../../../../../etc/hostname", "../../nothing"])
def test_a_link_that_leads_out_of_the_repository_ships_nothing(repository: Path, cache: Path, target: str) -> None:
    (repository / "svc" / "link").symlink_to(target)
    commit(repository, "with a link")
    assert f"holds 'svc/link', a link to '{target}', which leads out of the source" in problem(
        source(repository), cache
    )


def test_a_link_to_nothing_is_refused(repository: Path, cache: Path) -> None:
    (repository / "svc" / "link").symlink_to("gone.py")
    commit(repository, "with a link")
    assert "holds 'svc/link', a link to 'gone.py', which does not exist: remove it there" in problem(
        source(repository), cache
    )


def tree_of(repository: Path, *entries: tuple[str, str, str]) -> str:
    """Write a tree as no git would, and return its name; an entry is its mode, its name and its object."""
    content = b"".join(f"{mode} {name}\0".encode() + bytes.fromhex(blob) for mode, name, blob in entries)
    options = ("hash-object", "-w", "-t", "tree", "--literally", "--stdin")
    done = subprocess.run(["git", *options], cwd=repository, input=content, check=True, capture_output=True)
    return done.stdout.decode().strip()


def blob(repository: Path, content: str) -> str:
    options = ("hash-object", "-w", "--stdin")
    done = subprocess.run(["git", *options], cwd=repository, input=content, check=True, capture_output=True, text=True)
    return done.stdout.strip()


HOSTILE = ["link and folder", "link and file", "link below a link", "parent", "absolute", "git", "control"]


@pytest.fixture(params=HOSTILE)
def hostile(repository: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Commit a tree that would write into a folder beside it, were it followed to the letter."""
    outside = tmp_path / "outside"
    outside.mkdir()
    link, file = blob(repository, str(outside)), blob(repository, "written")
    inner = tree_of(repository, ("100644", "evil", file))
    entries = {
        "link and folder": [("120000", "x", link), ("40000", "x", inner)],
        "link and file": [("120000", "x", blob(repository, f"{outside}/evil")), ("100644", "x", file)],
        "link below a link": [("120000", "x", link), ("40000", "x", tree_of(repository, ("120000", "evil", link)))],
        "parent": [
            ("40000", "..", tree_of(repository, ("40000", "..", tree_of(repository, ("40000", "outside", inner)))))
        ],
        "absolute": [("100644", f"{outside}/evil", file)],
        "git": [("40000", ".git", inner)],
        "control": [("100644", "x\n\x1b[2J", file)],
    }[str(request.param)]
    new = run(repository, "commit-tree", "-m", "hostile", tree_of(repository, *entries))
    run(repository, "update-ref", "refs/heads/main", new)
    return outside


@pytest.mark.parametrize("checked", [True, False], ids=["fsck", "no fsck"])
def test_a_tree_cannot_write_outside_its_folder(
    repository: Path,
    hostile: Path,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    checked: bool,
) -> None:
    monkeypatch.delattr(tarfile, "data_filter", raising=False)
    if not checked:
        monkeypatch.setattr(git, "_SAFE", ())
    before = set(tmp_path.iterdir())
    message = problem(source(repository), cache)
    # Control characters are all the same to git.
    by_git = checked and "control" not in request.node.callspec.id
    ours = r"which is not a valid file name|which cannot be written"
    assert re.search(r"git-fsck\) refuses" if by_git else ours, message), message
    assert "\x1b" not in message
    assert list(hostile.iterdir()) == []
    assert set(tmp_path.iterdir()) == before


def test_two_names_that_are_one_on_the_controller_are_reported(
    repository: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("readme", "README"):
        (repository / name).write_text(name)
    commit(repository, "two of them")
    opened = git.os.open
    # As a file system that knows no case.
    monkeypatch.setattr(git.os, "open", lambda path, *rest, **more: opened(str(path).lower(), *rest, **more))
    assert "holds 'readme', which cannot be written: " in problem(source(repository), cache)


def test_what_a_repository_says_of_its_files_does_not_count(repository: Path, cache: Path, tmp_path: Path) -> None:
    hook = tmp_path / "template/hooks/reference-transaction"
    hook.parent.mkdir(parents=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/hook\n")
    hook.chmod(0o755)
    (repository / ".gitattributes").write_text(
        "secret.txt export-ignore\nid.txt export-subst ident\n*.bin filter=evil\n"
    )
    texts = {"secret.txt": "s", "id.txt": "$Format:%H$ $Id$\n", "x.bin": "plain", "lines.txt": "a\nb\n"}
    for name, text in texts.items():
        (repository / name).write_text(text)
    commit(repository, "with attributes")
    (tmp_path / "gitconfig").write_text(
        f'[filter "evil"]\n    smudge = touch {tmp_path}/ran\n    required = true\n'
        f"[init]\n    templateDir = {tmp_path}/template\n[core]\n    autocrlf = true\n"
    )
    _, folder = git.checkout(source(repository), cache)
    assert {name: (folder / name).read_text() for name in texts} == texts
    assert not (tmp_path / "ran").exists() and not (tmp_path / "hook").exists()


def test_git_never_runs_in_the_repository_that_a_playbook_was_started_in(
    repository: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = tmp_path / "started-in"
    run(tmp_path, "init", "--quiet", "--bare", str(bare))
    run(bare, "config", "core.sshCommand", f"touch {tmp_path}/ran;")
    monkeypatch.chdir(bare)
    problem(source("ssh://git@127.0.0.1:9/x.git"), cache)
    assert not (tmp_path / "ran").exists()


def test_a_link_within_the_repository_is_kept(repository: Path, cache: Path) -> None:
    (repository / "svc" / "link").symlink_to("../version.txt")
    commit(repository, "second")
    assert (git.checkout(source(repository), cache)[1] / "svc" / "link").read_text() == "second"


def test_git_asks_nobody(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "git").write_text('#!/bin/sh\necho "prompt=$GIT_TERMINAL_PROMPT dir=$GIT_DIR" >&2; exit 1\n')
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    # As in a hook of another repository.
    monkeypatch.setenv("GIT_DIR", "elsewhere")
    assert "prompt=0 dir=\n" in problem(source("https://h/x.git"), cache) + "\n"


def test_a_controller_without_git_is_reported(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    message = problem(source("https://h/x.git"), cache)
    assert message.endswith("is a git repository, but the controller has no git: install the package git there")


def test_a_repository_that_takes_too_long_is_reported(
    repository: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git, "TIMEOUT", 0)
    assert "cannot be reached from the controller: check the address" in problem(source(repository), cache)


def test_a_server_that_is_not_running_is_reported(cache: Path) -> None:
    message = problem(source("http://127.0.0.1:9/x.git"), cache)
    assert "cannot be reached from the controller: check the address, the network and git's proxy" in message


@pytest.fixture
def refusing() -> Iterator[str]:
    """Serve a repository that asks for a password and accepts none."""

    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="shop"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_port}/x.git"
        server.shutdown()


@pytest.mark.parametrize("account", ["", "shop:hunter2@"])
def test_a_repository_that_needs_credentials_is_reported_without_asking_or_showing_any(
    refusing: str, cache: Path, account: str
) -> None:
    message = problem(source(f"http://{account}{refusing}"), cache)
    assert "needs credentials that the controller does not have" in message
    for remedy in ("the ssh agent", "deploy key", "credential helper"):
        assert remedy in message
    assert "hunter2" not in message and "shop" not in message
    assert (f"git+http://…@{refusing}@main" if account else f"git+http://{refusing}@main") in message
    assert "hunter2" not in "".join(path.read_text() for path in cache.iterdir())


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("git@h: Permission denied (publickey).\nfatal: Could not read from remote repository.", "needs credentials"),
        ("Host key verification failed.\nfatal: Could not read", "ssh key the controller does not know"),
        (
            "remote: Repository not found.\nfatal: repository 'https://h/x/' not found",
            "does not exist, or is not visible",
        ),
        ("fatal: unable to access 'https://h/': Could not resolve host: h", "cannot be reached"),
        ("ssh: connect to host h port 22: Connection timed out", "cannot be reached"),
        ("fatal: detected dubious ownership in repository at '/x'", "cannot be read: see git's message"),
    ],
)
def test_what_git_says_becomes_a_remedy(cache: Path, monkeypatch: pytest.MonkeyPatch, said: str, expected: str) -> None:
    def fail(*_: str) -> str:
        raise git._GitError(said)

    monkeypatch.setattr(git, "_git", fail)
    message = problem(source("ssh://git@h/x.git"), cache)
    assert message.startswith("flask_uwsgi_source=git+ssh://…@h/x.git@main ") and expected in message
    assert f"    {said.splitlines()[-1]}" in message


def test_ssh_never_asks_and_keeps_the_operator_s_key(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("chosen", "configured"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "$0 $*" >> {tmp_path}/called\nexit 1\n')
        (tmp_path / name).chmod(0o755)
    (tmp_path / "gitconfig").write_text(f"[core]\n    sshCommand = {tmp_path}/configured -i key\n")
    problem(source("ssh://git@h/x.git"), cache)
    monkeypatch.setenv("GIT_SSH_COMMAND", f"{tmp_path}/chosen")
    problem(source("ssh://git@h/y.git"), cache)
    called = (tmp_path / "called").read_text().splitlines()
    # It calls more than once, to see which ssh it is.
    assert list(dict.fromkeys(line.partition(" ")[0] for line in called)) == [
        f"{tmp_path}/configured",
        f"{tmp_path}/chosen",
    ]
    assert all("-o BatchMode=yes" in line for line in called) and "-i key" in called[0]
