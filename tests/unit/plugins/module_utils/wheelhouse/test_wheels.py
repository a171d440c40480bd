"""What root does on a build host with the results of a sandbox; the sandbox itself is tested on real hosts."""

import hashlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.wheelhouse import inside
from ansible_collections.flaskops.uwsgi.plugins.module_utils.wheelhouse import sandbox as build_sandbox
from ansible_collections.flaskops.uwsgi.plugins.module_utils.wheelhouse.sandbox import (
    Limits,
    Sandbox,
    StepError,
    workspace,
)
from ansible_collections.flaskops.uwsgi.plugins.module_utils.wheelhouse.wheels import (
    Entry,
    File,
    build,
    collect,
    entries,
    fetch,
    itself,
    spelled,
    tools,
)

LIMITS = Limits(60, 64, 64, 16)
Members = dict[str, bytes | tarfile.TarInfo]


def link(target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo()
    member.type, member.linkname = tarfile.SYMTYPE, target
    return member


def special(kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo()
    member.type = kind
    return member


@pytest.fixture
def sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Members], Sandbox]:
    """Answer in place of a unit with a tar of these files."""

    def answering(members: Members) -> Sandbox:
        def run(self: Sandbox, subject: str, verb: str, *words: str, **_: Any) -> Path:
            with tarfile.open(self.work / f"{verb}.tar", "w") as tar:
                for name, content in members.items():
                    member = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo()
                    member.name = name
                    data = content if isinstance(content, bytes) else b""
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
            return self.work / f"{verb}.tar"

        monkeypatch.setattr(Sandbox, "run", run)
        return Sandbox(tmp_path, LIMITS)

    return answering


def entry(name: str, version: str, content: bytes = b"", algorithm: str = "sha256") -> Entry:
    return Entry(name, version, "", {algorithm: [hashlib.new(algorithm, content).hexdigest()]})


def failure(work: Callable[[], object]) -> StepError:
    with pytest.raises(StepError) as caught:
        work()
    return caught.value


def test_a_lock_is_read_with_markers_extras_and_every_hash() -> None:
    text = (
        "Celery[redis]==5.4 ; python_version < '4' \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"
        "x===1+l --hash=sha512:cc --global-option=evil\n"
    )
    assert entries(text) == [
        Entry("celery", "5.4", "python_version < '4'", {"sha256": ["aa", "bb"]}),
        Entry("x", "1+l", "", {"sha512": ["cc"]}),
    ]
    for bad in ("x>=1 --hash=sha256:aa", "x==1", "x==1 --hash=md5:aa", "-r more.txt", "--index-url=http://h"):
        with pytest.raises(ValueError):
            entries(bad)


def test_every_downloaded_file_is_compared_with_the_lock(sandbox: Callable[[Members], Sandbox]) -> None:
    wanted = [entry("a", "1", b"A"), entry("b", "2", b"B", "sha512"), entry("c", "3", b"C")]
    # c is ignored: its marker does not apply.
    members: Members = {"0": special(tarfile.DIRTYPE), "0/a-1-py3-none-any.whl": b"A", "1/b-2.tar.gz": b"B"}
    found = fetch(sandbox(members), wanted)
    assert [(file.entry.name, file.path.name, file.is_wheel) for file in found] == [
        ("a", "a-1-py3-none-any.whl", True),
        ("b", "b-2.tar.gz", False),
    ]


@pytest.mark.parametrize(
    ("members", "why", "says"),
    [
        ({"0/a-1-py3-none-any.whl": b"evil"}, "hash", "DO NOT MATCH THE HASHES: a==1 is "),
        ({"0/b-1-py3-none-any.whl": b"A"}, "output", "b-1-py3-none-any.whl is not the wheel of a==1"),
        ({"0/a-2-py3-none-any.whl": b"A"}, "output", "is not the wheel of a==1"),
        ({"7/a-1-py3-none-any.whl": b"A"}, "failed", "7/a-1-py3-none-any.whl is unexpected"),
        ({"0/a-1.tar.gz": b"A", "0/a-1.zip": b"A"}, "failed", "0/a-1.zip is unexpected"),
        ({"0/../../x": b"A"}, "failed", "../x is unexpected"),
        ({"../../../etc/cron.d/x": b"A"}, "output", "is not a plain file"),
        ({"/etc/x": b"A"}, "output", "is not a plain file"),
        ({"0/x": link("/etc/shadow")}, "output", "is not a plain file"),
        ({"0/x": special(tarfile.FIFOTYPE)}, "output", "is not a plain file"),
        ({"0/.x": b"A"}, "output", "is not a plain file"),
    ],
)
def test_files_that_do_not_match_the_lock_are_refused(
    sandbox: Callable[[Members], Sandbox], members: Members, why: str, says: str
) -> None:
    error = failure(lambda: fetch(sandbox(members), [entry("a", "1", b"A")]))
    assert error.why == why and says in error.said


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({"x-1-py3-none-any.whl": b"", "y-1-py3-none-any.whl": b""}, "left 2 files"),
        ({}, "left 0 files"),
        ({"y-1-py3-none-any.whl": b""}, "y-1-py3-none-any.whl is not the wheel of x==1"),
        ({"x-2-py3-none-any.whl": b""}, "is not the wheel of x==1"),
        ({"x.txt": b""}, "x.txt, which is not a wheel"),
        ({"a/x-1-py3-none-any.whl": b""}, "left 1 files"),
        ({"x-1-py3-none-any.whl": link("/etc/shadow")}, "is not a plain file"),
        ({f"{number}.whl": b"" for number in range(100)}, "more than 5 files"),
    ],
)
def test_a_build_returns_the_one_wheel_of_its_sdist(
    sandbox: Callable[[Members], Sandbox], tmp_path: Path, members: Members, says: str
) -> None:
    file = File(entry("x", "1"), tmp_path / "x-1.tar.gz")
    file.path.touch()
    error = failure(lambda: build(sandbox(members), file, tmp_path / "tools", {}))
    assert error.subject == "x==1" and error.why == "output" and says in error.said


def test_the_wheel_of_a_build_is_kept(sandbox: Callable[[Members], Sandbox], tmp_path: Path) -> None:
    file = File(entry("my-app", "1.0.0"), tmp_path / "my_app-1.0.0.tar.gz")
    file.path.touch(mode=0o600)
    box = sandbox({".": special(tarfile.DIRTYPE), "My_App-1.0-cp311-cp311-linux_x86_64.whl": b"wheel"})
    patches = {"01.patch": "first", "02.patch": "second"}
    assert build(box, file, tmp_path / "tools", patches).read_bytes() == b"wheel"
    assert (tmp_path / "sdist" / "my-app==1.0.0" / file.path.name).stat().st_mode & 0o777 == 0o644
    assert {path.name: path.read_text() for path in (tmp_path / "patches" / "my-app==1.0.0").iterdir()} == patches


@pytest.mark.parametrize(
    "members",
    [
        {"../x": b""},
        {"/x": b""},
        {"lib": link("/etc"), "lib/x": b""},
        {"x": special(tarfile.CHRTYPE)},
        {"x": b"a", "./x": b"b"},
    ],
)
def test_the_tools_unpack_inside_their_folder(
    sandbox: Callable[[Members], Sandbox], members: Members, tmp_path: Path
) -> None:
    box = sandbox({"bin": special(tarfile.DIRTYPE), **members})
    (tmp_path / "tools").mkdir()
    assert "its environment cannot be kept" in failure(lambda: tools(box, [])).said
    assert not (tmp_path / "x").exists() and not Path("/etc/x").exists()


def test_the_tools_belong_to_root_and_others_cannot_write_to_them(
    sandbox: Callable[[Members], Sandbox], tmp_path: Path
) -> None:
    program = tarfile.TarInfo()
    program.mode = 0o6777
    box = sandbox({".": special(tarfile.DIRTYPE), "bin": special(tarfile.DIRTYPE), "bin/pip": program})
    folder = tools(box, [])
    assert (folder / "bin" / "pip").stat().st_mode & 0o7777 == 0o755
    no_wheel = File(entry("cmake", "3"), tmp_path / "cmake-3.tar.gz")
    (tmp_path / "wheels").rmdir()
    assert "artifact_build_lock has cmake==3, which has no wheel" in failure(lambda: tools(box, [no_wheel])).said


def test_the_archive_depends_only_on_its_wheels(tmp_path: Path) -> None:
    for name in ("b-1-py3-none-any.whl", "a-1-py3-none-any.whl"):
        (tmp_path / name).write_bytes(name.encode())
    paths = [(path, "5" * 64 if path.name.startswith("b") else "") for path in tmp_path.glob("*.whl")]
    found = collect(paths, tmp_path / "one.tar")
    collect(paths[::-1], tmp_path / "two.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    assert [(wheel.file[0], wheel.built_from) for wheel in found] == [("a", ""), ("b", "5" * 64)]
    assert found[0].sha256 == hashlib.sha256(b"a-1-py3-none-any.whl").hexdigest()
    assert "two packages have the wheel" in failure(lambda: collect([*paths, paths[0]], tmp_path / "three.tar")).said


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("my-shop-1.0.tar.gz", ("my-shop", "1.0")),
        ("My_Shop-1.0.zip", ("my-shop", "1.0")),
        ("shop-1.4-py3-none-any.whl", ("shop", "1.4")),
        ("shop-v2.tar.bz2", ("shop", "v2")),
    ],
)
def test_a_distribution_is_named_after_its_file(tmp_path: Path, name: str, found: tuple[str, str]) -> None:
    (tmp_path / name).touch()
    own = itself(tmp_path / name)
    assert (own.name, own.version) == found
    (tmp_path / "main.tar.gz").touch()
    assert "is not named NAME-VERSION" in failure(lambda: itself(tmp_path / "main.tar.gz")).said


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("1.0", "1", True),
        ("1.0.0", "v1.0", True),
        ("1.10", "1.1", False),
        ("2.0.31", "2.0.310", False),
        ("1.0-alpha.1", "1.0a1", True),
        ("1.0.beta2", "1.0b2", True),
        ("1.0pre1", "1.0rc1", True),
        ("1.0-r3", "1.0.post3", True),
        ("1.0_dev4", "1.0.dev4", True),
        ("1.0+Local-1", "1.0+local.1", True),
        ("1.0+a", "1.0", False),
        ("1!1.0", "1.0", False),
        ("1.0rc1", "1.0", False),
    ],
)
def test_versions_are_compared_as_in_pep_440(one: str, other: str, same: bool) -> None:
    assert (spelled(one) == spelled(other)) is same


def test_leftovers_of_a_killed_build_are_removed_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inside, "ROOT", tmp_path / "build")
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "work-dead").mkdir()
    (tmp_path / "build" / "work-dead" / "file").touch()
    with workspace() as first, workspace() as second:
        there = {path.name for path in (tmp_path / "build").iterdir()} - {".lock"}
        assert there == {first.name, second.name}
    assert {path.name for path in (tmp_path / "build").iterdir()} == {".lock"}


def test_a_unit_gets_only_the_variables_of_the_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "os.environ",
        {"PIP_INDEX_URL": "i", "HTTPS_PROXY": "p", "SSL_CERT_FILE": "c", "SUDO_USER": "me", "AWS_SECRET": "s"},
    )
    assert build_sandbox._environment() == {"PIP_INDEX_URL": "i", "HTTPS_PROXY": "p", "SSL_CERT_FILE": "c"}
