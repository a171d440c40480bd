"""The modules whose work is done by other programs, as far as these can be replaced."""

import grp
import json
import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import facts as host_module
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.layout import Layout
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release import credentials
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release import generation as gen
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic import reservation, service, trial
from ansible_collections.flaskops.uwsgi.plugins.module_utils.traffic.swap import Swap
from ansible_collections.flaskops.uwsgi.plugins.modules import (
    claim,
    commands,
    generation,
    host_state,
    removal,
    serving,
    status,
    swap,
)

from tests.support.fake_host import CREDS, FakeHost, RefusedError, TemporaryLayout, write_generation
from tests.support.fake_host import manifest as whole_manifest

RunModule = Callable[..., dict[str, Any]]
PARTS = ("generations", "releases", "venvs")
MANIFEST = json.dumps(whole_manifest("g1")) + "\n"


US = {"who": "us@controller", "home": "controller", "pid": 6, "start": "1", "since": "now", "what": "deploy"}
THEM = {"who": "them@controller", "home": "controller", "pid": 7, "start": "2", "since": "then", "what": "deploy"}


def program(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


# The generation.


# Starts a unit as systemd does, and keeps what it printed.
SYSTEMCTL = """
echo "$@" >> "$0.asked"
test "$1" = start || exit 0
cp {units}/shop-validate@.service "$0.unit" && cp {units}/$2.d/generation.conf "$0.settings" || exit 5
{uwsgi} --ini {ini} --version > "$0.journal" 2>&1 && exit 0
echo "$2: Main process exited, code=exited, status=1/FAILURE" >> "$0.journal"
echo "Job for $2 failed." >&2
exit 1
"""
JOURNALCTL = """
case "$*" in
    *--show-cursor*) echo "-- cursor: s=1;i=1;b=1;m=0" ;;
    *"--unit shop-validate@g1.service"*) python3 -c '
import json, sys
print(json.dumps({"__REALTIME_TIMESTAMP": "1", "__CURSOR": "s=1;i=2;b=1;m=1", "MESSAGE": open(sys.argv[1]).read()}))
' "${0%/*}/systemctl.journal" ;;
esac
"""


@pytest.fixture
def run_generation(run_module: RunModule, tmp_path: Path) -> RunModule:
    """Run the module upon units below the test's own directory."""
    before = (
        "from pathlib import Path\n"
        "from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.layout import Layout\n"
        f"Layout.units, Layout.lock = Path('{tmp_path}/units'), Path('{tmp_path}/lock')"
    )
    return lambda **arguments: run_module("generation", before=before, **arguments)


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Put a release, uWSGI and systemd in place, which find nothing wrong; return the arguments."""
    for folder in ("opt/shop/generations", "opt/shop/releases/r1", "units"):
        (tmp_path / folder).mkdir(parents=True)
    uwsgi = tmp_path / "opt/shop/generations/g1/venv/bin/uwsgi"
    program(tmp_path / "opt/shop/venvs/v1/bin/uwsgi", 'test "$1 $3" = "--ini --version" && test -f "$2"')
    ini = tmp_path / "opt/shop/generations/g1/uwsgi.ini"
    program(tmp_path / "bin/systemctl", SYSTEMCTL.format(units=tmp_path / "units", uwsgi=uwsgi, ini=ini))
    program(tmp_path / "bin/journalctl", JOURNALCTL)
    program(
        tmp_path / "bin/systemd-analyze", 'LC_ALL=C ls "${SYSTEMD_UNIT_PATH%:}" > "$0.seen"; echo "$@" > "$0.asked"'
    )
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return {
        "app_name": "shop",
        "base_dir": str(tmp_path / "opt"),
        "generation": "g1",
        "release": "r1",
        "venv": "v1",
        "group": grp.getgrgid(os.getgid()).gr_name,
        "persistent": [],
        "files": {
            "uwsgi.ini": "[uwsgi]\n",
            "environment": 'TOKEN="s3cr3t"\n',
            "units/app@.socket": "[Socket]\n",
            "units/app@.service": "[Service]\n",
            "units/app-canary@.service": "[Service]\n",
            "units/app-relief@.service": "[Service]\n",
            "units/app-task@.service": "[Service]\n",
            "units/app-check@.service": "[Service]\n",
            "units/app-validate@.service": "[Service]\nUser=shop\n",
            "units/generation.conf": "[Service]\n",
            "units/listen.conf": "[Service]\n",
            "manifest.json": MANIFEST,
        },
        "secrets": {},
    }


def test_a_generation_is_written_once_with_its_links(
    run_generation: RunModule, arguments: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "opt/shop/generations/g1"
    assert run_generation(check=True, **arguments)["changed"]
    assert not folder.exists()
    result = run_generation(**arguments)
    assert result["changed"], result
    assert result["path"] == str(folder)
    assert (folder / "release").readlink() == Path("../../releases/r1")
    assert (folder / "venv").readlink() == Path("../../venvs/v1")
    assert (folder / "manifest.json").read_text() == MANIFEST
    assert stat.S_IMODE((folder / "environment").stat().st_mode) == 0o600
    seen = (tmp_path / "bin/systemd-analyze.seen").read_text().split()
    assert seen == [
        "shop-canary@.service",
        "shop-canary@g1.service.d",
        "shop-check@.service",
        "shop-check@g1.service.d",
        "shop-pre@.service",
        "shop-pre@g1.service.d",
        "shop-relief@.service",
        "shop-relief@g1.service.d",
        "shop@.service",
        "shop@.socket",
        "shop@0.0.0.0:8040.socket.d",
        "shop@g1.service.d",
    ]
    asked = (tmp_path / "bin/systemd-analyze.asked").read_text().split()
    assert asked[:2] == ["verify", "--man=no"]
    assert asked[2:] == [f"shop{kind}@g1.service" for kind in ("", "-canary", "-relief", "-check", "-pre")]
    assert not run_generation(**arguments)["changed"]


def test_uwsgi_reads_the_configuration_in_a_unit_of_the_service_s_and_root_does_not_run_it(
    run_generation: RunModule, arguments: dict[str, Any], tmp_path: Path
) -> None:
    program(tmp_path / "opt/shop/venvs/v1/bin/uwsgi", f"touch {tmp_path}/ran")
    # So that nobody but the module itself could.
    systemctl = tmp_path / "bin/systemctl"
    systemctl.write_text(systemctl.read_text().replace(f"{tmp_path}/opt/shop/generations/g1/venv/bin/uwsgi", "true"))
    assert run_generation(**arguments)["changed"]
    assert not (tmp_path / "ran").exists()
    assert (tmp_path / "bin/systemctl.unit").read_text() == "[Service]\nUser=shop\n"
    assert list((tmp_path / "units").iterdir()) == []
    asked = (tmp_path / "bin/systemctl.asked").read_text().splitlines()
    assert asked[-3:] == ["stop shop-validate@*.service", "daemon-reload", "reset-failed shop-validate@*.service"]


def test_what_is_validated_belongs_to_a_module_at_work(
    run_generation: RunModule, arguments: dict[str, Any], tmp_path: Path
) -> None:
    program(tmp_path / "opt/shop/venvs/v1/bin/uwsgi", f"flock --nonblock {tmp_path}/lock touch {tmp_path}/idle; true")
    assert run_generation(**arguments)["changed"]
    assert (tmp_path / "lock").exists() and not (tmp_path / "idle").exists()


def test_while_somebody_else_has_the_reservation_nothing_is_written(
    run_generation: RunModule, arguments: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "lock").write_text(json.dumps(THEM))
    result = run_generation(run=US, **arguments)
    assert result["failed"] and "deploy by them@controller" in result["msg"]
    assert not list((tmp_path / "opt/shop/generations").iterdir())
    assert run_generation(run=US, replace=THEM, **arguments)["changed"]


def test_the_difference_that_is_shown_hides_the_environment(
    run_generation: RunModule, arguments: dict[str, Any]
) -> None:
    # Ansible hides what is no_log wherever it stands, so a file of one line would not be shown.
    arguments["files"]["uwsgi.ini"] = "[uwsgi]\nmaster = true\n"
    shown = run_generation(check=True, **arguments)["diff"]["prepared"]
    assert "+ TOKEN\n" in shown and "+[uwsgi]\n" in shown
    assert "s3cr3t" not in shown


def test_secrets_reach_the_host_and_no_result_tells_them(
    run_generation: RunModule, arguments: dict[str, Any], tmp_path: Path
) -> None:
    program(tmp_path / "bin/systemd-creds", CREDS.partition("\n")[2])
    (tmp_path / "bin/systemd-creds.key").touch()
    manifest = json.dumps({**json.loads(MANIFEST), "secrets": {"names": ["PIN", "TOKEN"], "fingerprint": "f"}})
    arguments |= {"secrets": {"TOKEN": "hunter2-hunter2", "PIN": 4711}}
    arguments["files"]["manifest.json"] = manifest
    folder = tmp_path / "opt/shop/generations/g1"
    results = [run_generation(check=True, **arguments)]
    assert results[0]["encrypted"] is None and not folder.exists()
    results.append(run_generation(**arguments))
    assert results[1]["encrypted"] is True, results
    assert "shop-relief@g1.service.d" in (tmp_path / "bin/systemd-analyze.seen").read_text()
    assert credentials.stale(folder, {"TOKEN": "hunter2-hunter2", "PIN": "4711"}) == []
    results.append(run_generation(**arguments))
    assert not results[2]["changed"]
    (folder / "credentials" / "PIN").unlink()
    results.append(run_generation(check=True, **arguments))
    assert results[3]["changed"] and results[3]["mended"] == ["credentials/PIN"]
    (tmp_path / "bin/systemd-creds.key").unlink()
    results.append(run_generation(**arguments))
    assert (results[4]["encrypted"], len(results[4]["warnings"])) == (False, 1)
    assert credentials.stale(folder, {"TOKEN": "hunter2-hunter2", "PIN": "4711"}) == []
    assert "+ TOKEN\n" in results[0]["diff"]["prepared"]
    assert "hunter2" not in json.dumps(results) and "4711" not in json.dumps(results)


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
    run_generation: RunModule, arguments: dict[str, Any], tmp_path: Path, script: str, message: str
) -> None:
    program(tmp_path / "opt/shop/venvs/v1/bin/uwsgi", script)
    result = run_generation(**arguments)
    assert result["failed"] and result["msg"].startswith(message)
    assert result["msg"].endswith("Nothing of it remains; the running service was not changed")
    assert [path.name for folder in PARTS for path in (tmp_path / "opt/shop" / folder).iterdir()] == []


def test_what_is_refused_takes_nothing_from_a_generation_that_served(
    run_generation: RunModule, arguments: dict[str, Any], tmp_path: Path
) -> None:
    layout = Layout("shop", tmp_path / "opt")
    for name in ("served", "shares"):
        write_generation(layout, name, release="r0", venv="v0" if name == "served" else "v1")
        gen.mark_served(layout, name)
    program(tmp_path / "opt/shop/venvs/v1/bin/uwsgi", "exit 1")
    assert run_generation(**arguments)["failed"]
    left = {path.name for folder in PARTS for path in (tmp_path / "opt/shop" / folder).iterdir()}
    assert left == {"served", "shares", "r0", "v0", "v1"}


def test_units_that_systemd_complains_of_leave_nothing_behind(
    run_generation: RunModule, arguments: dict[str, Any], tmp_path: Path
) -> None:
    complaint = "Unknown key name 'X' in section 'Service', ignoring."
    told = "".join(
        f'echo "${{SYSTEMD_UNIT_PATH%:}}/{unit}@g1.service.d/generation.conf:5: {complaint}" >&2; '
        for unit in ("shop", "shop-canary", "shop-relief")
    )
    program(tmp_path / "bin/systemd-analyze", f'echo "/usr/lib/other.service:1: no matter" >&2; {told}')
    result = run_generation(**arguments)
    assert result["failed"]
    assert f"(a directive in flask_uwsgi_unit_overrides?): {complaint} Nothing" in result["msg"]
    assert list((tmp_path / "opt/shop/generations").iterdir()) == []


def test_a_release_without_uwsgi_leaves_nothing_behind(
    run_generation: RunModule, arguments: dict[str, Any], tmp_path: Path
) -> None:
    result = run_generation(**{**arguments, "venv": "none"})
    assert result["failed"] and "generation g1 is refused" in result["msg"]
    assert list((tmp_path / "opt/shop/generations").iterdir()) == []
    assert list((tmp_path / "units").iterdir()) == []


class Failed(Exception):
    """What fail_json ends with in a stubbed module."""


@pytest.mark.parametrize("check", ["validate_ini", "validate_units"])
def test_a_check_that_hangs_leaves_nothing_behind(
    arguments: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check: str
) -> None:
    class Module:
        check_mode = False

        def __init__(self, **_: Any) -> None:
            self.params = {"run": None, "replace": None, "reserved": False, **arguments}

        def fail_json(self, msg: str) -> None:
            raise Failed(msg)

    def hang(*_: Any) -> None:
        raise subprocess.TimeoutExpired("uwsgi", 30)

    monkeypatch.setattr(generation, "AnsibleModule", Module)
    monkeypatch.setattr(Layout, "lock", tmp_path / "lock")
    monkeypatch.setattr(generation, check, hang)
    with pytest.raises(Failed, match="generation g1 is refused"):
        generation.main()
    assert list((tmp_path / "opt/shop/generations").iterdir()) == []


def manifest(arguments: dict[str, Any], digest: str) -> dict[str, Any]:
    return {**arguments["files"], "manifest.json": json.dumps({**json.loads(MANIFEST), "digest": digest})}


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "unused"])
def test_another_generation_of_the_same_short_id_is_never_taken_for_this_one(
    run_generation: RunModule, arguments: dict[str, Any], tmp_path: Path, kept: bool
) -> None:
    twin = {**arguments, "files": {**manifest(arguments, "e" * 64), "uwsgi.ini": "[uwsgi]\nevil = true\n"}}
    run_generation(**twin)
    if kept:
        gen.mark_served(Layout("shop", tmp_path / "opt"), "g1")
    result = run_generation(**{**arguments, "files": manifest(arguments, "f" * 64)})
    written = (tmp_path / "opt/shop/generations/g1/uwsgi.ini").read_text()
    if kept:
        assert (
            result["failed"]
            and "generation g1 on this host has the same short id but is a different one" in result["msg"]
        )
        assert written == "[uwsgi]\nevil = true\n"
    else:
        assert result["changed"] and result["mended"] == []
        assert written == "[uwsgi]\n"


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
    # Another address of the same port may be opened beside it.
    assert host_state.strangers(layout, "127.0.0.1", 8040) == []
    host.systemctl("stop", "shop@g1.service", "shop@0.0.0.0:8040.socket")
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
    assert (app["current"], app["kept"], app["releases"], app["venvs"]) == (None, [], {}, {})
    assert (app["accounts"]["user"]["uid"], app["accounts"]["group"], app["owner"]) == (0, None, None)
    assert "group nogroup-x is missing" in app["missing"]
    assert result["host"]["platform"].startswith(result["host"]["distribution"])


def test_what_was_deployed_is_described(run_module: RunModule, layout: TemporaryLayout) -> None:
    write_generation(layout, "g1", mode="threads")
    gen.mark_served(layout, "g1")
    layout.current.symlink_to("generations/g1")
    for folder in (layout.releases / "r1", layout.venvs / "v1"):
        (folder / ".complete").write_text(f"{folder.name}-digest\n")
    (layout.venvs / "half-made").mkdir()
    result = run_module("host_state", app_name="shop", base_dir=str(layout.base), port=1, user="root", group="root")
    app = result["app"]
    assert (app["current"], app["mode"], app["kept"]) == ("g1", "threads", ["g1"])
    assert (app["releases"], app["venvs"]) == ({"r1": "r1-digest"}, {"v1": "v1-digest"})
    assert app["owner"] == {"base": str(layout.base), "user": None, "group": None}
    assert app["accounts"]["group"] == {"name": "root", "gid": 0}


@pytest.mark.parametrize("before", [None, "g1"])
def test_a_swap_in_check_mode_says_what_would_serve(
    run_module: RunModule, layout: TemporaryLayout, before: str | None
) -> None:
    if before:
        layout.current.symlink_to(f"generations/{before}")
    result = run_module("swap", check=True, app_name="shop", base_dir=str(layout.base), generation="g2")
    assert result["changed"] and result["before"] == before
    assert result["diff"] == {"before": f"{before}\n", "after": "g2\n"}


def test_a_swap_to_what_is_not_there_says_that_nothing_serves(call_module: RunModule) -> None:
    result = call_module(swap, generation="g2")
    assert result["failed"]
    assert result["msg"] == (
        "generation g2 is not on this host; kept are: none\nNothing served before, nothing serves now."
    )


def test_a_swap_tells_what_served_before_and_how_long_each_step_took(
    call_module: RunModule, layout: TemporaryLayout, host: FakeHost
) -> None:
    host.serve("g1")
    write_generation(layout, "g2")
    result = call_module(swap, generation="g2", how="rollback")
    assert (result["failed"], result["changed"], result["before"]) == (False, True, "g1")
    assert list(result["steps"]) == ["canary", "start", "stop_old"]
    assert gen.history(layout)[0].how == "rollback"
    again = call_module(swap, generation="g2")
    assert (again["changed"], again["before"], again["steps"]) == (False, "g2", {})
    restarted = call_module(swap, generation="g2", restart=True)
    assert (restarted["changed"], list(restarted["steps"])) == (True, ["restart", "stop_old"])


def test_a_swap_that_fails_says_what_serves(call_module: RunModule, layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("g1")
    write_generation(layout, "g2")
    host.refused.add("shop@g2.service")
    result = call_module(swap, generation="g2", canary=False)
    assert result["failed"]
    assert result["msg"].endswith("\nGeneration g1 serves.")


def test_a_swap_is_refused_while_another_run_has_reserved_the_application(
    call_module: RunModule, layout: TemporaryLayout, host: FakeHost
) -> None:
    host.serve("g1")
    write_generation(layout, "g2")
    before = host.everything()
    reservation.reserve(layout, THEM)
    for arguments in ({}, {"run": US}, {"run": US, "replace": {}}):
        result = call_module(swap, generation="g2", **arguments)
        assert result["failed"]
        assert "deploy by them@controller, pid 7, since then" in result["msg"]
    assert host.everything() == before
    assert host.actions == []
    assert call_module(swap, generation="g2", run=US, replace=THEM)["changed"]
    # Replaced for once: the reservation itself is the module reservation's.
    assert reservation.owner(layout) == THEM
    assert call_module(swap, generation="g1", run=THEM)["changed"]


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        (claim, {"user": "shop", "group": "shop"}),
        (commands, {"generation": "g1", "when": "pre"}),
        (removal, {}),
        (serving, {"state": "restarted"}),
        (swap, {"generation": "g2"}),
    ],
)
def test_every_module_that_must_hold_the_reservation_is_refused_without_it(
    call_module: RunModule, layout: TemporaryLayout, host: FakeHost, module: ModuleType, arguments: dict[str, Any]
) -> None:
    host.serve("g1")
    write_generation(layout, "g2")
    before = host.everything()
    result = call_module(module, run=US, reserved=True, **arguments)
    assert result["failed"] and "shop is no longer reserved for this run on this host" in result["msg"]
    assert host.everything() == before and host.actions == []


def test_what_serves_is_read_when_nobody_else_can_change_it(
    call_module: RunModule, layout: TemporaryLayout, host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.serve("old")
    write_generation(layout, "new")
    exclusive = reservation.exclusive

    @contextmanager
    def wait(*arguments: Any) -> Iterator[None]:
        host.serve("quicker")
        # It took away what had not served.
        write_generation(layout, "new")
        with exclusive(*arguments):
            yield

    monkeypatch.setattr(swap.reservation, "exclusive", wait)
    host.refused.add("shop-canary@new.service")
    result = call_module(swap, generation="new")
    assert result["msg"].endswith("\nGeneration quicker serves.")
    assert host.running() == {"quicker"}
    assert service.drift(layout) == []
    host.refused.clear()
    write_generation(layout, "new")
    assert call_module(swap, generation="new")["before"] == "quicker"


# Start, stop, restart.


@pytest.mark.parametrize("state", ["started", "stopped", "restarted"])
def test_what_was_never_deployed_can_be_neither_started_nor_stopped(
    call_module: RunModule, layout: TemporaryLayout, host: FakeHost, state: str
) -> None:
    for check in (True, False):
        result = call_module(serving, check=check, state=state)
        assert result["failed"]
        assert result["msg"] == f"shop is not deployed below {layout.base} on this host: deploy it first"
    assert host.actions == []


@pytest.mark.parametrize(
    ("state", "serves", "changes"),
    [
        ("started", True, False),
        ("started", False, True),
        ("stopped", True, True),
        ("stopped", False, False),
        ("restarted", True, True),
        ("restarted", False, True),
    ],
)
def test_in_check_mode_it_is_told_what_would_change_and_nothing_does(
    call_module: RunModule, layout: TemporaryLayout, host: FakeHost, state: str, serves: bool, changes: bool
) -> None:
    host.serve("g1")
    if not serves:
        host.systemctl("stop", "shop@0.0.0.0:8040.socket", "shop@g1.service")
    host.events.clear()
    before = host.everything()
    result = call_module(serving, check=True, state=state)
    assert result == {"failed": False, "changed": changes, "generation": "g1", "steps": {}, "toll": {}}
    assert host.everything() == before
    assert host.actions == []
    assert not layout.lock.exists()
    assert call_module(serving, state=state)["changed"] is changes


def test_what_was_stopped_is_started_again(call_module: RunModule, layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("g1")
    unhurt = {"requests": 0, "workers": 0, "seconds": 0}
    stopped = {"failed": False, "changed": True, "generation": "g1", "steps": {}, "toll": unhurt}
    assert call_module(serving, state="stopped") == stopped
    assert (host.active, host.pidfile_pid()) == ({}, None)
    assert not call_module(serving, state="stopped")["changed"]
    result = call_module(serving, state="started")
    assert (result["changed"], list(result["steps"])) == (True, ["canary", "start"])
    assert service.drift(layout) == []
    assert not call_module(serving, state="started")["changed"]


@pytest.mark.parametrize(("state", "answers"), [("stopped", set()), ("started", {"g1"}), ("restarted", {"g1"})])
def test_what_was_left_of_a_trial_is_neither_kept_nor_started_again(
    call_module: RunModule, layout: TemporaryLayout, host: FakeHost, state: str, answers: set[str]
) -> None:
    write_generation(layout, "g1")
    Swap(layout, "g1").run()
    trial.begin(layout, THEM, 60)
    write_generation(layout, "tried")
    Swap(layout, "tried", trial=True).run()
    result = call_module(serving, state=state, run=THEM)
    assert (result["changed"], result["generation"]) == (True, "g1")
    assert host.answering() == answers
    assert trial.watch(layout, THEM) is False
    assert host.answering() == answers
    assert [path.name for path in layout.generations.iterdir()] == ["g1"]


def test_a_restart_replaces_the_processes(call_module: RunModule, layout: TemporaryLayout, host: FakeHost) -> None:
    host.serve("g1")
    before = host.pidfile_pid()
    result = call_module(serving, state="restarted")
    assert (result["changed"], list(result["steps"])) == (True, ["restart", "stop_old"])
    assert host.pidfile_pid() != before
    assert service.drift(layout) == []


@pytest.mark.parametrize("state", ["started", "stopped", "restarted"])
def test_nobody_starts_or_stops_what_another_has_reserved(
    call_module: RunModule, layout: TemporaryLayout, host: FakeHost, state: str
) -> None:
    host.serve("g1")
    reservation.reserve(layout, THEM)
    before = host.everything()
    result = call_module(serving, state=state, run=US)
    assert result["failed"] and "pid 7" in result["msg"]
    assert host.everything() == before


def test_a_restart_that_fails_says_why(call_module: RunModule, host: FakeHost) -> None:
    host.serve("g1")
    host.sick["shop-relief/g1"] = "GET /healthz answered 500"
    result = call_module(serving, state="restarted")
    assert result["failed"] and "generation g1 (gevent) does not serve: GET /healthz answered 500" in result["msg"]


# The status.


def test_the_status_has_the_drift_and_stats_that_do_not_answer_are_one(
    call_module: RunModule, layout: TemporaryLayout, host: FakeHost
) -> None:
    assert call_module(status)["status"]["drift"] == ["no generation serves"]
    host.serve("g1")
    found = call_module(status)["status"]
    assert found["drift"] == [found["stats_error"]]
    assert found["generation"] == "g1"


def test_a_status_that_cannot_be_told_is_an_error(
    call_module: RunModule, host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(unit: str) -> dict[str, str]:
        raise RefusedError("Failed to connect to bus")

    monkeypatch.setattr(host, "_properties", refuse)
    result = call_module(status)
    assert result["failed"]
    assert result["msg"].startswith("the status of shop cannot be read: ")
    assert "Failed to connect to bus" in result["msg"]


def test_a_file_that_was_edited_by_hand_is_mended_where_it_is(
    run_generation: RunModule, arguments: dict[str, Any], tmp_path: Path
) -> None:
    run_generation(**arguments)
    folder = tmp_path / "opt/shop/generations/g1"
    inode = folder.stat().st_ino
    (folder / "uwsgi.ini").write_text("edited")
    assert run_generation(check=True, **arguments)["mended"] == ["uwsgi.ini"]
    assert (folder / "uwsgi.ini").read_text() == "edited"
    mended = run_generation(**arguments)
    assert (mended["changed"], mended["mended"]) == (True, ["uwsgi.ini"])
    assert (folder / "uwsgi.ini").read_text() == arguments["files"]["uwsgi.ini"]
    assert folder.stat().st_ino == inode
    assert not run_generation(**arguments)["changed"]


# Several applications.


def test_neighbours_are_known_with_their_addresses(layout: TemporaryLayout) -> None:
    other = replace(layout, app="books")
    folder = other.generations / "g7"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(whole_manifest("g7", app_name="books", listen="127.0.0.1:8041")))
    assert host_state.neighbours(layout) == {}
    other.current.symlink_to("generations/g7")
    assert host_state.neighbours(layout) == {"books": "127.0.0.1:8041"}
    assert host_state.neighbours(other) == {}


def test_what_the_gevent_check_said_is_known_with_what_it_was_asked_about(layout: TemporaryLayout) -> None:
    for name, manifest in (("g1", {"artifact": "a1", "module": "shop:app"}), ("g2", {"artifact": "a2"})):
        (layout.generations / name).mkdir()
        (layout.generations / name / "manifest.json").write_text(json.dumps(whole_manifest(name, **manifest)))
    (layout.generations / "g1/gevent_check.json").write_text('{"path": "/slow", "verdict": "ok"}')
    assert host_state.checked(layout) == [{"artifact": "a1", "entry": "shop:app", "path": "/slow", "verdict": "ok"}]


def test_what_persistent_folders_are_mounted_on_is_there_before_the_units(
    run_generation: RunModule, arguments: dict[str, Any], tmp_path: Path
) -> None:
    release, venv = tmp_path / "opt/shop/releases/r1", tmp_path / "opt/shop/venvs/v1"
    wanted = arguments | {"persistent": ["instance", "venv/var/shop-instance"]}
    assert run_generation(check=True, **wanted)["changed"]
    assert not (release / "instance").exists()
    assert run_generation(**wanted)["changed"]
    assert (release / "instance").is_dir() and (venv / "var/shop-instance").is_dir()
    assert not run_generation(**wanted)["changed"]
    # A release that was unpacked anew does not have them.
    (release / "instance").rmdir()
    again = run_generation(**wanted)
    assert again["changed"] and again["mended"] == [] and (release / "instance").is_dir()
    (release / "run.py").touch()
    refused = run_generation(**(arguments | {"persistent": ["run.py"]}))
    assert refused["failed"] and "run.py is a file: name a folder" in refused["msg"]
