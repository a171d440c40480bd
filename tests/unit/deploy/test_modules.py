"""The modules whose work is done by other programs, as far as these can be replaced."""

import grp
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils import generation as gen
from ansible_collections.flaskops.uwsgi.plugins.module_utils import host as host_module
from ansible_collections.flaskops.uwsgi.plugins.modules import generation, host_state

from tests.unit.deploy.fake_host import FakeHost, TemporaryLayout, write_generation

RunModule = Callable[..., dict[str, Any]]


def program(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


# The generation.


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Put a release, uWSGI and systemd-analyze in place, which find nothing wrong; return the arguments."""
    (tmp_path / "opt/shop/generations").mkdir(parents=True)
    program(tmp_path / "opt/shop/venvs/v1/bin/uwsgi", 'test -f "$2" && test "$RUNTIME_DIRECTORY" = /nonexistent')
    program(tmp_path / "bin/systemd-analyze", 'ls "${SYSTEMD_UNIT_PATH%:}" > "$0.seen"')
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return {
        "app_name": "shop",
        "base_dir": str(tmp_path / "opt"),
        "generation": "g1",
        "release": "r1",
        "venv": "v1",
        "group": grp.getgrgid(os.getgid()).gr_name,
        "files": {
            "uwsgi.ini": "[uwsgi]\n",
            "environment": 'TOKEN="s3cr3t"\n',
            "units/app.socket": "[Socket]\n",
            "units/app@.service": "[Service]\n",
            "units/app-canary@.service": "[Service]\n",
            "units/generation.conf": "[Service]\n",
            "manifest.json": "{}\n",
        },
    }


def test_a_generation_is_written_once_with_its_links(
    run_module: RunModule, arguments: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "opt/shop/generations/g1"
    assert run_module("generation", check=True, **arguments)["changed"]
    assert not folder.exists()
    result = run_module("generation", **arguments)
    assert result["changed"], result
    assert result["path"] == str(folder)
    assert (folder / "release").readlink() == Path("../../releases/r1")
    assert (folder / "venv").readlink() == Path("../../venvs/v1")
    assert (folder / "manifest.json").read_text() == "{}\n"
    assert stat.S_IMODE((folder / "environment").stat().st_mode) == 0o600
    seen = (tmp_path / "bin/systemd-analyze.seen").read_text().split()
    assert seen == [
        "shop-canary@.service",
        "shop-canary@g1.service.d",
        "shop.socket",
        "shop.socket.d",
        "shop@.service",
        "shop@g1.service.d",
    ]
    assert not run_module("generation", **arguments)["changed"]


def test_the_difference_that_is_shown_hides_the_environment(run_module: RunModule, arguments: dict[str, Any]) -> None:
    shown = run_module("generation", check=True, **arguments)["diff"]["prepared"]
    assert "+ TOKEN\n" in shown and "+[uwsgi]\n" in shown
    assert "s3cr3t" not in shown


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            "echo '[strict-mode] unknown config directive: processess'; exit 1",
            "generation g1 is refused: flask_uwsgi_extra_ini has the key processess, which uWSGI does not know. ",
        ),
        ("echo one; echo two >&2; exit 1", "generation g1 is refused: uWSGI refuses uwsgi.ini: one | two. "),
    ],
)
def test_an_ini_that_uwsgi_refuses_leaves_nothing_behind(
    run_module: RunModule, arguments: dict[str, Any], tmp_path: Path, script: str, message: str
) -> None:
    program(tmp_path / "opt/shop/venvs/v1/bin/uwsgi", script)
    result = run_module("generation", **arguments)
    assert result["failed"] and result["msg"].startswith(message)
    assert result["msg"].endswith("Nothing of it remains; the running service was not touched")
    assert list((tmp_path / "opt/shop/generations").iterdir()) == []


def test_units_that_systemd_complains_of_leave_nothing_behind(
    run_module: RunModule, arguments: dict[str, Any], tmp_path: Path
) -> None:
    complaint = "shop@g1.service.d/generation.conf:5: Unknown key name 'X' in section 'Service', ignoring."
    program(
        tmp_path / "bin/systemd-analyze",
        f'echo "/usr/lib/other.service:1: no matter" >&2; echo "${{SYSTEMD_UNIT_PATH%:}}/{complaint}" >&2',
    )
    result = run_module("generation", **arguments)
    assert result["failed"]
    assert f"(a directive in flask_uwsgi_unit_overrides?): {complaint}. Nothing" in result["msg"]
    assert list((tmp_path / "opt/shop/generations").iterdir()) == []


def test_a_release_without_uwsgi_leaves_nothing_behind(
    run_module: RunModule, arguments: dict[str, Any], tmp_path: Path
) -> None:
    result = run_module("generation", **{**arguments, "venv": "none"})
    assert result["failed"] and "generation g1 is refused" in result["msg"]
    assert list((tmp_path / "opt/shop/generations").iterdir()) == []


class Failed(Exception):
    """What fail_json ends with in a stubbed module."""


@pytest.mark.parametrize("check", ["validate_ini", "validate_units"])
def test_a_check_that_hangs_leaves_nothing_behind(
    arguments: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check: str
) -> None:
    class Module:
        check_mode = False
        params = arguments

        def __init__(self, **_: Any) -> None:
            pass

        def fail_json(self, msg: str) -> None:
            raise Failed(msg)

    def hang(*_: Any) -> None:
        raise subprocess.TimeoutExpired("uwsgi", 30)

    monkeypatch.setattr(generation, "AnsibleModule", Module)
    monkeypatch.setattr(generation, check, hang)
    with pytest.raises(Failed, match="generation g1 is refused"):
        generation.main()
    assert list((tmp_path / "opt/shop/generations").iterdir()) == []


# What a host holds.


def test_the_application_s_own_socket_is_no_stranger(
    layout: TemporaryLayout, host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_module, "port_holders", lambda bind, port: [{"pid": 1, "name": f"who has {bind}:{port}"}])
    others = [{"pid": 1, "name": "who has 0.0.0.0:8040"}]
    assert host_state.strangers(layout, "0.0.0.0", 8040) == others
    host.serve("g1")
    assert host_state.strangers(layout, "0.0.0.0", 8040) == []
    assert host_state.strangers(layout, "0.0.0.0", 804) != []
    assert host_state.strangers(layout, "0.0.0.0", 40) != []
    host._systemctl("stop", "shop@g1.service", "shop.socket")
    assert host_state.strangers(layout, "0.0.0.0", 8040) == others


def test_only_what_is_whole_counts_as_there(layout: TemporaryLayout) -> None:
    for name in ("b", "a", ".c.partial"):
        (layout.venvs / name).mkdir()
    (layout.venvs / "a" / ".complete").touch()
    assert host_state.names(layout.venvs) == ["a", "b"]
    assert host_state.names(layout.venvs, ".complete") == ["a"]
    assert host_state.names(layout.root / "none") == []


def test_a_host_that_was_never_deployed_to_is_described(run_module: RunModule, tmp_path: Path) -> None:
    result = run_module("host_state", app_name="shop", base_dir=str(tmp_path), port=1, user="root", group="nogroup-x")
    app = result["app"]
    assert not result["changed"]
    assert (app["current"], app["kept"], app["releases"], app["venvs"]) == (None, [], [], [])
    assert app["account"] is False
    assert result["host"]["platform"].startswith(result["host"]["distribution"])


def test_what_was_deployed_is_described(run_module: RunModule, layout: TemporaryLayout) -> None:
    write_generation(layout, "g1", mode="threads")
    gen.mark_served(layout, "g1")
    layout.current.symlink_to("generations/g1")
    (layout.venvs / "v1" / ".complete").touch()
    result = run_module("host_state", app_name="shop", base_dir=str(layout.base), port=1, user="root", group="root")
    app = result["app"]
    assert (app["current"], app["mode"], app["kept"]) == ("g1", "threads", ["g1"])
    assert (app["releases"], app["venvs"], app["account"]) == (["r1"], ["v1"], True)


@pytest.mark.parametrize("before", [None, "g1"])
def test_a_swap_in_check_mode_says_what_would_serve(
    run_module: RunModule, layout: TemporaryLayout, before: str | None
) -> None:
    if before:
        layout.current.symlink_to(f"generations/{before}")
    result = run_module("swap", check=True, app_name="shop", base_dir=str(layout.base), generation="g2")
    assert result["changed"] and result["before"] == before
    assert result["diff"] == {"before": f"{before}\n", "after": "g2\n"}


def test_a_swap_to_what_is_not_there_says_that_nothing_serves(run_module: RunModule, layout: TemporaryLayout) -> None:
    result = run_module("swap", app_name="shop", base_dir=str(layout.base), generation="g2")
    assert result["failed"]
    assert result["msg"] == (
        "generation g2 is not on this host; kept are: none\nNothing served before, nothing serves now."
    )


def test_a_file_that_was_edited_by_hand_is_mended_where_it_is(
    run_module: RunModule, arguments: dict[str, Any], tmp_path: Path
) -> None:
    run_module("generation", **arguments)
    folder = tmp_path / "opt/shop/generations/g1"
    inode = folder.stat().st_ino
    (folder / "uwsgi.ini").write_text("edited")
    assert run_module("generation", **arguments)["changed"]
    assert (folder / "uwsgi.ini").read_text() == arguments["files"]["uwsgi.ini"]
    assert folder.stat().st_ino == inode
    assert not run_module("generation", **arguments)["changed"]
