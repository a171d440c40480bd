"""The runtime directory of an application belongs to root, whatever the service's account has left in it."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import kinds, runtime, trees
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic import service, status
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic.swap import Swap

from tests.support.fake_host import FakeHost, TemporaryLayout, write_generation

# An account other than root.
ACCOUNT = 12345


def give_away(layout: TemporaryLayout) -> None:
    """Give the directory to the account, as up to version 0.1."""
    layout.runtime.mkdir(parents=True, exist_ok=True)
    layout.runtime.chmod(0o775)
    os.chown(layout.runtime, ACCOUNT, ACCOUNT)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def directory(path: Path) -> None:
    (path / "below").mkdir(parents=True)
    (path / "below" / "x").symlink_to("/etc/passwd")


def link(path: Path) -> None:
    path.symlink_to(path.parent.parent / "victim")


def hidden(path: Path) -> None:
    path.write_text("1\n")


def listing(layout: TemporaryLayout) -> dict[str, int]:
    return {path.name: stat.S_IFMT(path.lstat().st_mode) for path in layout.runtime.iterdir()}


@pytest.fixture
def victim(layout: TemporaryLayout) -> Path:
    """Return a file to which a link of the account leads."""
    path = layout.runtime.parent / "victim"
    path.write_text("precious")
    return path


NAMES = ["new", "new.pid", "shop.pid", ".shop.pid.partial", ".new.pid.partial", "new.sock", "new.stats"]


@pytest.mark.parametrize("plant", [pipe, directory, link, hidden])
@pytest.mark.parametrize("name", NAMES)
def test_obstacles_left_by_the_account_are_replaced(
    layout: TemporaryLayout, host: FakeHost, victim: Path, name: str, plant: Callable[[Path], None]
) -> None:
    give_away(layout)
    plant(layout.runtime / name)
    write_generation(layout, "new")
    assert Swap(layout, "new").run() is True
    assert victim.read_text() == "precious"
    assert listing(layout) == {"new": stat.S_IFDIR, "new.pid": stat.S_IFREG, "shop.pid": stat.S_IFLNK}
    assert runtime.owned_by_root(layout)
    assert service.drift(layout) == []
    assert host.pidfile_pid() == host.active["shop@new.service"]


@pytest.mark.parametrize("plant", [pipe, directory, link, hidden])
@pytest.mark.parametrize("name", ["same.pid", "shop.pid", "same.relief.pid", ".same.relief.pid.partial"])
def test_obstacles_of_a_restart_are_replaced(
    layout: TemporaryLayout, host: FakeHost, victim: Path, name: str, plant: Callable[[Path], None]
) -> None:
    host.serve("same")
    trees.remove(layout.runtime / name)
    plant(layout.runtime / name)
    assert Swap(layout, "same", restart=True).run() is True
    assert victim.read_text() == "precious"
    assert listing(layout) == {"same": stat.S_IFDIR, "same.pid": stat.S_IFREG, "shop.pid": stat.S_IFLNK}
    assert host.pidfile_pid() == host.active["shop@same.service"]


def test_a_missing_directory_is_created(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("same")
    trees.remove(layout.runtime)
    assert len(service.drift(layout)) == 2
    assert Swap(layout, "same").run() is True
    assert service.drift(layout) == []
    assert stat.S_IMODE(layout.runtime.stat().st_mode) == 0o755


def test_files_that_no_running_generation_needs_are_removed(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("old")
    write_generation(layout, "new")
    (layout.runtime / "gone.stats").touch()
    for name in ("new.relief.pid", "new.sock", "new.stats"):
        (layout.runtime / name).touch()
    (layout.runtime / "gone").mkdir()
    Swap(layout, "new").run()
    assert listing(layout).keys() == {"new", "new.pid", "shop.pid"}


def test_a_foreign_object_with_the_name_is_reported_and_nothing_changes(
    layout: TemporaryLayout, host: FakeHost
) -> None:
    layout.runtime.symlink_to("/tmp")
    with pytest.raises(OSError, match="shop"):
        runtime.claim(layout)
    assert layout.runtime.readlink() == Path("/tmp")


# A generation that version 0.1 has started.


def of_the_old_layout(layout: TemporaryLayout, host: FakeHost, generation: str) -> None:
    """Serve a generation as version 0.1 did: everything in one directory that belongs to the account."""
    host.serve(generation)
    own = layout.runtime / generation
    for path in own.iterdir():
        path.rename(layout.runtime / path.name)
    own.rmdir()
    give_away(layout)


def test_an_instance_of_the_old_layout_is_found(layout: TemporaryLayout, host: FakeHost) -> None:
    of_the_old_layout(layout, host, "old")
    assert runtime.folder(layout, "shop@old.service") == layout.runtime
    assert runtime.whole(layout, "old")
    assert service.drift(layout) == [f"{layout.runtime} is writable by other accounts than root"]
    before = dict(host.active)
    assert Swap(layout, "old").run() is True
    assert host.active == before, "it is not restarted for that"
    assert service.drift(layout) == []


def test_the_next_deploy_ends_the_old_layout(layout: TemporaryLayout, host: FakeHost) -> None:
    of_the_old_layout(layout, host, "old")
    write_generation(layout, "new")
    Swap(layout, "new").run()
    assert listing(layout).keys() == {"new", "new.pid", "shop.pid"}
    assert runtime.owned_by_root(layout)


def test_a_canary_a_relief_and_a_check_have_separate_directories(layout: TemporaryLayout) -> None:
    assert runtime.folder(layout, "shop-canary@g.service") == layout.runtime_of(kinds.CANARY)
    assert runtime.folder(layout, "shop-relief@g.service") == layout.runtime_of(kinds.RELIEF)
    assert runtime.folder(layout, "shop-check@g.service") == layout.check_runtime
    assert runtime.folder(layout, "shop@g.service") == layout.runtime / "g"


# The pidfile.


def point_to(layout: TemporaryLayout, generation: str) -> bool:
    return runtime.point_pidfile(layout, layout.service(generation))


def test_the_pidfile_is_correct_after_the_master_was_replaced(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("a")
    (layout.runtime / "a.pid").write_text("1\n")
    assert point_to(layout, "a") is True
    assert host.pidfile_pid() == host.active["shop@a.service"]
    assert layout.pidfile.readlink() == Path("a.pid")
    assert point_to(layout, "a") is False


def test_the_pidfile_can_name_a_relief(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("a")
    host.systemctl("start", "shop-relief@a.service")
    assert runtime.point_pidfile(layout, "shop-relief@a.service") is True
    assert layout.pidfile.readlink() == Path("a.relief.pid")
    assert host.pidfile_pid() == host.active["shop-relief@a.service"]


def test_the_pidfile_is_not_written_through_a_link_planted_at_the_last_moment(
    layout: TemporaryLayout, host: FakeHost, victim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.serve("a")
    (layout.runtime / ".a.pid.partial").symlink_to(victim)
    (layout.runtime / "a.pid").write_text("1\n")
    # The link is restored immediately.
    monkeypatch.setattr(Path, "unlink", lambda path, missing_ok=False: None)
    with pytest.raises(FileExistsError):
        point_to(layout, "a")
    assert victim.read_text() == "precious"


def test_a_pidfile_that_the_account_could_overwrite_becomes_root_s(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("a")
    os.chown(layout.runtime / "a.pid", ACCOUNT, ACCOUNT)
    assert point_to(layout, "a") is True
    assert (layout.runtime / "a.pid").stat().st_uid == os.geteuid()
    assert point_to(layout, "a") is False


@pytest.mark.parametrize("target", ["../victim.pid", "/run/other.pid", "shop/../a.pid"])
def test_a_pidfile_that_links_elsewhere_is_not_trusted(layout: TemporaryLayout, host: FakeHost, target: str) -> None:
    host.serve("a")
    (layout.runtime.parent / "victim.pid").write_text("1\n")
    trees.remove(layout.pidfile)
    layout.pidfile.symlink_to(target)
    assert runtime.pidfile_pid(layout) is None
    assert f"{layout.pidfile} does not name the serving master" in service.drift(layout)


def test_a_fifo_in_place_of_a_pidfile_does_not_block(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("a")
    for name in ("a.pid", "shop.pid"):
        trees.remove(layout.runtime / name)
        os.mkfifo(layout.runtime / name)
        assert status.of(layout).pidfile_pid is None
        assert point_to(layout, "a") is True
        assert runtime.pidfile_pid(layout) == host.active["shop@a.service"]
