import io
import os
import re
import shutil
import stat
import tarfile
import time
from pathlib import Path

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import trees
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release import artifact as art
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release.artifact import ArtifactError

from tests.support import ROOT

HASH = "--hash=sha256:" + "a" * 64
INPUTS = "f" * 64
OTHER_HASH = "--hash=sha256:" + "b" * 64
EXCLUDE = ["tests", ".git", "__pycache__", "*.pyc"]
LOCKS = sorted(path.with_suffix(".txt") for path in ROOT.glob("[!.]*/**/*.in"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Write a small application."""
    app = tmp_path / "app"
    (app / "shop").mkdir(parents=True)
    (app / "run.py").write_text("from shop import app\n")
    (app / "shop" / "__init__.py").write_text("app = print\n")
    (app / "manage.sh").write_text("#!/bin/sh\n")
    (app / "manage.sh").chmod(0o755)
    return app


def code_id(source: Path) -> str:
    return art.code_id(source, art.source_files(source, EXCLUDE), {})


def pack(source: Path, target: Path) -> bytes:
    art.pack_code(source, art.source_files(source, EXCLUDE), {}, target)
    return target.read_bytes()


def lock(tmp_path: Path, text: str) -> list[art.Requirement]:
    path = tmp_path / "requirements.txt"
    path.write_text(text)
    return art.read_lock(path, "flask_uwsgi_requirements")


# Which files.


def test_files_are_named_relative_to_the_source_and_sorted(source: Path) -> None:
    assert [str(file) for file in art.source_files(source, [])] == ["manage.sh", "run.py", "shop/__init__.py"]


def test_excluded_names_are_left_out_at_any_depth_with_all_below_them(source: Path) -> None:
    for name in ("tests/test_run.py", "shop/tests/deep/test_x.py", "shop/__pycache__/x.cpython-311.pyc", "old.pyc"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("")
    (source / "contests.py").write_text("")
    assert [str(file) for file in art.source_files(source, EXCLUDE)] == [
        "contests.py",
        "manage.sh",
        "run.py",
        "shop/__init__.py",
    ]


def test_a_source_that_is_not_a_directory_is_refused(source: Path) -> None:
    with pytest.raises(
        ArtifactError, match=r"flask_uwsgi_source=\S+run\.py is not a directory .*: set it to the folder"
    ):
        art.source_files(source / "run.py", [])


def test_a_source_whose_every_file_is_excluded_is_refused(source: Path) -> None:
    with pytest.raises(ArtifactError, match=r"flask_uwsgi_source=\S+ holds no file to deploy"):
        art.source_files(source, ["*"])


def test_a_link_to_a_file_of_the_source_is_packed_as_the_file(source: Path, tmp_path: Path) -> None:
    (source / "shop" / "shared.py").symlink_to("../run.py")
    pack(source, tmp_path / "code.tar.gz")
    with tarfile.open(tmp_path / "code.tar.gz") as tar:
        assert tar.getmember("shop/shared.py").isreg()
        assert (tar.extractfile("shop/shared.py") or io.BytesIO()).read() == b"from shop import app\n"


def refusal(source: Path, *exclude: str, root: Path | None = None) -> str:
    with pytest.raises(ArtifactError) as caught:
        art.source_files(source, [*EXCLUDE, *exclude], root)
    message = str(caught.value)
    assert message.startswith(f"flask_uwsgi_source={source} holds ")
    assert message.endswith("or add its name to artifact_exclude")
    return message


@pytest.mark.parametrize("kind", ["absolute", "relative", "through a parent", "through a folder", "chain", "nothing"])
@pytest.mark.parametrize("folder", [False, True], ids=["file", "folder"])
def test_a_link_out_of_the_source_is_refused_by_name(source: Path, tmp_path: Path, kind: str, folder: bool) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    if not folder:
        outside /= "secret.txt"
        outside.write_text("secret")
    relative = os.path.relpath(outside, source / "shop")
    targets = {
        "absolute": str(outside), "relative": relative, "through a parent": f"../shop/{relative}",
        "through a folder": f"../up/{outside.relative_to(tmp_path)}", "chain": "first",
        "nothing": str(tmp_path / "none"),
    }  # fmt: skip
    if kind == "chain":
        (source / "shop" / "first").symlink_to(outside)
    if kind == "through a folder":
        (source / "up").symlink_to("..")
    (source / "shop" / "link").symlink_to(targets[kind])
    found = refusal(source)
    assert re.search(r"holds '(shop/link|shop/first|up)', a link to '.*', which leads out of the source", found), found
    # An excluded link does not matter.
    assert art.source_files(source, ["link", "first", "up"])


def test_a_broken_or_circular_link_is_refused(source: Path) -> None:
    (source / "link").symlink_to("gone.py")
    assert "holds 'link', a link to 'gone.py', which does not exist: remove it" in refusal(source)
    (source / "link").unlink()
    (source / "link").symlink_to("link")
    assert "holds 'link', a link to 'link', which does not exist: remove it" in refusal(source)


def test_a_link_does_not_include_an_excluded_file(source: Path) -> None:
    (source / ".git").mkdir()
    (source / ".git" / "config").write_text("url = https://user:token@example.org")
    (source / "config.txt").symlink_to(".git/config")
    assert "holds 'config.txt', a link to '.git/config', which artifact_exclude excludes" in refusal(source)


def test_a_link_to_a_folder_is_not_followed(source: Path) -> None:
    (source / "alias").symlink_to("shop")
    assert "holds 'alias', a link to a folder, which is not followed: put the folder in its place" in refusal(source)


def test_links_in_a_folder_of_a_repository_may_lead_to_the_rest_of_it(source: Path, tmp_path: Path) -> None:
    (source / "shop" / "link").symlink_to("../run.py")
    assert Path("link") in art.source_files(source / "shop", [], source)
    assert "which leads out of the source" in refusal(source / "shop")


@pytest.mark.parametrize("linked", [False, True], ids=["itself", "a link to it"])
@pytest.mark.parametrize("kind", ["fifo", "socket"])
def test_a_special_file_is_refused_by_name_and_never_opened(source: Path, kind: str, linked: bool) -> None:
    special = source / "special"
    os.mknod(special, 0o600 | (stat.S_IFIFO if kind == "fifo" else stat.S_IFSOCK))
    if linked:
        (source / "a-link").symlink_to("special")
    name = "'(a-link|special)'" if linked else "'special'"
    assert re.search(f"holds {name}, which is a FIFO, a socket or a device: remove it", refusal(source))


def test_a_file_that_becomes_a_fifo_does_not_block(source: Path) -> None:
    files = art.source_files(source, [])
    (source / "run.py").unlink()
    os.mkfifo(source / "run.py")
    with pytest.raises(ArtifactError, match=r"run\.py is not a file"):
        art.code_id(source, files, {})


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "4d7a" * 16 + "\nsize 12345\n"


@pytest.mark.parametrize("text", [POINTER, POINTER.replace("\noid", "\next-0-foo sha256:ab\noid")])
def test_a_git_lfs_pointer_is_refused(source: Path, text: str) -> None:
    (source / "shop" / "model.bin").write_text(text)
    found = refusal(source)
    assert "holds 'shop/model.bin', a pointer to a file in Git LFS, not the file itself: " in found
    assert "`git lfs pull`" in found
    (source / "shop" / "model.bin").write_text(f"How to recognise one:\n{text}")
    assert art.source_files(source, [])


@pytest.mark.parametrize("name", ["a\nb.py", "a\x1b[2J.py", os.fsdecode(b"\xff.py")])
def test_a_name_with_control_characters_or_invalid_encoding_is_refused(source: Path, name: str) -> None:
    (source / name).touch()
    assert f"holds {name!r}, whose name is not UTF-8 or contains control characters: rename it" in refusal(source)


def test_the_name_of_the_marker_is_refused(source: Path) -> None:
    (source / "shop" / art.MARKER).touch()
    assert art.source_files(source, [])
    (source / art.MARKER).touch()
    assert f"holds '{art.MARKER}', a name that every release uses itself" in refusal(source)


def test_deeply_nested_folders_are_refused(source: Path) -> None:
    folder = source.joinpath(*["a"] * art.DEEPEST)
    folder.mkdir(parents=True)
    assert art.source_files(source, [])
    descriptor = os.open(folder, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("a", dir_fd=descriptor)
        inner = os.open("a", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)
    try:
        message = refusal(source)
    finally:
        trees.remove(source)
    assert "…, which is nested more than 100 folders deep: move it up" in message and len(message) < 500


# The id of the code.


def test_two_copies_from_other_times_and_places_have_the_same_id(source: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "a-copy"
    shutil.copytree(source, copy)
    for age, path in enumerate(sorted(copy.rglob("*"))):
        os.utime(path, (age, age))
    (copy / "run.py").chmod(0o600)
    (copy / "__pycache__").mkdir()
    (copy / "__pycache__" / "run.cpython-311.pyc").write_bytes(b"\0")
    assert code_id(copy) == code_id(source)


def test_an_id_is_the_beginning_of_a_digest(source: Path) -> None:
    assert len(code_id(source)) == 64
    int(code_id(source), 16)
    assert art.short(code_id(source)) == code_id(source)[: art.ID_LENGTH]


@pytest.mark.parametrize(
    "change",
    [
        lambda source: (source / "run.py").write_text("from shop import app \n"),
        lambda source: (source / "run.py").chmod(0o755),
        lambda source: (source / "manage.sh").chmod(0o644),
        lambda source: (source / "run.py").rename(source / "run2.py"),
        lambda source: (source / "run.py").rename(source / "shop" / "run.py"),
        lambda source: (source / "empty").touch(),
        lambda source: (source / "manage.sh").unlink(),
    ],
    ids=["content", "mode bit set", "mode bit taken", "renamed", "moved", "new empty file", "removed"],
)
def test_any_change_of_the_code_gives_another_id(source: Path, change) -> None:  # type: ignore[no-untyped-def]
    before = code_id(source)
    change(source)
    assert code_id(source) != before


def test_the_recipe_is_part_of_every_id(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [art.Requirement("flask", "flask==3")]
    before = (code_id(source), art.wheelhouse_id(entries, "p"))
    monkeypatch.setattr(art, "RECIPE", "next")
    after = (code_id(source), art.wheelhouse_id(entries, "p"))
    assert not set(before) & set(after)


def test_the_parts_of_an_id_are_separated() -> None:
    assert art.digest("ab", "c") != art.digest("a", "bc") != art.digest("abc")


# The archive of the code.


def test_the_archive_has_the_same_bytes_from_any_copy_at_any_time(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pack(source, tmp_path / "first.tar.gz")
    copy = tmp_path / "copy"
    shutil.copytree(source, copy)
    for path in copy.rglob("*"):
        os.utime(path, (1, 1))
    monkeypatch.setattr(time, "time", lambda: 4_000_000_000.0)
    assert pack(copy, tmp_path / "second.tar.gz") == first


def test_the_archive_has_contents_and_mode_bits_and_no_owner(source: Path, tmp_path: Path) -> None:
    (source / "run.py").chmod(0o600)
    pack(source, tmp_path / "code.tar.gz")
    with tarfile.open(tmp_path / "code.tar.gz") as tar:
        assert {entry.name: entry.mode for entry in tar} == {
            "manage.sh": 0o755,
            "run.py": 0o644,
            "shop/__init__.py": 0o644,
        }
        assert {(entry.uid, entry.gid, entry.uname, entry.gname, entry.mtime) for entry in tar} == {(0, 0, "", "", 0)}
        content = tar.extractfile("run.py")
        assert content and content.read() == b"from shop import app\n"


def test_only_a_complete_archive_appears(source: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    pack(source, cache / "code.tar.gz")
    assert [path.name for path in cache.iterdir()] == ["code.tar.gz"]


# Locks.


def test_continuation_lines_comments_and_spaces_are_read_as_pip_reads_them() -> None:
    text = (
        "# made by a tool\n"
        "\n"
        "Flask==3.1.3 \\\n"
        f"    {HASH} \\\n"
        f"    {OTHER_HASH}\n"
        "    # via\n"
        "    #   -r requirements.in\n"
        f"zope.interface==7.0\t{HASH}  # via gevent\r\n"
        f"typing_extensions==4.0 \\\r\n  {HASH}\n"
    )
    assert list(art.requirements(text)) == [
        art.Requirement("flask", f"Flask==3.1.3 {HASH} {OTHER_HASH}"),
        art.Requirement("zope-interface", f"zope.interface==7.0 {HASH}"),
        art.Requirement("typing-extensions", f"typing_extensions==4.0 {HASH}"),
    ]


def test_a_hash_sign_within_a_word_is_not_a_comment() -> None:
    assert [entry.text for entry in art.requirements("pkg @ file:///x.whl#sha256=ab # really\n")] == [
        "pkg @ file:///x.whl#sha256=ab"
    ]


def test_markers_and_extras_belong_to_the_entry(tmp_path: Path) -> None:
    text = (
        f"requests[security,socks]==2.32 ; python_version >= '3.11' {HASH}\n"
        f"cffi==2.1.1 ; platform_python_implementation == 'CPython' \\\n    {HASH}\n"
        f"exact===1.0 {HASH}\n"
    )
    assert [entry.name for entry in lock(tmp_path, text)] == ["requests", "cffi", "exact"]


@pytest.mark.parametrize(
    "entry",
    [
        "flask==3.1.3",
        f"flask {HASH}",
        f"flask>=3.1 {HASH}",
        f"flask~=3.1.3 {HASH}",
        f"flask ; python_version == '3.11' {HASH}",
        f"flask @ https://example.org/flask.whl {HASH}",
        "-r other.txt",
        "-c constraints.txt",
        "-e .",
        "--index-url https://example.org/simple",
        "--require-hashes",
        "./wheels/flask.whl",
    ],
)
def test_a_file_with_an_entry_that_is_not_pinned_and_hashed_is_not_a_lock(tmp_path: Path, entry: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        lock(tmp_path, f"click==8.5.1 {HASH}\n{entry}\n")
    message = str(caught.value)
    assert message.startswith(f"flask_uwsgi_requirements={tmp_path / 'requirements.txt'} is not a lock: ")
    assert repr(entry.removesuffix(HASH).strip()) in message
    assert "pip-compile --generate-hashes" in message


def test_a_missing_lock_is_reported_with_the_variable(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"artifact_server_lock=\S+none\.txt does not exist .*: set it to"):
        art.read_lock(tmp_path / "none.txt", "artifact_server_lock")


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_repository_s_locks_are_locks(path: Path) -> None:
    entries = art.read_lock(path, "lock")
    assert len(entries) == sum(
        "==" in line.split(";")[0] for line in path.read_text().splitlines() if line[:1].isalnum()
    )
    assert all(" via " not in entry.text and "\\" not in entry.text for entry in entries)


def test_a_package_in_both_locks_has_the_server_s_version_only_if_the_server_uses_it(tmp_path: Path) -> None:
    application = lock(
        tmp_path,
        f"Zope.Interface==7.0 {HASH}\nflask==3.1.3 {HASH}\nGevent==24.2.1 {HASH}\nuwsgi==2.0.31 {HASH}\n"
        f"pyuwsgi==2.0.30 ; sys_platform == 'linux' {HASH}\n",
    )
    server = lock(tmp_path, f"uwsgi==2.0.31 {HASH}\nzope-interface==6.0 {HASH}\ngevent==26.9.0 {HASH}\n")
    own, rest, notes = art.server_entries(application, server)
    assert [entry.name for entry in own] == ["zope-interface", "flask"]
    assert [(entry.name, art.pin(entry)) for entry in rest] == [("uwsgi", "2.0.31"), ("gevent", "26.9.0")]
    assert notes == [
        "gevent 26.9.0 of artifact_server_lock is installed, although the requirements say Gevent==24.2.1: this "
        "service is tested only with 26.9.0",
        "uwsgi 2.0.31 of artifact_server_lock is installed, although the requirements say pyuwsgi==2.0.30: this "
        "service is tested only with 2.0.31",
    ]
    # An operator's own server lock without gevent: then the application's version counts.
    assert art.server_entries(application, server[:1])[0][2].name == "gevent"


# The id of the wheels.


def test_the_order_of_the_entries_does_not_affect_the_wheels() -> None:
    entries = [art.Requirement("a", "a==1"), art.Requirement("b", "b==1")]
    assert art.wheelhouse_id(entries, "p") == art.wheelhouse_id(reversed(entries), "p")


@pytest.mark.parametrize(
    ("text", "platform"),
    [
        (f"flask==3.1.4 {HASH}", "debian-12-x86_64-py3.11"),
        (f"flask==3.1.3 {OTHER_HASH}", "debian-12-x86_64-py3.11"),
        (f"flask==3.1.3 {HASH}\nclick==8 {HASH}", "debian-12-x86_64-py3.11"),
        (f"flask==3.1.3 {HASH}", "debian-13-x86_64-py3.13"),
        (f"flask==3.1.3 {HASH}", "debian-12-aarch64-py3.11"),
    ],
    ids=["version", "hash", "one more", "distribution", "architecture"],
)
def test_another_lock_or_platform_has_other_wheels(text: str, platform: str) -> None:
    before = art.wheelhouse_id(art.requirements(f"flask==3.1.3 {HASH}"), "debian-12-x86_64-py3.11")
    assert art.wheelhouse_id(art.requirements(text), platform) != before


def test_comments_in_a_lock_do_not_affect_the_wheels() -> None:
    plain, commented = f"flask==3.1.3 {HASH}\n", f"# new header\nflask==3.1.3 \\\n  {HASH}\n    # via me\n"
    assert art.wheelhouse_id(art.requirements(plain), "p") == art.wheelhouse_id(art.requirements(commented), "p")


# Records.


def test_a_recorded_archive_is_found_again(tmp_path: Path) -> None:
    archive = tmp_path / "code-1.tar.gz"
    archive.write_bytes(b"content")
    written = art.record(archive, INPUTS, unpacked=7)
    assert written == {"file": "code-1.tar.gz", "sha256": art.sha256(archive), "inputs": INPUTS, "unpacked": 7}
    assert art.recorded(archive, INPUTS) == written


def test_an_archive_of_the_same_name_made_from_other_inputs_does_not_count(tmp_path: Path) -> None:
    archive = tmp_path / "code-1.tar.gz"
    archive.write_bytes(b"content")
    art.record(archive, INPUTS)
    assert art.recorded(archive, INPUTS[:-1] + "0") is None


@pytest.mark.parametrize("gone", ["code-1.tar.gz", "code-1.tar.gz.json"])
def test_an_incomplete_archive_does_not_count(tmp_path: Path, gone: str) -> None:
    archive = tmp_path / "code-1.tar.gz"
    archive.write_bytes(b"content")
    art.record(archive, INPUTS)
    (tmp_path / gone).unlink()
    assert art.recorded(archive, INPUTS) is None


def test_a_damaged_archive_is_refused_with_its_name_and_the_remedy(tmp_path: Path) -> None:
    archive = tmp_path / "wheelhouse-1.tar"
    archive.write_bytes(b"content")
    checksum = art.record(archive, INPUTS)["sha256"]
    archive.write_bytes(b"contenu")
    with pytest.raises(ArtifactError) as caught:
        art.recorded(archive, INPUTS)
    message = str(caught.value)
    assert f"artifact {archive} is damaged" in message
    assert checksum[:16] in message
    assert f"(`rm {archive}*`) and deploy again" in message


@pytest.mark.parametrize("content", ["", "{}", "[]", "[" * 100_000, f'{{"inputs": "{"f" * 64}"}}'])
def test_an_archive_with_a_damaged_record_is_refused_or_recreated(tmp_path: Path, content: str) -> None:
    archive = tmp_path / "code-1.tar.gz"
    archive.write_bytes(b"content")
    archive.with_name("code-1.tar.gz.json").write_text(content)
    try:
        found = art.recorded(archive, INPUTS)
    except ArtifactError:
        return
    assert found is None
