import base64
import hashlib
import io
import json
import os
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import installer
import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.selinux import SELinuxError
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release import artifact as art
from ansible_collections.flaskops.uwsgi.plugins.modules import release
from ansible_collections.flaskops.uwsgi.plugins.modules.release import ReleaseError

from tests.support.fake_host import manifest

RunModule = Callable[..., dict[str, Any]]
DIGEST = "d" * 64
LIBRARY = "installer-1.1.0-py3-none-any.whl"


def wheel(folder: Path, name: str, files: dict[str, str]) -> Path:
    """Write a pure-Python wheel by hand."""
    info = f"{name}-1.0.dist-info"
    contents = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [f"{info}/RECORD,,"]
    for file, content in contents.items():
        checksum = base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).rstrip(b"=").decode()
        rows.append(f"{file},sha256={checksum},{len(content)}")
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in {**contents, f"{info}/RECORD": "\n".join(rows) + "\n"}.items():
            archive.writestr(file, content)
    return path


def library(folder: Path) -> Path:
    """Pack the library that installs wheels, as its wheel is, and return it."""
    path = folder / LIBRARY
    package = Path(installer.__file__).parent
    with zipfile.ZipFile(path, "w") as archive:
        for file in package.rglob("*.py"):
            archive.write(file, file.relative_to(package.parent))
    return path


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """Pack a small application as the controller does."""
    source = tmp_path / "source"
    (source / "shop" / "deep").mkdir(parents=True)
    (source / "run.py").write_text("import shop\n")
    (source / "shop" / "__init__.py").write_text("")
    (source / "shop" / "deep" / "data.txt").write_text("x")
    (source / "manage.sh").write_text("#!/bin/sh\n")
    (source / "manage.sh").chmod(0o755)
    archive = tmp_path / "code-c1.tar.gz"
    art.pack_code(source, art.source_files(source, []), {}, archive)
    return archive


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """Write a folder with a wheel, and the library that installs it."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    wheel(folder, "tiny", {"tiny/__init__.py": "ANSWER = 42\n"})
    library(folder)
    return folder


@pytest.fixture
def wheelhouse(wheels: Path, tmp_path: Path) -> Path:
    """Pack these wheels as the build host does."""
    return pack(wheels, tmp_path / "wheelhouse-w1.tar")


def pack(folder: Path, archive: Path) -> Path:
    with tarfile.open(archive, "w") as tar:
        tar.add(folder, ".")
    return archive


def entry(archive: Path) -> dict[str, Any]:
    found = {"file": archive.name, "sha256": art.sha256(archive), "unpacked": 1 << 24}
    if archive.suffix != ".tar":
        return found
    names: list[str] = []
    # What is damaged is not installed.
    with suppress(tarfile.TarError), tarfile.open(archive) as tar:
        names = [Path(name).name for name in tar.getnames()]
    installs = sorted(name for name in names if name.endswith(".whl") and name != LIBRARY)
    return found | {"installer": LIBRARY, "installs": installs}


def install(archive: Path, venv: Path, **more: Any) -> None:
    release.install_wheels(archive, venv, entry(archive) | more, DIGEST)


def unpack(archive: Path, target: Path) -> None:
    release.unpack_code(archive, target, entry(archive), DIGEST)


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# Shipped archives.


def test_a_complete_archive_is_used(code: Path) -> None:
    assert release.checked(code.parent, entry(code)) == code


def test_a_missing_archive_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=rf"{tmp_path}/code-x\.tar\.gz was not shipped: deploy again"):
        release.checked(tmp_path, {"file": "code-x.tar.gz", "sha256": "0" * 64})


def test_a_damaged_archive_is_removed_so_that_it_is_shipped_again(code: Path) -> None:
    wanted = entry(code)
    code.write_bytes(code.read_bytes()[:-1])
    with pytest.raises(ReleaseError) as caught:
        release.checked(code.parent, wanted)
    message = str(caught.value)
    assert message.startswith("artifact archive code-c1.tar.gz arrived damaged: its SHA-256 is ")
    assert wanted["sha256"][:16] in message
    assert message.endswith("Nothing was unpacked. Deploy again to ship it again")
    assert not code.exists()


# The code.


@pytest.mark.usefixtures("umask")
def test_the_code_is_unpacked_with_its_bytecode_and_world_readable(code: Path, tmp_path: Path) -> None:
    target = tmp_path / "releases" / "r1"
    target.parent.mkdir()
    unpack(code, target)
    assert (target / "run.py").read_text() == "import shop\n"
    assert stat.S_IMODE((target / "manage.sh").stat().st_mode) == 0o755
    for path in (target, *target.rglob("*")):
        wanted = 0o555 if path.is_dir() else 0o444
        assert path.stat().st_mode & wanted == wanted, path
        assert not path.stat().st_mode & 0o022, path
    compiled = target / "__pycache__" / f"run.{sys.implementation.cache_tag}.pyc"
    assert compiled.is_file()
    # Tracebacks name the file's final path, not the one where it was unpacked.
    assert str(target / "run.py").encode() in compiled.read_bytes()
    assert left(target.parent) == ["r1"]


def test_code_that_does_not_compile_is_unpacked_anyway(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "run.py").write_text("def app(\n")
    archive = tmp_path / "code.tar.gz"
    art.pack_code(source, [Path("run.py")], {}, archive)
    unpack(archive, tmp_path / "r1")
    assert (tmp_path / "r1" / "run.py").is_file()


@pytest.mark.parametrize("damage", ["cut", "garbage"])
def test_code_that_cannot_be_unpacked_leaves_nothing_behind(code: Path, tmp_path: Path, damage: str) -> None:
    target = tmp_path / "releases" / "r1"
    target.parent.mkdir()
    content = code.read_bytes()
    code.write_bytes(content[: len(content) // 2] if damage == "cut" else b"no archive at all")
    with pytest.raises(ReleaseError, match=r"^code-c1\.tar\.gz cannot be unpacked: "):
        unpack(code, target)
    assert left(target.parent) == []


def test_a_full_disk_leaves_nothing_behind(code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(release.shutil, "copyfileobj", full)
    target = tmp_path / "releases" / "r1"
    target.parent.mkdir()
    with pytest.raises(OSError, match="No space left"):
        unpack(code, target)
    assert left(target.parent) == []


def test_leftovers_of_an_earlier_attempt_are_replaced(code: Path, tmp_path: Path) -> None:
    stale = tmp_path / "releases" / ".r1.partial"
    stale.mkdir(parents=True)
    (stale / "old.py").write_text("")
    unpack(code, tmp_path / "releases" / "r1")
    assert left(tmp_path / "releases") == ["r1"]
    assert not (tmp_path / "releases" / "r1" / "old.py").exists()


def member(name: str, kind: bytes = tarfile.REGTYPE, mode: int = 0o644, link: str = "") -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.mode, found.linkname, found.size = kind, mode, link, 1 if kind == tarfile.REGTYPE else 0
    return found


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ([member("../outside")], "'../outside', which leads out of its folder"),
        ([member("a/../../outside")], "'a/../../outside', which leads out of its folder"),
        ([member("ABOVE/outside")], "/outside', which leads out of its folder"),
        ([member("x", tarfile.SYMTYPE, link=".."), member("x/outside")], "'x', which is neither a file nor a folder"),
        ([member("x", tarfile.SYMTYPE, link="y")], "'x', which is neither a file nor a folder"),
        ([member("x", tarfile.LNKTYPE, link="/etc/passwd")], "'x', which is neither a file nor a folder"),
        ([member("x", tarfile.CHRTYPE)], "'x', which is neither a file nor a folder"),
        ([member("x", tarfile.FIFOTYPE)], "'x', which is neither a file nor a folder"),
        ([member("x"), member("x")], "cannot be unpacked: [Errno 17] File exists"),
        ([member("x"), member("x/y")], "cannot be unpacked: "),
        ([member(str(number)) for number in range(5)], "unpacks to more than the 4 bytes in its record"),
    ],
)
@pytest.mark.parametrize("filtered", [True, False], ids=["data filter", "older Python"])
def test_an_archive_cannot_write_outside_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, members: list[tarfile.TarInfo], problem: str, filtered: bool
) -> None:
    if not filtered:
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
    archive = tmp_path / "evil.tar"
    with tarfile.open(archive, "w") as tar:
        for one in members:
            one.name = one.name.replace("ABOVE", str(tmp_path))
            tar.addfile(one, io.BytesIO(b"x" * one.size))
    (tmp_path / "target").mkdir()
    before = set(tmp_path.iterdir())
    with pytest.raises(ReleaseError) as caught:
        release.extract(archive, tmp_path / "target" / "x", 4)
    assert str(caught.value).startswith("evil.tar ") and problem in str(caught.value)
    assert set(tmp_path.iterdir()) == before


@pytest.mark.usefixtures("umask")
def test_files_of_an_archive_keep_no_owner_and_no_special_mode(tmp_path: Path) -> None:
    archive = tmp_path / "modes.tar"
    with tarfile.open(archive, "w") as tar:
        for name, mode in (("setuid", 0o6755), ("open", 0o666), ("closed", 0o000)):
            one = member(name, mode=mode)
            one.uid = one.gid = 65534
            tar.addfile(one, io.BytesIO(b"x"))
    release.extract(archive, tmp_path / "target", 3)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "target").iterdir()}
    assert modes == {"setuid": 0o755, "open": 0o644, "closed": 0o644}
    assert {path.stat().st_uid for path in (tmp_path / "target").iterdir()} == {os.getuid()}


def test_code_that_crashes_the_compiler_is_unpacked_anyway(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "deep.py").write_text("(" * 100_000)
    (source / "deeper.py").write_text("x = " + "-" * 1_000_000 + "1")
    archive = tmp_path / "code.tar.gz"
    art.pack_code(source, [Path("deep.py"), Path("deeper.py")], {}, archive)
    unpack(archive, tmp_path / "r1")
    assert (tmp_path / "r1" / "deep.py").is_file()


# The wheels.


@pytest.mark.usefixtures("umask")
def test_wheels_are_installed_offline_with_the_library_among_them(wheelhouse: Path, tmp_path: Path) -> None:
    venv = tmp_path / "venvs" / "w1"
    venv.parent.mkdir()
    install(wheelhouse, venv)
    assert left(venv.parent) == ["w1"]
    assert art.marked(venv) == DIGEST
    code = "import tiny, importlib.util; print(tiny.ANSWER, tiny.__cached__, importlib.util.find_spec('installer'))"
    done = subprocess.run([venv / "bin/python", "-c", code], capture_output=True, text=True, check=True)
    answer, bytecode, other = done.stdout.split()
    assert (answer, Path(bytecode).is_file(), other) == ("42", True, "None")


def test_wheels_that_cannot_be_installed_leave_nothing_behind(wheels: Path, tmp_path: Path) -> None:
    (wheels / "broken-1.0-py3-none-any.whl").write_bytes(b"no zip")
    venv = tmp_path / "venvs" / "w1"
    venv.parent.mkdir()
    with pytest.raises(ReleaseError, match=r"broken-1.0-py3-none-any.whl cannot be installed: File is not a zip file$"):
        install(pack(wheels, tmp_path / "wheelhouse.tar"), venv)
    assert left(venv.parent) == []


def test_programs_are_labelled_before_an_environment_counts(
    wheelhouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    venv, labelled = tmp_path / "venvs" / "w1", []

    def relabel(folder: Path) -> None:
        labelled.append((folder, (folder / "bin/python").exists(), (folder / art.MARKER).exists()))

    monkeypatch.setattr(release.selinux, "relabel", relabel)
    install(wheelhouse, venv)
    assert labelled == [(venv, True, False)]


def test_programs_that_cannot_be_labelled_leave_nothing_behind(
    wheelhouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def relabel(folder: Path) -> None:
        raise SELinuxError("`restorecon` cannot be run")

    venv = tmp_path / "venvs" / "w1"
    venv.parent.mkdir()
    monkeypatch.setattr(release.selinux, "relabel", relabel)
    with pytest.raises(ReleaseError, match=r"w1 cannot be labelled for SELinux: `restorecon` cannot be run$"):
        install(wheelhouse, venv)
    assert left(venv.parent) == []


def test_an_incomplete_environment_is_recreated(wheelhouse: Path, tmp_path: Path) -> None:
    venv = tmp_path / "venvs" / "w1"
    (venv / "lib").mkdir(parents=True)
    (venv / "lib" / "old").touch()
    install(wheelhouse, venv)
    assert not (venv / "lib" / "old").exists()


def test_wheels_that_cannot_be_unpacked_leave_nothing_behind(tmp_path: Path) -> None:
    venv = tmp_path / "venvs" / "w1"
    venv.parent.mkdir()
    archive = tmp_path / "wheelhouse.tar"
    archive.write_bytes(b"no archive")
    with pytest.raises(ReleaseError, match="cannot be unpacked"):
        install(archive, venv)
    assert left(venv.parent) == []


def test_a_full_disk_is_recognized_in_pip_s_output() -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        release._run("/bin/sh", "-c", "echo 'ERROR: [Errno 28] No space left on device' >&2; exit 1")
    assert caught.value.errno == 28


def test_a_failed_command_is_reported_with_its_last_lines() -> None:
    with pytest.raises(ReleaseError, match=r"`/bin/sh -c…` failed: the reason$"):
        release._run("/bin/sh", "-c", "echo the reason >&2; exit 1")


# The module.


def artifact(code: Path, wheelhouse: Path) -> dict[str, Any]:
    wheels = {"id": "w1", "digest": "3" * 64, **entry(wheelhouse)}
    return {"id": "r1", "digest": "1" * 64, "code": {"id": "c1", **entry(code)}, "wheelhouse": wheels}


@pytest.fixture
def shipped(tmp_path: Path, code: Path, wheelhouse: Path) -> dict[str, Any]:
    """Ship an artifact to a host; return the module's arguments."""
    for folder in ("opt/shop/releases", "opt/shop/venvs", "incoming"):
        (tmp_path / folder).mkdir(parents=True)
    described = artifact(code, wheelhouse)
    for archive in (code, wheelhouse):
        archive.rename(tmp_path / "incoming" / archive.name)
    return {
        "app_name": "shop",
        "base_dir": str(tmp_path / "opt"),
        "artifact": described,
        "incoming": str(tmp_path / "incoming"),
    }


@pytest.mark.slow
def test_the_module_unpacks_an_artifact_once(run_module: RunModule, shipped: dict[str, Any], tmp_path: Path) -> None:
    root = tmp_path / "opt" / "shop"
    checked = run_module("release", check=True, **shipped)
    assert checked["changed"] and left(root / "releases") == left(root / "venvs") == []
    first = run_module("release", **shipped)
    assert first["changed"], first
    assert (first["release"], first["venv"]) == (str(root / "releases/r1"), str(root / "venvs/w1"))
    assert left(root) == ["releases", "venvs"]
    assert not run_module("release", **shipped)["changed"]


def test_a_small_archive_comes_with_the_module_and_is_checked_as_any_other(
    run_module: RunModule, shipped: dict[str, Any], tmp_path: Path
) -> None:
    root, entry = tmp_path / "opt" / "shop", shipped["artifact"]["code"]
    # The wheels are there already.
    (root / "venvs/w1").mkdir()
    (root / "venvs/w1/.complete").write_text(f"{shipped['artifact']['wheelhouse']['digest']}\n")
    content = (tmp_path / "incoming" / entry["file"]).read_bytes()
    told = {name: value for name, value in shipped.items() if name != "incoming"}
    damaged = run_module("release", **told, inline={entry["file"]: base64.b64encode(content + b"!").decode()})
    assert damaged["failed"] and "arrived damaged" in damaged["msg"] and left(root / "releases") == []
    assert run_module("release", **told)["msg"].startswith(f"{entry['file']} was not shipped")
    assert run_module("release", **told, inline={entry["file"]: base64.b64encode(content).decode()})["changed"]
    assert left(root / "releases") == ["r1"]


@pytest.mark.slow
def test_only_releases_that_no_served_generation_needs_are_removed(
    run_module: RunModule, shipped: dict[str, Any], tmp_path: Path
) -> None:
    root = tmp_path / "opt" / "shop"
    run_module("release", **shipped)
    absent = {"app_name": "shop", "base_dir": shipped["base_dir"], "state": "absent"}
    serving = root / "generations" / "g1"
    serving.mkdir(parents=True)
    (serving / "manifest.json").write_text(json.dumps(manifest(release="r0", venv="w1")))
    (serving / ".served").write_text(json.dumps({"number": 1, "how": "deploy", "since": ""}))
    (root / "releases" / "r0").mkdir()
    assert run_module("release", check=True, **absent)["changed"] and left(root / "releases") == ["r0", "r1"]
    assert run_module("release", **absent)["changed"]
    assert left(root / "releases") == ["r0"] and left(root / "venvs") == ["w1"]
    assert not run_module("release", **absent)["changed"]


def test_the_module_refuses_a_damaged_archive_and_leaves_nothing(
    run_module: RunModule, shipped: dict[str, Any], tmp_path: Path
) -> None:
    shipped["artifact"]["code"]["sha256"] = "0" * 64
    result = run_module("release", **shipped)
    assert result["failed"] and "code-c1.tar.gz arrived damaged" in result["msg"]
    root = tmp_path / "opt" / "shop"
    assert left(root) == ["releases", "venvs"] and left(root / "releases") == []
    # The environment was complete before the code was checked, and the next deploy uses it.
    assert left(root / "venvs") == ["w1"]


def test_the_service_can_read_the_code_whatever_root_s_umask_is(
    run_module: RunModule, shipped: dict[str, Any], tmp_path: Path
) -> None:
    run_module("release", limit="umask 077; ", **shipped)
    folder = tmp_path / "opt/shop/releases/r1/shop"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_a_wheelhouse_without_the_library_is_reported(wheels: Path, tmp_path: Path) -> None:
    (wheels / LIBRARY).unlink()
    with pytest.raises(ReleaseError, match=f"contains no {LIBRARY}: artifact_build_lock must contain installer"):
        install(pack(wheels, tmp_path / "wheelhouse.tar"), tmp_path / "w1")


# No code of a wheel runs as root.


EVIL = {
    "evil.pth": "import os; open({marker!r}, 'a').write('pth')\n",
    "sitecustomize.py": "open({marker!r}, 'a').write('sitecustomize')\n",
    "usercustomize.py": "open({marker!r}, 'a').write('usercustomize')\n",
    # Modules that an installer imports late.
    **{
        f"{name}.py": "open({marker!r}, 'a').write(__name__)\n"
        for name in (
            "installer",
            "setuptools",
            "_distutils_hack",
            "compileall",
            "csv",
            "configparser",
            "shlex",
            "email",
        )
    },
    "evil-1.0.data/scripts/python": "#!/bin/sh\necho python >> {marker}\n",
    "evil-1.0.data/scripts/python3": "#!/bin/sh\necho python3 >> {marker}\n",
    "evil-1.0.data/scripts/pip": "#!/bin/sh\necho pip >> {marker}\n",
    "evil-1.0.data/scripts/uwsgi": "#!/bin/sh\necho uwsgi >> {marker}\n",
}


def test_installing_runs_no_code_of_a_wheel(wheels: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    wheel(wheels, "evil", {name: text.format(marker=str(marker)) for name, text in EVIL.items()})
    # Installed after it, so that its files could run.
    wheel(wheels, "zzz", {"zzz.py": ""})
    venv = tmp_path / "venvs" / "w1"
    install(pack(wheels, tmp_path / "wheelhouse.tar"), venv)
    assert not marker.exists(), marker.read_text()
    site = next((venv / "lib").glob("python*/site-packages"))
    assert {"zzz.py", "evil.pth", "tiny"} <= set(left(site))
    assert (venv / "bin" / "uwsgi").read_text().endswith(f"echo uwsgi >> {marker}\n")


def test_an_application_s_own_library_installs_nothing(wheels: Path, tmp_path: Path) -> None:
    other = wheel(wheels, "installer", {"installer/__init__.py": f"open({str(tmp_path / 'ran')!r}, 'w')\n"})
    install(pack(wheels, tmp_path / "wheelhouse.tar"), venv := tmp_path / "venvs" / "w1")
    assert not (tmp_path / "ran").exists()
    site = next((venv / "lib").glob("python*/site-packages"))
    assert f"{other.name.partition('-py3')[0]}.dist-info" in left(site)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda venv: (venv / "bin/tool").chmod(0o4755), "/bin/tool has the mode 4755"),
        (lambda venv: (venv / "bin/tool").chmod(0o2755), "/bin/tool has the mode 2755"),
        (lambda venv: (venv / "lib").chmod(0o777), "/lib has the mode 0777"),
        (lambda venv: (venv / "bin/link").symlink_to("/etc/passwd"), "/bin/link is a link that leads out"),
        (lambda venv: (venv / "bin/link").symlink_to("../../w2"), "/bin/link is a link that leads out"),
        (lambda venv: os.mkfifo(venv / "bin/fifo"), "/bin/fifo is neither a file nor a folder"),
    ],
)
def test_an_environment_that_others_could_change_is_refused(
    tmp_path: Path, change: Callable[[Path], None], problem: str
) -> None:
    venv = tmp_path / "w1"
    for folder in ("bin", "lib"):
        (venv / folder).mkdir(parents=True)
    (venv / "bin/tool").touch()
    (venv / "lib64").symlink_to("lib")
    (venv / "bin/python").symlink_to(sys.executable)
    (venv / "bin/python3").symlink_to("python")
    release.insist_on_plain(venv)
    change(venv)
    with pytest.raises(ReleaseError) as caught:
        release.insist_on_plain(venv)
    assert problem in str(caught.value)


# Two artifacts with the same short id.


@pytest.mark.parametrize("kind", ["releases/r1", "venvs/w1"])
@pytest.mark.parametrize("kept", [True, False], ids=["kept", "unused"])
def test_another_artifact_of_the_same_short_id_is_never_mistaken_for_this_one(
    run_module: RunModule, shipped: dict[str, Any], tmp_path: Path, kind: str, kept: bool
) -> None:
    root = tmp_path / "opt" / "shop"
    twin = root / kind
    (twin / "bin").mkdir(parents=True)
    (twin / "evil.py").touch()
    (twin / art.MARKER).write_text("e" * 64)
    if kept:
        serving = root / "generations" / "g1"
        serving.mkdir(parents=True)
        (serving / "manifest.json").write_text(json.dumps(manifest("g1", release="r1", venv="w1")))
        (serving / ".served").write_text(json.dumps({"number": 1, "how": "deploy", "since": ""}))
    result = run_module("release", **shipped)
    if kept:
        assert result["failed"]
        assert result["msg"].startswith(
            f"{twin} is in use and contains something other than what is to be deployed: its SHA-256 is "
        )
        assert "not " in result["msg"] and "Nothing was changed" in result["msg"]
        assert (twin / "evil.py").exists()
    else:
        assert result["changed"], result
        assert not (twin / "evil.py").exists()
        assert art.marked(twin) in ("1" * 64, "3" * 64)
