import ctypes
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import files


class Disk:
    """Records the order in which files are synced and renamed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log: list[str] = []
        fsync, rename = os.fsync, Path.rename

        def synced(descriptor: int) -> None:
            self.log.append(f"sync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
            fsync(descriptor)

        def renamed(path: Path, to: Path) -> Path:
            self.log.append(f"rename {path.name}")
            return rename(path, to)

        monkeypatch.setattr(os, "fsync", synced)
        monkeypatch.setattr(Path, "rename", renamed)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_is_synced_before_its_rename_and_its_directory_afterwards(tmp_path: Path, disk: Disk) -> None:
    files.write(tmp_path / "file", "content")
    assert disk.log == ["sync .file.partial", "rename .file.partial", f"sync {tmp_path.name}"]
    assert (tmp_path / "file").read_text() == "content"


def test_a_file_has_its_mode_and_group_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        files.write(tmp_path / "file", b"\xff", 0o640, os.getgid())
    finally:
        os.umask(before)
    assert mode(tmp_path / "file") == 0o640
    assert (tmp_path / "file").stat().st_gid == os.getgid()
    assert (tmp_path / "file").read_bytes() == b"\xff"


def test_without_a_mode_a_file_has_that_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        files.write(tmp_path / "file", "", None)
    finally:
        os.umask(before)
    assert mode(tmp_path / "file") == 0o640


def test_a_file_created_elsewhere_is_synced_before_its_rename(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "sync_tree", lambda folder: disk.log.append(f"sync all of {folder.name}"))
    (tmp_path / "archive").write_text("content")
    files.place(tmp_path / "archive", tmp_path / "kept")
    (tmp_path / "made").mkdir()
    files.place(tmp_path / "made", tmp_path / "release")
    end = f"sync {tmp_path.name}"
    assert disk.log == ["sync archive", "rename archive", end, "sync all of made", "rename made", end]
    assert {path.name for path in tmp_path.iterdir()} == {"kept", "release"}


def test_a_directory_at_the_path_of_a_write_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".file.partial" / "inner").mkdir(parents=True)
    files.write(tmp_path / "file", "content")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.write(tmp_path / "file", "before")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write(tmp_path / "file", "after")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "before")]


@pytest.mark.parametrize("plant", [Path.touch, lambda path: path.symlink_to("precious")])
def test_a_link_at_the_path_of_a_write_is_replaced_and_never_followed(
    tmp_path: Path, plant: Callable[[Path], Any]
) -> None:
    (tmp_path / "precious").write_text("precious")
    plant(tmp_path / ".file.partial")
    files.write(tmp_path / "file", "content")
    assert (tmp_path / "precious").read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "precious"]


def test_two_writers_of_one_file_do_not_conflict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync = os.fsync

    def meanwhile(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", sync)
        files.write(tmp_path / "file", "second", writer="2")

    monkeypatch.setattr(os, "fsync", meanwhile)
    files.write(tmp_path / "file", "first", writer="1")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "first")]


def test_unchanged_content_is_not_written(tmp_path: Path, disk: Disk) -> None:
    path = tmp_path / "unit.d" / "file.conf"
    assert files.put(path, "a") is True
    assert mode(path.parent) == 0o755
    disk.log.clear()
    assert files.put(path, "a") is False
    assert disk.log == []
    assert files.put(path, "b") is True
    assert path.read_text() == "b"


def test_content_that_is_not_text_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\xff")
    assert files.put(tmp_path / "file", "text") is True
    assert (tmp_path / "file").read_text() == "text"


def test_a_link_is_replaced_atomically_and_its_directory_is_synced(tmp_path: Path, disk: Disk) -> None:
    (tmp_path / ".current.partial").symlink_to("left by a killed run")
    assert files.link(tmp_path / "current", "one") is True
    assert files.link(tmp_path / "current", "two") is True
    assert files.link(tmp_path / "current", "two") is False
    assert str((tmp_path / "current").readlink()) == "two"
    assert disk.log.count(f"sync {tmp_path.name}") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["current"]


def test_a_tree_is_synced_and_a_failed_sync_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.sync_tree(tmp_path)

    class Refusing:
        def syncfs(self, descriptor: int) -> int:
            assert tmp_path.samefile(f"/proc/self/fd/{descriptor}")
            ctypes.set_errno(errno.EIO)
            return -1

    monkeypatch.setattr(ctypes, "CDLL", lambda name, use_errno: Refusing())
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        files.sync_tree(tmp_path)
