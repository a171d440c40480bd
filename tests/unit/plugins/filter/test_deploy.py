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
from ansible_collections.flaskops.uwsgi.plugins.filter.deploy import (
    FilterModule,
    batch,
    decided,
    environment_file,
    generation,
    gevent_refusal,
    static_folder,
    threads_instead,
)
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import checksums

from tests.support import ROOT

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
MANIFEST = {"app_name": "shop", "release": "r1", "mode": "gevent", "health": {"path": "/healthz", "status": 200}}


def test_the_id_does_not_depend_on_the_order_of_anything() -> None:
    name = generation(FILES, MANIFEST)["id"]
    assert generation(dict(reversed(FILES.items())), dict(reversed(MANIFEST.items())))["id"] == name


def test_the_id_is_the_same_in_every_process_and_version() -> None:
    # Change this only together with artifact.RECIPE or on purpose: every host deploys anew.
    assert generation(FILES, MANIFEST)["id"] == "35fa882f6c8a"


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


def test_neither_the_id_nor_the_manifest_lets_anybody_guess_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    pin = {**FILES, "environment": environment_file({"PIN": "4711"})}
    named = generation(pin, MANIFEST)
    recorded = json.loads(named["files"]["manifest.json"])["checksums"]
    assert hashlib.sha256(pin["environment"].encode()).hexdigest() not in json.dumps(recorded)
    assert recorded["environment"].startswith("scrypt:")
    assert recorded["uwsgi.ini"] == hashlib.sha256(pin["uwsgi.ini"].encode()).hexdigest()
    # Another application with the same values has other checksums, so that no table serves for all.
    other = json.loads(generation(pin, {**MANIFEST, "app_name": "books"})["files"]["manifest.json"])["checksums"]
    assert other["environment"] != recorded["environment"] and other["uwsgi.ini"] == recorded["uwsgi.ini"]
    # The id has the environment through that checksum alone: with one that is always the same it does not change.
    monkeypatch.setattr(checksums, "slow", lambda content, salt: "slow")
    assert generation(pin, MANIFEST)["id"] == generation({**pin, "environment": "other"}, MANIFEST)["id"]


def test_the_id_changes_with_the_secrets_and_nothing_tells_them() -> None:
    named = [generation(FILES, MANIFEST, given) for given in ({}, {"TOKEN": "s3cr3t"}, {"TOKEN": "s3cr3t2"})]
    assert len({one["id"] for one in named}) == 3
    assert "s3cr3t" not in json.dumps(named)
    assert named[0] == generation(FILES, MANIFEST) and "secrets" not in json.loads(named[0]["files"]["manifest.json"])
    assert json.loads(named[1]["files"]["manifest.json"])["secrets"]["names"] == ["TOKEN"]


def test_a_content_does_not_run_into_a_name() -> None:
    manifest = {"app_name": "shop"}
    assert generation({"a": "b"}, manifest)["id"] != generation({"ab": ""}, manifest)["id"]


def test_the_manifest_is_added_with_the_checksum_of_every_file() -> None:
    named = generation(FILES, MANIFEST)
    document = json.loads(named["files"].pop("manifest.json"))
    assert named["files"] == FILES
    assert document == {
        "generation": named["id"],
        "digest": named["digest"],
        **MANIFEST,
        "checksums": {name: checksums.checksum(name, content, "shop") for name, content in FILES.items()},
    }


def test_the_id_is_the_beginning_of_the_digest_that_decides() -> None:
    named = generation(FILES, MANIFEST)
    assert len(named["digest"]) == 64 and named["id"] == named["digest"][:12]


def test_every_filter_that_the_role_uses_is_there() -> None:
    role = ROOT / "roles" / "flask_uwsgi"
    text = "".join(path.read_text() for path in role.rglob("*") if path.suffix in (".yml", ".j2"))
    used = set(re.findall(r"\| *flaskops\.uwsgi\.(\w+)", text))
    assert used == {*FilterModule().filters(), *operations.FilterModule().filters()}


# Several applications.


def placed(name: str, app: str, address: str, machine: str = "m1", user: str = "") -> dict[str, Any]:
    bind, _, port = address.partition(":")
    wants = [bind, port, user or app]
    state = {"host": {"machine": machine}, "app": {"name": app, "wants": wants, "decision": {}}}
    return {"inventory_hostname": name, "__flask_uwsgi_state": state, "__flask_uwsgi_settled": False}


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (placed("b", "books", "0.0.0.0:8041"), ""),
        (placed("b", "books", "0.0.0.0:8040", machine="m2"), ""),
        (placed("b", "books", "127.0.0.2:8040"), ""),
        (
            placed("b", "books", "127.0.0.1:8040"),
            "flask_uwsgi_port=8040 is wanted by shop and by books on one host (a, b)",
        ),
        (
            placed("b", "books", "0.0.0.0:8040"),
            "flask_uwsgi_port=8040 is wanted by shop and by books on one host (a, b)",
        ),
        (
            placed("b", "books", "0.0.0.0:8041", user="shop"),
            "flask_uwsgi_user=shop is wanted by shop and by books on one host (a, b)",
        ),
        (placed("b", "shop", "0.0.0.0:8041"), "flask_uwsgi_app_name=shop is wanted by a and by b, which are one host"),
    ],
)
def test_applications_of_one_deploy_that_collide_are_told(other: dict[str, Any], told: str) -> None:
    problems = batch([placed("a", "shop", "127.0.0.1:8040"), other])["problems"]
    assert [problem.partition(": give")[0] for problem in problems.get("a", [])] == ([told] if told else [])
    # The other one is refused as well.
    assert problems.keys() == ({"a", "b"} if told else set())


def test_the_first_host_of_each_application_that_has_something_to_do_leads() -> None:
    hosts = [
        placed("a", "shop", "0.0.0.0:8040", machine="m1") | {"__flask_uwsgi_settled": True},
        {"inventory_hostname": "not asked yet"},
        placed("c", "shop", "0.0.0.0:8040", machine="m2"),
        placed("d", "books", "0.0.0.0:8041", machine="m2"),
        placed("e", "shop", "0.0.0.0:8040", machine="m3"),
    ]
    assert batch(hosts) == {"leaders": {"shop": "c", "books": "d"}, "problems": {}}


def test_static_files_may_be_what_the_application_has_made() -> None:
    assert static_folder("$STATE_DIRECTORY/static/a", "/srv/shop", {}) == "/var/lib/shop/static/a"


def test_static_files_are_those_of_the_release_or_of_a_package() -> None:
    plan = {"id": "r1", "platform": "debian-13-x86_64-py3.13", "wheelhouse": {"id": "w1"}}
    assert static_folder("shop/static", "/opt/shop", plan) == "/opt/shop/releases/r1/shop/static"
    package = static_folder("shop.web:static", "/opt/shop", plan)
    assert package == "/opt/shop/venvs/w1/lib/python3.13/site-packages/shop/web/static"


# auto.

HOST = {"tasks": 32_768, "nofile": 20_000, "file_max": 10**6}


def said(verdict: str, level: str = "blocks", **more: Any) -> dict[str, Any]:
    finding = {
        "level": level,
        "what": "it sleeps in C",
        "evidence": ["run.py:3", "in slow"],
        "remedy": "call gevent.sleep",
    }
    note = {"level": "note", "what": "not to be told", "evidence": [], "remedy": ""}
    parts = {"cooperation": {"verdict": verdict, "findings": [note, *([finding] if verdict != "ok" else [])]}}
    measured = {"requests": 5, "single_ms": 101.4, "burst_ms": 507.7, "overlap": 0.0, "cpu_share": 0.01}
    return {"verdict": verdict, "checks": parts, **measured, **more}


@pytest.mark.parametrize(("verdict", "level"), [("warning", "warning"), ("blocks", "blocks")])
def test_auto_is_threads_otherwise_and_tells_why(verdict: str, level: str) -> None:
    decision = threads_instead(said(verdict, level), 224, 4, HOST)
    assert (decision["mode"], decision["threads"]) == ("threads", 224)
    assert decision["because"] == "auto is threads, 224 a worker (flask_uwsgi_threads): it sleeps in C"


def test_the_threads_of_auto_fit_the_host_and_the_work() -> None:
    small = threads_instead(said("blocks"), 224, 4, {**HOST, "tasks": 1000})
    assert small["threads"] == (1000 - 256) // 4 - 64
    assert "(what this host allows)" in small["because"]
    computes = threads_instead(
        said("warning", "warning", single_ms=121.2, burst_ms=604.5, cpu_share=0.99), 224, 4, HOST
    )
    assert computes["threads"] == 8
    assert "its requests compute" in computes["because"]


def test_what_was_decided_is_known_of_any_host_of_the_application_for_the_same_artifact() -> None:
    first, second, other = (placed(name, app, "0.0.0.0:1") for name, app in (("a", "shop"), ("b", "shop"), ("c", "x")))
    second["__flask_uwsgi_state"]["app"]["decision"] = {"r1": {"mode": "threads"}}
    other["__flask_uwsgi_state"]["app"]["decision"] = {"r2": {"mode": "gevent"}}
    assert decided([first, second, other], "shop", "r1") == {"mode": "threads"}
    assert decided([first, second, other], "shop", "r2") == {}


def test_what_fails_in_either_mode_is_not_said_to_be_gevent_s() -> None:
    found = {"level": "blocks", "what": "w", "evidence": ["KeyError: 'DSN'"], "remedy": "r"}
    check = {**said("blocks"), "common": True, "cause": "it raised KeyError: 'DSN'. Set DSN"}
    check["checks"] = {"imports": {"verdict": "blocks", "findings": [found]}}
    assert gevent_refusal(check).splitlines() == [
        "it raised KeyError: 'DSN'. Set DSN.",
        "Its last log lines:",
        "    KeyError: 'DSN'",
        "This is not gevent's doing: threads mode would fail in the same way. What runs was not touched.",
    ]


def test_a_refusal_tells_what_blocks_where_and_what_to_do() -> None:
    told = gevent_refusal(said("blocks")).splitlines()
    assert told[0].startswith("flask_uwsgi_mode=gevent breaks this application")
    assert told[1:5] == [
        "  cooperation: it sleeps in C",
        "      run.py:3",
        "      in slow",
        "      remedy: call gevent.sleep",
    ]
    assert "-e mode=threads" in told[-1] and "What runs was not touched" in told[-1]
