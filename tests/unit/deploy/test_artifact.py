import os
import shutil
import tarfile
import time
from pathlib import Path

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils import artifact as art
from ansible_collections.flaskops.uwsgi.plugins.module_utils.artifact import ArtifactError

from tests.unit.loadtest.conftest import ROOT

HASH = "--hash=sha256:" + "a" * 64
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


def test_a_source_that_is_no_directory_is_refused(source: Path) -> None:
    with pytest.raises(
        ArtifactError, match=r"flask_uwsgi_source=\S+run\.py is not a directory .*: set it to the folder"
    ):
        art.source_files(source / "run.py", [])


def test_a_source_of_which_everything_is_excluded_is_refused(source: Path) -> None:
    with pytest.raises(ArtifactError, match=r"flask_uwsgi_source=\S+ holds no file to deploy"):
        art.source_files(source, ["*"])


def test_a_link_to_a_file_is_packed_as_the_file(source: Path, tmp_path: Path) -> None:
    (tmp_path / "shared.py").write_text("SHARED = 1\n")
    (source / "shared.py").symlink_to(tmp_path / "shared.py")
    pack(source, tmp_path / "code.tar.gz")
    with tarfile.open(tmp_path / "code.tar.gz") as tar:
        assert tar.getmember("shared.py").isreg()


def test_a_linked_folder_is_packed_or_refused_but_not_forgotten(source: Path, tmp_path: Path) -> None:
    (tmp_path / "common").mkdir()
    (tmp_path / "common" / "util.py").write_text("")
    (source / "common").symlink_to(tmp_path / "common")
    try:
        files = art.source_files(source, EXCLUDE)
    except ArtifactError:
        return
    assert Path("common/util.py") in files


# The id of the code.


def test_two_copies_made_at_other_times_and_places_have_the_same_id(source: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "a-copy"
    shutil.copytree(source, copy)
    for age, path in enumerate(sorted(copy.rglob("*"))):
        os.utime(path, (age, age))
    (copy / "run.py").chmod(0o600)
    (copy / "__pycache__").mkdir()
    (copy / "__pycache__" / "run.cpython-311.pyc").write_bytes(b"\0")
    assert code_id(copy) == code_id(source)


def test_the_id_is_short_and_hexadecimal(source: Path) -> None:
    assert len(code_id(source)) == art.ID_LENGTH
    int(code_id(source), 16)


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


def test_the_parts_of_an_id_do_not_run_into_one_another() -> None:
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


def test_the_archive_holds_contents_and_mode_bits_and_nobody_s_name(source: Path, tmp_path: Path) -> None:
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


def test_nothing_but_the_whole_archive_appears(source: Path, tmp_path: Path) -> None:
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


def test_a_hash_sign_within_a_word_is_no_comment() -> None:
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
def test_a_file_with_an_entry_that_is_not_pinned_and_hashed_is_no_lock(tmp_path: Path, entry: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        lock(tmp_path, f"click==8.5.1 {HASH}\n{entry}\n")
    message = str(caught.value)
    assert message.startswith(f"flask_uwsgi_requirements={tmp_path / 'requirements.txt'} is not a lock: ")
    assert repr(entry.removesuffix(HASH).strip()) in message
    assert "pip-compile --generate-hashes" in message


def test_a_lock_that_is_missing_names_the_variable(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"artifact_server_lock=\S+none\.txt does not exist .*: set it to"):
        art.read_lock(tmp_path / "none.txt", "artifact_server_lock")


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_repository_s_own_locks_are_locks(path: Path) -> None:
    entries = art.read_lock(path, "lock")
    assert len(entries) == sum(
        "==" in line.split(";")[0] for line in path.read_text().splitlines() if line[:1].isalnum()
    )
    assert all(" via " not in entry.text and "\\" not in entry.text for entry in entries)


def test_what_the_application_pins_is_taken_out_of_the_server_s_lock(tmp_path: Path) -> None:
    application = lock(tmp_path, f"Zope.Interface==7.0 {HASH}\nflask==3.1.3 {HASH}\n")
    server = lock(tmp_path, f"uwsgi==2.0.31 {HASH}\nzope-interface==6.0 {HASH}\ngevent==26.9.0 {HASH}\n")
    assert [entry.name for entry in art.server_entries(application, server)] == ["uwsgi", "gevent"]


# The id of the wheels.


def test_the_order_of_the_entries_does_not_matter_to_the_wheels() -> None:
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
def test_another_lock_or_platform_gives_other_wheels(text: str, platform: str) -> None:
    before = art.wheelhouse_id(art.requirements(f"flask==3.1.3 {HASH}"), "debian-12-x86_64-py3.11")
    assert art.wheelhouse_id(art.requirements(text), platform) != before


def test_comments_in_a_lock_do_not_change_the_wheels() -> None:
    plain, commented = f"flask==3.1.3 {HASH}\n", f"# new header\nflask==3.1.3 \\\n  {HASH}\n    # via me\n"
    assert art.wheelhouse_id(art.requirements(plain), "p") == art.wheelhouse_id(art.requirements(commented), "p")


# What was recorded.


def test_a_recorded_archive_is_found_again(tmp_path: Path) -> None:
    archive = tmp_path / "code-1.tar.gz"
    archive.write_bytes(b"content")
    written = art.record(archive)
    assert written == {"file": "code-1.tar.gz", "sha256": art.sha256(archive)}
    assert art.recorded(archive) == written


@pytest.mark.parametrize("gone", ["code-1.tar.gz", "code-1.tar.gz.json"])
def test_an_archive_that_is_not_wholly_there_is_not_there(tmp_path: Path, gone: str) -> None:
    archive = tmp_path / "code-1.tar.gz"
    archive.write_bytes(b"content")
    art.record(archive)
    (tmp_path / gone).unlink()
    assert art.recorded(archive) is None


def test_a_damaged_archive_is_refused_with_its_name_and_the_remedy(tmp_path: Path) -> None:
    archive = tmp_path / "wheelhouse-1.tar"
    archive.write_bytes(b"content")
    checksum = art.record(archive)["sha256"]
    archive.write_bytes(b"contenu")
    with pytest.raises(ArtifactError) as caught:
        art.recorded(archive)
    message = str(caught.value)
    assert f"artifact {archive} is damaged" in message
    assert checksum[:16] in message
    assert f"(`rm {archive}*`) and deploy again" in message


@pytest.mark.parametrize("content", ["", "{}"])
def test_an_archive_with_a_damaged_record_is_refused_or_made_anew(tmp_path: Path, content: str) -> None:
    archive = tmp_path / "code-1.tar.gz"
    archive.write_bytes(b"content")
    archive.with_name("code-1.tar.gz.json").write_text(content)
    try:
        found = art.recorded(archive)
    except ArtifactError:
        return
    assert found is None
