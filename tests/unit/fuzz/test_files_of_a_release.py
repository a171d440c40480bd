"""Files that authors of applications and of dependencies write, read on the controller or by root."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.gevent import elf, judge
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release import artifact
from ansible_collections.flaskops.uwsgi.plugins.module_utils.release.artifact import ArtifactError
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.source import folder, pyproject
from hypothesis import example, given
from hypothesis import strategies as st

BOUND_S = 5.0
WORDS = st.sampled_from(
    ["-r", "-c", "-e .", "--hash=sha256:", "a" * 64, "flask", "==", "===", "1.0", "[x]", ";", "#", "\\\n", "\n", " ",
     "@", "git+https://u:p@h/x", "https://u:secret@h/x.whl", "--index-url", "\x00", "\x0c", "\u2028", "\t", "{", "%s"]
)  # fmt: skip
REQUIREMENTS = st.lists(WORDS | st.text(max_size=8), max_size=30).map("".join)


@given(REQUIREMENTS)
def test_any_requirements_are_read(text: str) -> None:
    entries = list(artifact.requirements(text))
    for entry in entries:
        artifact.pin(entry)
        assert "secret@" not in artifact.shown(entry)
    artifact.loose(entries)
    # Requirements written as a lock are equivalent.
    assert [one.text for one in artifact.requirements(artifact.rendered(entries))] == [one.text for one in entries]


@given(st.binary(max_size=200))
def test_a_lock_of_random_bytes_is_refused_by_name(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("lock") / "requirements.txt"
    path.write_bytes(content)
    try:
        artifact.read_lock(path, "flask_uwsgi_requirements")
    except ArtifactError as error:
        assert "flask_uwsgi_requirements" in str(error)


@pytest.mark.parametrize("piece", ["\n", " ", "a", "a==", "\\\n", "#", " #", "[", "--hash=", "//", "//a@", "-", "a[]"])
def test_long_requirements_are_read_within_the_limit(piece: str, within: Any) -> None:
    text = piece * (65_536 // len(piece))
    with within(BOUND_S):
        for entry in artifact.requirements(text + "!"):
            artifact.pin(entry)
            artifact.shown(entry)


# TOML values of any shape in place of a table or a list.
VALUE = st.sampled_from(['""', "1", "true", "[]", '["dependencies"]', "{}", '">=3"', '"no version"', "[1]", "nan",
                         "1979-05-27", '{a = 1}', '[{name = "x"}]'])  # fmt: skip
PYPROJECT = st.builds(
    "\n".join,
    st.lists(
        st.one_of(
            st.sampled_from(["[project]", "[tool]", "[tool.poetry]", "[tool.uv]", "[[project]]", "[build-system]"]),
            st.builds(
                "{} = {}".format,
                st.sampled_from(
                    ["project", "tool", "name", "dependencies", "dynamic", "requires-python", "poetry", "uv"]
                ),
                VALUE,
            ),
        ),
        max_size=8,
    ),
)


@given(PYPROJECT.map(str.encode) | st.binary(max_size=60))
@example(b"project = 1")
@example(b"tool = 1")
@example(b"[project]\ndynamic = 5")
@example(b'[project]\nrequires-python = "no version"')
@example(b"x = " + b"[" * 5000)
def test_a_pyproject_is_read_or_refused_by_name(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.mktemp("project") / "pyproject.toml"
    file.write_bytes(content)
    try:
        pyproject.is_project(file)
        pyproject.insist_on_python(file, "debian-12-x86_64-py3.11")
    except ArtifactError as error:
        assert f"flask_uwsgi_requirements={file}" in str(error)


ADDRESS = st.lists(
    st.sampled_from(
        ["git+", "https://", "ssh://", "file://", "git@", "host", ":", "/", "//", "@", "#", "subdirectory=", "..", "~",
         "egg=x", "&", "%", "%2e%2e", "v1", "\x00", "\n", "-", ".whl", ".tar.gz", "==", "[", "]", "user:secret@"]
    )
    | st.text(max_size=4),
    max_size=12,
).map("".join)  # fmt: skip


@given(ADDRESS)
@example("~nobody-of-this-name/app")
@example("git+~nobody-of-this-name/app@v1")
@example("a" * 5000)
@example("git+https://[/app@v1")
def test_a_source_is_parsed_or_refused_by_name(text: str) -> None:
    try:
        found = folder.parse(text)
    except ArtifactError as error:
        assert "flask_uwsgi_source" in str(error)
        assert "//user:secret@" not in str(error)
    else:
        if isinstance(found, folder.Git):
            assert ".." not in Path(found.subdirectory).parts
            assert not found.ref.startswith("-")


@pytest.mark.parametrize("piece", ["a", " ", "a.", "//", "git+https://h/a@", "git+/a@#", "[", "a ", "=", "~"])
def test_a_long_source_is_parsed_within_the_limit(piece: str, within: Any) -> None:
    for text in (piece * (65_536 // len(piece)) + "!", "a" + piece * (65_536 // len(piece)) + "!"):
        with within(BOUND_S), contextlib.suppress(ArtifactError):
            folder.parse(text)


def module(sections: list[tuple[int, int, int, int]], body: bytes, header_size: int = 64) -> bytes:
    """Return a 64-bit ELF file with these sections: type, offset, size, link."""
    table = 64 + len(body)
    count = min(len(sections), 0xFFFF)
    head = b"\x7fELF\x02\x01".ljust(40, b"\0") + struct.pack("<Q", table)
    head = head.ljust(58, b"\0") + struct.pack("<HH", header_size, count) + b"\0\0"
    headers = b"".join(
        struct.pack("<IIQQQQIIQQ", 0, kind, 0, 0, at, size, link, 0, 0, 0) for kind, at, size, link in sections
    )
    return head + body + headers


@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda rest: b"\x7fELF\x02\x01" + rest))
def test_a_compiled_module_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("elf") / "module.so"
    path.write_bytes(content)
    with pytest.raises(elf.ElfError, match="cannot be read as ELF"):
        elf.wants(path)


SECTION = st.tuples(st.sampled_from([0, 3, 6, 11]), st.integers(0, 2**64 - 1) | st.integers(0, 500),
                    st.integers(0, 2**64 - 1) | st.integers(0, 500), st.integers(0, 5))  # fmt: skip


@given(st.lists(SECTION, max_size=5), st.binary(max_size=300))
def test_sections_at_any_offset_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, sections: list[tuple[int, int, int, int]], body: bytes
) -> None:
    path = tmp_path_factory.mktemp("elf") / "module.so"
    path.write_bytes(module(sections, body))
    try:
        elf.wants(path).network()
    except elf.ElfError as error:
        assert str(path) in str(error)


def test_a_module_with_many_tables_is_read_within_the_limit(tmp_path: Path, within: Any) -> None:
    # Each of 65,535 headers is at the same offset and covers the whole file.
    symbols = struct.pack("<IBBHQQ", 1, 0, 0, 0, 0, 0) * 2_000
    content = bytearray(module([(11, 64, len(symbols), 0)], symbols, header_size=0))
    content[60:62] = struct.pack("<H", 0xFFFF)
    path = tmp_path / "module.so"
    path.write_bytes(content)
    with within(BOUND_S):
        try:
            elf.wants(path)
        except elf.ElfError as error:
            assert str(path) in str(error)


def test_a_module_with_long_names_is_read_within_the_limit(tmp_path: Path, within: Any) -> None:
    # The name of each of many symbols is nearly the whole table of names.
    names = b"\0" + b"a" * 1_000_000 + b"\0"
    symbols = b"".join(struct.pack("<IBBHQQ", 1 + number, 0, 0, 0, 0, 0) for number in range(20_000))
    path = tmp_path / "module.so"
    path.write_bytes(module([(11, 64 + len(names), len(symbols), 1), (3, 64, len(names), 0)], names + symbols))
    with within(BOUND_S):
        found = elf.wants(path)
    assert sum(map(len, found.symbols)) < 100_000_000


VERSION = st.lists(st.sampled_from(["1", ".", "2", "rc1", "²", "٣", "9" * 5000, "", "!", "+x"]), max_size=5).map(
    "".join
)


@given(VERSION | st.text(max_size=10))
def test_a_version_of_a_dependency_consists_of_numbers(version: str) -> None:
    assert all(number >= 0 for number in judge.numbers(version))
