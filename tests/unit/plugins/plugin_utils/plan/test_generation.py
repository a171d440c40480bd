"""How a generation is rendered and named."""

import hashlib
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import checksums, kinds
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan import generation
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan.choice import choose
from ansible_collections.flaskops.uwsgi.plugins.plugin_utils.plan.generation import (
    Generation,
    document,
    environment_file,
    name,
    static_folder,
)

from tests.support.planning import artifact, settings

# systemd's private library, in the versions whose function was examined.
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
    """Let systemd read an environment file, in a separate process: the library is private to systemd."""
    command = [sys.executable, "-c", LOAD_ENV_FILE, str(LIBRARY), str(file)]
    done = subprocess.run(command, capture_output=True, timeout=30, check=True)
    pairs = (entry.partition("=") for entry in done.stdout.decode().split("\0") if entry)
    return {name: value for name, _, value in pairs}


@pytest.mark.skipif(LIBRARY is None, reason="this machine has neither systemd 252 nor 257")
def test_every_value_is_read_by_systemd_unchanged(tmp_path: Path) -> None:
    file = tmp_path / "environment"
    file.write_text(environment_file(VALUES))
    assert read_by_systemd(file) == VALUES


@pytest.mark.parametrize("name", ["plain", "empty", "spaces", "double", "single", "dollar", "backtick", "newline"])
def test_a_shell_reads_the_same(name: str) -> None:
    words = shlex.split(environment_file({name: VALUES[name]}))
    # shlex knows only the escapes of \ and "; the other two stay.
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
MANIFEST = {"app_name": "shop", "release": "r1", "mode": "gevent", "health": {"path": "/healthz", "status": 200}}


def identity(files: dict[str, str], said: dict[str, Any], secrets: dict[str, Any] | None = None) -> str:
    return name(files, said, secrets or {}).id


def recorded(files: dict[str, str], said: dict[str, Any], secrets: dict[str, Any] | None = None) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(document(files, said, secrets or {}))
    return found


def test_the_id_does_not_depend_on_any_order() -> None:
    turned = identity(dict(reversed(FILES.items())), dict(reversed(MANIFEST.items())))
    assert turned == identity(FILES, MANIFEST)


def test_the_id_is_the_same_in_every_process_and_version() -> None:
    # Change this only together with artifact.RECIPE or on purpose: every host deploys again.
    assert identity(FILES, MANIFEST) == "35fa882f6c8a"


@pytest.mark.parametrize("file", sorted(FILES))
def test_the_id_changes_with_every_file(file: str) -> None:
    before = identity(FILES, MANIFEST)
    for changed in (
        {**FILES, file: FILES[file] + " "},
        {**FILES, file: ""},
        {other: content for other, content in FILES.items() if other != file},
        {(f"{other}.x" if other == file else other): content for other, content in FILES.items()},
    ):
        assert identity(changed, MANIFEST) != before


@pytest.mark.parametrize(
    "change", [{"release": "r2"}, {"mode": "threads"}, {"health": {"path": "/healthz", "status": 204}}, {"new": None}]
)
def test_the_id_changes_with_the_manifest(change: dict[str, Any]) -> None:
    assert identity(FILES, {**MANIFEST, **change}) != identity(FILES, MANIFEST)


def test_neither_the_id_nor_the_manifest_permits_guessing_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    pin = {**FILES, "environment": environment_file({"PIN": "4711"})}
    sums = recorded(pin, MANIFEST)["checksums"]
    assert hashlib.sha256(pin["environment"].encode()).hexdigest() not in json.dumps(sums)
    assert sums["environment"].startswith("scrypt:")
    assert sums["uwsgi.ini"] == hashlib.sha256(pin["uwsgi.ini"].encode()).hexdigest()
    # Another application with the same values has other checksums, so that no table works for all.
    other = recorded(pin, {**MANIFEST, "app_name": "books"})["checksums"]
    assert other["environment"] != sums["environment"] and other["uwsgi.ini"] == sums["uwsgi.ini"]
    # The id depends on the environment only through that checksum: if it is constant, the id does not change.
    monkeypatch.setattr(checksums, "slow", lambda content, salt: "slow")
    assert identity(pin, MANIFEST) == identity({**pin, "environment": "other"}, MANIFEST)


def test_the_id_changes_with_the_secrets_and_the_manifest_has_no_value() -> None:
    given: list[dict[str, Any]] = [{}, {"TOKEN": "s3cr3t"}, {"TOKEN": "s3cr3t2"}]
    assert len({identity(FILES, MANIFEST, secrets) for secrets in given}) == 3
    without, one, _ = (recorded(FILES, MANIFEST, secrets) for secrets in given)
    assert "s3cr3t" not in json.dumps(one)
    assert "secrets" not in without and one["secrets"]["names"] == ["TOKEN"]


def test_content_is_separated_from_names() -> None:
    manifest = {"app_name": "shop"}
    assert identity({"a": "b"}, manifest) != identity({"ab": ""}, manifest)


def test_the_manifest_has_the_name_and_the_checksum_of_every_file() -> None:
    whole = name(FILES, MANIFEST, {})
    assert recorded(FILES, MANIFEST) == {
        "generation": whole.id,
        "digest": whole.digest,
        **MANIFEST,
        "checksums": {file: checksums.checksum(file, content, "shop") for file, content in FILES.items()},
    }


def test_the_id_is_the_beginning_of_the_digest() -> None:
    whole = name(FILES, MANIFEST, {})
    assert len(whole.digest) == 64 and whole.id == whole.digest[:12]


def test_the_files_that_were_named_are_the_files_that_are_written() -> None:
    own, release = settings(secrets={"TOKEN": "s3cr3t"}, files={"a.ini": "x"}), artifact()
    choice = choose(own, {})
    written = generation.files(own, release, choice)
    said = json.loads(written["manifest.json"])
    assert Generation(said["generation"], said["digest"]) == generation.named(own, release, choice)
    assert said["checksums"].keys() == written.keys() - {"manifest.json"}
    assert written["files/a.ini"] == "x" and "s3cr3t" not in json.dumps(written)


def test_there_is_a_unit_file_for_each_kind_and_no_other() -> None:
    own = settings()
    units = {file.removeprefix("units/") for file in generation.rendered(own, artifact(), choose(own, {}))}
    assert {unit for unit in units if unit.endswith(".service")} == {kind.template for kind in kinds.KINDS}


@pytest.mark.parametrize(
    ("own", "has", "lacks"),
    [
        ({}, ["ListenStream=%i", "ReusePort=yes"], ["BindIPv6Only", "SocketMode", "RemoveOnStop"]),
        ({"bind": "::"}, ["ListenStream=[::]:8040", "ReusePort=yes", "BindIPv6Only=both"], ["SocketMode"]),
        (
            {"bind": "/run/shop.sock"},
            ["ListenStream=/run/shop.sock", "SocketGroup=shop", "SocketMode=0660", "RemoveOnStop=yes"],
            ["ReusePort", "BindIPv6Only"],
        ),
        ({"bind": "/run/shop.sock", "socket_group": "www-data"}, ["SocketGroup=www-data"], []),
    ],
)
def test_the_socket_is_the_one_of_the_settings(own: dict[str, Any], has: list[str], lacks: list[str]) -> None:
    chosen = settings(**own)
    files = generation.rendered(chosen, artifact(), choose(chosen, {}))
    unit = files["units/app@.socket"]
    assert set(has) <= set(unit.splitlines())
    assert not [directive for directive in lacks if directive in unit]
    assert f"Sockets={chosen.listens}\n" in files["units/listen.conf"]
    # What belongs to TCP, and what would be removed with the instance.
    ini = files["uwsgi.ini"]
    assert ("TCP_DEFER_ACCEPT" in ini) == ("\nvacuum = true" in ini) == (not chosen.address.path)


def test_native_libraries_use_one_thread_unless_the_environment_says_otherwise() -> None:
    own = settings(environment={"OMP_NUM_THREADS": 4})
    text = generation.rendered(own, artifact(), choose(own, {}))["environment"]
    assert 'OMP_NUM_THREADS="4"\n' in text and 'OPENBLAS_NUM_THREADS="1"\n' in text


def test_static_files_may_be_created_by_the_application() -> None:
    assert static_folder("$STATE_DIRECTORY/static/a", "/srv/shop", artifact()) == "/var/lib/shop/static/a"


def test_static_files_are_those_of_the_release_or_of_a_package() -> None:
    release = artifact(platform="debian-13-x86_64-py3.13")
    assert static_folder("shop/static", "/opt/shop", release) == "/opt/shop/releases/r1/shop/static"
    package = static_folder("shop.web:static", "/opt/shop", release)
    assert package == "/opt/shop/venvs/w1/lib/python3.13/site-packages/shop/web/static"
