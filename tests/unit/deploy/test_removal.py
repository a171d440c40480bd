from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils import lock
from ansible_collections.flaskops.uwsgi.plugins.module_utils import removal as removal_utils
from ansible_collections.flaskops.uwsgi.plugins.module_utils.removal import paths, remove
from ansible_collections.flaskops.uwsgi.plugins.module_utils.systemd import SystemdError
from ansible_collections.flaskops.uwsgi.plugins.modules import removal

from tests.unit.deploy.fake_host import ADDRESS, FakeHost, RefusedError, TemporaryLayout

CallModule = Callable[..., dict[str, Any]]
SOCKET = f"shop@{ADDRESS}.socket"
THEM = {"who": "them@controller", "home": "controller", "pid": 7, "start": "2", "since": "then", "what": "deploy"}

# What begins like the application and is none of its.
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


def data(layout: TemporaryLayout) -> list[Path]:
    """Return the application's data, which are made."""
    made = [layout.top / "var" / name / "shop" for name in ("lib", "cache", "log")]
    for path in made:
        path.mkdir(parents=True)
        (path / "precious").touch()
    return made


def left(layout: TemporaryLayout) -> set[str]:
    """Return every file that is there, also links and empty directories of the application's."""
    return {str(path.relative_to(layout.top)) for path in layout.top.rglob("*") if not path.is_dir()} | {
        str(path.relative_to(layout.top)) for path in layout.top.rglob("shop*")
    }


@pytest.fixture
def deployed(layout: TemporaryLayout, host: FakeHost) -> FakeHost:
    """Serve, with a generation that served before, beside neighbours."""
    for name in NEIGHBOURS:
        path = layout.top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("not ours")
    host.serve("old", listen="127.0.0.1:9000")
    host.serve("g1")
    layout.sysctl.write_text("net.core.somaxconn = 4096\n")
    return host


def test_where_nothing_was_deployed_nothing_is_to_be_removed(layout: TemporaryLayout) -> None:
    for folder in (layout.releases, layout.venvs, layout.generations, layout.root):
        folder.rmdir()
    assert paths(layout, data=True) == []


def test_everything_of_the_application_is_found_and_nothing_else(layout: TemporaryLayout, deployed: FakeHost) -> None:
    deployed.systemctl("start", "shop-canary@g1.service")
    deployed.systemctl("start", "shop-relief@g1.service")
    # A check that was killed.
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


def test_data_count_where_they_are_asked_for(layout: TemporaryLayout, deployed: FakeHost) -> None:
    own = data(layout)
    assert set(paths(layout, data=True)) - set(paths(layout, data=False)) == set(own)


def test_a_link_that_leads_nowhere_is_found_too(layout: TemporaryLayout, deployed: FakeHost) -> None:
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
    # Connections that come do not bring it back.
    deployed.clients.add(ADDRESS)
    remove(layout, data=False)
    kept = {str(path.relative_to(layout.top)) for path in own}
    names = {part for name in NEIGHBOURS for part in (name, *(str(one) for one in Path(name).parents))}
    assert left(layout) - names == kept | {f"{name}/precious" for name in kept}
    assert set(NEIGHBOURS) <= left(layout)
    assert (deployed.active, deployed.failed, deployed._in_memory()) == ({}, set(), set())
    # systemd has forgotten the units.
    assert deployed._loaded_text("shop@g1.service") is None
    assert paths(layout, data=False) == []
    remove(layout, data=True)
    assert not any(path.exists() for path in own)


def test_a_link_in_place_of_a_folder_is_removed_and_not_followed(
    layout: TemporaryLayout, deployed: FakeHost, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").touch()
    (layout.top / "var" / "lib" / "shop").symlink_to(elsewhere)
    remove(layout, data=True)
    assert not (layout.top / "var" / "lib" / "shop").is_symlink()
    assert (elsewhere / "precious").exists()


def test_what_cannot_be_stopped_is_not_removed(
    layout: TemporaryLayout, deployed: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*units: str) -> None:
        raise RefusedError("Job for shop@g1.service canceled.")

    monkeypatch.setattr(deployed, "_stop", refuse)
    before = left(layout)
    with pytest.raises(SystemdError, match="canceled"):
        remove(layout, data=True)
    assert left(layout) == before


def test_what_is_half_removed_already_is_removed_wholly(layout: TemporaryLayout, deployed: FakeHost) -> None:
    (layout.units / "shop@.socket").unlink()
    (layout.units / "sockets.target.wants" / SOCKET).unlink()
    deployed.systemctl("stop", SOCKET, "shop@g1.service")
    deployed.systemctl("daemon-reload")
    assert layout.socket_dropin(ADDRESS).exists()
    remove(layout, data=False)
    assert paths(layout, data=False) == []


def test_a_canary_that_was_left_behind_is_stopped_too(layout: TemporaryLayout, deployed: FakeHost) -> None:
    # By a swap that was killed.
    deployed.systemctl("start", "shop-canary@g1.service")
    remove(layout, data=False)
    assert deployed.active == {}


# The module.


def test_in_check_mode_the_module_names_what_it_would_remove(
    call_module: CallModule, layout: TemporaryLayout, deployed: FakeHost
) -> None:
    before = (left(layout), deployed.everything())
    doomed = [str(path) for path in paths(layout, data=False)]
    result = call_module(removal, check=True)
    assert (result["failed"], result["changed"], result["removed"]) == (False, True, doomed)
    assert result["diff"] == {"before": "".join(f"{path}\n" for path in doomed), "after": ""}
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
        "failed": False, "changed": False, "removed": [], "diff": {"before": "", "after": ""},
    }  # fmt: skip
    assert deployed.actions == []


def test_the_module_takes_data_only_where_it_is_told_to(
    call_module: CallModule, layout: TemporaryLayout, deployed: FakeHost
) -> None:
    own = data(layout)
    call_module(removal)
    assert all(path.exists() for path in own)
    assert call_module(removal, data=True)["removed"] == sorted(str(path) for path in own)
    assert not any(path.exists() for path in own)


def test_the_module_removes_nothing_that_another_has_reserved(
    call_module: CallModule, layout: TemporaryLayout, deployed: FakeHost
) -> None:
    lock.reserve(layout, THEM)
    before = (left(layout), deployed.everything())
    result = call_module(removal)
    assert result["failed"] and "pid 7" in result["msg"]
    assert (left(layout), deployed.everything()) == before
    assert call_module(removal, replace=THEM)["changed"]


def test_data_are_where_systemd_puts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert removal_utils._DATA == ("/var/lib", "/var/cache", "/var/log")


def test_a_trial_does_not_outlive_the_application(layout: TemporaryLayout, deployed: FakeHost) -> None:
    layout.trial.write_text("{}")
    remove(layout, data=False)
    assert not layout.trial.exists()
