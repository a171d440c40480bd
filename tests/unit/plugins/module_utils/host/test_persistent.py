"""The folders of a release that outlive it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import marks, ownership, persistent, trees
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.accounts import Account
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.layout import Layout
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.marks import Mark
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic.removal import doomed

from tests.support.fake_host import FakeHost, TemporaryLayout

UID = 54321


def test_a_folder_is_beside_the_data_and_found_in_the_release() -> None:
    # Not in /var/lib/shop, which belongs to the account: root would follow a link there.
    names = ["instance", "data/uploads", "venv/var/shop-instance"]
    found = persistent.folders(Layout("shop"), "r1", "v1", names)
    assert [(str(one.store), str(one.mount)) for one in found] == [
        ("/var/lib/shop-persistent/instance", "/opt/shop/releases/r1/instance"),
        ("/var/lib/shop-persistent/data-uploads", "/opt/shop/releases/r1/data/uploads"),
        ("/var/lib/shop-persistent/venv-var-shop-instance", "/opt/shop/venvs/v1/var/shop-instance"),
    ]


@pytest.mark.parametrize(
    "names", [[], ["instance"], ["instance", "uploads"], ["data/a", "data/b"], ["venv/var/shop-instance", ".cache"]]
)
def test_folders_of_the_source_are_valid(names: list[str]) -> None:
    assert list(persistent.problems(names)) == []


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "/srv/data",
        "../data",
        "a/../b",
        "./instance",
        "instance/",
        "a//b",
        "a b",
        "a:b",
        "%i",
        "venv",
        "-a",
    ],
)
def test_an_invalid_folder_is_reported(name: str) -> None:
    messages = list(persistent.problems([name, "instance"]))
    assert len(messages) == 1 and messages[0].startswith(f"flask_uwsgi_persistent has {name!r}, which is not a folder")


@pytest.mark.parametrize("value", ["instance", {"a": 1}, [1], None])
def test_a_value_that_is_not_a_list_is_reported(value: Any) -> None:
    assert list(persistent.problems(value)) == [
        f"flask_uwsgi_persistent={value} is not valid: set it to a list of folders of the source"
    ]


@pytest.mark.parametrize("names", [["data", "data/a"], ["data/a", "data"], ["a/b", "a-b"], ["a", "a"]])
def test_two_folders_at_one_place_are_reported(names: list[str]) -> None:
    messages = list(persistent.problems(names))
    assert len(messages) == 1 and "which would be stored in the same place" in messages[0]


def test_mount_points_are_created_once(tmp_path: Path) -> None:
    layout = Layout("shop", tmp_path)
    (layout.releases / "r1" / "instance").mkdir(parents=True)
    folders = persistent.folders(layout, "r1", "v1", ["instance", "data/uploads", "venv/var/x"])
    absent = persistent.missing(folders)
    assert [folder.name for folder in absent] == ["data/uploads", "venv/var/x"]
    persistent.make(absent)
    assert (layout.releases / "r1/data/uploads").is_dir() and (layout.venvs / "v1/var/x").is_dir()
    assert persistent.missing(folders) == []


@pytest.mark.parametrize("name", ["run.py", "run.py/x", "link"])
def test_files_and_links_are_not_used_as_mount_points(tmp_path: Path, name: str) -> None:
    layout = Layout("shop", tmp_path)
    release = layout.releases / "r1"
    release.mkdir(parents=True)
    (release / "run.py").touch()
    (release / "link").symlink_to("/etc")
    with pytest.raises(persistent.PersistentError, match="rename one"):
        persistent.missing(persistent.folders(layout, "r1", "v1", [name]))


def store(layout: TemporaryLayout, uid: int = UID) -> None:
    """Create a folder that outlives releases, as systemd does."""
    folder = layout.persistent / "instance"
    folder.mkdir(parents=True)
    os.chown(folder, uid, uid)


def mark(layout: TemporaryLayout, *, data_only: bool = False) -> None:
    """Make the application belong to the role."""
    marks.write(layout, Mark("shop", str(layout.base), Account("shop", UID), Account("shop", UID), data_only))


def test_they_are_removed_only_with_the_data(layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("g1")
    mark(layout)
    store(layout)
    assert layout.persistent not in doomed(layout, data=False).paths
    assert layout.persistent in doomed(layout, data=True).paths
    # After a removal that kept them.
    mark(layout, data_only=True)
    for path in (layout.root, layout.runtime, layout.units):
        trees.remove(path)
    assert ownership.foreign(layout) == []
    assert layout.persistent in doomed(layout, data=True).paths


@pytest.mark.parametrize("kind", ["file", "link", "directory of another"])
def test_foreign_folders_are_refused_and_never_removed(layout: TemporaryLayout, host: FakeHost, kind: str) -> None:
    host.serve("g1")
    mark(layout)
    layout.persistent.parent.mkdir(parents=True, exist_ok=True)
    if kind == "file":
        layout.persistent.touch()
    elif kind == "link":
        layout.persistent.symlink_to("/etc")
    else:
        store(layout, UID + 1)
    assert [entry.path for entry in ownership.taken(layout)] == [str(layout.persistent)]
    found = doomed(layout, data=True)
    assert layout.persistent not in found.paths
    assert [kept for kept in found.kept if str(layout.persistent) in kept]
