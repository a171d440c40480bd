import time

import pytest
from ansible_collections.flaskops.uwsgi.plugins.module_utils.build_failure import missing_packages, telling_lines


@pytest.mark.parametrize(
    ("said", "packages"),
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
    ],
)  # fmt: skip
def test_the_package_that_a_build_lacks_is_told_where_it_can_be(said: str, packages: list[str]) -> None:
    assert missing_packages(f"running build_ext\n{said}\nfailed\n") == packages


def test_several_missing_packages_are_told_once_each() -> None:
    said = "fatal error: zlib.h: No such file\nfatal error: ffi.h: No such file\nfatal error: zlib.h: No such file\n"
    assert missing_packages(said) == ["libffi-dev", "zlib1g-dev"]


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


def test_the_lines_that_tell_are_kept_without_the_frame_around_them() -> None:
    lines = telling_lines(PIP, 6)
    assert lines == [
        "error: subprocess-exited-with-error",
        "Error: pg_config executable not found.",
        "advice 27",
        "advice 28",
        "advice 29",
        "ERROR: Failed to build 'psycopg2' when getting requirements to build wheel",
    ]


def test_a_short_output_is_kept_whole() -> None:
    assert telling_lines("a\n\n b\n", 12) == ["a", "b"]
    assert telling_lines("") == []


def test_of_many_tries_the_last_one_tells_why_they_failed() -> None:
    # pip 26.3, whose registry's certificate is not trusted: the cause stands in no other line.
    retrying = (
        "WARNING: Retrying (Retry(total={}, connect=None)) after connection broken by 'SSLError("
        "SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed'))': /simple/flask/"
    )
    output = "\n".join([*(retrying.format(left) for left in (4, 3, 2, 1, 0)), "ERROR: No matching distribution found"])
    assert telling_lines(output) == [retrying.format(0), "ERROR: No matching distribution found"]


def test_what_a_package_prints_does_not_reach_the_terminal_as_it_is() -> None:
    assert telling_lines("error: \x1b]0;owned\x07 \u202egnp.exe\x1b[2J\n") == [
        "error: \\x1b]0;owned\\x07 \\u202egnp.exe\\x1b[2J"
    ]


@pytest.mark.parametrize("piece", ["cargo ", "error ", "gcc", "cmake ", "pkg-config ", " ", "\x1b[", "note: ", "-"])
def test_an_output_of_long_lines_takes_no_time(piece: str) -> None:
    output = "\n".join([(piece * 65536)[:65536]] * 30)
    started = time.monotonic()
    missing_packages(output)
    telling_lines(output)
    assert time.monotonic() - started < 30
