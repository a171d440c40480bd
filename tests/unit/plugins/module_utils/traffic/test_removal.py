import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import accounts, marks, systemd, trees
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.accounts import Account, AccountError
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.layout import Layout
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.listening import Process
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.marks import Mark
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.systemd import SystemdError
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic import reservation
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic.removal import RemovalError, doomed, remove
from ansible_collections.flaskops.uwsgi.plugins.modules import removal

from tests.support.fake_host import ADDRESS, THEM, FakeHost, RefusedError, TemporaryLayout

CallModule = Callable[..., dict[str, Any]]
# Accounts that exist on no machine.
UID, GID = 54321, 54322
SOCKET = f"shop@{ADDRESS}.socket"

# Names that begin like the application's but do not belong to it.
NEIGHBOURS = (
    "units/shop2@.service",
    "units/shop-admin@.service",
    "units/shop-admin@g1.service.d/generation.conf",
    "units/my-shop@.socket",
    "units/shop.service",
    "units/multi-user.target.wants/shop-admin@g1.service",
    "opt/shop2/current",
    "opt/shop-canary/current",
    "run/shop2/shop2.pid",
    "sysctl.d/60-shop2.conf",
    "var/lib/shop2/data",
)


def paths(layout: Layout, *, data: bool) -> list[Path]:
    """Return the files and directories that a removal would remove, without the mark."""
    return [path for path in doomed(layout, data=data).paths if path != layout.mark]


def data(layout: TemporaryLayout, uid: int = UID) -> list[Path]:
    """Return the application's data, after creating them."""
    for path in layout.data:
        path.mkdir(parents=True)
        (path / "precious").touch()
        os.chown(path, uid, uid)
    return list(layout.data)


def left(layout: TemporaryLayout) -> set[str]:
    """Return every existing file, including links and empty directories of the application."""
    return {str(path.relative_to(layout.top)) for path in layout.top.rglob("*") if not path.is_dir()} | {
        str(path.relative_to(layout.top)) for path in layout.top.rglob("shop*")
    }


@pytest.fixture
def people(monkeypatch: pytest.MonkeyPatch) -> dict[str, Account]:
    """Return the accounts and groups of the host, as ``user NAME`` and ``group NAME``, which commands change."""
    known = {"user shop": Account("shop", UID), "group shop": Account("shop", GID)}

    def run(*command: str) -> None:
        if command[0] != "usermod":
            del known[f"{ {'userdel': 'user', 'groupdel': 'group'}[command[0]] } {command[-1]}"]

    monkeypatch.setattr(accounts, "_run", run)
    monkeypatch.setattr(accounts, "user", lambda name: known.get(f"user {name}"))
    monkeypatch.setattr(accounts, "group", lambda name: known.get(f"group {name}"))
    monkeypatch.setattr(accounts, "members", lambda group: [])
    return known


@pytest.fixture
def deployed(layout: TemporaryLayout, host: FakeHost, people: dict[str, Account]) -> FakeHost:
    """Serve, with a previous generation, beside neighbours."""
    for name in NEIGHBOURS:
        path = layout.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("not ours")
    host.serve("old", listen="127.0.0.1:9000")
    host.serve("g1")
    layout.sysctl.write_text("net.core.somaxconn = 4096\n")
    mark = Mark("shop", str(layout.base), Account("shop", UID, made=True), Account("shop", GID, made=True))
    marks.write(layout, mark)
    return host


def test_without_a_deploy_there_is_nothing_to_remove(layout: TemporaryLayout) -> None:
    for folder in (layout.releases, layout.venvs, layout.generations, layout.root):
        folder.rmdir()
    assert paths(layout, data=True) == []


def test_everything_of_the_application_is_found_and_nothing_else(layout: TemporaryLayout, deployed: FakeHost) -> None:
    deployed.systemctl("start", "shop-canary@g1.service")
    deployed.systemctl("start", "shop-relief@g1.service")
    # From a check that was killed.
    layout.check_runtime.mkdir()
    (layout.units / "shop-check@.service").touch()
    data(layout)
    found = {str(path.relative_to(layout.top)) for path in paths(layout, data=False)}
    assert found == {
        "opt/shop",
        "run/shop",
        "run/shop-canary",
        "run/shop-relief",
        "run/shop-check",
        "sysctl.d/60-shop.conf",
        "units/shop@.service",
        "units/shop@.socket",
        "units/shop-canary@.service",
        "units/shop-relief@.service",
        "units/shop-check@.service",
        f"units/{SOCKET}.d",
        *(f"units/shop{kind}@{name}.service.d" for kind in ("", "-canary", "-relief") for name in ("old", "g1")),
        "units/multi-user.target.wants/shop@g1.service",
        f"units/sockets.target.wants/{SOCKET}",
    }


def test_data_are_found_on_request(layout: TemporaryLayout, deployed: FakeHost) -> None:
    own = data(layout)
    assert set(paths(layout, data=True)) - set(paths(layout, data=False)) == set(own)


def test_the_record_of_the_commands_is_removed_with_the_data(layout: TemporaryLayout, deployed: FakeHost) -> None:
    layout.commands.write_text("{}")
    assert layout.commands not in paths(layout, data=False)
    assert layout.commands in paths(layout, data=True)
    remove(layout, data=True)
    assert not layout.commands.exists()


def test_a_host_with_only_the_record_is_cleaned(layout: TemporaryLayout, host: FakeHost) -> None:
    for folder in (layout.releases, layout.venvs, layout.generations, layout.root):
        folder.rmdir()
    layout.commands.parent.mkdir(parents=True)
    layout.commands.write_text("{}")
    assert remove(layout, data=True).paths == (layout.commands,)
    assert not layout.commands.exists()


def test_a_broken_link_is_found_too(layout: TemporaryLayout, deployed: FakeHost) -> None:
    link = layout.units / "multi-user.target.wants" / "shop@gone.service"
    link.symlink_to(layout.units / "gone")
    assert link in paths(layout, data=False)


def test_the_application_is_stopped_before_anything_of_it_is_removed(
    layout: TemporaryLayout, deployed: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    there: list[bool] = []
    stop = deployed._stop

    def look(*units: str) -> None:
        there.append(layout.root.exists() and (layout.units / "shop@.service").exists())
        stop(*units)

    monkeypatch.setattr(deployed, "_stop", look)
    remove(layout, data=False)
    assert there and all(there)
    assert deployed.actions[0] == f"stop {SOCKET} shop@g1.service"


def test_nothing_of_the_application_is_left_and_its_neighbours_are(layout: TemporaryLayout, deployed: FakeHost) -> None:
    own = data(layout)
    deployed.failed.add("shop-canary@old.service")
    # New connections do not restart it.
    deployed.clients.add(ADDRESS)
    remove(layout, data=False)
    kept = {str(path.relative_to(layout.top)) for path in own}
    mark = {str(layout.mark.relative_to(layout.top))}
    names = {part for name in NEIGHBOURS for part in (name, *(str(one) for one in Path(name).parents))}
    assert left(layout) - names == kept | {f"{name}/precious" for name in kept} | mark
    assert set(NEIGHBOURS) <= left(layout)
    assert (deployed.active, deployed.failed, deployed._in_memory()) == ({}, set(), set())
    # systemd has unloaded the units.
    assert systemd.show("shop@g1.service", "UnitFileState") == {"UnitFileState": ""}
    assert paths(layout, data=False) == []
    remove(layout, data=True)
    assert not any(path.exists() for path in own)


def test_a_link_in_place_of_the_data_is_not_followed(
    layout: TemporaryLayout, deployed: FakeHost, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").touch()
    (layout.top / "var" / "lib" / "shop").symlink_to(elsewhere)
    remove(layout, data=True)
    assert (layout.top / "var" / "lib" / "shop").is_symlink()
    assert (elsewhere / "precious").exists()


def test_nothing_is_removed_if_the_application_cannot_be_stopped(
    layout: TemporaryLayout, deployed: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*units: str) -> None:
        raise RefusedError("Job for shop@g1.service canceled.")

    monkeypatch.setattr(deployed, "_stop", refuse)
    before = left(layout)
    with pytest.raises(SystemdError, match="canceled"):
        remove(layout, data=True)
    assert left(layout) == before


def test_an_incomplete_removal_is_completed(layout: TemporaryLayout, deployed: FakeHost) -> None:
    (layout.units / "shop@.socket").unlink()
    (layout.units / "sockets.target.wants" / SOCKET).unlink()
    deployed.systemctl("stop", SOCKET, "shop@g1.service")
    deployed.systemctl("daemon-reload")
    assert layout.socket_dropin(ADDRESS).exists()
    remove(layout, data=False)
    assert paths(layout, data=False) == []


def test_a_leftover_canary_is_stopped_too(layout: TemporaryLayout, deployed: FakeHost) -> None:
    # From a swap that was killed.
    deployed.systemctl("start", "shop-canary@g1.service")
    remove(layout, data=False)
    assert deployed.active == {}


# The module.


def test_in_check_mode_the_module_names_what_it_would_remove(
    call_module: CallModule, layout: TemporaryLayout, deployed: FakeHost
) -> None:
    before = (left(layout), deployed.everything())
    names = doomed(layout, data=False).names
    result = call_module(removal, check=True)
    assert (result["failed"], result["changed"], result["removed"]) == (False, True, names)
    assert result["diff"] == {"before": "".join(f"{path}\n" for path in names), "after": ""}
    assert (left(layout), deployed.everything()) == before
    assert deployed.actions == []
    assert not layout.lock.exists()


def test_the_module_removes_and_then_has_nothing_to_remove(
    call_module: CallModule, layout: TemporaryLayout, deployed: FakeHost
) -> None:
    result = call_module(removal)
    assert result["changed"] and str(layout.root) in result["removed"]
    deployed.events.clear()
    assert call_module(removal) == {
        "failed": False, "changed": False, "removed": [], "kept": [], "diff": {"before": "", "after": ""},
    }  # fmt: skip
    assert deployed.actions == []


def test_the_module_removes_data_only_on_request(
    call_module: CallModule, layout: TemporaryLayout, deployed: FakeHost
) -> None:
    own = data(layout)
    call_module(removal)
    assert all(path.exists() for path in own)
    assert call_module(removal, data=True)["removed"] == [
        *sorted(str(path) for path in own), str(layout.mark), "account shop", "group shop",
    ]  # fmt: skip
    assert not any(path.exists() for path in own)


def test_the_module_removes_nothing_that_another_run_has_reserved(
    call_module: CallModule, layout: TemporaryLayout, deployed: FakeHost
) -> None:
    reservation.reserve(layout, THEM)
    before = (left(layout), deployed.everything())
    result = call_module(removal)
    assert result["failed"] and "pid 7" in result["msg"]
    assert (left(layout), deployed.everything()) == before
    assert call_module(removal, replace=THEM)["changed"]


def test_data_are_at_systemd_s_path() -> None:
    assert Layout("shop").data == (Path("/var/lib/shop"), Path("/var/cache/shop"), Path("/var/log/shop"))


def test_a_trial_does_not_outlive_the_application(layout: TemporaryLayout, deployed: FakeHost) -> None:
    layout.trial.write_text("{}")
    remove(layout, data=False)
    assert not layout.trial.exists()


# Ownership.


@pytest.fixture
def empty(layout: TemporaryLayout) -> TemporaryLayout:
    """Return the paths of an application of which nothing exists."""
    for folder in (layout.releases, layout.venvs, layout.generations, layout.root):
        folder.rmdir()
    return layout


@pytest.mark.parametrize(
    "where",
    ["opt/shop/photos", "run/shop/x", "var/lib/shop/x", "var/log/shop/x", "units/shop@.service", "units/shop.service"],
)
@pytest.mark.parametrize("check", [True, False])
def test_a_foreign_application_is_not_removed(
    call_module: CallModule, empty: TemporaryLayout, host: FakeHost, where: str, check: bool
) -> None:
    path = empty.top / where
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("somebody else's")
    before = left(empty)
    result = call_module(removal, check=check, data=True)
    assert result["failed"] and result["msg"].startswith(
        "flask_uwsgi_app_name=shop is not an application of this role below"
    )
    assert result["msg"].endswith("Nothing was changed.")
    assert left(empty) == before and host.actions == []


def test_an_empty_directory_of_the_name_is_not_removed(call_module: CallModule, empty: TemporaryLayout) -> None:
    empty.root.mkdir()
    assert not call_module(removal, data=True)["changed"]
    assert empty.root.is_dir()


def test_a_deployment_without_a_mark_is_removed(
    call_module: CallModule, layout: TemporaryLayout, deployed: FakeHost
) -> None:
    layout.mark.unlink()
    result = call_module(removal)
    assert result["changed"] and str(layout.root) in result["removed"]
    # From now on the owner of the data is known.
    mark = marks.read(layout)
    assert mark and mark.data_only


def test_a_killed_removal_is_continued_by_the_next(
    layout: TemporaryLayout, deployed: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout.mark.unlink()

    def killed(*_: Any, **__: Any) -> None:
        raise OSError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(trees, "remove", killed)
        with pytest.raises(RemovalError, match=r"shop is stopped, but not all of it can be removed: killed"):
            remove(layout, data=False)
    layout.current.unlink()
    remove(layout, data=False)
    assert not layout.root.exists()


def test_foreign_data_are_kept_and_named(call_module: CallModule, layout: TemporaryLayout, deployed: FakeHost) -> None:
    own = data(layout)
    os.chown(own[2], 0, 0)
    result = call_module(removal, data=True)
    assert [path.exists() for path in own] == [False, False, True]
    assert result["kept"] == [f"{own[2]}: it is a directory of root, not the application's"]
    assert str(own[2]) not in result["removed"]


def test_settings_that_the_operator_added_to_units_are_kept_and_named(
    call_module: CallModule, layout: TemporaryLayout, deployed: FakeHost
) -> None:
    template = layout.units / "shop@.service.d" / "limits.conf"
    instance = layout.units / "shop@g1.service.d" / "override.conf"
    other = layout.units / "shop@by-hand.service"
    for path in (template, instance):
        path.parent.mkdir(exist_ok=True)
        path.write_text("[Service]\n")
    other.write_text("[Service]\n")
    result = call_module(removal)
    assert template.exists() and other.exists()
    assert [path.name for path in instance.parent.iterdir()] == ["override.conf"]
    assert result["kept"] == [
        f"{instance.parent}: it contains override.conf, which was not deployed",
        f"{template.parent}: it was not deployed",
    ]


def test_a_link_in_place_of_the_settings_is_not_followed(
    layout: TemporaryLayout, deployed: FakeHost, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "listen.conf").touch()
    (layout.units / "shop@x.service.d").symlink_to(elsewhere)
    remove(layout, data=True)
    assert (elsewhere / "listen.conf").exists()


def test_the_account_is_removed_with_the_data_if_the_role_created_it(
    call_module: CallModule, layout: TemporaryLayout, deployed: FakeHost, people: dict[str, Account]
) -> None:
    data(layout)
    call_module(removal)
    assert len(people) == 2 and layout.mark.exists()
    result = call_module(removal, data=True)
    assert result["removed"][-2:] == ["account shop", "group shop"] and result["kept"] == []
    assert not people and not layout.mark.exists()
    # It is no longer known that there is more than the operator's unit of that name.
    assert call_module(removal, data=True)["failed"]
    (layout.units / "shop.service").unlink()
    assert not call_module(removal, data=True)["changed"]


@pytest.mark.parametrize("check", [True, False])
def test_an_account_that_existed_before_is_kept(
    call_module: CallModule, layout: TemporaryLayout, deployed: FakeHost, people: dict[str, Account], check: bool
) -> None:
    marks.write(layout, Mark("shop", str(layout.base), Account("shop", UID), Account("shop", GID)))
    result = call_module(removal, check=check, data=True)
    assert len(people) == 2
    reason = "it is not known to have been created by a deploy"
    assert result["kept"] == [f"account shop: {reason}", f"group shop: {reason}"]


def test_an_account_recreated_by_hand_is_kept(
    call_module: CallModule, layout: TemporaryLayout, deployed: FakeHost, people: dict[str, Account]
) -> None:
    people["user shop"] = Account("shop", UID + 1)
    call_module(removal, data=True)
    assert people.keys() == {"user shop"}


def test_an_account_that_another_application_or_a_process_needs_is_kept(
    call_module: CallModule,
    layout: TemporaryLayout,
    deployed: FakeHost,
    people: dict[str, Account],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = replace(layout, app="books")
    marks.write(other, Mark("books", str(layout.base), Account("shop", UID), Account("shop", GID)))
    monkeypatch.setattr(accounts, "processes", lambda app, uid: [Process(7, "redis")])
    monkeypatch.setattr(accounts, "members", lambda group: ["shop", "nginx"])
    result = call_module(removal, data=True)
    assert len(people) == 2 and marks.read(other)
    assert result["kept"] == [
        "account shop: the application books runs with it; it runs redis (pid 7)",
        "group shop: shop, nginx belongs to it; the application books runs with it",
    ]


def test_an_account_that_cannot_be_removed_is_reported_and_the_next_removal_tries_again(
    call_module: CallModule,
    layout: TemporaryLayout,
    deployed: FakeHost,
    people: dict[str, Account],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*command: str) -> None:
        raise AccountError("`userdel shop` failed: it is locked")

    with monkeypatch.context() as patch:
        patch.setattr(accounts, "_run", refuse)
        result = call_module(removal, data=True)
    assert result["failed"] and result["msg"] == (
        "the application shop is stopped, but not all of it can be removed: `userdel shop` failed: it is "
        "locked. Correct this, and remove it again"
    )
    (layout.units / "shop.service").unlink()
    assert call_module(removal, data=True)["removed"] == [str(layout.mark), "account shop", "group shop"]
    assert not people


def test_no_directory_of_a_system_name_is_removed(layout: TemporaryLayout, host: FakeHost) -> None:
    # A version without marks deployed it, and systemd gave these directories to the service.
    system = replace(layout, app="dpkg")
    for folder in (*system.data, system.runtime):
        folder.mkdir(parents=True)
        os.chown(folder, UID, UID)
    marks.write(system, Mark("dpkg", str(system.base), Account("dpkg", UID)))
    found = doomed(system, data=True)
    assert found.paths == (system.mark,) and len(found.kept) == 4


def test_data_that_a_killed_removal_moved_aside_are_removed_by_the_next(
    call_module: CallModule, layout: TemporaryLayout, deployed: FakeHost
) -> None:
    own = data(layout)
    aside = trees.trash(own[0])
    aside.mkdir(mode=0o700)
    own[0].rename(aside / "0")
    assert str(aside) in call_module(removal, data=True)["removed"]
    assert not aside.exists()
