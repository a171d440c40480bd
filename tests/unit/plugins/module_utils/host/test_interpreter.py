"""What an interpreter says of itself, and what is refused; that of this test, and invented ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import interpreter
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host.interpreter import InterpreterError, examine

NOBODY = ("user", "group", "extra_groups")


class Installation:
    """An invented Python with all that one needs, in a folder of its own."""

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        self.python = prefix / "bin/python3.12"
        self.said: dict[str, Any] = {
            "implementation": "cpython",
            "version": [3, 12, 4],
            "text": "3.12.4 (main)",
            "stdlib": str(prefix / "lib/python3.12"),
            "include": [str(prefix / "include/python3.12")] * 2,
            "missing": [],
            "config": {
                "Py_ENABLE_SHARED": 1,
                "Py_GIL_DISABLED": None,
                "INSTSONAME": "libpython3.12.so.1.0",
                # Where it was built, as python-build-standalone has it.
                "LIBDIR": "/install/lib",
                "MULTIARCH": "x86_64-linux-gnu",
            },
        }
        for name in ("lib/python3.12/os.py", "lib/libpython3.12.so.1.0", "include/python3.12/Python.h"):
            (prefix / name).parent.mkdir(parents=True, exist_ok=True)
            (prefix / name).touch(0o644)
        self.python.parent.mkdir()
        self.write("")

    def write(self, script: str) -> None:
        """Write what runs in place of the interpreter: a script, or what prints what it says."""
        answer = f"cat <<'END'\n{json.dumps(self.said)}\nEND"
        self.python.write_text(f"#!/bin/sh\n{script or answer}\n")
        self.python.chmod(0o755)


@pytest.fixture
def accounts(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Run as oneself what root runs as nobody, who cannot enter a test's folder; return who it would have been."""
    run, seen = subprocess.run, []

    def as_oneself(*arguments: Any, **options: Any) -> Any:
        seen.append([options.pop(name, None) for name in NOBODY])
        return run(*arguments, **options)

    monkeypatch.setattr(interpreter.subprocess, "run", as_oneself)
    return seen


@pytest.fixture
def other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accounts: list[Any]) -> Installation:
    """An invented installation. Folders of tests are below /tmp, which everybody may change and no service sees."""
    insist = interpreter._insist_on_root
    below = tmp_path / "opt"
    monkeypatch.setattr(
        interpreter, "_insist_on_root", lambda paths: insist([path for path in paths if path.is_relative_to(below)])
    )
    monkeypatch.setattr(interpreter, "_HIDDEN", (str(tmp_path / "home"),))
    below.mkdir(mode=0o755)
    return Installation(below / "py")


def refused(path: Path | str) -> str:
    with pytest.raises(InterpreterError) as error:
        examine(str(path))
    return str(error.value)


def test_an_interpreter_is_described(other: Installation, tmp_path: Path, accounts: list[Any]) -> None:
    link = tmp_path / "python"
    link.symlink_to(other.python)
    found = examine(str(link))
    assert (found.path, found.version, found.full) == (str(other.python), "3.12", "3.12.4")
    assert found.libpython == str(other.prefix / "lib")
    assert found.headers
    assert found.environment == {
        "CPATH": str(other.prefix / "include/python3.12"),
        "LIBRARY_PATH": str(other.prefix / "lib"),
        "LDFLAGS": f"-L{other.prefix}/lib -Wl,-rpath,{other.prefix}/lib",
    }
    assert accounts == [[65534, 65534, []] if os.geteuid() == 0 else [None] * 3]


def test_the_questions_can_be_answered_by_a_python(accounts: list[Any]) -> None:
    said = interpreter._asked(Path(os.path.realpath(sys.executable)))
    assert said["version"] == list(sys.version_info[:3])
    assert (said["implementation"], said["missing"]) == ("cpython", [])
    assert said["config"].keys() == {"Py_ENABLE_SHARED", "Py_GIL_DISABLED", "INSTSONAME", "LIBDIR", "MULTIARCH"}


def test_a_library_in_the_folder_of_the_architecture_is_found(other: Installation) -> None:
    folder = other.prefix / "lib/x86_64-linux-gnu"
    folder.mkdir()
    (other.prefix / "lib/libpython3.12.so.1.0").rename(folder / "libpython3.12.so.1.0")
    assert examine(str(other.python)).libpython == str(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"implementation": "pypy"}, "is pypy, which uWSGI cannot use: name a CPython"),
        ({"version": [3, 8, 1]}, "is Python 3.8: name one of 3.9 or newer"),
        ({"missing": ["ssl", "zlib"]}, "has no module ssl and no module zlib: install"),
        ({"stdlib": "/usr/lib/python3.12"}, "uses the standard library in /usr/lib/python3.12, which is not below"),
        ({"config": {"Py_GIL_DISABLED": 1}}, "is free-threaded, which uWSGI cannot use"),
        (
            {"config": {"Py_ENABLE_SHARED": 0, "INSTSONAME": "libpython3.12.a"}},
            "has no shared library, which uWSGI needs: there is no libpython3.12.so.1.0 in ",
        ),
        ({"config": {"INSTSONAME": "libpython3.12d.so.1.0"}}, "there is no libpython3.12d.so.1.0 in "),
    ],
    ids=["PyPy", "old", "modules", "library elsewhere", "free-threaded", "static", "library missing"],
)
def test_what_cannot_run_an_application_is_refused(other: Installation, change: dict[str, Any], said: str) -> None:
    config = {**other.said["config"], **change.pop("config", {})}
    other.said |= {**change, "config": config}
    other.write("")
    assert refused(other.python).startswith(said) or said in refused(other.python)


@pytest.mark.parametrize("name", [".", "bin", "bin/python3.12", "lib", "lib/python3.12", "lib/python3.12/os.py",
                                  "lib/libpython3.12.so.1.0"])  # fmt: skip
def test_what_others_can_change_is_refused(other: Installation, name: str) -> None:
    path = other.prefix / name
    path.chmod(path.stat().st_mode | 0o020)
    assert f"cannot be trusted: {path} has the mode 0" in refused(other.python)
    path.chmod(path.stat().st_mode & ~0o020)
    examine(str(other.python))


def test_what_belongs_to_another_is_refused_before_it_runs(
    other: Installation, monkeypatch: pytest.MonkeyPatch, accounts: list[Any]
) -> None:
    owner = os.geteuid()
    monkeypatch.setattr(interpreter.os, "geteuid", lambda: owner + 1)
    assert f"cannot be trusted: {other.python} belongs to " in refused(other.python)
    assert accounts == []


def test_packages_of_others_are_not_examined(other: Installation) -> None:
    packages = other.prefix / "lib/python3.12/site-packages"
    packages.mkdir()
    (packages / "shop.py").touch()
    (packages / "shop.py").chmod(0o666)
    (other.prefix / "lib/python3.12/gone.py").symlink_to("nowhere")
    assert examine(str(other.python)).version == "3.12"


def test_one_that_the_service_cannot_see_is_refused(other: Installation, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    other.prefix.rename(home / "py")
    other.python.parent.mkdir(parents=True)
    other.python.symlink_to(home / "py/bin/python3.12")
    assert f"leads to {home}/py/bin/python3.12, which is in {home}, which the service" in refused(other.python)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo no library >&2; exit 127", "cannot be run as nobody: no library. Install one that runs"),
        ("echo hello", "does not answer as a Python does"),
    ],
)
def test_what_is_no_python_is_refused(other: Installation, script: str, said: str) -> None:
    other.write(script)
    assert said in refused(other.python)


def test_one_that_nobody_may_run_is_refused(other: Installation) -> None:
    other.python.chmod(0o644)
    assert "cannot be run as nobody: " in refused(other.python)
    assert "does not exist on this host" in refused(other.prefix / "bin/python4")
    assert "does not exist on this host" in refused(other.prefix)


KNOWN = {"platform": "debian-12-x86_64-py3.11"}


def facts(path: str, other: Installation) -> None:
    """Insist on the facts of the invented installation, and on what they say once it is gone."""
    assert interpreter.facts(path, KNOWN) == {
        "chosen": {
            "asked": str(other.python),
            "path": str(other.python),
            "full": "3.12.4",
            "headers": True,
            "problem": "",
        },
        "platform": "debian-12-x86_64-py3.12",
        "python": "3.12",
        "libpython": True,
    }
    other.python.unlink()
    said = interpreter.facts(path, KNOWN)
    assert said.keys() == {"chosen"} and said["chosen"]["asked"] == str(other.python)
    assert "does not exist" in said["chosen"]["problem"]
    assert ("Or set flask_uwsgi_python to another" in said["chosen"]["problem"]) == (not path)


def test_only_another_interpreter_changes_the_facts(other: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3.11")
    assert interpreter.facts("", KNOWN) == {} == interpreter.facts("/usr/bin/python3.11", KNOWN)
    facts(str(other.python), other)


@pytest.mark.parametrize("named", [True, False])
def test_one_that_is_not_the_distribution_s_is_examined_though_modules_run_with_it(
    other: Installation, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    monkeypatch.setattr(sys, "executable", str(other.python))
    facts(str(other.python) if named else "", other)
