"""The module that calls other programs, uWSGI and systemd, as far as they can be replaced."""

import grp
import json
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.checksums import checksum
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.layout import Layout
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release import credentials
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release import generation as gen
from ansible_collections.flaskops.uwsgi.plugins.modules import generation

from tests.support.fake_host import CREDS, THEM, US, write_generation
from tests.support.fake_host import manifest as whole_manifest

RunModule = Callable[..., dict[str, Any]]

PARTS = ("generations", "releases", "venvs")

MANIFEST = json.dumps(whole_manifest("g1")) + "\n"


def program(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


# Starts a unit as systemd does, and stores its output.
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
    """Run the module on units below a temporary directory."""
    before = (
        "from pathlib import Path\n"
        "from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.layout import Layout\n"
        f"Layout.units, Layout.lock = Path('{tmp_path}/units'), Path('{tmp_path}/lock')"
    )
    return lambda **arguments: run_module("generation", before=before, **arguments)


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Install a release, uWSGI and systemd that accept everything; return the arguments."""
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


def test_uwsgi_validates_the_configuration_in_a_unit_of_the_service_s_account_and_not_as_root(
    run_generation: RunModule, arguments: dict[str, Any], tmp_path: Path
) -> None:
    program(tmp_path / "opt/shop/venvs/v1/bin/uwsgi", f"touch {tmp_path}/ran")
    # So that only the module itself could.
    systemctl = tmp_path / "bin/systemctl"
    systemctl.write_text(systemctl.read_text().replace(f"{tmp_path}/opt/shop/generations/g1/venv/bin/uwsgi", "true"))
    assert run_generation(**arguments)["changed"]
    assert not (tmp_path / "ran").exists()
    assert (tmp_path / "bin/systemctl.unit").read_text() == "[Service]\nUser=shop\n"
    assert list((tmp_path / "units").iterdir()) == []
    asked = (tmp_path / "bin/systemctl.asked").read_text().splitlines()
    assert asked[-3:] == ["stop shop-validate@*.service", "daemon-reload", "reset-failed shop-validate@*.service"]


def test_a_validation_belongs_to_a_running_module(
    run_generation: RunModule, arguments: dict[str, Any], tmp_path: Path
) -> None:
    program(tmp_path / "opt/shop/venvs/v1/bin/uwsgi", f"flock --nonblock {tmp_path}/lock touch {tmp_path}/idle; true")
    assert run_generation(**arguments)["changed"]
    assert (tmp_path / "lock").exists() and not (tmp_path / "idle").exists()


def test_while_another_run_has_the_reservation_nothing_is_written(
    run_generation: RunModule, arguments: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "lock").write_text(json.dumps(THEM))
    result = run_generation(run=US, **arguments)
    assert result["failed"] and "deploy by them@controller" in result["msg"]
    assert not list((tmp_path / "opt/shop/generations").iterdir())
    assert run_generation(run=US, replace=THEM, **arguments)["changed"]


def test_the_displayed_difference_hides_the_environment(run_generation: RunModule, arguments: dict[str, Any]) -> None:
    # Ansible masks no_log values everywhere, so a file of one line would not be shown.
    arguments["files"]["uwsgi.ini"] = "[uwsgi]\nmaster = true\n"
    shown = run_generation(check=True, **arguments)["diff"]["prepared"]
    assert "+ TOKEN\n" in shown and "+[uwsgi]\n" in shown
    assert "s3cr3t" not in shown


def test_secrets_reach_the_host_and_appear_in_no_result(
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


def test_a_refusal_removes_nothing_of_a_generation_that_served(
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


def test_units_that_systemd_rejects_leave_nothing_behind(
    run_generation: RunModule, arguments: dict[str, Any], tmp_path: Path
) -> None:
    complaint = "Unknown key name 'X' in section 'Service', ignoring."
    complaints = "".join(
        f'echo "${{SYSTEMD_UNIT_PATH%:}}/{unit}@g1.service.d/generation.conf:5: {complaint}" >&2; '
        for unit in ("shop", "shop-canary", "shop-relief")
    )
    program(tmp_path / "bin/systemd-analyze", f'echo "/usr/lib/other.service:1: no matter" >&2; {complaints}')
    result = run_generation(**arguments)
    assert result["failed"]
    assert f"(a directive in flask_uwsgi_unit_overrides?): {complaint} Nothing" in result["msg"]
    assert list((tmp_path / "opt/shop/generations").iterdir()) == []


@pytest.mark.parametrize(
    "line",
    [
        "/usr/lib/systemd/system/plymouth-start.service:5: Unit uses KillMode=none, use 'mixed' for the whole shop.",
        "workshop@1.service: Failed to open /etc/systemd/system/workshop@.service",
        "shop-floor@1.service: Failed to add dependency on shop.target",
    ],
)
def test_what_systemd_says_of_the_host_s_other_units_is_no_reason(
    run_generation: RunModule, arguments: dict[str, Any], tmp_path: Path, line: str
) -> None:
    program(tmp_path / "bin/systemd-analyze", f'echo "{line}" >&2')
    assert run_generation(**arguments)["changed"]


def test_what_systemd_says_of_an_instance_is_a_reason(
    run_generation: RunModule, arguments: dict[str, Any], tmp_path: Path
) -> None:
    program(tmp_path / "bin/systemd-analyze", 'echo "shop-canary@g1.service: Command x is not executable" >&2')
    assert "Command x is not executable" in run_generation(**arguments)["msg"]


def test_a_release_without_uwsgi_leaves_nothing_behind(
    run_generation: RunModule, arguments: dict[str, Any], tmp_path: Path
) -> None:
    result = run_generation(**{**arguments, "venv": "none"})
    assert result["failed"] and "generation g1 is refused" in result["msg"]
    assert list((tmp_path / "opt/shop/generations").iterdir()) == []
    assert list((tmp_path / "units").iterdir()) == []


@pytest.fixture
def successor(run_generation: RunModule, arguments: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """Let a generation serve; return the arguments for one that differs from it by its release alone."""
    paths = f"[uwsgi]\nchdir = {tmp_path}/opt/shop/releases/"
    contents = {**arguments["files"], "uwsgi.ini": f"{paths}r1\n"}
    recorded = {name: checksum(name, text, "shop") for name, text in contents.items() if name != "manifest.json"}
    serving = {**json.loads(MANIFEST), "release": "r1", "venv": "v1", "checksums": recorded}
    first = {**arguments, "files": {**contents, "manifest.json": json.dumps(serving)}}
    assert run_generation(**first)["changed"]
    root = tmp_path / "opt/shop"
    (root / "current").symlink_to("generations/g1")
    (root / "releases/r2").mkdir()
    (tmp_path / "bin/systemd-analyze.asked").unlink()
    (tmp_path / "bin/systemctl.asked").unlink()
    # The systemctl of these tests knows g1 alone; this one shows that it was asked.
    program(tmp_path / "bin/systemctl", 'echo "$@" >> "$0.asked"')
    new = {**contents, "uwsgi.ini": f"{paths}r2\n", "manifest.json": json.dumps({**serving, "release": "r2"})}
    return {**arguments, "generation": "g2", "release": "r2", "files": new}


def checks(tmp_path: Path) -> list[str]:
    """Return which programs were asked to judge a generation."""
    return [name for name in ("systemctl", "systemd-analyze") if (tmp_path / f"bin/{name}.asked").exists()]


def test_what_the_serving_generation_has_word_for_word_is_not_checked_again(
    run_generation: RunModule, successor: dict[str, Any], tmp_path: Path
) -> None:
    assert run_generation(**successor)["changed"]
    assert checks(tmp_path) == []
    assert (tmp_path / "opt/shop/generations/g2/manifest.json").is_file()


@pytest.mark.parametrize("change", ["ini", "unit", "more", "address", "environment", "secrets", "edited", "unserved"])
def test_anything_else_is_checked(
    run_generation: RunModule, successor: dict[str, Any], tmp_path: Path, change: str
) -> None:
    root, contents = tmp_path / "opt/shop", successor["files"]
    document = json.loads(contents["manifest.json"])
    if change == "ini":
        contents["uwsgi.ini"] += "harakiri = 1\n"
    elif change == "unit":
        contents["units/app@.service"] += "Nice=1\n"
    elif change == "more":
        contents["units/more.conf"] = "[Service]\n"
    elif change == "address":
        document["listen"] = "0.0.0.0:9000"
    elif change == "environment":
        (root / "venvs/v1").rename(root / "venvs/v2")
        successor["venv"] = document["venv"] = "v2"
    elif change == "secrets":
        document["secrets"] = {"names": ["TOKEN"], "fingerprint": "f"}
    elif change == "edited":
        for generation, release in (("g1", "r1"), ("", "r2")):
            text = f"[uwsgi]\nchdir = {root}/releases/{release}\nharakiri = 1\n"
            if generation:
                (root / "generations" / generation / "uwsgi.ini").write_text(text)
            else:
                contents["uwsgi.ini"] = text
    else:
        (root / "current").unlink()
    contents["manifest.json"] = json.dumps(document)
    assert run_generation(**successor)["changed"]
    assert checks(tmp_path) == ["systemctl", "systemd-analyze"]


class Failed(Exception):
    """Raised by fail_json of a stubbed module."""


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
def test_another_generation_of_the_same_short_id_is_never_mistaken_for_this_one(
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


def test_a_file_edited_by_hand_is_repaired_in_place(
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


def test_a_repair_needs_the_reservation_too(
    run_generation: RunModule, arguments: dict[str, Any], tmp_path: Path
) -> None:
    run_generation(run=US, **arguments)
    ini = tmp_path / "opt/shop/generations/g1/uwsgi.ini"
    ini.write_text("edited")
    (tmp_path / "lock").write_text(json.dumps(THEM))
    result = run_generation(run=US, **arguments)
    assert result["failed"] and "deploy by them@controller" in result["msg"]
    assert ini.read_text() == "edited"


def test_a_repair_that_cannot_be_written_is_reported(
    run_generation: RunModule, arguments: dict[str, Any], tmp_path: Path
) -> None:
    run_generation(**arguments)
    ini = tmp_path / "opt/shop/generations/g1/uwsgi.ini"
    ini.unlink()
    ini.mkdir()
    result = run_generation(**arguments)
    assert "generation g1 cannot be written: [Errno 21] Is a directory: " in result["msg"]
    assert "The running service was not changed" in result["msg"]


def test_mount_points_of_persistent_folders_exist_before_the_units(
    run_generation: RunModule, arguments: dict[str, Any], tmp_path: Path
) -> None:
    release, venv = tmp_path / "opt/shop/releases/r1", tmp_path / "opt/shop/venvs/v1"
    wanted = arguments | {"persistent": ["instance", "venv/var/shop-instance"]}
    assert run_generation(check=True, **wanted)["changed"]
    assert not (release / "instance").exists()
    assert run_generation(**wanted)["changed"]
    assert (release / "instance").is_dir() and (venv / "var/shop-instance").is_dir()
    assert not run_generation(**wanted)["changed"]
    # A release that was unpacked again does not have them.
    (release / "instance").rmdir()
    again = run_generation(**wanted)
    assert again["changed"] and again["mended"] == [] and (release / "instance").is_dir()
    (release / "run.py").touch()
    refused = run_generation(**(arguments | {"persistent": ["run.py"]}))
    assert refused["failed"] and "run.py is a file: name a folder" in refused["msg"]
