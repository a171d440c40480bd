import time
from pathlib import Path

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.host import packages
from ansible_collections.flaskops.uwsgi.plugins.module_utils.wheelhouse import failure
from ansible_collections.flaskops.uwsgi.plugins.module_utils.wheelhouse.failure import (
    build_problem,
    lacking,
    missing_packages,
    relevant_lines,
)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Error: pg_config executable not found.", ["libpq-dev"]),
        ("psycopg/psycopg.h:36:10: fatal error: libpq-fe.h: No such file or directory", ["libpq-dev"]),
        ("/bin/sh: 1: mysql_config: not found", ["default-libmysqlclient-dev", "pkg-config"]),
        (
            "Exception: Can not find valid pkg-config name.\nSpecify MYSQLCLIENT_CFLAGS and MYSQLCLIENT_LDFLAGS",
            ["default-libmysqlclient-dev", "pkg-config"],
        ),
        ("c/_cffi_backend.c:15:10: fatal error: ffi.h: No such file or directory", ["libffi-dev"]),
        ("fatal error: Python.h: No such file or directory", ["python3-dev"]),
        ("fatal error: openssl/ssl.h: No such file or directory", ["libssl-dev"]),
        ("fatal error: libxml/xmlversion.h: No such file or directory", ["libxml2-dev", "libxslt1-dev"]),
        ("Error: Please make sure the libxml2 and libxslt development packages are installed.",
         ["libxml2-dev", "libxslt1-dev"]),
        ("The headers or library files could not be found for jpeg,", ["libjpeg-dev"]),
        ("fatal error: jpeglib.h: No such file or directory", ["libjpeg-dev"]),
        ("fatal error: zlib.h: No such file or directory", ["zlib1g-dev"]),
        ("Modules/common.h:15:10: fatal error: lber.h: No such file or directory", ["libldap-dev", "libsasl2-dev"]),
        ("error: can't find Rust compiler", ["rustc", "cargo"]),
        ("Cargo, the Rust package manager, is not installed or is not on PATH.", ["rustc", "cargo"]),
        ("error: command 'g++' failed: No such file or directory", ["g++"]),
        ("error: command 'x86_64-linux-gnu-g++' failed: No such file or directory", ["g++"]),
        ("gcc: fatal error: cannot execute 'cc1plus': execvp: No such file\nerror trying to exec 'cc1plus'", ["g++"]),
        ("error: command 'x86_64-linux-gnu-gcc' failed: No such file or directory", ["gcc", "libc6-dev"]),
        ("error: command 'gcc' failed with exit code 1", []),
        ("SyntaxError: invalid syntax", []),
        ("Building g++ bindings of pkg-configurator with zlib", []),
        ("configure: error: zlib.h is required", ["zlib1g-dev"]),
        ("checking for ffi.h... no", ["libffi-dev"]),
        ("Could not find sqlite3.h", ["libsqlite3-dev"]),
        # Headers that a compiler mentions before another error.
        ("In file included from /usr/include/python3.13/Python.h:38,\n  from x.c:1:\nerror: unknown type name 'x'", []),
        ("/usr/include/zlib.h:1885:10: note: expected 'int' but argument is of type 'char *'", []),
    ],
)  # fmt: skip
def test_the_package_that_a_build_lacks_is_reported(said: str, expected: list[str]) -> None:
    assert missing_packages(f"running build_ext\n{said}\nfailed\n") == expected


def test_several_missing_packages_are_reported_once_each() -> None:
    said = "fatal error: zlib.h: No such file\nfatal error: ffi.h: No such file\nfatal error: zlib.h: No such file\n"
    assert missing_packages(said) == ["libffi-dev", "zlib1g-dev"]


def test_missing_packages_that_the_build_host_has_are_recognized(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "fatal error: Python.h: No such file\nffi.h: No such file\n/bin/sh: 1: pkg-config: not found\n"
    for name, text in (
        ("apt-get", ""),
        ("dnf", ""),
        ("rpm", "#!/bin/sh\necho python3-devel\necho pkgconf-pkg-config\n"),
    ):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    status = "Package: python3-dev\nStatus: install ok installed\n\nPackage: pkgconf\nStatus: install ok installed\n"
    (tmp_path / "status").write_text(f"{status}Provides: pkg-config (= 1.8.1-4)\n")
    monkeypatch.setattr(packages, "DPKG", tmp_path / "status")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert missing_packages(said) == ["libffi-dev", "python3-dev", "pkg-config"]
    assert lacking(said) == {"package_manager": "apt", "installed": ["python3-dev", "pkg-config"]}
    assert lacking("error: stupid") == {"package_manager": "apt", "installed": []}
    (tmp_path / "apt-get").unlink()
    assert missing_packages(said, "dnf") == ["libffi-devel", "python3-devel", "pkgconf-pkg-config"]
    assert lacking(said) == {"package_manager": "dnf", "installed": ["python3-devel", "pkgconf-pkg-config"]}
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert lacking(said) == {"package_manager": "", "installed": ["python3-dev", "pkg-config"]}


def test_every_package_has_a_name_in_both_families() -> None:
    assert all(packages.FAMILIES["apt"].name.fullmatch(name) for _, names, _ in failure._MISSING for name in names)
    assert all(packages.FAMILIES["dnf"].name.fullmatch(name) for _, _, names in failure._MISSING for name in names)
    assert all(debian and rpm for _, debian, rpm in failure._MISSING)


def test_a_missing_package_has_the_name_of_the_build_host_s_distribution() -> None:
    result = {"subject": "x==1", "why": "failed", "said": "error: sql.h: No such file", "package_manager": "dnf"}
    message = build_problem({**result, "installed": []}, "r=1", "b", LIMITS)
    assert "which lacks an RPM package. Add unixODBC-devel to flask_uwsgi_build_packages" in message


def test_an_installed_package_is_not_recommended() -> None:
    said = "fatal error: Python.h: No such file\nfatal error: ffi.h: No such file"
    result = {"subject": "x==1", "why": "failed", "said": said, "installed": ["python3-dev"]}
    message = build_problem(result, "r=1", "b", LIMITS)
    assert "which lacks a Debian package. Add libffi-dev to flask_uwsgi_build_packages" in message
    message = build_problem({**result, "installed": ["libffi-dev", "python3-dev"]}, "r=1", "b", LIMITS)
    assert message.startswith(
        "x==1, of r=1, cannot be built on b, although it has libffi-dev and python3-dev. Require a release that "
    )
    assert "flask_uwsgi_build_packages" not in message


@pytest.mark.parametrize(
    "said", ["error: stupid", "fatal error: ffi.h: No such file", "No module named 'x'", "Network is unreachable"]
)
def test_a_source_that_cannot_be_built_need_not_be(said: str) -> None:
    result = {"subject": "shop", "why": "failed", "said": said}
    remedy = "If nothing of flask_uwsgi_source has to be installed, set flask_uwsgi_install=false"
    assert remedy in build_problem(result, "r=1", "b", LIMITS, "shop").splitlines()[0]
    assert remedy not in build_problem(result, "r=1", "b", LIMITS)
    assert "Require another" not in build_problem(result, "r=1", "b", LIMITS, "shop")
    assert remedy not in build_problem({**result, "subject": "x==1"}, "r=1", "b", LIMITS, "shop")


def test_a_source_whose_build_cannot_be_queried_need_not_be() -> None:
    said = "error: Failed to build `x==1.0`\n  cause: The build backend returned an error\nKeyError: 'x'"
    result = {"subject": "the requirements", "why": "failed", "said": said}
    remedy = "list what it requires in a file (flask_uwsgi_requirements)"
    own = {**result, "said": "error: The build backend returned an error\nKeyError: 'x'"}
    assert remedy in build_problem(own, "r=1", "b", LIMITS, "setup.py").splitlines()[0]
    # One of its requirements fails, or there is no project.
    assert remedy not in build_problem(result, "r=1", "b", LIMITS, "setup.py")
    assert remedy not in build_problem(own, "r=1", "b", LIMITS)


# As pip 26.3 printed it, shortened.
PIP = """\
  \x1b[1;31merror\x1b[0m: \x1b[1msubprocess-exited-with-error\x1b[0m

  \x1b[31m×\x1b[0m \x1b[32mGetting requirements to build wheel\x1b[0m did not run successfully.
  \x1b[31m│\x1b[0m exit code: \x1b[1;36m1\x1b[0m
  \x1b[31m╰─>\x1b[0m \x1b[31m[33 lines of output]\x1b[0m
  \x1b[31m   \x1b[0m running egg_info

  \x1b[31m   \x1b[0m Error: pg_config executable not found.
  \x1b[31m   \x1b[0m
""" + "".join(f"  \x1b[31m   \x1b[0m advice {number}\n" for number in range(30)) + """\
  \x1b[31m   \x1b[0m \x1b[31m[end of output]\x1b[0m

  \x1b[1;35mnote\x1b[0m: This error originates from a subprocess, and is likely not a problem with pip.
\x1b[31mERROR: Failed to build 'psycopg2' when getting requirements to build wheel\x1b[0m
"""  # fmt: skip


def test_the_relevant_lines_are_kept_without_the_frame_around_them() -> None:
    lines = relevant_lines(PIP, 6)
    assert lines == [
        "error: subprocess-exited-with-error",
        "Error: pg_config executable not found.",
        "advice 27",
        "advice 28",
        "advice 29",
        "ERROR: Failed to build 'psycopg2' when getting requirements to build wheel",
    ]


def test_a_short_output_is_kept_completely() -> None:
    assert relevant_lines("a\n\n b\n", 12) == ["a", "b"]
    assert relevant_lines("") == []


def test_the_last_of_many_attempts_says_why_they_failed() -> None:
    # pip 26.3 with an untrusted certificate of the registry: no other line has the cause.
    retrying = (
        "WARNING: Retrying (Retry(total={}, connect=None)) after connection broken by 'SSLError("
        "SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed'))': /simple/flask/"
    )
    output = "\n".join([*(retrying.format(left) for left in (4, 3, 2, 1, 0)), "ERROR: No matching distribution found"])
    assert relevant_lines(output) == [retrying.format(0), "ERROR: No matching distribution found"]


def test_a_package_s_output_is_made_printable() -> None:
    assert relevant_lines("error: \x1b]0;owned\x07 \u202egnp.exe\x1b[2J\n") == [
        "error: \\x1b]0;owned\\x07 \\u202egnp.exe\\x1b[2J"
    ]


@pytest.mark.parametrize("piece", ["cargo ", "error ", "gcc", "cmake ", "pkg-config ", " ", "\x1b[", "note: ", "-"])
def test_an_output_of_long_lines_is_read_quickly(piece: str) -> None:
    output = "\n".join([(piece * 65536)[:65536]] * 30)
    started = time.monotonic()
    missing_packages(output)
    relevant_lines(output)
    assert time.monotonic() - started < 30


LIMITS = {
    "artifact_build_timeout": 5,
    "artifact_build_memory_mb": 6,
    "artifact_build_disk_mb": 7,
    "artifact_build_tasks": 8,
}


@pytest.mark.parametrize(
    ("subject", "why", "said", "sentence"),
    [
        ("the lock", "hash", "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES: x", "r=1 has a hash that the package"),
        ("x==1", "hash", "", "x==1, of r=1, has a hash that the package does not have. Recreate the lock"),
        ("x==1", "timeout", "", "x==1, of r=1, took longer than artifact_build_timeout=5 seconds on b and was stopped"),
        ("x==1", "memory", "", "x==1, of r=1, needs more than artifact_build_memory_mb=6 on b"),
        ("x==1", "failed", "OSError: [Errno 28] No space left on device", "needs more than artifact_build_disk_mb=7"),
        ("x==1", "failed", "BlockingIOError: [Errno 11]", "needs more than artifact_build_tasks=8 on b"),
        ("x==1", "failed", "cc1: out of memory", "needs more than artifact_build_memory_mb=6"),
        (
            "x==1", "failed", "ERROR: build requirement that artifact_build_lock does not have: maturin>=1",
            "x==1, of r=1, needs maturin>=1 to be built, which artifact_build_lock does not have. Add it there",
        ),
        ("x==1", "failed", "fatal error: ffi.h: No such file", "Add libffi-dev to flask_uwsgi_build_packages"),
        ("x==1", "failed", "Network is unreachable", "its build uses the network, which builds cannot access"),
        ("the lock", "failed", "ERROR: No matching distribution found for x==1", "the package registry cannot be"),
        ("the requirements", "failed", "No module named 'flit_scm'", "r=1 cannot be built on b. If its build requires"),
        ("x==1", "output", "ERROR: y.whl is not the wheel", "x==1, of r=1, built something other than its wheel on b"),
        (
            "shop", "failed", "Traceback (most recent call last):\nKeyError: 'x'\nFileNotFoundError: [Errno 2]: 'git'\n"
            "error: metadata-generation-failed",
            "shop, of r=1, cannot be built on b: its build raised FileNotFoundError: [Errno 2]: 'git'. Require a",
        ),
        (
            "x==1", "failed", "x.c:1: fatal error: stupid\ndistutils.errors.CompileError: command 'gcc' failed",
            "x==1, of r=1, cannot be built on b. If a compiler lacks a header",
        ),
        ("x==1", "failed", "error: stupid", "x==1, of r=1, cannot be built on b. If a compiler lacks a header"),
    ],
)  # fmt: skip
def test_a_failed_build_names_package_host_and_remedy(subject: str, why: str, said: str, sentence: str) -> None:
    message = build_problem({"subject": subject, "why": why, "said": said}, "r=1", "b", LIMITS)
    assert sentence in message.splitlines()[0]
    assert message.splitlines()[-1] == "No application host was changed."
    assert all(f"    {line}" in message for line in said.splitlines())


def test_a_build_s_output_moves_no_cursor_and_is_cut() -> None:
    said = "error: \x1b]0;title\x07 \x1b[2J\r\x9b\u202e" + "x" * 10_000
    message = build_problem({"subject": "x==1", "why": "failed", "said": said}, "r=1", "b", LIMITS)
    assert all(line.isprintable() and len(line) < 600 for line in message.splitlines())


def test_a_password_in_a_url_is_not_shown() -> None:
    result = {
        "subject": "the lock",
        "why": "failed",
        "said": "error: https://me:hunter2@example.org/simple Max retries",
    }
    assert "hunter2" not in build_problem(result, "r=1", "b", LIMITS)
