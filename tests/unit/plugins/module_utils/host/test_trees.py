"""Removing directories that belong to others, who keep filling them."""

import ctypes
import os
import platform
import threading
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import trees

# Deeper than Python's own removal supports.
DEPTH = 3000
# Its number on x86-64 and on ARM (the kernel's tables of system calls).
_SETRESUID = 147 if platform.machine() == "aarch64" else 117
# The id of no account on this machine.
STRANGER = 54321
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root removes what is another account's")


def deep(folder: Path, depth: int = DEPTH) -> None:
    folder.mkdir()
    descriptor = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("a", dir_fd=descriptor)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
        inner = os.open("a", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)


@pytest.mark.parametrize("owner", [None, pytest.param(STRANGER, marks=as_root)])
@pytest.mark.parametrize("kind", ["nothing", "file", "link", "dangling", "pipe", "folder", "deep"])
def test_the_named_tree_is_removed_and_nothing_else(tmp_path: Path, kind: str, owner: int | None) -> None:
    path, other = tmp_path / "place" / "one", tmp_path / "other"
    path.parent.mkdir()
    (other / "inside").mkdir(parents=True)
    match kind:
        case "file":
            path.write_text("x")
        case "link":
            path.symlink_to(other)
        case "dangling":
            path.symlink_to(tmp_path / "nowhere")
        case "pipe":
            os.mkfifo(path)
        case "folder":
            (path / "a").mkdir(parents=True)
            (path / "a" / "link").symlink_to(other)
            (path / "link").symlink_to(other / "inside")
        case "deep":
            deep(path)
    if owner and os.path.lexists(path):
        os.lchown(path, owner, owner)
    before = other.stat()
    trees.remove(path)
    assert list(path.parent.iterdir()) == []
    assert (other / "inside").is_dir() and other.stat() == before


@as_root
def test_a_process_that_keeps_filling_it_is_ended(tmp_path: Path) -> None:
    path = tmp_path / "one"
    (path / "a" / "b").mkdir(parents=True)
    for folder in (path, path / "a", path / "a" / "b"):
        os.chown(folder, STRANGER, STRANGER)
    held = [os.open(folder, os.O_RDONLY) for folder in (path, path / "a", path / "a" / "b")]
    over, ready = threading.Event(), threading.Event()

    def fill() -> None:
        # A thread has its own identity in the kernel (setresuid(2)): this one is no longer root.
        assert ctypes.CDLL(None).syscall(_SETRESUID, STRANGER, STRANGER, STRANGER) == 0
        number = 0
        while not over.is_set():
            for folder in held:
                number += 1
                try:
                    os.mkdir(f"{number}", dir_fd=folder)
                    os.close(os.open(f"{number}/x", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
                except OSError:
                    pass
            ready.set()

    filler = threading.Thread(target=fill)
    filler.start()
    try:
        assert ready.wait(10)
        trees.remove(path)
        assert list(tmp_path.iterdir()) == []
    finally:
        over.set()
        filler.join()
        for folder in held:
            os.close(folder)


@pytest.mark.parametrize("kept", range(6))
def test_a_removal_at_once_leaves_all_or_nothing_whenever_it_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    path = tmp_path / "one"
    for name in ("a", "b", "c"):
        (path / name).mkdir(parents=True)
        (path / name / "file").touch()
    unlink, left = os.unlink, iter(range(kept))

    def killed(name: str, **options: Any) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        unlink(name, **options)

    monkeypatch.setattr(trees.os, "unlink", killed)
    with pytest.raises(KeyboardInterrupt):
        trees.remove(path, at_once=True)
    assert not path.exists()
    monkeypatch.undo()
    trees.remove(path)
    assert list(tmp_path.iterdir()) == []


@as_root
def test_leftovers_of_a_killed_removal_are_removed_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "one"
    deep(trees.trash(path), 3)
    trees.remove(path)
    assert list(tmp_path.iterdir()) == []
    # A foreign directory is neither filled nor removed.
    (tmp_path / "elsewhere").mkdir()
    trees.trash(path).symlink_to(tmp_path / "elsewhere")
    path.mkdir()
    os.chown(path, STRANGER, STRANGER)
    with pytest.raises(FileExistsError):
        trees.remove(path)
    assert path.is_dir() and list((tmp_path / "elsewhere").iterdir()) == []
