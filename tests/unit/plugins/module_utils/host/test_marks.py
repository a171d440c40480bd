"""The mark of an application, and what on a host is foreign."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import accounts, claim, marks, ownership
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.accounts import Account, AccountError
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.marks import Mark
from ansible_collections.flaskops.uwsgi.plugins.modules import claim as claim_module
from ansible_collections.flaskops.uwsgi.plugins.modules import serving

from tests.support import ROOT
from tests.support.fake_host import FakeHost, TemporaryLayout, write_generation

CallModule = Callable[..., dict[str, Any]]
RunModule = Callable[..., dict[str, Any]]
# Accounts that exist on no machine.
UID, GID = 54321, 54322


@pytest.fixture
def people(monkeypatch: pytest.MonkeyPatch) -> dict[str, Account]:
    """Return the accounts and groups of the host, as ``user NAME`` and ``group NAME``, which commands change."""
    known: dict[str, Account] = {}

    def run(*command: str) -> None:
        kind = {"useradd": "user", "groupadd": "group"}[command[0]]
        known[f"{kind} {command[-1]}"] = Account(command[-1], UID if kind == "user" else GID)

    monkeypatch.setattr(accounts, "_run", run)
    monkeypatch.setattr(accounts, "user", lambda name: known.get(f"user {name}"))
    monkeypatch.setattr(accounts, "group", lambda name: known.get(f"group {name}"))
    return known


@pytest.fixture
def empty(layout: TemporaryLayout) -> TemporaryLayout:
    """Return the paths of an application of which nothing exists."""
    for folder in (layout.releases, layout.venvs, layout.generations, layout.root):
        folder.rmdir()
    return layout


def deployed(layout: TemporaryLayout) -> None:
    """Deploy like a version without marks."""
    write_generation(layout, "g1")
    layout.current.symlink_to("generations/g1")


# The mark.


def test_a_mark_is_read_back_and_only_root_can_read_it(layout: TemporaryLayout) -> None:
    mark = Mark("shop", "/opt", Account("shop", 998, made=True), Account("www", 33), data_only=True)
    marks.write(layout, mark)
    assert marks.read(layout) == mark
    assert stat.S_IMODE(layout.mark.stat().st_mode) == 0o600
    assert stat.S_IMODE(layout.mark.parent.stat().st_mode) == 0o700
    assert [path.name for path in layout.mark.parent.iterdir()] == ["shop.json"]


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", "7", '"x"', pytest.param("[" * 100_000, id="deep"), "{}", '{"app": "shop"}', "\udcff",
        '{"app": "shop", "base": "/opt", "user": 7, "group": null, "data_only": false}',
        '{"app": "shop", "base": "/opt", "user": {"name": "x", "number": "y"}, "group": null, "data_only": false}',
        '{"app": "books", "base": "/opt", "user": null, "group": null, "data_only": false}',
    ],
)  # fmt: skip
def test_an_invalid_mark_does_not_count(layout: TemporaryLayout, text: str) -> None:
    layout.mark.parent.mkdir(parents=True)
    layout.mark.write_text(text, errors="surrogateescape")
    assert marks.read(layout) is None


def test_a_mark_that_is_a_link_or_not_a_file_does_not_count_and_does_not_block(
    layout: TemporaryLayout, tmp_path: Path
) -> None:
    marks.write(layout, Mark("shop", "/opt"))
    layout.mark.rename(tmp_path / "elsewhere")
    layout.mark.symlink_to(tmp_path / "elsewhere")
    assert marks.read(layout) is None
    layout.mark.unlink()
    os.mkfifo(layout.mark)
    assert marks.read(layout) is None


def test_a_deployment_without_a_mark_is_recognized_by_its_manifest(layout: TemporaryLayout) -> None:
    assert marks.current(layout) is None
    deployed(layout)
    assert marks.current(layout) == Mark("shop", str(layout.base))
    manifest = layout.generations / "g1" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"app_name": "books"}))
    assert marks.current(layout) is None


def test_the_unit_identifies_a_deployment_with_a_damaged_manifest(layout: TemporaryLayout) -> None:
    deployed(layout)
    (layout.generations / "g1" / "manifest.json").write_text("")
    (layout.generations / "g1" / "units/app@.service").write_text("[Service]\nUser=root\nSyslogIdentifier=shop\n")
    assert marks.current(layout) == Mark("shop", str(layout.base), Account("root", 0))


@pytest.mark.parametrize(
    "target", ["/etc", "../books/generations/g1", "generations", "generations/../x", "generations/no"]
)
def test_a_link_that_leads_elsewhere_is_no_deployment(layout: TemporaryLayout, target: str) -> None:
    deployed(layout)
    layout.current.unlink()
    layout.current.symlink_to(target)
    assert marks.current(layout) is None


def test_a_deployment_that_others_can_write_does_not_count(layout: TemporaryLayout) -> None:
    deployed(layout)
    layout.generations.chmod(0o777)
    assert marks.current(layout) is None


def test_the_mark_of_another_directory_does_not_count(layout: TemporaryLayout) -> None:
    marks.write(layout, Mark("shop", "/elsewhere"))
    assert marks.current(layout) is None
    marks.write(layout, Mark("shop", str(layout.base)))
    assert marks.current(layout)
    marks.write(layout, Mark("shop", str(layout.base), data_only=True))
    assert marks.current(layout) is None


def test_other_applications_of_the_host_are_found_with_and_without_a_mark(layout: TemporaryLayout) -> None:
    deployed(layout)
    old, elsewhere = replace(layout, app="old"), replace(layout, app="elsewhere", base=Path("/elsewhere"))
    for folder in (old.releases, old.venvs, old.generations):
        folder.mkdir(parents=True)
    deployed(old)
    marks.write(elsewhere, Mark("elsewhere", "/elsewhere"))
    # Links of that name that are no deployments, and files that are no marks.
    (layout.base / "strange").mkdir()
    (layout.base / "strange" / "current").symlink_to("/etc")
    (layout.mark.parent / "..x.json").touch()
    (layout.mark.parent / "damaged.json").touch()
    assert set(marks.applications(layout)) == {old, elsewhere}
    assert set(marks.applications(old)) == {replace(layout), elsewhere}


# Foreign files.


def test_on_an_empty_host_nothing_is_foreign(empty: TemporaryLayout) -> None:
    assert ownership.foreign(empty) == []


def plant(path: Path, kind: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "directory":
        path.mkdir()
    elif kind == "link":
        path.symlink_to("/etc")
    else:
        path.write_text("somebody else's\n")


@pytest.mark.parametrize("kind", ["directory", "link", "file"])
@pytest.mark.parametrize(
    "where",
    [
        "run/shop", "run/shop-canary", "run/shop-relief", "run/shop-check", "run/shop-pre", "run/shop-post",
        "var/lib/shop", "var/cache/shop", "var/log/shop", "lock/shop.deploy", "run/shop.trial", "sysctl.d/60-shop.conf",
        "units/shop.service", "units/shop@.service", "units/shop.socket", "units/shop@.socket", "units/shop@x.service",
        "units/shop.timer", "units/shop-canary@.service", "units/shop-check@x.service", "units/shop-pre@.service",
        "usr-lib-units/shop.service", "usr-lib-units/shop@.service", "usr-lib-units/shop.target",
    ],
)  # fmt: skip
def test_files_with_the_application_s_name_are_foreign(empty: TemporaryLayout, where: str, kind: str) -> None:
    path = empty.top / where
    plant(path, kind)
    assert [entry.path for entry in ownership.foreign(empty)] == [str(path)]


@pytest.mark.parametrize(
    "where",
    [
        "run/shop2", "run/shop-admin", "var/lib/my-shop", "units/shop2@.service", "units/shop-admin@.service",
        "units/my-shop.service", "units/shop.service.d/x.conf", "units/multi-user.target.wants/x.service",
        "sysctl.d/60-shop2.conf",
    ],
)  # fmt: skip
def test_files_whose_name_only_begins_with_it_are_not_foreign(empty: TemporaryLayout, where: str) -> None:
    plant(empty.top / where, "file")
    assert ownership.foreign(empty) == []


@pytest.mark.parametrize("kind", ["link", "file"])
def test_the_base_must_be_a_directory(empty: TemporaryLayout, kind: str) -> None:
    plant(empty.root, kind)
    assert [entry.path for entry in ownership.foreign(empty)] == [str(empty.root)]


def test_a_directory_with_other_content_is_foreign(layout: TemporaryLayout) -> None:
    # Left by the failed first deploy of a version without marks.
    assert ownership.foreign(layout) == []
    (layout.root / "photos").mkdir()
    assert [(entry.path, entry.what) for entry in ownership.foreign(layout)] == [
        (str(layout.root), "a directory that has photos")
    ]


def test_leftovers_of_a_failed_deploy_are_not_foreign(empty: TemporaryLayout) -> None:
    plant(empty.units / "shop@.service", "file")
    (empty.units / "shop@.service").write_text("# Written by Ansible. One instance is one generation.\n")
    plant(empty.lock, "file")
    empty.lock.write_text('{"who": "me"}')
    empty.trial.write_text("")
    empty.sysctl.write_text("net.core.somaxconn=4096\n")
    assert ownership.foreign(empty) == []
    # From the distribution, not from a deploy.
    plant(empty.top / "usr-lib-units/shop@.service", "file")
    (empty.top / "usr-lib-units/shop@.service").write_text("# Written by Ansible\n")
    assert len(ownership.foreign(empty)) == 1


def test_nothing_of_a_deployed_application_is_foreign(layout: TemporaryLayout) -> None:
    deployed(layout)
    for path in (layout.runtime, *layout.data, layout.units / "shop.service"):
        plant(path, "directory")
    assert ownership.foreign(layout) == []


def test_data_left_by_a_removal_belong_to_the_application_and_others_do_not(empty: TemporaryLayout) -> None:
    mine = Account("shop", UID, made=True)
    for path in empty.data:
        plant(path, "directory")
        os.chown(path, UID, GID)
    assert len(ownership.foreign(empty)) == 3
    marks.write(empty, Mark("shop", "/srv", mine, data_only=True))
    assert ownership.foreign(empty) == []
    os.chown(empty.data[1], 0, 0)
    assert [entry.path for entry in ownership.foreign(empty)] == [str(empty.data[1])]


def test_data_of_an_account_whose_home_is_the_application_s_directory_are_its_own(
    empty: TemporaryLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A version without marks created the account in this way and left the data behind.
    plant(empty.data[0], "directory")
    os.chown(empty.data[0], UID, GID)
    monkeypatch.setattr(accounts, "lives_in", lambda uid, home: (uid, home) == (UID, empty.root))
    assert ownership.foreign(empty) == []


def test_folders_that_a_deployed_application_would_take_over_are_found(
    layout: TemporaryLayout, people: dict[str, Account]
) -> None:
    assert ownership.taken(layout) == []
    deployed(layout)
    state, cache, log = layout.data
    for path in layout.data:
        path.mkdir(parents=True)
    assert ownership.taken(layout) == []
    for path in layout.data:
        (path / "file").touch()
    # Restored content of the state directory: systemd always gives it to the account.
    assert [entry.path for entry in ownership.taken(layout)] == [str(cache), str(log)]
    # Those of an application that was never deployed are ``foreign``.
    assert ownership.foreign(layout) == []
    for path in layout.data:
        os.chown(path, UID, GID)
    marks.write(layout, Mark("shop", str(layout.base), Account("shop", UID), Account("shop", GID)))
    assert ownership.taken(layout) == []
    log.rename(state / "log")
    log.symlink_to(state)
    with pytest.raises(claim.ClaimError, match=re.escape(f"{log} (a symbolic link)")):
        claim.claim(layout, "shop", "shop")


def test_the_path_to_the_application_is_described(layout: TemporaryLayout) -> None:
    found = ownership.directories(layout)
    assert [entry["path"] for entry in found["above"]] == [
        str(path) for path in (*reversed(layout.base.parents), layout.base)
    ]
    assert found["above"][0] == {
        "path": "/",
        "kind": "directory",
        "uid": 0,
        "owner": "root",
        "mode": found["above"][0]["mode"],
    }
    assert found["noexec"] in (True, False)
    (layout.top / "link").symlink_to(layout.base)
    last = ownership.directories(replace(layout, base=layout.top / "link" / "deeper"))["above"][-1]
    assert (last["path"], last["kind"]) == (str(layout.top / "link"), "link")
    missing = replace(layout, base=layout.top / "not" / "yet")
    assert ownership.directories(missing)["above"][-1]["path"] == str(layout.top)


def test_a_file_system_mounted_noexec_is_detected(layout: TemporaryLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def statvfs(path: Path) -> SimpleNamespace:
        asked.append(path)
        return SimpleNamespace(f_flag=os.ST_NOEXEC | os.ST_NOSUID)

    monkeypatch.setattr(os, "statvfs", statvfs)
    assert ownership.directories(layout)["noexec"] is True
    layout.root.rename(layout.top / "elsewhere")
    assert ownership.directories(layout)["noexec"] is True
    assert asked == [layout.root, layout.base]


# Every module that changes something checks first.


@pytest.mark.parametrize("state", ["started", "stopped", "restarted"])
def test_foreign_units_are_neither_started_nor_stopped(
    call_module: CallModule, layout: TemporaryLayout, host: FakeHost, state: str
) -> None:
    plant(layout.top / "usr-lib-units/shop@.service", "file")
    result = call_module(serving, state=state)
    assert result["failed"] and host.actions == []
    assert result["msg"] == (
        f"flask_uwsgi_app_name=shop is not an application of this role below flask_uwsgi_base_dir={layout.base} on "
        f"this host, and what has its name belongs to something else: {layout.top}/usr-lib-units/shop@.service (a "
        "unit). Correct the name or the directory. Nothing was changed."
    )


MODULES = {
    "claim": {"user": "x", "group": "x"},
    "command_record": {"generations": ["g"], "host": "x", "run": {}},
    "commands": {"generation": "g", "when": "pre", "timeout": 1},
    "generation": {"generation": "g", "release": "r", "venv": "v", "group": "x", "files": {}},
    "gevent_check": {"generation": "g", "catalogue": {}},
    "host_state": {"port": 1, "user": "x", "group": "x"},
    "logs": {},
    "release": {"incoming": "/nonexistent", "state": "absent"},
    "removal": {"data": True},
    "reservation": {"run": {}},
    "serving": {"state": "stopped"},
    "status": {},
    "swap": {"generation": "g"},
    "trial": {"state": "absent", "run": {}},
}


# test_names tests which names are invalid.
@pytest.mark.parametrize("module", sorted(MODULES))
def test_an_invalid_name_ends_every_module(run_module: RunModule, module: str) -> None:
    result = run_module(module, check=True, app_name="..", **MODULES[module])
    assert result["failed"], result
    assert result["msg"].startswith("flask_uwsgi_app_name=.. is not valid: set it to a name of a-z"), result["msg"]
    assert result["msg"].endswith("Nothing was changed.")


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"reservation", "command_record"}))
def test_an_invalid_base_ends_every_module(run_module: RunModule, module: str) -> None:
    result = run_module(module, check=True, app_name="shop", base_dir="/opt/../etc", **MODULES[module])
    assert result["failed"] and "flask_uwsgi_base_dir=/opt/../etc is not valid" in result["msg"], result


def test_every_module_of_an_application_is_covered() -> None:
    folder = ROOT / "plugins/modules"
    assert {
        path.stem
        for path in folder.glob("*.py")
        if '"app_name"' in path.read_text() or "APPLICATION" in path.read_text()
    } == (MODULES.keys())


# What a deploy creates.


def test_a_claim_creates_and_marks_account_group_and_directories(
    empty: TemporaryLayout, people: dict[str, Account]
) -> None:
    assert len(claim.missing(empty, "shop", "web")) == 7
    claim.claim(empty, "shop", "web")
    assert claim.missing(empty, "shop", "web") == []
    assert people.keys() == {"user shop", "group web"}
    assert marks.read(empty) == Mark("shop", str(empty.base), Account("shop", UID, True), Account("web", GID, True))
    for path in (empty.root, empty.releases, empty.venvs, empty.generations):
        status = path.stat()
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (0, GID, 0o750)


def test_a_name_that_became_foreign_meanwhile_is_not_claimed(
    empty: TemporaryLayout, people: dict[str, Account]
) -> None:
    plant(empty.root / "photos", "file")
    with pytest.raises(claim.ClaimError, match=re.escape(f"{empty.root} (a directory that has photos)")):
        claim.claim(empty, "shop", "shop")
    assert not people and not empty.mark.exists() and [path.name for path in empty.root.iterdir()] == ["photos"]


def test_existing_accounts_and_directories_are_not_marked_as_created(
    empty: TemporaryLayout, people: dict[str, Account]
) -> None:
    people["user shop"] = Account("shop", UID)
    claim.claim(empty, "shop", "shop")
    mark = marks.read(empty)
    assert mark and mark.user == Account("shop", UID) and mark.group == Account("shop", GID, made=True)
    # A second claim still knows.
    claim.claim(empty, "shop", "shop")
    assert marks.read(empty) == mark


def test_an_account_recreated_by_hand_does_not_belong_to_the_role(
    empty: TemporaryLayout, people: dict[str, Account]
) -> None:
    claim.claim(empty, "shop", "shop")
    people["user shop"] = Account("shop", UID + 1)
    assert claim.missing(empty, "shop", "shop") == [f"{empty.mark} does not record the owner of {empty.root}"]
    claim.claim(empty, "shop", "shop")
    mark = marks.read(empty)
    assert mark and mark.user == Account("shop", UID + 1) and mark.group == Account("shop", GID, made=True)


def test_world_readable_directories_are_closed(empty: TemporaryLayout, people: dict[str, Account]) -> None:
    claim.claim(empty, "shop", "shop")
    empty.root.chmod(0o755)
    os.chown(empty.venvs, 0, 0)
    assert claim.missing(empty, "shop", "shop") == [
        f"{empty.root} is 0755 root:{GID}, not 0750 root:shop",
        f"{empty.venvs} is 0750 root:root, not 0750 root:shop",
    ]
    claim.claim(empty, "shop", "shop")
    assert claim.missing(empty, "shop", "shop") == []


def test_a_killed_claim_is_continued_by_the_next(
    empty: TemporaryLayout, people: dict[str, Account], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> Account:
        raise AccountError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(accounts, "make_user", killed)
        with pytest.raises(AccountError):
            claim.claim(empty, "shop", "shop")
    # What exists by now belongs to the application.
    plant(empty.runtime, "directory")
    claim.claim(empty, "shop", "shop")
    assert claim.missing(empty, "shop", "shop") == []


def test_a_claim_in_check_mode_reports_what_is_missing_and_changes_nothing(
    call_module: CallModule, empty: TemporaryLayout, people: dict[str, Account]
) -> None:
    result = call_module(claim_module, check=True, user="shop", group="shop")
    assert result["changed"] and "account shop is missing" in result["missing"]
    assert not people and not empty.mark.exists() and not empty.root.exists() and not empty.lock.exists()


def test_the_module_claims_once(call_module: CallModule, empty: TemporaryLayout, people: dict[str, Account]) -> None:
    assert call_module(claim_module, user="shop", group="shop")["changed"]
    assert call_module(claim_module, user="shop", group="shop") == {
        "failed": False, "changed": False, "missing": [], "diff": {"before": "", "after": ""},
    }  # fmt: skip


def test_a_foreign_name_is_not_claimed(
    call_module: CallModule, empty: TemporaryLayout, people: dict[str, Account]
) -> None:
    plant(empty.data[0], "directory")
    result = call_module(claim_module, user="shop", group="shop")
    assert result["failed"] and f"{empty.data[0]} (a directory of root)" in result["msg"]
    assert not people and not empty.mark.exists() and not empty.root.exists()


# Accounts.


def test_a_failed_command_is_reported_with_its_output() -> None:
    with pytest.raises(AccountError, match=r"`groupadd --nonsense` (failed|cannot be run): .+"):
        accounts._run("groupadd", "--nonsense")
    with pytest.raises(AccountError, match="cannot be run"):
        accounts._run("/nonexistent/groupadd")


def test_an_account_is_described() -> None:
    root = accounts.described("root")
    assert root and (root["uid"], root["group"]) == (0, "root") and "root" in root["groups"] and root["shell"]
    for name in ("no-such-account", "with\0null"):
        assert accounts.described(name) is None
        assert accounts.user(name) is None and accounts.group(name) is None
    assert accounts.user_name(UID) == str(UID) and accounts.group_name(GID) == str(GID)


def test_only_processes_outside_the_application_s_units_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    units = {
        1: "0::/system.slice/system-shop.slice/shop@g1.service",
        2: "0::/system.slice/system-shop\\x2dcanary.slice/shop-canary@g1.service/sub",
        3: "0::/system.slice/redis.service",
        4: "0::/system.slice/my-shop@g1.service",
        5: "0::/user.slice/user-998.slice/session-1.scope",
    }
    for pid, cgroup in units.items():
        folder = tmp_path / str(pid)
        folder.mkdir()
        (folder / "status").write_text("Name:\tx\nUid:\t998\t998\t998\t998\nGid:\t1\t1\t1\t1\n")
        (folder / "cgroup").write_text(f"12:pids:/\n{cgroup}\n")
        (folder / "comm").write_bytes(b"name\xff\n")
    (tmp_path / "6").mkdir()
    monkeypatch.setattr(accounts, "_PROC", tmp_path)
    assert [entry.pid for entry in accounts.processes("shop", 998)] == [3, 4, 5]
    assert accounts.processes("shop", 99) == []
