import hashlib
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.filter import operations
from ansible_collections.flaskops.uwsgi.plugins.filter.deploy import FilterModule, environment_file, generation

from tests.unit.loadtest.conftest import ROOT

# systemd's private library, in the versions whose function was looked at.
LIBRARY = next(
    (path for version in (252, 257) for path in Path("/usr/lib").glob(f"*/systemd/libsystemd-shared-{version}.so")),
    None,
)
# Prints what systemd reads for EnvironmentFile=, one variable after the other, each ended by a null byte.
LOAD_ENV_FILE = """
import ctypes, sys
systemd, libc = ctypes.CDLL(sys.argv[1]), ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
path, entries, index = sys.argv[2].encode(), ctypes.POINTER(ctypes.c_char_p)(), 0
stream = ctypes.c_void_p(libc.fopen(path, b"r"))
assert systemd.load_env_file(stream, path, ctypes.byref(entries)) >= 0
while entries[index]:
    sys.stdout.buffer.write(entries[index] + b"\\0")
    index += 1
"""

VALUES = {
    "plain": "value",
    "empty": "",
    "spaces": "  two  words  ",
    "double": 'say "hi"',
    "single": "it's",
    "backslash": r"C:\temp\new\ ",
    "backslash_at_the_end": "trailing\\",
    "dollar": "$HOME ${HOME} $$",
    "backtick": "`id`",
    "newline": "first\nsecond = 2\n\n# no comment\n",
    "escaped_newline": "first\\\nsecond",
    "tab": "\tx\t",
    "comment": "# no ; comment",
    "equals": "a=b==",
    "percent": "%i %%",
    "unicode": "Grüße 🙂",
    "everything": '\\"$`\n\'\\\\""',
}


def read_by_systemd(file: Path) -> dict[str, str]:
    """Let systemd read an environment file, in a process of its own: the library is not made for strangers."""
    command = [sys.executable, "-c", LOAD_ENV_FILE, str(LIBRARY), str(file)]
    done = subprocess.run(command, capture_output=True, timeout=30, check=True)
    pairs = (entry.partition("=") for entry in done.stdout.decode().split("\0") if entry)
    return {name: value for name, _, value in pairs}


@pytest.mark.skipif(LIBRARY is None, reason="systemd 252 or 257 is not on this machine")
def test_every_value_comes_through_systemd_itself_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "environment"
    file.write_text(environment_file(VALUES))
    assert read_by_systemd(file) == VALUES


@pytest.mark.parametrize("name", ["plain", "empty", "spaces", "double", "single", "dollar", "backtick", "newline"])
def test_a_shell_reads_the_same(name: str) -> None:
    words = shlex.split(environment_file({name: VALUES[name]}))
    # shlex knows the escapes of \ and " only; the other two stay.
    assert [re.sub(r"\\([$`])", r"\1", word) for word in words] == [f"{name}={VALUES[name]}"]


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("a\\b", 'X="a\\\\b"\n'),
        ('a"b', 'X="a\\"b"\n'),
        ("a$b", 'X="a\\$b"\n'),
        ("a`b", 'X="a\\`b"\n'),
        ("a\nb", 'X="a\nb"\n'),
        (0.2, 'X="0.2"\n'),
        (8040, 'X="8040"\n'),
    ],
)
def test_a_value_is_quoted_like_this(value: Any, line: str) -> None:
    assert environment_file({"X": value}) == line


def test_variables_are_sorted_so_that_their_order_does_not_matter() -> None:
    assert environment_file({"B": 1, "A": 2}) == environment_file({"A": 2, "B": 1}) == 'A="2"\nB="1"\n'
    assert environment_file({}) == ""


# The name of a generation.

FILES = {"uwsgi.ini": "[uwsgi]\n", "environment": 'A="1"\n', "units/app@.service": "[Service]\n"}
MANIFEST = {"release": "r1", "mode": "gevent", "health": {"path": "/healthz", "status": 200}}


def test_the_id_does_not_depend_on_the_order_of_anything() -> None:
    name = generation(FILES, MANIFEST)["id"]
    assert generation(dict(reversed(FILES.items())), dict(reversed(MANIFEST.items())))["id"] == name


def test_the_id_is_the_same_in_every_process_and_version() -> None:
    # Change this only together with artifact.RECIPE or on purpose: every host deploys anew.
    assert generation(FILES, MANIFEST)["id"] == "63dfb879edab"


@pytest.mark.parametrize("file", sorted(FILES))
def test_the_id_changes_with_every_file(file: str) -> None:
    name = generation(FILES, MANIFEST)["id"]
    for changed in (
        {**FILES, file: FILES[file] + " "},
        {**FILES, file: ""},
        {other: content for other, content in FILES.items() if other != file},
        {(f"{other}.x" if other == file else other): content for other, content in FILES.items()},
    ):
        assert generation(changed, MANIFEST)["id"] != name


@pytest.mark.parametrize(
    "change", [{"release": "r2"}, {"mode": "threads"}, {"health": {"path": "/healthz", "status": 204}}, {"new": None}]
)
def test_the_id_changes_with_the_manifest(change: dict[str, Any]) -> None:
    assert generation(FILES, {**MANIFEST, **change})["id"] != generation(FILES, MANIFEST)["id"]


def test_the_id_changes_with_the_secrets_and_nothing_tells_them() -> None:
    manifest = {**MANIFEST, "app_name": "shop"}
    named = [generation(FILES, manifest, given) for given in ({}, {"TOKEN": "s3cr3t"}, {"TOKEN": "s3cr3t2"})]
    assert len({one["id"] for one in named}) == 3
    assert "s3cr3t" not in json.dumps(named)
    assert named[0] == generation(FILES, manifest) and "secrets" not in json.loads(named[0]["files"]["manifest.json"])
    assert json.loads(named[1]["files"]["manifest.json"])["secrets"]["names"] == ["TOKEN"]


def test_a_content_does_not_run_into_a_name() -> None:
    assert generation({"a": "b"}, {})["id"] != generation({"ab": ""}, {})["id"]


def test_the_manifest_is_added_with_the_checksum_of_every_file() -> None:
    named = generation(FILES, MANIFEST)
    document = json.loads(named["files"].pop("manifest.json"))
    assert named["files"] == FILES
    assert document == {
        "generation": named["id"],
        **MANIFEST,
        "checksums": {name: hashlib.sha256(content.encode()).hexdigest() for name, content in FILES.items()},
    }


def test_every_filter_that_the_role_uses_is_there() -> None:
    role = ROOT / "roles" / "flask_uwsgi"
    text = "".join(path.read_text() for path in role.rglob("*") if path.suffix in (".yml", ".j2"))
    used = set(re.findall(r"\| *flaskops\.uwsgi\.(\w+)", text))
    assert used == {*FilterModule().filters(), *operations.FilterModule().filters()}
