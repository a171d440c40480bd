"""What a wheelhouse must and must not hold, with wheels that are written by hand."""

from __future__ import annotations

import base64
import hashlib
import io
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release import artifact as art
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release.artifact import ArtifactError
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source.wheelhouse import examine

PLATFORM = "debian-12-x86_64-py3.11"
SITE = "lib/python3.11/site-packages"


def wheel(
    folder: Path,
    name: str,
    files: dict[str, str | bytes] | None = None,
    *,
    version: str = "1.0",
    tag: str = "py3-none-any",
    metadata: str = "",
    record: dict[str, str] | None = None,
) -> Path:
    """Write a wheel; ``record`` replaces rows of its RECORD, and an empty one takes a row away."""
    info = f"{name}-{version}.dist-info"
    contents: dict[str, str | bytes] = {
        f"{name}/__init__.py": f"# {name}\n",
        f"{info}/METADATA": metadata or f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nText\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: {tag}\n",
        **(files or {}),
    }
    path = folder / f"{name}-{version}-{tag}.whl"
    rows = {f"{info}/RECORD": ",,"}
    for file, content in contents.items():
        data = content.encode() if isinstance(content, str) else content
        checksum = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows[file] = f",sha256={checksum},{len(data)}"
    rows.update(record or {})
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in contents.items():
            archive.writestr(file, content)
        archive.writestr(f"{info}/RECORD", "".join(f"{name}{row}\n" for name, row in rows.items() if row))
    return path


def entry(path: Path, name: str = "", marker: str = "") -> str:
    found = name or "==".join(path.name.split("-")[:2])
    return f"{found}{marker} --hash=sha256:{'0' * 64} --hash=sha256:{art.sha256(path)}"


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """Return the folder of the wheels, with the installer in it."""
    (tmp_path / "wheels").mkdir()
    wheel(tmp_path / "wheels", "installer", version="1.1.0")
    return tmp_path / "wheels"


def pack(house: Path) -> Path:
    archive = house.parent / "wheelhouse-1.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(house, ".")
    return archive


def judged(house: Path, *lock: str, **more: Any) -> dict[str, Any]:
    """Examine the wheels; without a lock, with the one that fits."""
    fits = [entry(path) for path in sorted(house.glob("*.whl")) if not path.name.startswith("installer-")]
    build = [entry(path) for path in house.glob("installer-1.1.0-*.whl")] or [
        "installer==1.1.0 --hash=sha256:" + "0" * 64
    ]
    entries = list(art.requirements("\n".join(lock or fits)))
    return examine(pack(house), entries, list(art.requirements("\n".join(build))), PLATFORM, **more)


def problems(house: Path, *lock: str, **more: Any) -> str:
    with pytest.raises(ArtifactError) as caught:
        judged(house, *lock, **more)
    return str(caught.value)


# With the lock.


def test_a_wheelhouse_that_is_what_the_lock_says_is_described(house: Path) -> None:
    path = wheel(
        house, "shop", {"shop.data/scripts/shop": "#!python\n", "shop.data/headers/shop.h": "", "shop.pth": ""}
    )
    found = judged(house, f"shop==1.0 --hash=sha512:{hashlib.sha512(path.read_bytes()).hexdigest()}")
    assert (found["installer"], found["installs"]) == ("installer-1.1.0-py3-none-any.whl", [path.name])
    assert found["wheels"] == {file.name: art.sha256(file) for file in house.iterdir()}
    assert found["unpacked"] == sum(file.stat().st_size for file in house.iterdir())


def test_a_wheel_that_no_lock_names_is_refused(house: Path) -> None:
    path = wheel(house, "shop")
    wheel(house, "evil", version="2.0")
    assert problems(house, entry(path)) == "  - evil-2.0-py3-none-any.whl is not in the lock"


def test_a_wheel_of_another_version_is_refused(house: Path) -> None:
    path = wheel(house, "shop", version="1.1")
    message = problems(house, entry(path, "shop==1.0"))
    assert "shop-1.1-py3-none-any.whl is not in the lock, which has shop==1.0" in message
    assert "shop==1.0 of the lock has no wheel" in message


def test_versions_and_names_are_compared_as_the_registry_does(house: Path) -> None:
    path = wheel(house, "Zope_Event", version="1.0rc1", metadata="Name: zope.event\nVersion: 1.0.RC.1\n")
    assert judged(house, entry(path, "zope-event==1.0rc1"))
    local = wheel(house, "uwsgi", version="2.0.31+patched")
    assert judged(house, entry(path, "zope.event==1.0.rc1"), entry(local, "uWSGI==2.0.31"))


def test_an_entry_without_a_wheel_and_one_with_two_are_reported_together(house: Path) -> None:
    path = wheel(house, "shop")
    wheel(house, "shop", tag="py2.py3-none-any")
    message = problems(house, entry(path), entry(path, "click==8.0"))
    assert "shop==1.0 has 2 wheels: " in message and "click==8.0 of the lock has no wheel" in message


@pytest.mark.parametrize(
    ("marker", "needed"),
    [
        (" ; sys_platform == 'win32'", False),
        (" ; python_version < '3.11'", False),
        (" ; python_version >= '3.11' and platform_machine == 'x86_64'", True),
        # Which release of 3.11 a host has is not known here.
        (" ; python_full_version < '3.11.3'", None),
        (" ; platform_release >= '6'", None),
    ],
)
def test_an_entry_of_another_platform_has_no_wheel(house: Path, marker: str, needed: bool | None) -> None:
    path = wheel(house, "shop")
    other = wheel(house, "other")
    lock = (entry(path), entry(other, "other==1.0", marker))
    if needed is False:
        assert "other-1.0-py3-none-any.whl is not in the lock" in problems(house, *lock)
    else:
        assert judged(house, *lock)
    other.unlink()
    if needed:
        assert "other==1.0 of the lock has no wheel" in problems(house, *lock)
    else:
        assert judged(house, *lock)


@pytest.mark.parametrize("tag", ["cp311-cp311-manylinux_2_28_x86_64", "cp311-cp311-musllinux_1_2_x86_64"])
def test_a_downloaded_wheel_has_a_locked_hash(house: Path, tag: str) -> None:
    wheel(house, "shop", tag=tag)
    lock = "shop==1.0 --hash=sha256:" + "a" * 64
    assert f"shop-1.0-{tag}.whl has none of the hashes that the lock has for shop==1.0" in problems(house, lock)


def test_a_wheel_that_was_built_is_identified_by_the_hash_of_its_sdist(house: Path) -> None:
    built = wheel(house, "shop", tag="cp311-cp311-linux_x86_64").name
    lock = "shop==1.0 --hash=sha256:" + "a" * 64
    assert judged(house, lock)
    assert judged(house, lock, built={built: "a" * 64})
    assert "was built from a file with none of the hashes" in problems(house, lock, built={built: "b" * 64})
    assert "has none of the hashes" in problems(house, lock, built={})


def test_the_installer_is_the_one_of_the_build_lock_whatever_the_application_has(house: Path) -> None:
    own, of_lock = wheel(house, "installer", version="0.9"), house / "installer-1.1.0-py3-none-any.whl"
    found = judged(house, entry(own))
    assert (found["installer"], found["installs"]) == (of_lock.name, [own.name])
    assert "installer-0.9-py3-none-any.whl is not in the lock" in problems(house, entry(wheel(house, "shop")))
    own.unlink()
    found = judged(house, entry(of_lock), entry(house / "shop-1.0-py3-none-any.whl"))
    assert (found["installer"], found["installs"]) == (of_lock.name, [of_lock.name, "shop-1.0-py3-none-any.whl"])
    of_lock.unlink()
    assert "there is no wheel of installer==1.1.0 of artifact_build_lock with one of the hashes" in problems(house)


@pytest.mark.parametrize("name", ["shop-1.0-py3-none-any.whl", "shop-1.0.tar.gz"])
def test_the_source_s_own_wheel_is_expected_besides(house: Path, tmp_path: Path, name: str) -> None:
    made = wheel(house, "shop")
    other = wheel(house, "other")
    distribution = tmp_path / name
    distribution.write_bytes(made.read_bytes())
    assert judged(house, entry(other), distribution=distribution)
    wheel(house, "third")
    assert "third-1.0-py3-none-any.whl is not in the lock" in problems(house, entry(other), distribution=distribution)
    (house / "third-1.0-py3-none-any.whl").unlink()
    made.unlink()
    assert f"{name} has 0 wheels, not one" in problems(house, entry(other), distribution=distribution)


def test_a_wheel_as_source_is_installed_as_it_is(house: Path, tmp_path: Path) -> None:
    made = wheel(house, "shop")
    distribution = tmp_path / made.name
    distribution.write_bytes(b"another")
    other = wheel(house, "other")
    message = problems(house, entry(other), distribution=distribution)
    assert f"{made.name} is not the file that flask_uwsgi_source names" in message


@pytest.mark.parametrize("kind", ["text", "folder", "link", "name", "no tar"])
def test_a_wheelhouse_holds_wheels_and_nothing_else(house: Path, kind: str) -> None:
    wheel(house, "shop")
    match kind:
        case "text":
            (house / "notes.txt").touch()
        case "folder":
            (house / "deep").mkdir()
        case "link":
            (house / "x-1.0-py3-none-any.whl").symlink_to("/etc/passwd")
        case "name":
            (house / "shop.whl").touch()
        case "no tar":
            archive = house.parent / "no.tar"
            archive.write_bytes(b"x" * 2000)
            with pytest.raises(ArtifactError, match="is not a tar archive"):
                examine(archive, [], [], PLATFORM)
            return
    path = house / "shop-1.0-py3-none-any.whl"
    assert "is not a wheel" in problems(house, entry(path)) or "does not have the name of a wheel" in problems(
        house, entry(path)
    )


# What is in a wheel.


@pytest.mark.parametrize(
    "name",
    [
        "evil-1.0.data/scripts/uwsgi", "evil-1.0.data/data/bin/uwsgi", "x.data/scripts/python",
        "evil.data/scripts/python3.11",
        "evil-1.0.data/scripts/pip3", "evil-1.0.data/scripts/activate", "evil-1.0.data/scripts/activate.fish",
        "evil-1.0.data/data/pyvenv.cfg", f"evil-1.0.data/data/{art.MARKER}",
    ],
)  # fmt: skip
def test_what_belongs_to_the_environment_or_the_server_is_refused_by_name(house: Path, name: str) -> None:
    path = wheel(house, "evil", {name: "#!/bin/sh\nid\n"})
    installed = name.partition("/")[2].partition("/")[2]
    installed = f"bin/{installed}" if "/scripts/" in name else installed
    assert f"{path.name} installs {installed!r}, which belongs to the virtual environment" in problems(house)


@pytest.mark.parametrize("command", ["uwsgi", "python", "pip"])
def test_a_command_of_an_entry_point_is_a_file_as_well(house: Path, command: str) -> None:
    path = wheel(house, "evil", {"evil-1.0.dist-info/entry_points.txt": f"[console_scripts]\n{command} = evil:main\n"})
    assert f"{path.name} installs 'bin/{command}'" in problems(house)


def test_the_server_s_own_command_and_those_that_only_begin_alike_are_fine(house: Path) -> None:
    wheel(house, "uwsgi", {"uwsgi-1.0.data/scripts/uwsgi": "\x7fELF"})
    wheel(house, "tools", {
        f"tools-1.0.data/scripts/{name}": "" for name in (
            "pip-compile", "pipenv", "python-dotenv", "activate-global-python-argcomplete", "uwsgitop",
        )
    })  # fmt: skip
    assert judged(house)


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/cron.d/evil", "a/../../evil", "a//b", "./a", "a\\b", "a\nb", "evil-1.0.data/scripts/../x"]
)
def test_a_name_that_leads_out_is_refused(house: Path, name: str) -> None:
    wheel(house, "evil", {name: ""})
    assert f"holds {name!r}, which leads out of its folder or is not a valid file name" in problems(house)


def test_a_name_that_is_nested_without_end_is_refused(house: Path) -> None:
    path = wheel(house, "shop", {"a/" * 1500 + "x.py": ""})
    message = problems(house)
    assert f"{path.name} holds 'a/a/" in message and "…, which is nested more than 100 folders deep" in message
    assert len(message) < 500


def test_a_command_that_leads_out_is_refused(house: Path) -> None:
    text = "[console_scripts]\n../../../../etc/cron.d/evil = evil:main\n"
    wheel(house, "evil", {"evil-1.0.dist-info/entry_points.txt": text})
    assert "has the command '../../../../etc/cron.d/evil', which is not a valid file name" in problems(house)


def test_two_distributions_do_not_own_one_file(house: Path) -> None:
    wheel(house, "flask")
    wheel(house, "evil", {"flask/__init__.py": "evil"})
    message = problems(house)
    assert (
        f"evil-1.0-py3-none-any.whl and flask-1.0-py3-none-any.whl both install '{SITE}/flask/__init__.py'" in message
    )


@pytest.mark.parametrize(
    "name", ["evil-1.0.data/purelib/flask/__init__.py", f"evil-1.0.data/data/{SITE}/flask/__init__.py",
             f"evil-1.0.data/data/{SITE.replace('lib/', 'lib64/')}/flask/__init__.py"],
)  # fmt: skip
def test_a_file_is_the_same_by_whichever_way_it_is_installed(house: Path, name: str) -> None:
    wheel(house, "flask")
    wheel(house, "evil", {name: "evil"})
    assert f"both install '{SITE}/flask/__init__.py'" in problems(house)


def test_a_file_and_a_folder_of_one_name_are_refused(house: Path) -> None:
    wheel(house, "flask")
    wheel(house, "evil", {"flask": "evil"})
    assert f"evil-1.0-py3-none-any.whl installs '{SITE}/flask' as a file" in problems(house)


def test_what_two_distributions_may_share(house: Path) -> None:
    extend = "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"
    wheel(house, "one", {"google/__init__.py": extend, "tests/__init__.py": "", "LICENSE": "MIT", "google/one.py": "1"})
    wheel(house, "two", {"google/__init__.py": f"# Two\n{extend}", "tests/__init__.py": "", "LICENSE": "BSD"})
    assert judged(house)


def test_record_lists_all_there_is_as_it_is(house: Path) -> None:
    wheel(house, "one", {"one/more.py": "x"}, record={"one/more.py": ""})
    wheel(house, "two", {"two/more.py": "x"}, record={"two/more.py": ",sha256=AAAA,1"})
    message = problems(house)
    assert "one-1.0-py3-none-any.whl holds 'one/more.py', which its RECORD does not list" in message
    assert "two-1.0-py3-none-any.whl holds 'two/more.py', which does not match its RECORD" in message


@pytest.mark.parametrize("kind", ["no metadata", "two infos", "other name", "other version", "scheme", "twice", "link"])
def test_a_wheel_is_what_its_name_says(house: Path, kind: str) -> None:
    match kind:
        case "no metadata":
            path = house / "shop-1.0-py3-none-any.whl"
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("shop.py", "")
            message = "does not have exactly its own .dist-info (there are: none)"
        case "two infos":
            wheel(house, "shop", {"flask-3.0.dist-info/METADATA": ""})
            message = "does not have exactly its own .dist-info (there are: flask-3.0.dist-info, shop-1.0.dist-info)"
        case "other name":
            wheel(house, "shop", metadata="Name: flask\nVersion: 1.0\n")
            message = "says that it is 'flask' '1.0'"
        case "other version":
            wheel(house, "shop", metadata="Name: shop\nVersion: 1.1\n")
            message = "says that it is 'shop' '1.1'"
        case "scheme":
            wheel(house, "shop", {"shop-1.0.data/stdlib/os.py": ""})
            message = "holds 'shop-1.0.data/stdlib/os.py', which is installed nowhere"
        case "twice":
            path = wheel(house, "shop")
            with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
                archive.writestr("shop/__init__.py", "evil")
            message = "holds 'shop/__init__.py' twice"
        case "link":
            path = wheel(house, "shop")
            link = zipfile.ZipInfo("shop/link")
            link.external_attr = (stat.S_IFLNK | 0o777) << 16
            with zipfile.ZipFile(path, "a") as archive:
                archive.writestr(link, "/etc/passwd")
            message = "holds 'shop/link', a link"
    assert message in problems(house)


@pytest.mark.parametrize(
    ("files", "record", "message"),
    [
        ({"shop-1.0.dist-info/WHEEL": "Tag: py3-none-any\n"}, {}, "has no file WHEEL of version 1"),
        ({}, {"": "\n"}, "has a line in its RECORD that is not a path, a hash and a size: ''"),
        ({}, {"shop/more.py": ",sha256=AAAA"}, "not a path, a hash and a size: 'shop/more.py,sha256=AAAA'"),
        (
            {"shop-1.0.dist-info/entry_points.txt": "[console_scripts]\nshop = shop\n"},
            {},
            "has the command 'shop', which runs no function (module:function): 'shop'",
        ),
        (
            {"shop-1.0.data/data/a": "", "Shop-1.0.data/data/b": ""},
            {},
            "has several .data folders: Shop-1.0.data, shop",
        ),
    ],
    ids=["WHEEL", "empty row", "short row", "command", "data"],
)
def test_what_cannot_be_installed_is_not_shipped(
    house: Path, files: dict[str, str | bytes], record: dict[str, str], message: str
) -> None:
    wheel(house, "shop", files, record=record)
    assert message in problems(house)


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x05\x06" + bytes(18)])
def test_what_is_not_a_wheel_inside_is_reported(house: Path, content: bytes) -> None:
    (house / "shop-1.0-py3-none-any.whl").write_bytes(content)
    assert "shop-1.0-py3-none-any.whl " in problems(house)


def test_a_wheel_cut_short_or_changed_is_reported(house: Path) -> None:
    path = wheel(house, "shop", {"shop/data.bin": bytes(5000)})
    content = bytearray(path.read_bytes())
    content[content.index(bytes(100)) + 2000] = 1
    path.write_bytes(content)
    assert "cannot be read: Bad CRC-32" in problems(house)
    path.write_bytes(content[: len(content) // 2])
    assert "cannot be read: File is not a zip file" in problems(house)


def test_a_wheel_that_unpacks_to_more_than_any_may_is_not_unpacked(
    house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = examine.__globals__
    monkeypatch.setitem(module, "_MOST", 1000)
    buffer = io.BytesIO()
    buffer.write(bytes(2000))
    wheel(house, "shop", {"shop/data.bin": buffer.getvalue()})
    assert "unpacks to more than" in problems(house)


def test_many_problems_are_reported_up_to_a_number(house: Path) -> None:
    wheel(house, "shop", {f"../{number}": "" for number in range(1)} | {"x": ""})
    for number in range(40):
        wheel(house, f"evil{number}")
    lines = problems(house, "shop==1.0 --hash=sha256:" + "a" * 64).splitlines()
    assert len(lines) == 21 and lines[-1] == "  - and 21 more"
